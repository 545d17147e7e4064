import { expect, it } from 'vitest'
import { quantise } from '../../src/runtime/quantise.ts'

const vector = (...values: number[]) => Float32Array.from(values)

it('makes the largest number 127, of either sign, and keeps the others to half a step', () => {
  for (const sign of [1, -1]) {
    const given = vector(0.5, sign * 2, -0.25, 0)
    const { int8, scale } = quantise(given)!
    expect(int8[1]).toBe(sign * 127)
    for (const [i, value] of given.entries()) expect(Math.abs(int8[i]! * scale - value)).toBeLessThanOrEqual(scale / 2)
  }
})

it('of zeros makes zeros, and of what is no number too: the others are kept, and the scale can be multiplied by', () => {
  expect(quantise(vector(0, -0))).toEqual({ int8: Int8Array.of(0, 0), scale: 1 })
  expect(quantise(vector(Number.NaN, 0.5, -1))).toEqual({ int8: Int8Array.of(0, 64, -127), scale: 1 / 127 })
  expect(quantise(vector(Number.NaN))).toEqual({ int8: Int8Array.of(0), scale: 1 })
})

it('is made once for a vector, and of none there is none', () => {
  const given = vector(1)
  expect(quantise(given)).toBe(quantise(given))
  expect(quantise(null)).toBeNull()
})
