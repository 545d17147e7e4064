import { describe, expect, test } from 'vitest'
import { Latencies } from '../../src/observability/latencies.ts'

let now = 0
const latencies = (of: Record<string, number>, asker = 'me') => {
  const found = new Latencies(() => now)
  for (const [who, ms] of Object.entries(of)) for (let i = 0; i < 50; i++) found.note('one', ms, who)
  return found.expectedMs('one', asker)
}

describe('time to the first byte', () => {
  test.each<[string, Record<string, number>, number | undefined]>([
    ['is not known of what nobody asked', {}, undefined],
    ['is what an asker has seen', { me: 900 }, 900],
    ['is nothing that a single other one has seen', { slow: 60_000 }, undefined],
    ['is the median of several others', { a: 90, b: 100, slow: 60_000 }, 100],
    ['is the less of two others, of whom one may ask for what takes long', { a: 90, slow: 60_000 }, 90],
    ['is not longer than others have seen', { me: 60_000, a: 100 }, 100],
    ['is not longer than an asker has seen, however many others say so', { me: 80, a: 6e4, b: 6e4, c: 6e4 }, 80],
  ])('%s', (_, of, expected) => {
    expect(latencies(of)).toBe(expected)
  })

  test('follows the newest, and is forgotten after ten minutes', () => {
    const found = new Latencies(() => now)
    for (let i = 0; i < 50; i++) found.note('one', 1_000, 'me')
    for (let i = 0; i < 5; i++) found.note('one', 100, 'me')
    const ms = found.expectedMs('one', 'me')
    expect(ms).toBeLessThan(500)
    expect(ms).toBeGreaterThan(100)
    now += 600_001
    expect(found.expectedMs('one', 'me')).toBeUndefined()
    found.note('one', 7, 'me')
    expect(found.expectedMs('one', 'me')).toBe(7)
  })

  test('keeps few askers of a candidate', () => {
    const found = new Latencies(() => now)
    found.note('one', 1, 'first')
    for (let i = 0; i < 64; i++) found.note('one', 1_000, `made-up-${i}`)
    expect(found.expectedMs('one', 'first')).toBe(1_000)
  })
})
