import { expect, it } from 'vitest'
import { edgeKindOf, kindIndex, propertiesOf } from '../../src/learning/kinds.ts'
import { REWARD_KINDS } from '../../src/store/records/records.ts'
import { aReward } from '../store/records.ts'

it('knows every kind of a record', () => {
  for (const kind of REWARD_KINDS) expect(propertiesOf(kind)).toBeDefined()
  expect(REWARD_KINDS.filter((kind) => propertiesOf(kind).hint)).toEqual([
    'regeneration',
    'edit',
    'continuation',
    'abort',
  ])
  expect(REWARD_KINDS.filter((kind) => !propertiesOf(kind).ofUser)).toEqual(['judge'])
})

it('a rating is a thumb where it is a yes or no; an artifact without thumbs reads it as a rating', () => {
  expect(edgeKindOf(aReward({ kind: 'rating', binary: true }))).toBe('thumb')
  expect(edgeKindOf(aReward({ kind: 'rating', binary: false }))).toBe('rating')
  expect(edgeKindOf(aReward({ kind: 'edit', binary: true }))).toBe('edit')
  expect(kindIndex(['rating', 'edit'], 'thumb')).toBe(0)
  expect(kindIndex(['rating', 'thumb'], 'thumb')).toBe(1)
  expect(kindIndex(['rating'], 'judge')).toBe(-1)
})
