import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

export type Kind = 'plain' | 'stream' | 'tools' | 'feedback' | 'bad' | 'abort' | 'control'

export interface Sample {
  kind: Kind
  /** When it was asked, on `performance.now()`'s clock. */
  at: number
  /** 0: no answer, or not all of it. */
  status: number
  /** The request id of a completion whose whole answer is here; null otherwise. */
  answered: string | null
  ms: number
}

/** Shares of mixed traffic; they sum to 1. */
const MIX: [Kind, number][] = [
  ['plain', 0.4],
  ['stream', 0.25],
  ['tools', 0.08],
  ['feedback', 0.1],
  ['bad', 0.07],
  ['abort', 0.05],
  // Asks the provider itself: how quick the machine is now, the gateway left out.
  ['control', 0.05],
]
const USERS = 50
/** After a refused connection: the gateway is being started again. */
const PAUSE_MS = 20
const GIVE_UP_MS = 60_000

const TOOLS = [
  {
    type: 'function',
    function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
  },
]
const BAD_BODIES = [
  '{',
  '[]',
  '{"model":1}',
  '{"model":"auto","messages":[]}',
  '{"model":"none","messages":[{"role":"user","content":"Hi"}]}',
]

const pick = <T>(from: readonly T[]): T => from[Math.floor(Math.random() * from.length)]!

function pickKind(mix: [Kind, number][]): Kind {
  let left = Math.random()
  for (const [kind, share] of mix) {
    left -= share
    if (left < 0) return kind
  }
  return 'plain'
}

export interface TrafficOptions {
  url: () => string
  key: string
  clients: number
  only?: Kind
  control?: string
  /** Between an answer and the next request of a client. */
  pauseMs?: number
}

/** Clients that ask one thing after another of whatever gateway `url` names now. */
export class Traffic {
  readonly samples: Sample[] = []
  readonly #url: () => string
  readonly #key: string
  readonly #control: string
  readonly #pauseMs: number
  readonly #loops: Promise<void>[]
  #over = false
  #lastId = ''

  /** @param control what `control` requests ask */
  constructor({ url, key, clients, only, control = '', pauseMs = 0 }: TrafficOptions) {
    this.#url = url
    this.#key = key
    this.#control = control
    this.#pauseMs = pauseMs
    const mix = only === undefined ? MIX : ([[only, 1]] satisfies [Kind, number][])
    this.#loops = Array.from({ length: clients }, () => this.#loop(mix))
  }

  /** Request ids of which a client has the whole answer. */
  answered(): string[] {
    return this.samples.flatMap(({ answered }) => answered ?? [])
  }

  async more(count: number): Promise<void> {
    const wanted = this.samples.length + count
    while (this.samples.length < wanted) await sleep(5)
  }

  async stop(): Promise<void> {
    this.#over = true
    await Promise.all(this.#loops)
  }

  async #loop(mix: [Kind, number][]): Promise<void> {
    while (!this.#over) {
      const kind = pickKind(mix)
      const at = performance.now()
      const outcome = await this.#ask(kind).catch(() => ({ status: 0, answered: null }))
      this.samples.push({ kind, at, ...outcome, ms: performance.now() - at })
      if (outcome.status === 0 && kind !== 'abort') await sleep(PAUSE_MS)
      else if (this.#pauseMs > 0) await sleep(this.#pauseMs)
    }
  }

  async #ask(kind: Kind): Promise<Pick<Sample, 'status' | 'answered'>> {
    if (kind === 'feedback') {
      const answer = await this.#post('/v1/feedback', {
        request_id: this.#lastId || 'none',
        rating: pick(['up', 'down', 0.5]),
      })
      await answer.arrayBuffer()
      return { status: answer.status, answered: null }
    }
    if (kind === 'bad') {
      const answer = await this.#post('/v1/chat/completions', pick(BAD_BODIES))
      await answer.arrayBuffer()
      return { status: answer.status, answered: null }
    }
    if (kind === 'control') {
      const answer = await fetch(this.#control, { method: 'POST', body: '{}' })
      await answer.arrayBuffer()
      return { status: answer.status, answered: null }
    }
    const leave = new AbortController()
    const body = {
      model: 'auto',
      messages: [{ role: 'user', content: `Tell me of ${randomUUID()}.` }],
      ...((kind === 'stream' || kind === 'abort') && { stream: true }),
      ...(kind === 'tools' && { tools: TOOLS }),
    }
    const answer = await this.#post('/v1/chat/completions', body, leave.signal)
    if (kind === 'abort') {
      leave.abort()
      return { status: answer.status, answered: null }
    }
    const text = await answer.text()
    const isWhole = answer.status === 200 && (!body.stream || text.trimEnd().endsWith('data: [DONE]'))
    const id = answer.headers.get('x-request-id')
    if (isWhole && id) this.#lastId = id
    return { status: answer.status, answered: isWhole ? id : null }
  }

  #post(path: string, body: object | string, leave?: AbortSignal): Promise<Response> {
    const patience = AbortSignal.timeout(GIVE_UP_MS)
    return fetch(this.#url() + path, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${this.#key}`,
        'content-type': 'application/json',
        'x-user-id': `user-${Math.floor(Math.random() * USERS)}`,
      },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      signal: leave ? AbortSignal.any([leave, patience]) : patience,
    })
  }
}
