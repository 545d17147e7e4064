import { Cluster, Command } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openStore } from '../../../src/store/index.ts'
import type { RedisAccess } from '../../../src/store/redis/access.ts'
import { addressOf, onNodeOf } from '../../../src/store/redis/nodes.ts'
import type { Store } from '../../../src/store/store.ts'
import { type RedisCluster, startRedisCluster } from '../../support/redis.ts'
import { anInteraction } from '../records.ts'

const TENANT = 'a'
const SLOT = new Command('get', [`{${TENANT}}`]).getSlot() as number

let cluster: RedisCluster
let store: Store
beforeAll(async () => {
  cluster = await startRedisCluster()
  const config = { kind: 'redis', cluster: cluster.addresses, retention_days: 90 } as const
  store = await openStore({ ...config, command_timeout_ms: 2_000 })
})
afterAll(async () => {
  await store?.close()
  await cluster?.discard()
})

test('a tenant whose slot is being moved is not said to be erased while a part of their keys is at the other server', async () => {
  await store.appendInteractions([1, 2].map(() => anInteraction({ tenant: TENANT, ts: Date.now() })))
  const ids = await Promise.all(cluster.masters.map((master) => master.command('CLUSTER', 'MYID').then(String)))
  const counts = await Promise.all(cluster.masters.map((one) => one.command('CLUSTER', 'COUNTKEYSINSLOT', SLOT)))
  const from = counts.findIndex((count) => Number(count) > 0)
  const to = (from + 1) % cluster.masters.length
  const [source, target] = [cluster.masters[from]!, cluster.masters[to]!]
  await target.command('CLUSTER', 'SETSLOT', SLOT, 'IMPORTING', ids[from]!)
  await source.command('CLUSTER', 'SETSLOT', SLOT, 'MIGRATING', ids[to]!)
  const keys = (await source.command('CLUSTER', 'GETKEYSINSLOT', SLOT, 100)) as string[]
  expect(keys.length).toBeGreaterThan(1)
  await source.command('MIGRATE', '127.0.0.1', target.port, keys[0]!, 0, 1_000)
  await expect(store.eraseTenant(TENANT)).rejects.toThrow(/being moved/)
  // Nor are those of them who were erased said to be all.
  await expect(store.listErasures(TENANT)).rejects.toThrow(/being moved/)

  const left = (await source.command('CLUSTER', 'GETKEYSINSLOT', SLOT, 100)) as string[]
  for (const key of left) await source.command('MIGRATE', '127.0.0.1', target.port, key, 0, 1_000)
  for (const one of [target, source]) await one.command('CLUSTER', 'SETSLOT', SLOT, 'NODE', ids[to]!)
  expect(await store.eraseTenant(TENANT)).toBeGreaterThan(0)
  const now = (await target.command('CLUSTER', 'GETKEYSINSLOT', SLOT, 100)) as string[]
  expect(now).toEqual([`pr:{${TENANT}}:erased:`])
  expect(await store.listErasures(TENANT)).toEqual([{ tenant: TENANT, userHash: '', at: expect.any(Number) }])
})

test('what is done at the server that has a tenant’s keys is done again where they went meanwhile', async () => {
  const client = new Cluster([{ host: '127.0.0.1', port: cluster.masters[0]!.port }])
  const redis = { client, askLong: (_: string, ask: () => Promise<unknown>) => ask() } as unknown as RedisAccess
  const ids = await Promise.all(cluster.masters.map((master) => master.command('CLUSTER', 'MYID').then(String)))
  const asked: string[] = []
  try {
    await client.exists(`pr:{${TENANT}}:erased:`)
    const sum = await onNodeOf(redis, TENANT, async (node) => {
      asked.push(addressOf(node))
      if (asked.length > 1) return 2
      const from = cluster.masters.findIndex(({ port }) => addressOf(node).endsWith(`:${port}`))
      const to = (from + 1) % cluster.masters.length
      const [source, target] = [cluster.masters[from]!, cluster.masters[to]!]
      await target.command('CLUSTER', 'SETSLOT', SLOT, 'IMPORTING', ids[from]!)
      await source.command('CLUSTER', 'SETSLOT', SLOT, 'MIGRATING', ids[to]!)
      const keys = (await source.command('CLUSTER', 'GETKEYSINSLOT', SLOT, 100)) as string[]
      for (const key of keys) await source.command('MIGRATE', '127.0.0.1', target.port, key, 0, 1_000)
      for (const one of [target, source]) await one.command('CLUSTER', 'SETSLOT', SLOT, 'NODE', ids[to]!)
      return 1
    })
    expect([sum, new Set(asked).size]).toEqual([3, 2])
  } finally {
    client.disconnect()
  }
})
