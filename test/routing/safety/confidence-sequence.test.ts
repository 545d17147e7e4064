import { describe, expect, test } from 'vitest'
import { seeded } from '../../../demo/random.ts'
import { boundsOf, observe, SUMS } from '../../../src/routing/safety/confidence-sequence.ts'

/** Sums of observations that `draw` makes, and whether the interval ever left out `mean`. */
function follow(draw: () => number, mean: number, steps: number, alpha: number) {
  const sums = new Float64Array(SUMS)
  let wrong = false
  for (let t = 0; t < steps; t++) {
    const added = observe(sums, { value: draw(), below: 1, above: 1 })
    for (let i = 0; i < SUMS; i++) sums[i]! += added[i]!
    const { low, high } = boundsOf(sums, alpha)
    wrong ||= mean < low || mean > high
  }
  return { ...boundsOf(sums, alpha), wrong }
}

describe('confidence sequence', () => {
  test.each([0, 0.1, -0.4])('leaves out a mean of %d in at most a share alpha of runs, at any time', (mean) => {
    const random = seeded(1)
    const runs = Array.from({ length: 200 }, () => follow(() => (random() < (1 + mean) / 2 ? 1 : -1), mean, 500, 0.1))
    expect(runs.filter(({ wrong }) => wrong).length).toBeLessThanOrEqual(0.1 * 200)
  })

  test('closes in on the mean', () => {
    const random = seeded(2)
    const { low, high, estimate } = follow(() => 0.3 + 0.2 * (random() - 0.5), 0.3, 2_000, 0.05)
    expect(estimate).toBeGreaterThan(low)
    expect(high - low).toBeLessThan(0.1)
  })

  test('knows nothing of nothing', () => {
    expect(boundsOf([], 0.05)).toEqual({ count: 0, estimate: 0, low: -1, high: 1 })
  })

  test('an observation at its bound ruins no gambler', () => {
    const sums = new Float64Array(SUMS)
    for (let t = 0; t < 50; t++) {
      const added = observe(sums, { value: t % 2 ? -9 : 1, below: 9, above: 1 })
      for (let i = 0; i < SUMS; i++) sums[i]! += added[i]!
    }
    expect(sums.every(Number.isFinite)).toBe(true)
  })
})
