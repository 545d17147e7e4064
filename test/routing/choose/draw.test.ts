import { expect, test } from 'vitest'
import { draw } from '../../../src/routing/choose/draw.ts'

test('without a seed, chance', () => {
  expect(new Set(Array.from({ length: 50 }, () => draw(undefined, 'ada', 'Why?', 0))).size).toBe(50)
})

test('with a seed, the same for the same question of the same user with as many rewards', () => {
  const drawn = draw(7, 'acme', 'ada', 'Why?', 3)
  expect(draw(7, 'acme', 'ada', 'Why?', 3)).toBe(drawn)
  const others = [
    draw(8, 'acme', 'ada', 'Why?', 3),
    draw(7, 'acme', 'bob', 'Why?', 3),
    draw(7, 'acme', 'ada', 'How?', 3),
    draw(7, 'acme', 'ada', 'Why?', 4),
    draw(7, 'acmeada', '', 'Why?', 3),
  ]
  expect(new Set([drawn, ...others]).size).toBe(6)
})

test('draws are spread evenly over 0 to 1', () => {
  const draws = Array.from({ length: 10_000 }, (_, i) => draw(1, 'acme', `user-${i % 100}`, `question ${i}`, 0))
  const counts = Array.from({ length: 10 }, (_, tenth) => draws.filter((x) => Math.floor(x * 10) === tenth).length)
  // Chi-square with nine degrees of freedom: 27.9 is its 99.9 % point.
  expect(counts.reduce((sum, count) => sum + (count - 1_000) ** 2 / 1_000, 0)).toBeLessThan(27.9)
  expect(Math.min(...draws)).toBeGreaterThanOrEqual(0)
  expect(Math.max(...draws)).toBeLessThan(1)
})
