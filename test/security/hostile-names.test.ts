import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { configSchema } from '../../src/config/schema.ts'
import { Archive } from '../../src/store/archive/archive.ts'
import { eraseRows } from '../../src/store/archive/erase.ts'
import { moveRows, withArchive } from '../../src/store/archive/move.ts'
import { openStore } from '../../src/store/index.ts'
import { exportRecords } from '../../src/store/records/export.ts'
import { importRecords } from '../../src/store/records/import.ts'
import { summaryOf } from '../../src/store/records/summary.ts'
import type { Store } from '../../src/store/store.ts'
import { all, anEdge, anInteraction, aReward, aUser } from '../store/records.ts'
import { type BucketServer, startBucketServer, stubBucketEnv } from '../support/bucket.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

/**
 * Whatever a client calls its users, its words are a row's content and no part of how rows are kept: what one of them
 * is called must not keep a log from being archived or imported, let its rows survive an erasure, or touch another's.
 */
const NAMES = [
  'ann',
  'p:ann',
  'anonymous',
  '~anonymous',
  'ann\nbob',
  'ann\u0000bob',
  'ann\t1\t2',
  '*',
  'ann*',
  '[a-z]nn',
  '{ann}',
  '}{',
  '../../ann',
  'tenant=bell/day=2026-01-01',
  "'; DROP TABLE users; --",
  '__proto__',
  'constructor',
  '\ud83e\udd80'.repeat(64),
  '\u202egpj',
  '\ufeffann',
  'ann\u2028{"type":"reward"}\u2029bob\u0085',
  ' ann ',
]
const OLD = Date.now() - 10 * 86_400_000

let bucket: BucketServer
let redis: RedisServer
let dir: string
beforeAll(async () => {
  ;[bucket, redis] = await Promise.all([startBucketServer(), startRedis()])
  dir = mkdtempSync(join(tmpdir(), 'hostile-names-'))
  stubBucketEnv(bucket.origin)
  await bucket.s3.createBucket({ Bucket: 'logs' })
})
afterAll(async () => {
  vi.unstubAllEnvs()
  await Promise.all([bucket?.stop(), redis?.discard()])
  rmSync(dir, { recursive: true, force: true })
})

async function exportOf(log: Pick<Store, 'readInteractions' | 'readRewards'>): Promise<Map<string, string[]>> {
  const lines: string[] = []
  await exportRecords(log, {}, (chunk) => void lines.push(...chunk.split('\n').filter(Boolean)))
  return Map.groupBy(lines.sort(), (line) => String(JSON.parse(line).user))
}

const STORES = [
  ['SQLite', () => ({ kind: 'sqlite', path: join(dir, 'store.db') })],
  ['Redis', () => ({ kind: 'redis', url: redis.url, command_timeout_ms: 10_000 })],
] as const

test.each(STORES)(
  '%s: users of any name are kept, archived in a bucket, and erased in both, each alone',
  async (kind, config) => {
    const store = await openStore(configSchema.parse({ store: config() }).store)
    const archive = await Archive.open(`s3://logs/${kind}`, { make: true })
    try {
      for (const user of NAMES) {
        const comment = `${user}\n\u0000\ud800`
        const rows = ['a', 'b'].map((conversation) =>
          anInteraction({
            ...{ user, ts: OLD, conversation: user + conversation, completionId: `${user} ${conversation}` },
            // Absent is null in an archive.
            ...{ baselineUsd: null, gain: null },
          }),
        )
        await store.appendInteractions(rows)
        await store.appendRewards(rows.map(({ id }) => aReward({ interaction: id, user, ts: OLD + 1, comment })))
        await store.commitUser('acme', user, aUser({ preferences: { user } }), [anEdge()])
        expect((await store.findCompletions('acme', `${user} a`)).map(({ interaction }) => interaction)).toEqual([
          rows[0]?.id,
        ])
      }
      const before = await exportOf(store)
      const file = join(dir, `${kind}.jsonl`)
      writeFileSync(file, [...before.values()].flat().join('\n'))
      const copy = await openStore(
        configSchema.parse({ store: { kind: 'sqlite', path: join(dir, `${kind}.copy`) } }).store,
      )
      await importRecords(copy, file)
      expect(await exportOf(copy)).toEqual(before)
      await copy.close()
      expect([...before.keys()].sort()).toEqual([...NAMES].sort())
      expect([...before.values()].every((rows) => rows.length === 4)).toBe(true)
      expect(await moveRows(store, archive, { before: Date.now(), tenant: 'acme' })).toEqual({
        interactions: 2 * NAMES.length,
        rewards: 2 * NAMES.length,
      })
      expect((await exportOf(store)).size).toBe(0)
      const log = withArchive(store, archive)
      expect(await exportOf(log)).toEqual(before)
      for (const user of NAMES.filter((_, i) => i % 2 === 1)) {
        await store.eraseUser('acme', user)
        before.delete(user)
      }
      await eraseRows(store, archive)
      expect(await exportOf(log)).toEqual(before)
      for (const [i, user] of NAMES.entries()) {
        const known = await store.loadUser('acme', user)
        expect([user, known?.preferences]).toEqual([user, i % 2 === 1 ? undefined : { user }])
      }
    } finally {
      await archive.close()
      await store.close()
    }
  },
)

test.each(STORES)(
  '%s: halves of characters keep nobody from being erased, nor a log from being archived',
  async (kind, config) => {
    const store = await openStore(configSchema.parse({ store: config() }).store)
    try {
      const odd = { user: 'p:a\ud800b', completionId: '\udc00', finishReason: '\ud83e', ts: OLD }
      const [one, two] = [anInteraction(odd), anInteraction({ ...odd, user: 'ann' })]
      const running = [odd.user, 'ann'].map((user) => summaryOf(anInteraction({ ...odd, user })))
      await store.openInteractions(running.map((summary) => ({ ...summary, ended: false, completionId: '\udc00' })))
      await store.appendInteractions([one, two])
      await store.appendRewards([one, two].map(({ id, user }) => aReward({ interaction: id, user, comment: '\ud800' })))
      if (kind === 'Redis') await keptAsBefore(odd.user, two.user)
      await store.dropInteractions((await all(store.readInteractions({ tenant: 'acme' }))).slice(0, 1))
      for (const { user } of [one, two]) expect(await store.eraseUser('acme', user)).toBeGreaterThan(0)
      expect(await all(store.readInteractions({ tenant: 'acme' }))).toEqual([])
      expect(await all(store.readRewards({ tenant: 'acme' }))).toEqual([])
    } finally {
      await store.close()
    }
  },
)

/** Rows as earlier releases wrote them: with the escapes of the halves. */
async function keptAsBefore(...users: string[]): Promise<void> {
  const stream = 'pr:{acme}:interactions'
  const entries = (await redis.command('XRANGE', stream, '-', '+')) as [string, string[]][]
  expect(entries.length).toBeGreaterThan(1)
  for (const [i, [, fields]] of entries.entries()) {
    const before = fields.map(String).map((field) => field.replaceAll('\ufffd', '\\ud800'))
    const id = String(await redis.command('XADD', stream, '*', ...before))
    await redis.command('ZADD', `pr:{acme}:user-log:${users[i]?.toWellFormed()}`, OLD, `i:${id}`)
  }
}
