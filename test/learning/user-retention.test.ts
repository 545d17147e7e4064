import { afterEach, beforeEach, expect, it } from 'vitest'
import { UserRetention } from '../../src/learning/user-retention.ts'
import { type Store, StoreError } from '../../src/store/store.ts'
import { silent, tinyPolicy } from '../routing/support.ts'
import { anEdge, aUser } from '../store/records.ts'
import { eventually } from '../support/eventually.ts'
import { learnerOn, openTestStore } from './support.ts'

const DAY_MS = 86_400_000

let store: Store
beforeEach(() => {
  store = openTestStore()
})
afterEach(() => store.close())

const daysAgo = (days: number) => Date.now() - days * DAY_MS

it('drops users by their tenant’s days, or those of all, however many there are', async () => {
  for (let i = 0; i < 120; i++) await store.commitUser('brief', `u-${i}`, aUser({ updatedAt: daysAgo(8) }), [anEdge()])
  for (const [tenant, user, days] of [
    ['brief', 'lately', 6],
    ['usual', 'lately', 29],
    ['usual', 'long ago', 31],
    ['unknown', 'long ago', 999],
  ] as const) {
    await store.commitUser(tenant, user, aUser({ updatedAt: daysAgo(days) }), [anEdge()])
  }
  const tenants = [{ name: 'brief', user_retention_days: 7 }, { name: 'usual' }]
  const config = () => ({ privacy: { user_retention_days: 30 }, tenants }) as never
  const retention = new UserRetention({ store, config, log: silent })
  expect(await retention.sweep()).toBe(121)
  expect(await store.loadUser('brief', 'lately')).not.toBeNull()
  expect(await store.loadUser('usual', 'lately')).not.toBeNull()
  expect(await store.loadUser('usual', 'long ago')).toBeNull()
  expect(await store.loadEdges('brief', 'u-7')).toEqual([])
  // Not in the configuration: erased by command.
  expect(await store.loadUser('unknown', 'long ago')).not.toBeNull()
  expect(await retention.sweep()).toBe(0)
  retention.close()
})

it('goes on with the other tenants where the store fails for one', async () => {
  const asked: string[] = []
  const dropIdleUsers = async (tenant: string) => {
    asked.push(tenant)
    if (tenant === 'away') throw new StoreError('away')
    return { dropped: 1, next: '' }
  }
  const tenants = [{ name: 'away' }, { name: 'usual' }]
  const config = () => ({ privacy: { user_retention_days: 30 }, tenants }) as never
  const retention = new UserRetention({ store: { dropIdleUsers }, config, log: silent })
  await expect(retention.sweep()).rejects.toThrow('away')
  expect(asked).toEqual(['away', 'usual'])
  retention.close()
})

it('keeps who asks now and then, though they rate nothing', async () => {
  await store.commitUser(
    'acme',
    'ann',
    aUser({ updatedAt: daysAgo(40), policy: 'other', preferences: { deny: ['x'] } }),
  )
  const { states } = learnerOn(store)
  const policy = await tinyPolicy()
  expect((await states.get(policy, 'acme', 'ann')).preferences).toEqual({ deny: ['x'] })
  await eventually(async () => ((await store.loadUser('acme', 'ann'))?.updatedAt ?? 0) > daysAgo(1), 'it is noted')
  const config = () => ({ privacy: { user_retention_days: 30 }, tenants: [{ name: 'acme' }] }) as never
  const retention = new UserRetention({ store, config, log: silent })
  expect(await retention.sweep()).toBe(0)
  retention.close()
  states.close()
})
