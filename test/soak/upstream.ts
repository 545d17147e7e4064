import { setTimeout as sleep } from 'node:timers/promises'
import { completionBody, type Exchange, replyPlain, replyStream, type Script } from '../support/upstream.ts'

export type UpstreamMood = 'well' | 'resets' | 'stalls' | 'fails'

/** A provider that answers as asked, and in another mood does so in part only. */
export class MoodyUpstream {
  /** A path that answers well in any mood. */
  static readonly CONTROL = '/control'
  mood: UpstreamMood = 'well'
  #answers = 0

  readonly script: Script = async (exchange: Exchange) => {
    const isUnlucky = this.mood !== 'well' && Math.random() < 0.5
    await sleep(Math.random() * 10)
    if (exchange.request.path === MoodyUpstream.CONTROL) return replyPlain(200, {})(exchange)
    if (isUnlucky && this.mood === 'resets') return exchange.reset()
    if (isUnlucky && this.mood === 'fails') return exchange.reply(503, { error: { message: 'Overloaded.' } })
    if (isUnlucky && this.mood === 'stalls') return exchange.closed
    if (exchange.json.stream) return replyStream()(exchange)
    return replyPlain(200, completionBody('Hello.', { id: `chatcmpl-${++this.#answers}` }))(exchange)
  }
}
