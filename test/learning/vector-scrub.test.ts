import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { configSchema } from '../../src/config/schema.ts'
import { messagesOf } from '../../src/learning/belief.ts'
import { VectorScrub } from '../../src/learning/vector-scrub.ts'
import type { Policy } from '../../src/routing/policy.ts'
import { openStore } from '../../src/store/index.ts'
import type { Store, StoredEdge } from '../../src/store/store.ts'
import { findCandidate, silent, tinyPolicy } from '../routing/support.ts'
import { all, anEdge, anInteraction, aUser } from '../store/records.ts'
import { ageInRedis, base64, oldEdge, oldRow, QUESTION, vector } from '../support/old-vectors.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { tinyReading } from './support.ts'

const ROWS = 150
interface Kept {
  store: Store
  /** Puts rows and edges back to what the version before wrote. Of `older`, by another embedder. */
  age: (edges: Record<string, StoredEdge>) => Promise<void>
  bytes: () => Promise<Buffer>
  close: () => Promise<void>
}
const embedderOf = (user: string) => (user === 'older' ? 'another' : 'tiny')

async function sqlite(): Promise<Kept> {
  const dir = mkdtempSync(join(tmpdir(), 'scrub-'))
  const path = join(dir, 'store.db')
  const store = await openStore(configSchema.parse({ store: { kind: 'sqlite', path } }).store)
  const db = new DatabaseSync(path)
  return {
    store,
    async age(edges) {
      for (const { seq, user, json } of db.prepare('SELECT seq, user, json FROM interactions').all()) {
        const old = oldRow(String(json), embedderOf(String(user)))
        db.prepare('UPDATE interactions SET json = ? WHERE seq = ?').run(old, seq as number)
      }
      for (const [user, edge] of Object.entries(edges)) {
        const bytes = oldEdge(edge, embedderOf(user))
        db.prepare("INSERT INTO edges VALUES ('acme', ?, ?, ?, ?)").run(user, edge.id, edge.seq, bytes)
      }
    },
    async bytes() {
      db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
      return Buffer.concat(readdirSync(dir).map((name) => readFileSync(join(dir, name))))
    },
    async close() {
      db.close()
      await store.close()
    },
  }
}

async function redis(): Promise<Kept> {
  const server: RedisServer = await startRedis()
  const client = new Redis(server.url)
  const store = await openStore(configSchema.parse({ store: { kind: 'redis', url: server.url } }).store)
  return {
    store,
    age: (edges) => ageInRedis(client, 'acme', edges, embedderOf),
    async bytes() {
      const keys = await client.keys('*')
      const values = keys
        .filter((key) => /interactions|edges:/.test(key))
        .map(async (key) =>
          (await client.type(key)) === 'stream'
            ? Buffer.from(JSON.stringify(await client.xrange(key, '-', '+')))
            : Buffer.concat(Object.values(await client.hgetallBuffer(key))),
        )
      return Buffer.concat(await Promise.all(values))
    },
    async close() {
      client.disconnect()
      await store.close()
      await server.discard()
    },
  }
}

describe.each([
  ['SQLite', sqlite],
  ['Redis', redis],
])('vectors that the version before kept in clear, in %s', (_, open) => {
  let kept: Kept
  let policy: Policy
  const edges: Record<string, StoredEdge> = {}
  const rows = Array.from({ length: ROWS }, (_, i) =>
    anInteraction({ tenant: 'acme', user: ['ann', 'older', 'bob'][i % 3] as string, ts: Date.now() + i }),
  )
  const isIn = async () => {
    const bytes = await kept.bytes()
    return bytes.includes(base64) || bytes.includes(Buffer.from(vector.int8.buffer))
  }

  beforeAll(async () => {
    kept = await open()
    policy = await tinyPolicy()
    await kept.store.appendInteractions(rows)
    for (const user of ['ann', 'older']) {
      edges[user] = anEdge({ candidate: 'middle', vector: null, reading: tinyReading(QUESTION), reader: 'tiny' })
      await kept.store.commitUser('acme', user, aUser())
    }
    await kept.age(edges)
  })
  afterAll(() => kept?.close())

  it('are read, though they are no longer written', async () => {
    expect(await isIn()).toBe(true)
    const old = await kept.store.loadEdges('acme', 'ann')
    expect(old[0]?.vector).toEqual({ embedder: 'tiny', of: { plain: vector } })
    const messages = (some: readonly StoredEdge[]) => messagesOf(policy, 'acme', some, findCandidate)
    const [[now], [then]] = [await messages([edges.ann as StoredEdge]), await messages(old)]
    expect(now).not.toBeNull()
    for (const [i, value] of now!.user.entries()) expect(then?.user[i]).toBeCloseTo(value, 3)
  })

  it('give way to what the artifact reads in them, in the background, and what is erased meanwhile stays so', async () => {
    const scrub = new VectorScrub({
      store: kept.store,
      policies: { snapshot: () => ({ policy }) as never },
      log: silent,
      firstMs: 3_600_000,
    })
    const running = scrub.run()
    await kept.store.appendInteractions([anInteraction({ tenant: 'acme', user: 'new', ts: Date.now() + 999 })])
    expect(await kept.store.eraseUser('acme', 'bob')).toBe(ROWS / 3)
    expect(await running).toBeGreaterThan(ROWS / 2)
    // Another round finds what a replica of the version before may have written since; then there is nothing.
    while ((await scrub.run()) > 0);
    scrub.close()
    expect(await isIn()).toBe(false)
    const left = await all(kept.store.readInteractions({ tenant: 'acme' }))
    expect(left.map(({ id }) => id)).toEqual([
      ...rows.filter(({ user }) => user !== 'bob').map(({ id }) => id),
      expect.any(String),
    ])
    const read = tinyReading(QUESTION)
    for (const { embedding, reading, reader, user } of left.slice(0, -1)) {
      expect(embedding).toBeNull()
      expect(reader).toBe(user === 'older' ? '' : 'tiny')
      if (user === 'older') expect(reading).toBeNull()
      else expect(Buffer.from(reading?.int8 ?? '', 'base64')).toEqual(Buffer.from(read.int8.buffer))
    }
    expect(await kept.store.findInteraction('acme', rows[0]!.id)).toMatchObject({ reader: 'tiny' })
    expect(await kept.store.loadEdges('acme', 'ann')).toMatchObject([{ vector: null, reader: 'tiny' }])
    expect(await kept.store.loadEdges('acme', 'older')).toMatchObject([{ vector: null, reading: null }])
    expect(await kept.store.eraseUser('acme', 'ann')).toBe(1 + 1 + ROWS / 3)
  })
})
