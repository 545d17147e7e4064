import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Candidate } from '../../../src/candidates/candidate.ts'
import { configSchema } from '../../../src/config/schema.ts'
import { GatewayError, UnsupportedRequest } from '../../../src/errors.ts'
import { retryAfterMs } from '../../../src/openai/retry-after.ts'
import { Breakers } from '../../../src/providers/forward/breakers.ts'
import { classifyFailure, type Failure, ForwardError } from '../../../src/providers/forward/failure.ts'
import { forward } from '../../../src/providers/forward/forward.ts'
import { hedge } from '../../../src/providers/forward/hedge.ts'
import { type Provider, type ProviderCall, UpstreamError } from '../../../src/providers/provider.ts'
import { KNOWN_USAGE } from '../../../src/store/records/records.ts'
import { chat } from '../../contracts/provider.ts'
import { expectClose } from '../../support/close.ts'
import { candidate } from '../../support/relay-harness.ts'
import { completionBody } from '../../support/upstream.ts'

type Answer = (call: ProviderCall) => Promise<{ status: number; body: unknown }>

async function* bytes(body: unknown) {
  yield Buffer.from(JSON.stringify(body))
}

const isIterable = (body: unknown): body is AsyncIterable<Uint8Array> =>
  typeof body === 'object' && body !== null && Symbol.asyncIterator in body

/** Providers that answer in this process, and what they were asked. */
function setUp(answers: Record<string, Answer>, retries: Record<string, unknown> = {}) {
  const asked: string[] = []
  const providers = new Map(
    Object.entries(answers).map(([name, answer]): [string, Provider] => [
      name,
      {
        name,
        unavailable: null,
        async chat(call) {
          asked.push(call.candidate.name)
          const { status, body } = await answer(call)
          return { status, headers: {}, body: isIterable(body) ? body : bytes(body) }
        },
        close: async () => {},
      },
    ]),
  )
  const config = configSchema.parse({ retries: { backoff_ms: 1, ...retries } })
  const breakers = new Breakers(config.retries.breaker)
  const run = (
    ranking: readonly Candidate[],
    options: {
      withinMs?: number
      signal?: AbortSignal
      hold?: () => GatewayError | null
      routed?: boolean
      stream?: boolean
    } = {},
  ) =>
    forward(
      {
        ranking,
        request: chat({ stream: options.stream ?? false }),
        routed: options.routed ?? false,
        signal: options.signal ?? new AbortController().signal,
        requestId: 'r',
        deadline: performance.now() + (options.withinMs ?? 5_000),
        ...(options.hold && { hold: options.hold }),
      },
      { providers, breakers, timeouts: config.timeouts, retries: config.retries },
    )
  return { asked, breakers, run }
}

const good: Answer = async () => ({ status: 200, body: completionBody() })
const status =
  (code: number): Answer =>
  async () => ({ status: code, body: { error: { message: 'no' } } })

const NOTHING = completionBody('', { usage: { prompt_tokens: 7, completion_tokens: 1, total_tokens: 8 } })
const empty: Answer = async () => ({ status: 200, body: NOTHING })

/** A stream that says nothing and stays open until it is let go of. */
function silent() {
  const state = { isOpen: false }
  const told = [{ delta: { role: 'assistant' } }, { delta: {}, finish_reason: 'stop' }]
  const events = told.map((choice) => ({
    id: 'c',
    object: 'chat.completion.chunk',
    choices: [{ index: 0, ...choice }],
  }))
  async function* body() {
    state.isOpen = true
    try {
      for (const event of events) yield Buffer.from(`data: ${JSON.stringify(event)}\n\n`)
      yield Buffer.from('data: [DONE]\n\n')
    } finally {
      state.isOpen = false
    }
  }
  return { state, answer: async () => ({ status: 200, body: body() }) }
}

const failed = (promise: Promise<unknown>): Promise<ForwardError> =>
  promise.then(
    () => Promise.reject(new Error('it did not fail')),
    (error) => (error instanceof ForwardError ? error : Promise.reject(error)),
  )

afterEach(() => {
  vi.useRealTimers()
})

describe('forward', () => {
  test('a provider that refused our key is not asked again for its other models', async () => {
    const { asked, run } = setUp({ p0: status(401), p1: good })
    const answer = await run([candidate('a', 'p0'), candidate('b', 'p0'), candidate('c', 'p1')])
    expect([answer.candidate.name, asked]).toEqual(['c', ['a', 'c']])
  })

  test('a client that left while a try failed is not waited for', async () => {
    // Nobody moves them on.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const client = new AbortController()
    const leaving: Answer = async (call) => {
      client.abort()
      return status(500)(call)
    }
    const { asked, run } = setUp({ p0: leaving }, { backoff_ms: 4_000 })
    const error = await failed(run([candidate('a', 'p0')], { signal: client.signal }))
    expect([error.code, asked]).toEqual(['client_closed_request', ['a']])
  })

  test('what may not be kept for a client that left is noted as theirs', async () => {
    const client = new AbortController()
    const large: Answer = async () => ({ status: 200, body: { ...completionBody(), padding: 'x'.repeat(100_000) } })
    const hold = () => {
      client.abort()
      return new GatewayError('gone', { status: 499, type: 'api_error', code: 'gone' })
    }
    const { run } = setUp({ p0: large })
    const error = await failed(run([candidate('a', 'p0')], { signal: client.signal, hold }))
    expect([error.code, error.attempts]).toMatchObject(['client_closed_request', [{ status: 200, error: 'aborted' }]])
  })

  test('pauses grow with every try, at random', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.5)
    const timers = vi.spyOn(globalThis, 'setTimeout')
    const { asked, run } = setUp({ p0: status(500) }, { backoff_ms: 10, max_attempts: 3 })
    await failed(run([candidate('a', 'p0')]))
    const pauses = timers.mock.calls.flatMap(([, ms = 0]) => (ms < 100 ? [ms] : []))
    vi.restoreAllMocks()
    expect(asked).toHaveLength(3)
    const curve = (place: number) => 2 ** place * Math.tanh(Math.sqrt(4 * place))
    expectClose(pauses, [(10 / 1.4) * curve(0.5), (10 / 1.4) * (curve(1.5) - curve(0.5))])
  })

  test('what one provider can not do goes to the next, and is no attempt; a 400 only where nobody can', async () => {
    const unable: Answer = async () => {
      throw new UnsupportedRequest('It can not.', 'n')
    }
    const both = setUp({ p0: unable, p1: good })
    const answer = await both.run([candidate('a', 'p0'), candidate('b', 'p1')])
    expect([answer.candidate.name, answer.attempts.length]).toEqual(['b', 1])
    const alone = setUp({ p0: unable })
    expect(await failed(alone.run([candidate('a', 'p0')]))).toMatchObject({ status: 400, param: 'n', attempts: [] })
    expect([...alone.breakers.states().values()]).toEqual(['closed'])
  })

  test('time that the first candidate used up is not there for the second', async () => {
    const slow: Answer = ({ signal }) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    const { asked, run } = setUp({ p0: slow, p1: good })
    expect(await failed(run([candidate('a', 'p0'), candidate('b', 'p1')], { withinMs: 60 }))).toMatchObject({
      status: 504,
    })
    expect(asked).toEqual(['a'])
  })

  test('a mistake of ours is a 500 with its attempt and its cause, and says nothing of it', async () => {
    const { run } = setUp({
      p0: async () => {
        throw new TypeError('secret detail')
      },
    })
    const error = await failed(run([candidate('a', 'p0')]))
    expect(error).toMatchObject({ status: 500, code: 'internal_error', attempts: [{ error: 'internal' }] })
    expect(error.cause).toBeInstanceOf(TypeError)
    expect(error.message).not.toContain('secret')
  })

  test('on shutdown the client is told what the signal says', async () => {
    const abort = new AbortController()
    const { run } = setUp({
      p0: async ({ signal }) => {
        abort.abort(new GatewayError('Shutting down.', { status: 503, type: 'api_error', retryAfterS: 1 }))
        throw signal.reason
      },
    })
    expect(await failed(run([candidate('a', 'p0')], { signal: abort.signal }))).toMatchObject({
      status: 503,
      message: 'Shutting down.',
      retryAfterS: 1,
      attempts: [{ error: 'aborted' }],
    })
  })
})

describe('an answer of nothing', () => {
  const ranking = [candidate('a', 'p0'), candidate('b', 'p1')]

  test('is the answer where the next one has failed, whatever it failed with; its own try comes last', async () => {
    for (const code of [404, 409, 410, 429, 500]) {
      const { asked, run } = setUp({ p0: empty, p1: status(code) }, { max_attempts: 2 })
      const answer = await run(ranking, { routed: true })
      expect([answer.candidate.name, answer.status, asked]).toEqual(['a', 200, ['a', 'b']])
      expect(answer.attempts).toMatchObject([
        { candidate: 'b', error: `http_${code}` },
        { candidate: 'a', error: null },
      ])
    }
  })

  test('is the answer where the time is over while the next one is waited for', async () => {
    const { run } = setUp({ p0: empty, p1: status(500) }, { backoff_ms: 5_000, max_attempts: 9 })
    const answer = await run(ranking, { routed: true, withinMs: 100 })
    expect([answer.candidate.name, answer.status]).toEqual(['a', 200])
  })

  test('knows how long all providers were waited for', async () => {
    const late: Answer = async (call) => {
      await new Promise((done) => setTimeout(done, 50))
      return status(409)(call)
    }
    const { run } = setUp({ p0: empty, p1: late })
    const { upstreamMs, attempts } = await run(ranking, { routed: true })
    expect(upstreamMs).toBeGreaterThan(attempts.reduce((sum, { ms }) => sum + ms, 0) - 2)
  })

  test('is let go of where another one is the answer, or an error is', async () => {
    const refuse = () => new GatewayError('full', { status: 503, type: 'api_error', code: 'full' })
    const large = 'x'.repeat(100_000)
    const whole: Answer = async () => ({ status: 200, body: completionBody(large) })
    const nothing = silent()
    const { run } = setUp({ p0: nothing.answer, p1: whole })
    const answer = await run(ranking, { routed: true, stream: true })
    expect([answer.candidate.name, nothing.state.isOpen]).toEqual(['b', false])
    expect((await failed(run(ranking, { routed: true, stream: true, hold: refuse }))).code).toBe('full')
    expect(nothing.state.isOpen).toBe(false)
  })

  test('notes what it took, as far as is known', async () => {
    const { run } = setUp({ p0: empty, p1: good })
    const { attempts } = await run(ranking, { routed: true })
    expect(attempts.map(({ error, [KNOWN_USAGE]: usage }) => [error, usage])).toEqual([
      ['empty', expect.objectContaining({ promptTokens: 7, completionTokens: 1 })],
      [null, undefined],
    ])
    const back = await setUp({ p0: empty, p1: status(409) }).run(ranking, { routed: true })
    expect(KNOWN_USAGE in Object(back.attempts.at(-1))).toBe(false)
  })
})

describe('hedging', () => {
  const on = { hedge_after_ms: 20 }
  const ranking = [candidate('a', 'p0'), candidate('b', 'p1')]

  /** Answers when told to; notes when it was cancelled. */
  const held = () => {
    const gate = Promise.withResolvers<{ status: number; body: unknown }>()
    const state = { aborted: false }
    const answer: Answer = ({ signal }) => {
      signal.addEventListener('abort', () => {
        state.aborted = true
        gate.reject(signal.reason)
      })
      return gate.promise
    }
    const release = (code = 200, body = completionBody()) => gate.resolve({ status: code, body })
    return { answer, state, release }
  }

  test('is off unless configured', async () => {
    const slow = held()
    const { asked, run } = setUp({ p0: slow.answer, p1: good })
    setTimeout(() => slow.release(), 60)
    expect((await run(ranking)).candidate.name).toBe('a')
    expect(asked).toEqual(['a'])
  })

  test('a slow first candidate loses to the second, and is cancelled', async () => {
    const slow = held()
    const { breakers, run } = setUp({ p0: slow.answer, p1: good }, on)
    const answer = await run(ranking)
    expect(answer.candidate.name).toBe('b')
    expect(answer.attempts).toMatchObject([
      { candidate: 'a', error: 'hedged' },
      { candidate: 'b', error: null },
    ])
    expect(slow.state.aborted).toBe(true)
    expect(new Set(breakers.states().values())).toEqual(new Set(['closed']))
  })

  test('a quick one is asked alone', async () => {
    const { asked, run } = setUp({ p0: good, p1: good }, on)
    expect((await run(ranking)).candidate.name).toBe('a')
    expect(asked).toEqual(['a'])
  })

  test('the first may still win, and the second is cancelled', async () => {
    const [slow, backup] = [held(), held()]
    const { asked, run } = setUp({ p0: slow.answer, p1: backup.answer }, on)
    const answer = run(ranking)
    await vi.waitFor(() => expect(asked).toEqual(['a', 'b']))
    slow.release()
    expect((await answer).candidate.name).toBe('a')
    expect((await answer).attempts.map(({ error }) => error)).toEqual(['hedged', null])
    expect(backup.state.aborted).toBe(true)
  })

  test('a second that fails leaves the first its time; two that fail are two failures', async () => {
    const slow = held()
    const one = setUp({ p0: slow.answer, p1: status(500) }, on)
    const answer = one.run(ranking)
    await vi.waitFor(() => expect(one.asked).toEqual(['a', 'b']))
    slow.release()
    expect((await answer).candidate.name).toBe('a')
    expect((await answer).attempts.map(({ error }) => error)).toEqual(['http_500', null])

    const failing = held()
    const both = setUp({ p0: failing.answer, p1: status(500) }, { ...on, max_attempts: 2 })
    const error = failed(both.run(ranking))
    await vi.waitFor(() => expect(both.asked).toEqual(['a', 'b']))
    failing.release(503)
    expect((await error).attempts.map(({ error: kind }) => kind).sort()).toEqual(['http_500', 'http_503'])
  })

  test('where both answer in one turn one wins, and only the other is cancelled', async () => {
    const gates = [Promise.withResolvers<string>(), Promise.withResolvers<string>()] as const
    const signals: AbortSignal[] = []
    const one = (gate: PromiseWithResolvers<string>) => (signal: AbortSignal) => {
      signals.push(signal)
      return gate.promise
    }
    const result = hedge(one(gates[0]), one(gates[1]), 1, () => true)
    await vi.waitFor(() => expect(signals).toHaveLength(2))
    gates[0].resolve('first')
    gates[1].resolve('second')
    expect(await result).toBe('first')
    await Promise.resolve()
    expect(signals.map(({ aborted }) => aborted)).toEqual([false, true])
  })

  test('a second that says nothing leaves the first its time, and its stream is let go of', async () => {
    const slow = held()
    const nothing = silent()
    const { asked, run } = setUp({ p0: slow.answer, p1: nothing.answer }, on)
    const answer = run(ranking, { routed: true, stream: true })
    await vi.waitFor(() => expect(asked).toEqual(['a', 'b']))
    slow.release()
    expect((await answer).candidate.name).toBe('a')
    expect((await answer).attempts).toMatchObject([
      { candidate: 'b', error: 'empty' },
      { candidate: 'a', error: null },
    ])
    expect([slow.state.aborted, nothing.state.isOpen, asked]).toEqual([false, false, ['a', 'b']])
  })

  test('a second that says nothing is the answer where the first fails, and is not asked again', async () => {
    const failing = held()
    const { asked, run } = setUp({ p0: failing.answer, p1: empty }, { ...on, max_attempts: 3 })
    const answer = run(ranking, { routed: true })
    await vi.waitFor(() => expect(asked).toEqual(['a', 'b']))
    failing.release(400)
    expect((await answer).attempts).toMatchObject([
      { candidate: 'a', error: 'http_400' },
      { candidate: 'b', error: null },
    ])
    expect([(await answer).candidate.name, asked]).toEqual(['b', ['a', 'b']])
  })

  test('a first that says nothing, late, leaves the second its time', async () => {
    const [first, second] = [held(), held()]
    const { asked, run } = setUp({ p0: first.answer, p1: second.answer }, on)
    const answer = run(ranking, { routed: true })
    await vi.waitFor(() => expect(asked).toEqual(['a', 'b']))
    first.release(200, NOTHING)
    second.release()
    expect((await answer).attempts).toMatchObject([
      { candidate: 'a', error: 'empty' },
      { candidate: 'b', error: null },
    ])
    expect(first.state.aborted).toBe(false)
  })

  test('a client that leaves ends both', async () => {
    const [slow, backup] = [held(), held()]
    const abort = new AbortController()
    const { asked, run } = setUp({ p0: slow.answer, p1: backup.answer }, on)
    const error = failed(run(ranking, { signal: abort.signal }))
    await vi.waitFor(() => expect(asked).toEqual(['a', 'b']))
    abort.abort()
    expect(await error).toMatchObject({ status: 499 })
    expect([slow.state.aborted, backup.state.aborted]).toEqual([true, true])
  })
})

describe('breakers', () => {
  const broken = { failures: 2, open_ms: 60_000 }

  test('candidates that share a deployment share its breaker', async () => {
    const { asked, run } = setUp({ p0: status(500) }, { max_attempts: 1, breaker: broken })
    const same = { model: 'm' }
    await failed(run([candidate('a', 'p0', same)]))
    await failed(run([candidate('b', 'p0', same)]))
    expect(await failed(run([candidate('c', 'p0', same)]))).toMatchObject({ status: 503, retryAfterS: 60 })
    expect(asked).toEqual(['a', 'b'])
  })

  test('a client that leaves counts neither way', async () => {
    const abort = new AbortController()
    const { breakers, run } = setUp(
      {
        p0: async ({ signal }) => {
          if (abort.signal.aborted) return { status: 500, body: {} }
          abort.abort()
          throw signal.reason
        },
      },
      { max_attempts: 1, breaker: { ...broken, failures: 1 } },
    )
    await failed(run([candidate('a', 'p0')], { signal: abort.signal }))
    expect([...breakers.states().values()]).toEqual(['closed'])
    await failed(run([candidate('a', 'p0')]))
    expect([...breakers.states().values()]).toEqual(['open'])
  })

  test('what a provider can’t express counts neither way', async () => {
    let asked = 0
    const picky = () => {
      if (asked++ === 1) throw new UnsupportedRequest('no audio', 'audio')
      return { status: 500, body: {} }
    }
    const { breakers, run } = setUp({ p0: async () => picky() }, { max_attempts: 1, breaker: broken })
    for (let i = 0; i < 3; i++) await failed(run([candidate('a', 'p0')]))
    expect([...breakers.states().values()]).toEqual(['open'])
  })

  test('a probe whose client leaves is none: the next request probes', async () => {
    const abort = new AbortController()
    let asked = 0
    const { breakers, run } = setUp(
      {
        p0: async ({ signal }) => {
          if (++asked !== 2) return { status: 500, body: {} }
          abort.abort()
          throw signal.reason
        },
      },
      { max_attempts: 1, breaker: { failures: 1, open_ms: 40 } },
    )
    const a = candidate('a', 'p0')
    await failed(run([a]))
    await vi.waitFor(() => expect(breakers.of(a).state).toBe('half-open'))
    await failed(run([a], { signal: abort.signal }))
    expect(breakers.of(a).state).toBe('half-open')
    await failed(run([a]))
    expect(breakers.of(a).state).toBe('open')
  })

  test.each([-3_600_000, 3_600_000])('a wall clock that jumps by %d ms changes nothing', async (jump) => {
    const { breakers, run } = setUp({ p0: status(500) }, { max_attempts: 1, breaker: { failures: 1, open_ms: 50 } })
    const a = candidate('a', 'p0')
    await failed(run([a]))
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + jump })
    expect(breakers.of(a).isOpen).toBe(true)
    await vi.waitFor(() => expect(breakers.of(a).isOpen).toBe(false))
    expect(await failed(run([a]))).toMatchObject({ status: 502 })
    expect(breakers.of(a).state).toBe('open')
  })
})

describe('judge', () => {
  const http = (code: number, retryAfter: number | null = null): Failure => ({
    kind: 'status',
    status: code,
    code: null,
    retryAfterMs: retryAfter,
    body: Buffer.alloc(0),
    headers: {},
  })
  const fault = (kind: Exclude<Failure['kind'], 'status'>): Failure => ({ kind, message: '' })

  test.each([
    // failure, tries so far, somebody else is there, verdict
    [http(400), 1, true, 'pass'],
    [http(404), 1, false, 'pass'],
    [http(409), 1, true, 'pass'],
    [http(413), 1, true, 'pass'],
    [http(401), 1, true, 'next'],
    [http(307), 1, false, 'next'],
    [http(408), 1, true, 'again'],
    [http(429, 100), 1, true, 'again'],
    [http(429, 100), 2, true, 'next'],
    [http(429, 100), 2, false, 'again'],
    [http(429, 9_000), 1, false, 'next'],
    [http(429), 1, false, 'next'],
    [http(503), 1, true, 'again'],
    [http(503), 2, true, 'next'],
    [http(503), 5, false, 'again'],
    [http(503, 9_000), 1, false, 'next'],
    [http(529), 1, true, 'again'],
    [fault('connect'), 1, true, 'next'],
    [fault('connect'), 1, false, 'again'],
    [fault('reset'), 1, true, 'again'],
    [fault('reset'), 2, true, 'next'],
    [fault('timeout'), 1, false, 'next'],
    [fault('protocol'), 1, false, 'next'],
  ] as const)('%# %o after %d tries, next %s: %s', (failure, tries, hasNext, verdict) => {
    expect(classifyFailure(failure, { tries, hasNext, maxRetryAfterMs: 2_000 })).toBe(verdict)
  })
})

test.each([
  [{}, null],
  [{ 'retry-after': '2' }, 2_000],
  [{ 'retry-after': '0.5' }, 500],
  [{ 'retry-after-ms': '20', 'retry-after': '2' }, 20],
  [{ 'retry-after': 'Thu, 01 Jan 1970 00:00:07 GMT' }, 6_000],
  [{ 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 0],
  [{ 'retry-after': 'soon' }, null],
  [{ 'retry-after': '-1' }, null],
] as [Record<string, string>, number | null][])('retry-after %j is %s ms', (headers, ms) => {
  expect(retryAfterMs(headers, 1_000)).toBe(ms)
})

test('an error that is not ours names no address', () => {
  expect(
    new UpstreamError('connect', 'the provider could not be reached', new Error('connect ECONNREFUSED 10.0.0.1'))
      .message,
  ).not.toContain('10.0')
})
