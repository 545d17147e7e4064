import { expect, test } from 'vitest'
import { isWarm } from './warm-up.ts'

test('a price that falls is not its last, whatever single windows tell', () => {
  expect(isWarm([])).toBe(false)
  expect(isWarm([900, 890])).toBe(false)
  expect(isWarm([1_500, 1_100, 900])).toBe(false)
  // One dear window among cheaper ones.
  expect(isWarm([900, 1_200, 700])).toBe(false)
  expect(isWarm([1_500, 900, 880, 905])).toBe(true)
  expect(isWarm([900, 1_000, 870])).toBe(true)
})
