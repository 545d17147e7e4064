import { expect, test } from 'vitest'
import { choiceOf } from '../../src/candidates/tenants.ts'
import { CHEAP, DEAR } from '../routing/support.ts'

test('a model is named by its whole name; a group by its own', () => {
  const allowed = [CHEAP, { ...DEAR, groups: ['vip'] }]
  expect(choiceOf('cheap', allowed)).toEqual({ explicit: true, candidates: [CHEAP] })
  for (const name of ['che', 'cheapest', 'Cheap', '', 'auto:', 'auto:chea', 'auto:cheap']) {
    expect(choiceOf(name, allowed)).toBeNull()
  }
  expect(choiceOf('auto', allowed)?.candidates).toEqual(allowed)
  expect(choiceOf('auto:vip', allowed)?.candidates.map(({ name }) => name)).toEqual(['dear'])
})
