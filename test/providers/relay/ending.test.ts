import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { parseChat } from '../../../src/openai/parse-chat.ts'
import { SseObserver } from '../../../src/openai/sse-observer.ts'
import type { UpstreamError } from '../../../src/providers/provider.ts'
import type { StreamAnswer } from '../../../src/providers/relay/answer.ts'
import { relay } from '../../../src/providers/relay/relay.ts'
import { candidate } from '../../support/relay-harness.ts'
import { chunkOf } from '../../support/upstream.ts'

const ENDING_MS = 1_000

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'performance'] })
})
afterEach(() => {
  vi.useRealTimers()
})

const data = (event: object) => Buffer.from(`data: ${JSON.stringify(event)}\n\n`)
/** As some servers tell it: with an end in each event. */
const word = (text: string) => data(chunkOf({ content: text }, 'stop'))

/** What the client gets of pieces that come one by one, `ms` apart, until the stream is let go of. */
async function relayed(pieces: readonly Buffer[], ms: number, prepare?: (response: ServerResponse) => void) {
  const request = parseChat(
    Buffer.from(JSON.stringify({ model: 'auto', stream: true, messages: [{ role: 'user', content: 'Hi' }] })),
  )
  const observer = new SseObserver({ dropUsage: true })
  let reason: UpstreamError | null = null
  let at = 0
  const rest = {
    next: async () => {
      await vi.advanceTimersByTimeAsync(ms)
      if (reason) throw reason
      const value = pieces[at++]
      return value ? { value, done: false as const } : { value: undefined, done: true as const }
    },
  }
  const first = observer.push(word('a'))
  const answer: StreamAnswer = {
    candidate: candidate('c', 'p'),
    request,
    status: 200,
    headers: {},
    attempts: [],
    upstreamMs: 0,
    stream: true,
    head: first ? [first] : [],
    rest,
    observer,
    abort: (why) => {
      reason ??= why
    },
    release: () => undefined,
  }
  const response = new ServerResponse(new IncomingMessage(new Socket()))
  const written: string[] = []
  vi.spyOn(response, 'write').mockImplementation((bytes: Uint8Array) => {
    written.push(Buffer.from(bytes).toString())
    return true
  })
  prepare?.(response)
  const started = performance.now()
  const { error } = await relay(answer, response, {
    request,
    headers: {},
    signal: new AbortController().signal,
    deadline: started + 600_000,
    started,
    contentIdleMs: 60_000,
    commentsMs: 60_000,
    endingMs: ENDING_MS,
    writeIdleMs: 60_000,
  })
  const words = written.join('').match(/(?<="content":")[^"]+/g)
  return { error, words: words?.join(''), read: at }
}

test('a stream that goes on to say something is not cut off', async () => {
  const pieces = [...'bcdefgh'].map(word)
  expect(await relayed(pieces, 0.8 * ENDING_MS)).toMatchObject({ error: null, words: 'abcdefgh' })
})

test('comments and events that say nothing do not keep it open', async () => {
  const pieces = [word('b'), ...Array.from({ length: 50 }, () => Buffer.from(': alive\n\n')), data(chunkOf({}, 'stop'))]
  const { error, words, read } = await relayed(pieces, 0.3 * ENDING_MS)
  expect([error, words]).toEqual([null, 'ab'])
  expect(read).toBeLessThan(8)
})

test('time in which the client was the slow one is not the provider’s', async () => {
  const slow = (response: ServerResponse) => {
    const write = response.write.bind(response)
    vi.spyOn(response, 'write').mockImplementationOnce((bytes: Uint8Array) => {
      write(bytes)
      void vi.advanceTimersByTimeAsync(5 * ENDING_MS).then(() => response.emit('drain'))
      return false
    })
  }
  const pieces = [...'bcd'].map(word)
  expect(await relayed(pieces, 0.5 * ENDING_MS, slow)).toMatchObject({ error: null, words: 'abcd' })
})
