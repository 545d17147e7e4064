import { expect, it } from 'vitest'
import { ratingRewards } from '../../../src/learning/sources/user-rating.ts'

const about = { id: 'i', tenant: 'acme', user: 'ann', candidate: 'a', ts: 3 }

it.each([
  ['up', 1, true],
  ['down', -1, true],
  [1, 1, false],
  [0, -1, false],
  [0.75, 0.5, false],
] as const)('reads the rating %s as %d', (rating, value, binary) => {
  expect(ratingRewards({ rating, comment: 'hm' }, about, 5)).toEqual([
    {
      interaction: 'i',
      tenant: 'acme',
      user: 'ann',
      kind: 'rating',
      value,
      binary,
      weight: 1,
      ts: 5,
      askedAt: 3,
      preferredModel: null,
      comment: 'hm',
    },
  ])
})

it('reads a preferred model as a preference, with or without a rating', () => {
  const kinds = (rating: Parameters<typeof ratingRewards>[0]) => ratingRewards(rating, about, 5).map(({ kind }) => kind)
  expect(kinds({ preferred_model: 'x' })).toEqual(['preference'])
  expect(kinds({ rating: 'up', preferred_model: 'x' })).toEqual(['rating', 'preference'])
  expect(kinds({})).toEqual([])
})

it('a preference is against the answer, unless its own model is the preferred one', () => {
  const value = (preferred_model: string) => ratingRewards({ preferred_model }, about, 5)[0]?.value
  expect(value('b')).toBe(-1)
  expect(value('a')).toBe(1)
})
