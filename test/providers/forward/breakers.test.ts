import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Breakers, THE_GATEWAY } from '../../../src/providers/forward/breakers.ts'
import { candidate } from '../../support/relay-harness.ts'

const OPEN_MS = 1_000
const one = candidate('one', 'p', { model: 'one' })

let breakers: Breakers
let changes: string[]

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'Date'] })
  changes = []
  breakers = new Breakers({ failures: 2, open_ms: OPEN_MS }, (deployment, state) =>
    changes.push(`${deployment} ${state}`),
  )
})
afterEach(() => {
  vi.useRealTimers()
})

const breaker = () => breakers.of(one)
const attempt = (deploymentFailed: boolean, meanwhile: () => unknown = () => {}) =>
  breaker().run(async () => {
    await meanwhile()
    return { health: deploymentFailed ? ('failed' as const) : ('well' as const) }
  })
const fail = (meanwhile?: () => unknown) => attempt(true, meanwhile)
const succeed = (meanwhile?: () => unknown) => attempt(false, meanwhile)
const open = async () => {
  for (let i = 0; i < 2; i++) await fail()
}

test('opens after so many failures in a row, and no earlier', async () => {
  await fail()
  await succeed()
  await fail()
  expect([breaker().state, breaker().isOpen]).toEqual(['closed', false])
  await fail()
  expect([breaker().state, breaker().isOpen, breaker().remainingMs]).toEqual(['open', true, OPEN_MS])
  expect(changes).toEqual(['p/one open'])
})

test('is one for all candidates of a deployment, and another for another', async () => {
  await open()
  const twin = { ...one, name: 'its twin' }
  expect(breakers.of(twin).isOpen).toBe(true)
  expect(breakers.of(candidate('two', 'p', { model: 'two' })).isOpen).toBe(false)
  expect([...breakers.states()]).toEqual([
    ['p/one', 'open'],
    ['p/two', 'closed'],
  ])
})

test('half-open, lets one probe through; a good one closes it', async () => {
  await open()
  vi.advanceTimersByTime(OPEN_MS)
  expect([breaker().state, breaker().isOpen, breaker().remainingMs]).toEqual(['half-open', false, 0])
  await succeed(() => expect([breaker().state, breaker().isOpen]).toEqual(['half-open', true]))
  expect(breaker().state).toBe('closed')
  await fail()
  expect(breaker().state).toBe('closed')
  expect(changes).toEqual(['p/one open', 'p/one half-open', 'p/one closed'])
})

test('one failure of a probe opens it again, for as long', async () => {
  await open()
  vi.advanceTimersByTime(OPEN_MS)
  await fail(() => vi.advanceTimersByTime(500))
  expect([breaker().state, breaker().remainingMs]).toEqual(['open', OPEN_MS])
})

test('a try that ends in a throw counts neither way, and after such a probe the next one probes', async () => {
  const leave = () => breaker().run(() => Promise.reject(new Error('the client left')))
  await fail()
  await expect(leave()).rejects.toThrow('left')
  expect(breaker().state).toBe('closed')
  await fail()
  vi.advanceTimersByTime(OPEN_MS)
  await expect(leave()).rejects.toThrow('left')
  expect([breaker().state, breaker().isOpen]).toEqual(['half-open', false])
  await fail()
  expect(breaker().state).toBe('open')
})

test('a try that began before it opened changes nothing when it ends', async () => {
  await succeed(open)
  expect(breaker().state).toBe('open')
  await fail(async () => {
    vi.advanceTimersByTime(OPEN_MS)
    await succeed()
  })
  expect(breaker().state).toBe('closed')
})

test.each([-3_600_000, 3_600_000])('a wall clock that jumps by %d ms changes nothing', async (jump) => {
  await open()
  vi.setSystemTime(Date.now() + jump)
  expect(breaker().state).toBe('open')
  vi.advanceTimersByTime(OPEN_MS - 1)
  expect(breaker().state).toBe('open')
  vi.advanceTimersByTime(1)
  expect(breaker().state).toBe('half-open')
})

describe('whose failures they are', () => {
  const ask = vi.fn<() => Promise<boolean>>()
  const failFor = (asker: string, health: 'failed' | 'gone' = 'failed') =>
    breaker().run(async () => ({ health }), asker)
  /** What was asked has been answered. */
  const answered = () => new Promise((resolve) => setImmediate(resolve))

  beforeEach(() => {
    ask.mockReset()
    breakers = new Breakers({ failures: 2, open_ms: OPEN_MS }, undefined, ask)
  })

  test('one asker opens nothing while the deployment answers something harmless', async () => {
    ask.mockResolvedValue(true)
    for (let i = 0; i < 6; i++) await failFor('key')
    await answered()
    expect(ask).toHaveBeenCalled()
    expect(breaker().state).toBe('closed')
  })

  test('what does not answer that either is open', async () => {
    ask.mockResolvedValue(false)
    for (let i = 0; i < 2; i++) await failFor('key')
    await answered()
    expect(breaker().state).toBe('open')
  })

  test('two askers need no question, and neither does what no content can bring about', async () => {
    await failFor('key')
    await failFor('another')
    expect(breaker().state).toBe('open')
    const two = candidate('two', 'p', { model: 'two' })
    for (let i = 0; i < 2; i++) await breakers.of(two).run(async () => ({ health: 'gone' as const }), 'key')
    expect(breakers.of(two).state).toBe('open')
    expect(ask).not.toHaveBeenCalled()
  })

  test('the gateway itself is no second asker: its questions hold what the first wrote', async () => {
    ask.mockResolvedValue(true)
    await failFor('key')
    for (let i = 0; i < 6; i++) await failFor(THE_GATEWAY)
    await answered()
    expect(ask).toHaveBeenCalled()
    expect(breaker().state).toBe('closed')
  })

  test('one asker does not keep it open either: where its try fails the question decides', async () => {
    await failFor('key')
    await failFor('another')
    vi.advanceTimersByTime(OPEN_MS)
    ask.mockResolvedValue(true)
    await failFor('key')
    await answered()
    expect(breaker().state).toBe('closed')
    for (const key of ['key', 'another']) await failFor(key)
    vi.advanceTimersByTime(OPEN_MS)
    ask.mockResolvedValue(false)
    await failFor('key')
    expect(breaker().isOpen).toBe(true)
    await answered()
    expect([breaker().state, breaker().remainingMs]).toEqual(['open', OPEN_MS])
  })

  test('a try that fails while an earlier question is out opens it again', async () => {
    const late = Promise.withResolvers<boolean>()
    ask.mockReturnValue(late.promise)
    for (const key of ['key', 'key', 'another']) await failFor(key)
    expect([breaker().state, ask.mock.calls.length]).toEqual(['open', 1])
    vi.advanceTimersByTime(OPEN_MS)
    await failFor('key')
    expect([breaker().state, breaker().remainingMs]).toEqual(['open', OPEN_MS])
    late.resolve(false)
    await answered()
    vi.advanceTimersByTime(OPEN_MS)
    expect([breaker().state, breaker().isOpen]).toEqual(['half-open', false])
    ask.mockResolvedValue(true)
    await failFor('key')
    await answered()
    expect(breaker().state).toBe('closed')
  })
})
