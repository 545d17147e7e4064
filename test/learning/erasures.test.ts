import { expect, it } from 'vitest'
import { Erasures } from '../../src/learning/erasures.ts'

it('an answer to whoever was erased since it was asked for leaves nothing; what they ask later does', () => {
  const erasures = new Erasures()
  expect(erasures.happened('acme', 'ann', 100)).toBe(false)
  erasures.note('acme', 'ann', 200)
  expect([100, 199, 200, 201].map((since) => erasures.happened('acme', 'ann', since))).toEqual([
    true,
    true,
    true,
    false,
  ])
  expect(erasures.happened('acme', 'bob', 100)).toBe(false)
  expect(erasures.happened('other', 'ann', 100)).toBe(false)
})
