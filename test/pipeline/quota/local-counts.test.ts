import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { LocalCounts } from '../../../src/pipeline/quota/local-counts.ts'
import type { Amounts, Limit, LimitState } from '../../../src/store/limits.ts'

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS
const T = 'acme'

const limit = (fields: Partial<Limit> = {}): Limit => ({
  scope: 'tenant',
  what: 'nanoUsd',
  window: 'day',
  max: 100,
  ...fields,
})
const amounts = (fields: Partial<Amounts> = {}): Amounts => ({ requests: 1, tokens: 0, nanoUsd: 0, ...fields })
const told = (used: number, resetMs = 10 * MINUTE_MS, isNew = false): LimitState => ({
  used,
  remaining: Math.max(0, 100 - used),
  resetMs,
  isNew,
})

let counts: LocalCounts
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'Date'], now: Date.UTC(2026, 10, 28, 23, 50) })
  counts = new LocalCounts()
})
afterEach(() => {
  vi.useRealTimers()
})

/** How many reservations of `cost` are granted, of many. */
function grants(limits: Limit[], cost: Partial<Amounts>, replicas = 1, of = 500): number {
  let granted = 0
  for (let i = 0; i < of; i++) if (counts.reserve(T, limits, amounts(cost), replicas).held) granted++
  return granted
}

describe('without the store', () => {
  test('a budget goes on from what was told: its share of what was left', () => {
    const day = limit()
    counts.told(T, [day], [told(40)], null)
    expect(counts.knows(T, [day])).toBe(true)
    expect(grants([day], { nanoUsd: 5 })).toBe(12)
    for (const replicas of [2, 3]) {
      counts = new LocalCounts()
      counts.told(T, [day], [told(40)], null)
      expect(grants([day], { nanoUsd: 5 }, replicas)).toBe(60 / replicas / 5)
    }
  })

  test('a counter that was never heard of counts from nothing', () => {
    expect(counts.knows(T, [limit()])).toBe(false)
    expect(grants([limit()], { nanoUsd: 10 })).toBe(10)
    expect(counts.reserve('other', [limit()], amounts({ nanoUsd: 10 }), 1).held).not.toBeNull()
  })

  test('what an answer came to takes the place of what was held, whoever had granted it', () => {
    const day = limit()
    counts.told(T, [day], [told(90)], amounts({ nanoUsd: 90 }))
    const there = counts.hold(T, [day], amounts({ nanoUsd: 90 }))
    expect(grants([day], { nanoUsd: 20 }, 1, 1)).toBe(0)
    counts.end(there, amounts({ nanoUsd: 30 }))
    const { held } = counts.reserve(T, [day], amounts({ nanoUsd: 70 }), 1)
    expect(grants([day], { nanoUsd: 1 }, 1, 1)).toBe(0)
    counts.end(held!, amounts({ nanoUsd: 10 }))
    expect(grants([day], { nanoUsd: 60 })).toBe(1)
  })

  test('the next day begins anew, by the end that the store told', () => {
    const day = limit()
    counts.told(T, [day], [told(100, 10 * MINUTE_MS)], null)
    vi.advanceTimersByTime(9 * MINUTE_MS)
    expect(grants([day], { nanoUsd: 100 })).toBe(0)
    vi.advanceTimersByTime(2 * MINUTE_MS)
    expect(grants([day], { nanoUsd: 100 })).toBe(1)
    vi.advanceTimersByTime(DAY_MS)
    expect(grants([day], { nanoUsd: 100 })).toBe(1)
  })

  test('a minute slides: never more than its limit within sixty seconds', () => {
    const minute = limit({ what: 'requests', window: 'minute', max: 10 })
    counts.told(T, [minute], [told(10, 30_000)], null)
    const at: number[] = []
    for (let s = 0; s < 300; s++) {
      for (let i = grants([minute], {}, 1, 20); i > 0; i--) at.push(s)
      vi.advanceTimersByTime(1_000)
    }
    // Two fixed minutes meet in each sliding one: the earlier fades linearly.
    for (const from of at) expect(at.filter((s) => s >= from && s < from + 60).length).toBeLessThanOrEqual(20)
    expect(at.length).toBeGreaterThan(30)
    expect(at.length).toBeLessThanOrEqual(60)
    expect(at[0]).toBeGreaterThan(0)
  })

  test('a minute that is used up stays so to its end, and fades in the next one, as it does in the store', () => {
    const minute = limit({ what: 'requests', window: 'minute', max: 15 })
    counts.told(T, [minute], [told(15, 60_000)], null)
    vi.advanceTimersByTime(40_000)
    expect(grants([minute], {}, 1, 20)).toBe(0)
    vi.advanceTimersByTime(14_000)
    expect(grants([minute], {}, 1, 20)).toBe(0)
    vi.advanceTimersByTime(26_000)
    expect(grants([minute], {}, 1, 20)).toBe(5)
    vi.advanceTimersByTime(120_000)
    expect(grants([minute], {}, 1, 20)).toBe(15)
  })

  test('of a minute, what the store counts of the one before goes on fading', () => {
    const minute = limit({ what: 'requests', window: 'minute', max: 15 })
    vi.advanceTimersByTime(50_000)
    counts.told(T, [minute], [told(15, 10_000)], null)
    vi.advanceTimersByTime(10_000 + 20_000)
    // Ten of the minute before, and five of this one.
    counts.told(T, [minute], [told(15, 40_000)], null)
    vi.advanceTimersByTime(20_000)
    expect(grants([minute], {}, 1, 20)).toBe(5)
  })

  test('at once: no more than a share are in work, and each that ends makes room', () => {
    const flight = limit({ what: 'requests', window: 'flight', max: 4 })
    const first = counts.reserve(T, [flight], amounts(), 2).held
    expect(grants([flight], {}, 2)).toBe(1)
    counts.end(first!, amounts())
    expect(grants([flight], {}, 2)).toBe(1)
    expect(grants([limit({ ...flight, scope: 'user:u', max: 1 })], {}, 5)).toBe(1)
  })

  test('all limits or none, and the one that refuses is told', () => {
    const [wide, narrow] = [limit({ max: 1_000 }), limit({ scope: 'user:u', max: 10 })]
    const { reservation, held } = counts.reserve(T, [wide, narrow], amounts({ nanoUsd: 11 }), 1)
    expect([reservation.granted, reservation.refusedBy, held]).toEqual([false, narrow, null])
    expect(counts.reserve(T, [wide], amounts({ nanoUsd: 1_000 }), 1).held).not.toBeNull()
  })
})

describe('a store that tells less than it must', () => {
  test('a counter that is new, though it had come to something, is lost; in a new day it is not', () => {
    const day = limit()
    expect(counts.told(T, [day], [told(60, 10 * MINUTE_MS, true)], amounts({ nanoUsd: 60 }))).toEqual([])
    expect(counts.told(T, [day], [told(5, 10 * MINUTE_MS, true)], amounts({ nanoUsd: 5 }))).toEqual([
      { limit: day, amount: 60 },
    ])
    vi.advanceTimersByTime(9 * MINUTE_MS + 59_000)
    // Its clock is a second ahead of ours.
    expect(counts.told(T, [day], [told(5, DAY_MS, true)], amounts({ nanoUsd: 5 }))).toEqual([])
  })

  test('less than what it has settled for this process is lost; what others give back is not', () => {
    const day = limit()
    counts.told(T, [day], [told(80)], amounts({ nanoUsd: 30 }))
    const held = counts.hold(T, [day], amounts({ nanoUsd: 30 }))
    counts.end(held, amounts({ nanoUsd: 20 }))
    counts.settled(held, amounts({ nanoUsd: 20 }))
    expect(counts.told(T, [day], [told(25)], null)).toEqual([])
    expect(counts.told(T, [day], [told(19)], null)).toEqual([{ limit: day, amount: 25 }])
    expect(counts.wasRestored(held)).toBe(false)
  })

  test('a reservation made before its counter was brought back is in what was brought back', () => {
    const day = limit()
    counts.told(T, [day], [told(30)], amounts({ nanoUsd: 30 }))
    const held = counts.hold(T, [day], amounts({ nanoUsd: 30 }))
    vi.advanceTimersByTime(1_000)
    expect(counts.told(T, [day], [told(0, 9 * MINUTE_MS, true)], null)).toHaveLength(1)
    expect(counts.wasRestored(held)).toBe(true)
  })
})

test('a request that was counted anew is not brought back a second time', () => {
  const day = limit()
  counts.told(T, [day], [told(30)], amounts({ nanoUsd: 10 }))
  const held = counts.hold(T, [day], amounts({ nanoUsd: 10 }))
  counts.end(held, amounts({ nanoUsd: 10 }))
  // Counter and reservation are gone: what it came to is charged, and is all that the store has.
  counts.charged(held, amounts({ nanoUsd: 10 }))
  counts.settled(held, amounts({ nanoUsd: 10 }))
  expect(counts.told(T, [day], [told(5)], null)).toEqual([{ limit: day, amount: 20 }])
})

test('what is left of the budget with the least left, as far as it is known', () => {
  const [day, month] = [limit(), limit({ window: 'month', max: 1_000 })]
  expect(counts.leftOf(T, [day, month], 'nanoUsd')).toBeNull()
  counts.told(T, [day, month], [told(40), told(950)], null)
  expect(counts.leftOf(T, [day, month], 'nanoUsd')).toBe(50)
  counts.reserve(T, [day, month], amounts({ nanoUsd: 20 }), 1)
  expect(counts.leftOf(T, [day, month], 'nanoUsd')).toBe(30)
})

test('what is left of tokens a minute, which fade', () => {
  const minute = limit({ what: 'tokens', window: 'minute', max: 1_000 })
  counts.told(T, [minute], [told(400)], null)
  expect(counts.leftOf(T, [minute], 'nanoUsd')).toBeNull()
  expect(counts.leftOf(T, [minute], 'tokens')).toBeGreaterThanOrEqual(600)
  counts.reserve(T, [minute], amounts({ tokens: 600 }), 1)
  expect(counts.leftOf(T, [minute], 'tokens')).toBeLessThan(100)
})
