import { expect } from 'vitest'

/**
 * Numbers that may be rounded otherwise on another machine: each within `relative` of the largest expected. What is
 * absolute holds only at the scale, and on the machine, where it was written.
 *
 * @param relative float32 has about seven digits, of which sums lose some
 */
export function expectClose(
  found: number | ArrayLike<number> | undefined,
  expected: number | ArrayLike<number> | undefined,
  relative = 1e-5,
): void {
  const [some, all] = [listOf(found), listOf(expected)]
  expect(some).toHaveLength(all.length)
  const scale = Math.max(...all.map(Math.abs)) || 1
  expect(Number.isFinite(scale)).toBe(true)
  for (const [i, value] of some.entries()) {
    const apart = Math.abs(value - all[i]!)
    expect(apart <= relative * scale, `${value} for ${all[i]} (number ${i}, scale ${scale}, within ${relative})`).toBe(
      true,
    )
  }
}

const listOf = (numbers: number | ArrayLike<number> | undefined): number[] =>
  typeof numbers === 'number' ? [numbers] : Array.from(numbers ?? [])
