import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Store } from '../../src/store/store.ts'
import { MAX_USERS_A_DAY, OTHER_USERS } from '../../src/store/usage.ts'
import { anInteraction } from '../store/records.ts'

const DAY_MS = 86_400_000
/** A time of today, by UTC, and of the day before. */
const NOW = Date.now()
const day = (ts: number) => new Date(ts).toISOString().slice(0, 10)

/** What was used, by day; part of the store contract. */
export function usageContract(current: () => Store) {
  const tenant = () => `t-${randomUUID().slice(0, 8)}`
  const answered = (t: string, overrides: object = {}) =>
    anInteraction({
      id: randomUUID(),
      tenant: t,
      user: 'ann',
      key: 'k1',
      chosen: 'small',
      ts: NOW,
      costUsd: 0.25,
      usage: { promptTokens: 10, completionTokens: 5, cachedTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 },
      attempts: [],
      ...overrides,
    })
  const used = (requests: number, nanoUsd: number) => ({
    requests,
    promptTokens: 10 * requests,
    completionTokens: 5 * requests,
    nanoUsd,
  })

  test('adds up by day, tenant, key, user and model, each record once', async () => {
    const store = current()
    const t = tenant()
    const tried = [
      { candidate: 'large', provider: 'p', status: null, error: 'timeout', ms: 1, cost_usd: 0.5 },
      { candidate: 'small', provider: 'p', status: 200, error: null, ms: 1, cost_usd: 0.25 },
    ]
    const rows = [
      answered(t),
      answered(t, { user: 'bob', key: 'k2' }),
      answered(t, { attempts: tried }),
      answered(t, { chosen: 'large', ts: NOW - DAY_MS }),
      answered(tenant()),
    ]
    for (let i = 0; i < 2; i++) await store.appendInteractions(rows)
    const [today, before] = [day(NOW), day(NOW - DAY_MS)]
    const all = { from: before, to: today }
    expect(await store.usage.read(t, { scope: 'tenant', ...all })).toEqual([
      { day: before, scope: 'tenant', id: '', model: 'large', ...used(1, 250_000_000) },
      { day: today, scope: 'tenant', id: '', model: 'small', ...used(3, 1_250_000_000) },
    ])
    expect(await store.usage.read(t, { scope: 'key', id: 'k2', ...all })).toEqual([
      { day: today, scope: 'key', id: 'k2', model: 'small', ...used(1, 250_000_000) },
    ])
    expect(await store.usage.read(t, { scope: 'user', from: today, to: today })).toEqual(
      expect.arrayContaining([
        { day: today, scope: 'user', id: 'ann', model: 'small', ...used(2, 1_000_000_000) },
        { day: today, scope: 'user', id: 'bob', model: 'small', ...used(1, 250_000_000) },
      ]),
    )
    await store.appendInteractions([answered(t)])
    expect(await store.usage.read(t, { scope: 'tenant', from: today, to: today })).toMatchObject([
      used(4, 1_500_000_000),
    ])
  })

  test("an erased user's sums go, the tenant's stay", async () => {
    const store = current()
    const t = tenant()
    await store.appendInteractions([answered(t), answered(t, { ts: NOW - DAY_MS }), answered(t, { user: 'bob' })])
    await store.eraseUser(t, 'ann')
    const all = { from: day(NOW - DAY_MS), to: day(NOW) }
    expect((await store.usage.read(t, { scope: 'user', ...all })).map(({ id }) => id)).toEqual(['bob'])
    expect(await store.usage.read(t, { scope: 'tenant', ...all })).toHaveLength(2)
  })

  test('users that are too many for a day are counted together', async () => {
    const store = current()
    const t = tenant()
    const rows = Array.from({ length: MAX_USERS_A_DAY + 50 }, (_, i) => answered(t, { user: `u-${i}` }))
    for (let i = 0; i < rows.length; i += 1_000) await store.appendInteractions(rows.slice(i, i + 1_000))
    const users = await store.usage.read(t, { scope: 'user', from: day(NOW), to: day(NOW) })
    expect(users.length).toBe(MAX_USERS_A_DAY + 1)
    expect(users.find(({ id }) => id === OTHER_USERS)).toMatchObject({ requests: 50 })
    await store.appendInteractions([answered(t, { user: 'u-0' })])
    expect(await store.usage.read(t, { scope: 'user', id: 'u-0', from: day(NOW), to: day(NOW) })).toMatchObject([
      { requests: 2 },
    ])
  }, 120_000)
}
