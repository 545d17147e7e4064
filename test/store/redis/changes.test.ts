import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { Cluster } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { configSchema } from '../../../src/config/schema.ts'
import { endSubscription } from '../../../src/store/redis/connection.ts'
import * as keys from '../../../src/store/redis/keys.ts'
import { RedisStore } from '../../../src/store/redis/store.ts'
import type { Invalidation } from '../../../src/store/store.ts'
import { type RedisServer, startRedis, startRedisCluster, until } from '../../support/redis.ts'

/** A way to Redis on which connections that carry a subscription can fall silent, and stay open. */
class DeafeningProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #subscriptions: Socket[][] = []
  subscribed = 0

  constructor(port: number) {
    this.#server = createServer((client) => {
      const upstream = connect(port, '127.0.0.1')
      const both = [client, upstream]
      for (const socket of both) {
        this.#sockets.add(socket)
        socket.on('error', () => undefined)
        socket.on('close', () => {
          client.destroy()
          upstream.destroy()
        })
      }
      client.on('data', (sent) => {
        if (/subscribe/i.test(String(sent))) {
          this.#subscriptions.push(both)
          this.subscribed++
        }
      })
      client.pipe(upstream).pipe(client)
    }).listen(0, '127.0.0.1')
  }

  async url(): Promise<string> {
    if (!this.#server.listening) await once(this.#server, 'listening')
    return `redis://127.0.0.1:${(this.#server.address() as { port: number }).port}`
  }

  /** Nothing goes through any more, and nobody is told. */
  deafen(): void {
    for (const sockets of this.#subscriptions) for (const socket of sockets) socket.unpipe().pause()
    this.#subscriptions = []
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}

const redisConfig = (store: object) => {
  const { store: parsed } = configSchema.parse({ store: { kind: 'redis', ...store } })
  return parsed as Extract<typeof parsed, { kind: 'redis' }>
}

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis?.discard())

test('a subscription that is open but dead: nothing cached is believed, and another one is made', async () => {
  const proxy = new DeafeningProxy(redis.port)
  const [deaf, other] = [
    new RedisStore(redisConfig({ url: await proxy.url() })),
    new RedisStore(redisConfig({ url: redis.url })),
  ]
  const heard: Invalidation[] = []
  deaf.subscribe((change) => heard.push(change))
  try {
    const change = () => other.noteRefusals('acme', [{ deployment: 'a', field: 'b', expiresAt: Date.now() + 60_000 }])
    const hears = () => heard.some(({ kind }) => kind === 'refusals')
    await until(async () => {
      await change().catch(() => undefined)
      return hears()
    })
    heard.length = 0
    const before = proxy.subscribed
    proxy.deafen()
    await until(() => heard.some(({ kind }) => kind === 'all'))
    await until(() => proxy.subscribed > before)
    heard.length = 0
    await until(async () => {
      await change()
      return hears()
    })
  } finally {
    await Promise.all([deaf.close(), other.close()])
    proxy.close()
  }
}, 60_000)

test('a number of its own that is missing: changes may be, too, and nothing cached is believed', async () => {
  const store = new RedisStore(redisConfig({ url: redis.url }))
  const heard: Invalidation[] = []
  store.subscribe((change) => heard.push(change))
  try {
    const ownChannel = async () => {
      const channels = (await redis.command('PUBSUB', 'CHANNELS', keys.heartbeatChannel('*'))) as string[]
      return channels[0]
    }
    await until(async () => (await ownChannel()) !== undefined)
    await redis.command('PUBLISH', String(await ownChannel()), '1000')
    await until(() => heard.some(({ kind }) => kind === 'all'))
  } finally {
    await store.close()
  }
}, 60_000)

test('a cluster’s subscription ends when it is told to, and comes back', async () => {
  const cluster = await startRedisCluster()
  const client = new Cluster(cluster.addresses.map((address) => `redis://${address}`))
  try {
    const heard: string[] = []
    client.on('message', (_, message) => heard.push(message))
    await client.subscribe('news')
    const hears = async (word: string) => {
      await client.publish('news', word)
      return heard.includes(word)
    }
    await until(() => hears('before'))
    const connections = async () => {
      const lists = await Promise.all(cluster.masters.map((master) => master.command('CLIENT', 'LIST')))
      // Each node counts by itself: another's may have the same id.
      return lists.flatMap((list, node) =>
        [...String(list).matchAll(/id=\d+(?=[^\n]* sub=1 )/g)].map(([id]) => `${node} ${id}`),
      )
    }
    const [first] = await connections()
    endSubscription(client)
    await until(() => hears('after'))
    expect(await connections()).not.toContain(first)
  } finally {
    client.disconnect()
    await cluster.discard()
  }
}, 60_000)
