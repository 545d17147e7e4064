import { beforeEach, expect, test, vi } from 'vitest'
import { GatewayError } from '../../src/errors.ts'
import { KnownRefusals } from '../../src/pipeline/known-refusals.ts'
import type { Limit, Reservation } from '../../src/store/limits.ts'

const limit = (fields: Partial<Limit> = {}): Limit => ({
  scope: 'tenant',
  what: 'requests',
  window: 'minute',
  max: 10,
  ...fields,
})
const refused = (by: Limit, remaining = 0, resetMs = 30_000): Reservation => ({
  granted: false,
  refusedBy: by,
  states: [{ remaining, used: by.max - remaining, resetMs, isNew: false }],
})
const error = () =>
  new GatewayError('Limit reached.', { status: 429, type: 'rate_limit_error', retryAfterS: 30, code: 'x' })

let known: KnownRefusals
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
  known = new KnownRefusals()
  return () => vi.useRealTimers()
})
const note = (by = limit(), remaining = 0, resetMs = 30_000) =>
  known.note('t', [by], refused(by, remaining, resetMs), error())
const ask = (request: object = {}, scopes = ['tenant'], tenant = 't') => known.refuse(request, tenant, scopes)

test('refuses what is known to be over, of this tenant and scope alone', () => {
  note()
  expect(() => ask()).toThrow(expect.objectContaining({ status: 429, code: 'x', retryAfterS: 30 }))
  ask({}, ['key:1', 'user:ann'])
  ask({}, ['tenant'], 'another')
})

test('lets one request a second ask again, all the way', () => {
  note()
  vi.advanceTimersByTime(1_000)
  const asking = {}
  ask(asking)
  ask(asking)
  expect(() => ask()).toThrow(expect.objectContaining({ retryAfterS: 29 }))
  vi.advanceTimersByTime(1_000)
  ask()
})

test('forgets when the window ends, or when one is granted', () => {
  note(limit(), 0, 500)
  vi.advanceTimersByTime(500)
  ask()
  expect(known.size).toBe(0)
  note()
  known.granted('t', [limit()])
  ask()
})

test('believes nothing where a smaller request may fit, or one may end', () => {
  note(limit({ what: 'tokens' }), 5)
  note(limit({ window: 'flight' }), 0, 0)
  expect(known.size).toBe(0)
})

test('what is given back is asked for again', () => {
  const tokens = limit({ what: 'tokens' })
  note(tokens)
  known.givenBack('t', [tokens], { requests: 1, tokens: 3, nanoUsd: 0 })
  ask()
  note()
  known.givenBack('t', [limit()], { requests: 1, tokens: 3, nanoUsd: 0 })
  expect(() => ask()).toThrow()
  known.givenBack('t', [limit()], { requests: 0, tokens: 0, nanoUsd: 0 })
  ask()
})
