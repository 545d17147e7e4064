import { afterAll, beforeAll, expect, test } from 'vitest'
import { explain } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'

const THRIFTY_KEY = 'pr-thrifty-key-0123456789abc'
const AVERAGE_KEY = 'pr-average-key-0123456789abc'
let gateway: RunningGateway

beforeAll(async () => {
  gateway = await startGateway({
    router: { taste: 'quality' },
    tenants: [
      { name: 'test', keys: [TEST_KEY] },
      { name: 'thrifty', keys: [THRIFTY_KEY], taste: 'frugal' },
      { name: 'average', keys: [AVERAGE_KEY], taste: 'balanced' },
    ],
  })
})
afterAll(() => discard(gateway))

test('new users start where router.taste says, or their tenant, and explain tells', async () => {
  const asked = async (key: string) => {
    const found = await explain(gateway, 'Prove that there are infinitely many primes.', { key, user: 'new' })
    const parts = found.candidates.map(({ parts }) => (parts?.quality ?? 0) - (parts?.cost ?? 0))
    return { taste: found.user.taste, quality: parts.reduce((sum, part) => sum + part, 0) }
  }
  const [quality, balanced, frugal] = [await asked(TEST_KEY), await asked(AVERAGE_KEY), await asked(THRIFTY_KEY)]
  expect([quality.taste, balanced.taste, frugal.taste]).toEqual(['quality', 'balanced', 'frugal'])
  expect(new Set([quality.quality, balanced.quality, frugal.quality]).size).toBe(3)
})
