import { Redis } from 'ioredis'
import { expect, test } from 'vitest'
import { RedisStore } from '../../../src/store/redis/store.ts'
import { startRedis } from '../../support/redis.ts'
import { all, anInteraction } from '../records.ts'

test('who moved long ago is forgotten as others move, each in their own time', async () => {
  const server = await startRedis()
  const client = new Redis(server.url)
  const store = new RedisStore({ kind: 'redis', url: server.url, command_timeout_ms: 5_000, retention_days: 90 })
  try {
    await store.connect()
    const moved = async () => (await all(store.listMoves('acme'))).map(({ from, to }) => `${from}>${to}`).sort()
    const users = Array.from({ length: 100 }, (_, i) => `user-${i}`)
    await store.appendInteractions([...users, 'ann', 'bob'].map((user) => anInteraction({ tenant: 'acme', user })))
    for (const user of users) await store.moveUser('acme', user, `${user}-now`)
    await store.moveUser('acme', 'ann', 'ann-now')
    const [until] = await client.keys('*moved-until')
    expect(await client.zcard(until as string)).toBe(101)
    for (const user of users) await client.zadd(until as string, '1', user)
    await store.moveUser('acme', 'bob', 'bob-now')
    expect((await moved()).length).toBe(100 - 64 + 2)
    await store.moveUser('acme', 'bob-now', 'bob-then')
    expect(await moved()).toEqual(['ann>ann-now', 'bob-now>bob-then', 'bob>bob-then'])
    expect((await client.zrange(until as string, '0', '-1')).sort()).toEqual(['ann', 'bob', 'bob-now'])
    await store.eraseUser('acme', 'bob-then')
    expect(await moved()).toEqual(['ann>ann-now'])
    expect(await client.zrange(until as string, '0', '-1')).toEqual(['ann'])
  } finally {
    await store.close()
    client.disconnect()
    await server.discard()
  }
})
