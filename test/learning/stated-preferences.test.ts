import { expect, test } from 'vitest'
import { statedPreferences } from '../../src/learning/stated-preferences.ts'

test('what this version does not understand is not stated; the rest is', () => {
  const stored = { deny: ['a'], prefer: { code: 'b' }, later: { than: 'this' }, cost_weight: 7 }
  expect(statedPreferences(stored)).toEqual({ deny: ['a'], prefer: { code: 'b' } })
  expect(statedPreferences({ prefer: { Code: 'b' }, explore: false })).toEqual({ explore: false })
  expect(statedPreferences({})).toEqual({})
})
