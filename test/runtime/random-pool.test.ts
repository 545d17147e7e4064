import { expect, test } from 'vitest'
import { randomPool } from '../../src/runtime/random-pool.ts'

test('bytes of one draw, and of the next, are all different', () => {
  const next = randomPool(12)
  const drawn = Array.from({ length: 1_000 }, () => next().toString('hex'))
  expect(new Set(drawn).size).toBe(1_000)
  expect(new Set(drawn.map((hex) => hex.length))).toEqual(new Set([24]))
})
