import { expect, test } from 'vitest'
import { openRated, sealRated } from '../../src/pipeline/feedback-link.ts'
import { Seal } from '../../src/runtime/seal.ts'

const RATED = { tenant: 'acme', user: 'u1', interaction: 'req_1' }

test('a link to rate opens until it ends, in one spelling, under the secret that made it', () => {
  const seal = new Seal(['a-secret-of-the-gateway'], 'tests')
  const token = sealRated(seal, RATED, 1_000)
  expect(openRated(seal, token, 999)).toEqual(RATED)
  expect(openRated(seal, token, 1_000)).toBeNull()
  expect(openRated(new Seal(['another-secret'], 'tests'), token, 999)).toBeNull()
  expect(openRated(seal, `${token}A`, 999)).toBeNull()
})
