import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { BackupStore } from '../../../src/store/backup/contract.ts'
import { BackupError, readManifest, readWhole, rowsOf } from '../../../src/store/backup/manifest.ts'
import { restoreBackup } from '../../../src/store/backup/restore.ts'
import { comparable, encodeRow } from '../../../src/store/backup/rows.ts'
import { compareWithStore } from '../../../src/store/backup/verify.ts'
import { writeBackup } from '../../../src/store/backup/write.ts'
import { edgeId } from '../../../src/store/history.ts'
import { openStore } from '../../../src/store/index.ts'
import { MAX_EDGES, type StoredEdge } from '../../../src/store/store.ts'
import { type RedisCluster, type RedisServer, startRedis, startRedisCluster, until } from '../../support/redis.ts'
import { all, anEdge, anInteraction, aReward, aUser } from '../records.ts'
import { fill, MARK, ODD_USER, TENANTS, usedToday } from './filled.ts'

const RETENTION = { retention_days: 90, command_timeout_ms: 5_000 }
const OPTIONS = { retentionMs: 90 * 86_400_000 }

let redis: RedisServer
let other: RedisServer
let cluster: RedisCluster
let dir: string
const open: BackupStore[] = []
const opened = async (store: Promise<BackupStore>) => {
  open.push(await store)
  return store
}

beforeAll(async () => {
  ;[redis, other, cluster] = await Promise.all([startRedis(), startRedis(), startRedisCluster()])
})
afterAll(() => Promise.all([redis.discard(), other.discard(), cluster.discard()]))
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'persona-router-backup-'))
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((store) => store.close()))
  await Promise.all([redis, other, ...cluster.masters].map((server) => server.command('FLUSHALL')))
  rmSync(dir, { recursive: true })
})

const sqlite = (name: string) =>
  opened(openStore({ kind: 'sqlite', path: join(dir, `${name}.db`), retention_days: 90 }))
const redisAt = (server: RedisServer) => opened(openStore({ kind: 'redis', url: server.url, ...RETENTION }))
const inCluster = () => opened(openStore({ kind: 'redis', cluster: cluster.addresses, ...RETENTION }))
const backupDir = () => join(dir, 'backup')

/** All that is there, but for what counts from now on. */
async function contents(store: BackupStore) {
  const rows: string[] = []
  for await (const page of store.backup.read('')) {
    for (const row of page.rows) rows.push(comparable(row) ?? encodeRow(row))
  }
  return rows.sort()
}

const PLACES = {
  'SQLite to SQLite': [() => sqlite('from'), () => sqlite('to')],
  'SQLite to Redis': [() => sqlite('from'), () => redisAt(redis)],
  'Redis to SQLite': [() => redisAt(redis), () => sqlite('to')],
  'Redis to Redis': [() => redisAt(redis), () => redisAt(other)],
  'Redis to a Cluster': [() => redisAt(redis), () => inCluster()],
  'a Cluster to SQLite': [() => inCluster(), () => sqlite('to')],
} as const

describe.each(Object.entries(PLACES))('%s', (_, [openFrom, openTo]) => {
  test('everything arrives, as it was; doing it again changes nothing', async () => {
    const [from, to] = [await openFrom(), await openTo()]
    await fill(from)
    const before = await contents(from)
    const manifest = await writeBackup(from, backupDir())
    expect(rowsOf(manifest)).toEqual({
      ...{ secret: 1, key: 4, user: 16, salt: 14, interaction: 72, reward: 42, conversation: 14, response: 14 },
      ...{ evidence: 4, refusal: 2, mode: 2, usage: 18, budget: 2, move: 2, erasure: 2 },
    })
    expect(manifest).toMatchObject({ tenants: TENANTS, has_secret: true, has_hashed_ids: true })

    const outcomes = await restoreBackup(to, backupDir(), readWhole(backupDir()), OPTIONS)
    expect(Object.values(outcomes).flatMap((counts) => Object.keys(counts))).toEqual(Array(15).fill('restored'))
    expect(await contents(to)).toEqual(before)
    for (const { rows, same, stored } of Object.values(await compareWithStore(to, backupDir(), manifest))) {
      expect([same, stored]).toEqual([rows, rows])
    }

    const again = await restoreBackup(to, backupDir(), manifest, OPTIONS)
    expect(again).toMatchObject({ user: { kept: 16 }, key: { kept: 4 }, evidence: { kept: 4 }, budget: { kept: 2 } })
    expect(again).toMatchObject({ interaction: { kept: 72 }, reward: { kept: 42 } })
    expect(await contents(to)).toEqual(before)
  })

  test('what is looked up is found', async () => {
    const [from, to] = [await openFrom(), await openTo()]
    await fill(from)
    await restoreBackup(to, backupDir(), await writeBackup(from, backupDir()), OPTIONS)
    for (const tenant of TENANTS) {
      expect(await to.findKey(`${tenant}2`.padEnd(64, '0'))).toMatchObject({ revokedAt: 1_700_000_000_500 })
      expect((await to.loadUser(tenant, ODD_USER))?.preferences).toEqual({ deny: ['cheap'], prefer: { code: 'dear' } })
      expect(await to.loadEdges(tenant, 'u-5')).toEqual(await from.loadEdges(tenant, 'u-5'))
      expect(await to.findInteraction(tenant, `${tenant}-3-1`)).toEqual(
        await from.findInteraction(tenant, `${tenant}-3-1`),
      )
      expect(await to.findCompletions(tenant, `chatcmpl-${tenant}-3-1`)).toHaveLength(1)
      expect(await to.loadConversation(tenant, 'turn-2')).toEqual(await from.loadConversation(tenant, 'turn-2'))
      expect(await to.responses.findItems(tenant, 'u-2', ['msg-2'])).toEqual(['resp-2'])
      expect((await to.responses.load(tenant, 'u-2', ['resp-2']))[0]?.body).toEqual(Buffer.from([0, 2, 255]))
      expect(await usedToday(to, tenant)).toEqual(await usedToday(from, tenant))
      const limit = { scope: 'user:u-1', what: 'nanoUsd', window: 'month', max: 1e12 } as const
      expect((await to.limits.look(tenant, [limit]))[0]?.used).toBe(5_000_000)
      expect(await to.backup.erasedAt(tenant, MARK)).toBe(await from.backup.erasedAt(tenant, MARK))
      const texts = (await all(to.readInteractions({ tenant, user: 'u-1' }))).map(({ text }) => text)
      expect(texts.filter((text) => text !== null)).toEqual(['what was asked'])
    }
    expect(await to.sharedSecret(null)).toBe('a-secret-of-the-store')
  })

  test('goes on wherever it was interrupted, with nothing left out', async () => {
    const [from, to] = [await openFrom(), await openTo()]
    await fill(from)
    const before = await contents(from)
    let interruptions = 0
    for (;;) {
      let pages = 0
      const manifest = await writeBackup(from, backupDir(), {
        partBytes: 1,
        onProgress: () => {
          if (++pages > 2 ** interruptions) throw new Error('interrupted')
        },
      }).catch((error: Error) => {
        if (error.message !== 'interrupted') throw error
        interruptions++
        writeFileSync(join(backupDir(), 'part-999999.jsonl.zst.new'), 'half a part')
        return null
      })
      if (manifest) break
    }
    expect(interruptions).toBeGreaterThan(1)
    const manifest = readWhole(backupDir())
    expect(readdirSync(backupDir()).sort()).toEqual(['manifest.json', ...manifest.parts.map(({ file }) => file)].sort())
    let batches = 0
    const interrupted = restoreBackup(to, backupDir(), manifest, {
      ...OPTIONS,
      onProgress: () => {
        if (++batches > 5) throw new Error('interrupted')
      },
    })
    await expect(interrupted).rejects.toThrow('interrupted')
    await restoreBackup(to, backupDir(), manifest, OPTIONS)
    expect(await contents(to)).toEqual(before)
  })
})

describe('erasures', () => {
  test.each(['SQLite', 'Redis'])('a user who was erased after the backup stays erased: %s', async (kind) => {
    const store = await (kind === 'SQLite' ? sqlite('one') : redisAt(redis))
    await fill(store)
    const manifest = await writeBackup(store, backupDir())
    await store.eraseUser('acme', 'u-3')
    await store.eraseTenant('zeta')
    // A tenant's mark takes the place of its users'.
    const rest = async () => (await contents(store)).filter((row) => !row.includes('"erasure"'))
    const left = await rest()
    const outcomes = await restoreBackup(store, backupDir(), manifest, OPTIONS)
    expect(outcomes.user?.erased).toBe(9)
    expect([outcomes.interaction, outcomes.reward]).toEqual([
      { erased: 41, kept: 31 },
      { erased: 24, kept: 18 },
    ])
    expect(await store.loadUser('acme', 'u-3')).toBeNull()
    expect(await store.listKeys('zeta')).toEqual([])
    expect(await rest()).toEqual(left)
  })

  test.each(['SQLite', 'Redis'])(
    'one who was erased while the backup was made does not come along: %s',
    async (kind) => {
      const [from, to] = [await sqlite('from'), await (kind === 'SQLite' ? sqlite('to') : redisAt(redis))]
      await fill(from)
      let isErased = false
      const manifest = await writeBackup(from, backupDir(), {
        onProgress({ type }) {
          // After users have been read.
          if (type !== 'mode' || isErased) return
          isErased = true
          void from.eraseUser('acme', 'u-3')
        },
      })
      expect(isErased).toBe(true)
      await restoreBackup(to, backupDir(), manifest, OPTIONS)
      expect(await to.loadUser('acme', 'u-2')).not.toBeNull()
      expect(await to.loadUser('acme', 'u-3')).toBeNull()
      const ofThem = [...(await contents(to))].filter((row) => /"u-3"/.test(row) && /acme/.test(row))
      expect(ofThem).toEqual([])
    },
  )

  test('a second backup takes back whom the first one brought', async () => {
    const [from, to] = [await sqlite('from'), await redisAt(redis)]
    await fill(from)
    await restoreBackup(to, backupDir(), await writeBackup(from, backupDir()), OPTIONS)
    expect(await to.loadUser('acme', 'u-3')).not.toBeNull()
    await from.eraseUser('acme', 'u-3')
    await from.eraseTenant('zeta')
    const second = join(dir, 'second')
    await restoreBackup(to, second, await writeBackup(from, second), OPTIONS)
    expect(await to.loadUser('acme', 'u-3')).toBeNull()
    expect(await all(to.readInteractions({ tenant: 'acme', user: 'u-3' }))).toEqual([])
    expect(await all(to.readInteractions({ tenant: 'zeta' }))).toEqual([])
    expect((await to.listKeys('zeta')).every(({ revokedAt }) => revokedAt !== null)).toBe(true)
    expect(await to.loadUser('acme', 'u-2')).not.toBeNull()
  })
})

describe.each(['SQLite', 'Redis'])('erasures that a backup tells of: %s', (kind) => {
  const openTo = () => (kind === 'SQLite' ? sqlite('to') : redisAt(redis))

  test('are gone on with where a restore was interrupted', async () => {
    const [from, to] = [await sqlite('from'), await openTo()]
    await fill(from)
    await restoreBackup(to, backupDir(), await writeBackup(from, backupDir()), OPTIONS)
    await from.eraseUser('acme', 'u-3')
    const second = join(dir, 'second')
    const manifest = await writeBackup(from, second)
    const { eraseUser } = to
    Object.assign(to, { eraseUser: () => Promise.reject(new Error('killed')) })
    await expect(restoreBackup(to, second, manifest, OPTIONS)).rejects.toThrow('killed')
    Object.assign(to, { eraseUser })
    await restoreBackup(to, second, manifest, OPTIONS)
    expect(await to.loadUser('acme', 'u-3')).toBeNull()
    expect(await all(to.readInteractions({ tenant: 'acme', user: 'u-3' }))).toEqual([])
  })

  test('take nothing of what was said since, there or here', async () => {
    const [from, to] = [await sqlite('from'), await openTo()]
    await fill(from)
    await restoreBackup(to, backupDir(), await writeBackup(from, backupDir()), OPTIONS)
    for (const user of ['u-3', 'u-4']) await from.eraseUser('acme', user)
    const since = async () => {
      const before = Date.now()
      while (Date.now() <= before + 1) await new Promise((resolve) => setTimeout(resolve, 1))
      return Date.now()
    }
    const ts = await since()
    const [there, here] = [from, to].map((_, i) => anInteraction({ id: `since-${i}`, tenant: 'acme', user: 'u-3', ts }))
    await from.appendInteractions([there!])
    await from.commitUser('acme', 'u-3', aUser({ since: ts }), [anEdge({ ts })])
    await to.appendInteractions([here!])
    const edges = await to.loadEdges('acme', 'u-4')
    const known = await to.loadUser('acme', 'u-4')
    const edge = anEdge({ id: edgeId('i-since', 'rating'), seq: 99, ts })
    await to.commitUser('acme', 'u-4', aUser({ ...known, revision: known!.revision + 1 }), [...edges, edge])
    await since()
    const second = join(dir, 'second')
    await restoreBackup(to, second, await writeBackup(from, second), OPTIONS)
    const rows = await all(to.readInteractions({ tenant: 'acme', user: 'u-3' }))
    expect(rows.map(({ id }) => id).sort()).toEqual(['since-0', 'since-1'])
    expect((await to.loadEdges('acme', 'u-3')).map((one) => one.ts)).toEqual([ts])
    expect((await to.loadEdges('acme', 'u-4')).map(({ id }) => id)).toEqual([edge.id])
  })

  test.each(['saveMode', 'createKey'] as const)(
    'and of a tenant who is erased meanwhile no key is back: %s',
    async (at) => {
      const [from, to] = [await sqlite('from'), await openTo()]
      await fill(from)
      const manifest = await writeBackup(from, backupDir())
      const work = (to[at] as (...args: unknown[]) => Promise<void>).bind(to)
      let isErased = false
      Object.assign(to, {
        async [at](...args: unknown[]) {
          if (JSON.stringify(args).includes('zeta') && !isErased) {
            isErased = true
            await to.eraseTenant('zeta')
          }
          await work(...args)
        },
      })
      await restoreBackup(to, backupDir(), manifest, OPTIONS)
      expect(isErased).toBe(true)
      expect((await to.listKeys('zeta')).filter(({ revokedAt }) => revokedAt === null)).toEqual([])
      expect((await to.listKeys('acme')).filter(({ revokedAt }) => revokedAt === null)).toHaveLength(1)
    },
  )
})

test.each(['SQLite', 'Redis'])('who has moved on since the backup stays there: %s', async (kind) => {
  const to = kind === 'SQLite' ? await sqlite('to') : await redisAt(redis)
  for (const [from, then] of ['ab', 'bc']) {
    await to.appendInteractions([anInteraction({ tenant: 'acme', user: from as string })])
    await to.moveUser('acme', from as string, then as string)
  }
  const noted = (from: string, then: string) => to.backup.noteMove('acme', from, then)
  expect([await noted('a', 'b'), await noted('c', 'a'), await noted('z', 'b')]).toEqual(['kept', 'kept', 'restored'])
  const users = ['a', 'b', 'c', 'z']
  expect(Object.fromEntries(await to.presentIds('acme', users))).toEqual({ a: 'c', b: 'c', z: 'c' })
  await to.eraseUser('acme', 'd')
  expect(await noted('y', 'd')).toBe('erased')
})

test.each(['SQLite', 'Redis'])('what an archive took since then is not counted twice: %s', async (kind) => {
  const store = await (kind === 'SQLite' ? sqlite('one') : redisAt(redis))
  await fill(store)
  const before = await Promise.all(TENANTS.map((tenant) => usedToday(store, tenant)))
  const manifest = await writeBackup(store, backupDir())
  for await (const rows of store.readInteractions({})) await store.dropInteractions(rows)
  const outcomes = await restoreBackup(store, backupDir(), manifest, OPTIONS)
  expect(outcomes.interaction?.restored).toBeGreaterThan(0)
  expect(await Promise.all(TENANTS.map((tenant) => usedToday(store, tenant)))).toEqual(before)
})

describe('a Redis that was restarted', () => {
  let durable: RedisServer
  beforeEach(async () => {
    durable = await startRedis('--appendonly', 'yes', '--appendfsync', 'always')
  })
  afterEach(() => durable.discard())
  const SALTS = 3_000
  const filled = async () => {
    const store = await redisAt(durable)
    for (let i = 0; i < SALTS; i += 100) {
      const users = Array.from({ length: 100 }, (_, j) => `u-${i + j}`)
      await Promise.all(users.map((user) => store.salt('acme', user, Buffer.from(user))))
    }
    return store
  }
  const restart = async () => {
    await durable.kill()
    await durable.start()
  }

  test('between two runs of a backup: nothing is left out', async () => {
    let pages = 0
    const interrupted = writeBackup(await filled(), backupDir(), {
      partBytes: 1,
      onProgress: () => {
        if (++pages > 20) throw new Error('interrupted')
      },
    })
    await expect(interrupted).rejects.toThrow('interrupted')
    expect(readManifest(backupDir())?.parts.length).toBeGreaterThan(0)
    await restart()
    const to = await sqlite('to')
    await restoreBackup(to, backupDir(), await writeBackup(await redisAt(durable), backupDir()), OPTIONS)
    expect(await contents(to)).toHaveLength(SALTS)
  })

  test('within a run: nothing is left out', async () => {
    const store = await filled()
    const users = new Set<string>()
    let pages = 0
    for await (const { rows } of store.backup.read('')) {
      for (const row of rows) if (row.type === 'salt') users.add(row.user)
      if (users.size === 0 || ++pages !== 20) continue
      await restart()
      await until(() =>
        store.ping().then(
          () => true,
          () => false,
        ),
      )
    }
    expect(users.size).toBe(SALTS)
  })
})

describe('a store that has gone on', () => {
  test('of a user whom it knows, too, both histories stay, and what was stated', async () => {
    const [from, to] = [await sqlite('from'), await redisAt(redis)]
    const edge = (n: number) => anEdge({ id: edgeId(`i-${n}`, 'rating'), seq: n, ts: n, weight: 1 })
    for (let n = 1; n <= 3; n++) {
      const stored = aUser({ revision: n, rewards: n, preferences: { deny: ['cheap'] }, since: 1, updatedAt: 10 })
      const edges = Array.from({ length: n }, (_, i) => edge(i + 1))
      await from.commitUser('acme', 'ann', stored, edges)
    }
    await to.commitUser('acme', 'ann', aUser({ preferences: {}, since: 4, rewards: 1 }), [{ ...edge(4), seq: 1 }])
    const manifest = await writeBackup(from, backupDir())
    for (const _ of [1, 2]) {
      await restoreBackup(to, backupDir(), manifest, OPTIONS)
      const edges = await to.loadEdges('acme', 'ann')
      expect(edges.map(({ id }) => id)).toEqual([1, 2, 3, 4].map((n) => edgeId(`i-${n}`, 'rating')))
      // Of no artifact: rebuilt from the edges when it is needed.
      expect(await to.loadUser('acme', 'ann')).toMatchObject({
        ...{ policy: '', rewards: 4, since: 1, preferences: { deny: ['cheap'] } },
      })
    }
  })

  test('newer knowledge of a user, revocations and spending stay', async () => {
    const store = await redisAt(redis)
    await fill(store)
    const manifest = await writeBackup(store, backupDir())
    const known = await store.loadUser('acme', 'u-2')
    const next = aUser({ ...known, revision: (known?.revision ?? 0) + 1, preferences: {}, updatedAt: Date.now() })
    const edges = await store.loadEdges('acme', 'u-2')
    await store.commitUser('acme', 'u-2', next, [...edges, anEdge({ id: edgeId('i-new', 'rating'), seq: 9 })])
    await store.revokeKey('acme-1', Date.now())
    const limit = { scope: 'user:u-1', what: 'nanoUsd', window: 'month', max: 1e12 } as const
    const amounts = { requests: 1, tokens: 2, nanoUsd: 2_000_000 }
    await store.limits.reserve({ tenant: 'acme', id: 'r2', limits: [limit], amounts, ttlMs: 60_000 })
    await store.addEvidence('acme', 'voices:2026.01.01-1', 'gpt-5#u1', Float32Array.of(1, -1, 0, 20_001))
    const before = await contents(store)
    await restoreBackup(store, backupDir(), manifest, OPTIONS)
    expect(await contents(store)).toEqual(before)
  })

  test('is compared row by row', async () => {
    const [from, to] = [await sqlite('from'), await redisAt(redis)]
    await fill(from)
    const manifest = await writeBackup(from, backupDir())
    await restoreBackup(to, backupDir(), manifest, OPTIONS)
    await to.appendInteractions([anInteraction()])
    await to.saveMode('acme', 'assist')
    await to.eraseUser('acme', 'u-2')
    const known = (await to.loadUser('acme', 'u-1'))!
    const next = aUser({ ...known, revision: known.revision + 1, preferences: { deny: ['cheap'] } })
    await to.commitUser('acme', 'u-1', next, [])
    const found = await compareWithStore(to, backupDir(), manifest)
    expect(found.interaction).toEqual({ rows: 72, same: 67, missing: 5, stored: 68 })
    expect(found.mode).toEqual({ rows: 2, same: 1, missing: 0, stored: 2 })
    expect(found.user).toEqual({ rows: 16, same: 14, missing: 1, stored: 15 })
  })
})

describe('traffic that goes on', () => {
  test.each(['SQLite', 'Redis'])(
    'all that was acknowledged before is there, nothing is torn apart: %s',
    async (kind) => {
      const [from, to] = [await (kind === 'SQLite' ? sqlite('from') : redisAt(redis)), await redisAt(other)]
      let goesOn = true
      let written = 0
      const traffic = async (user: string) => {
        const edges: StoredEdge[] = []
        for (let n = 1; goesOn; n++) {
          const record = anInteraction({ id: `${user}-${n}`, user, tenant: 'acme' })
          await from.appendInteractions([record])
          await from.appendRewards([aReward({ interaction: record.id, user, tenant: 'acme' })])
          edges.push(anEdge({ id: edgeId(`${user}-${n}`, 'rating'), seq: n }))
          const next = aUser({ revision: n, rewards: n })
          expect(await from.commitUser('acme', user, next, edges.slice(-MAX_EDGES))).toBe(true)
          written++
        }
      }
      const running = Array.from({ length: 8 }, (_, i) => traffic(`u-${i}`))
      while (written < 200) await new Promise((resolve) => setTimeout(resolve, 5))
      const before = await all(from.readRewards({ tenant: 'acme' }))
      const manifest = await writeBackup(from, backupDir(), { partBytes: 50_000 })
      goesOn = false
      await Promise.all(running)
      await restoreBackup(to, backupDir(), manifest, OPTIONS)
      const idOf = ({ interaction }: { interaction: string }) => interaction
      const rewards = (await all(to.readRewards({ tenant: 'acme' }))).map(idOf)
      expect(before.map(idOf).filter((id) => !rewards.includes(id))).toEqual([])
      const answers = new Set((await all(to.readInteractions({ tenant: 'acme' }))).map(({ id }) => id))
      expect(rewards.filter((id) => !answers.has(id))).toEqual([])
      for (let i = 0; i < 8; i++) {
        const stored = await to.loadUser('acme', `u-${i}`)
        const edges = await to.loadEdges('acme', `u-${i}`)
        expect(edges).toHaveLength(Math.min(512, stored?.rewards ?? -1))
        expect(edges.at(-1)?.seq).toBe(stored?.rewards)
      }
    },
    60_000,
  )
})

describe('what is no backup', () => {
  test('is refused in words', async () => {
    const store = await sqlite('from')
    await fill(store, 1)
    expect(() => readWhole(dir)).toThrow(/holds no backup/)
    mkdirSync(join(dir, 'other'))
    writeFileSync(join(dir, 'other', 'photo.jpg'), '')
    await expect(writeBackup(store, join(dir, 'other'))).rejects.toThrow(/something else: photo.jpg/)
    const manifest = await writeBackup(store, backupDir())
    await expect(writeBackup(store, backupDir())).rejects.toThrow(/a whole backup already/)
    expect(statSync(join(backupDir(), 'manifest.json')).mode & 0o077).toBe(0)
    expect(statSync(join(backupDir(), manifest.parts[0]!.file)).mode & 0o077).toBe(0)

    const file = join(backupDir(), manifest.parts[0]!.file)
    const bytes = readFileSync(file)
    bytes[bytes.length - 5] = (bytes[bytes.length - 5] ?? 0) ^ 1
    writeFileSync(file, bytes)
    await expect(restoreBackup(store, backupDir(), manifest, OPTIONS)).rejects.toThrow(/its hash is another/)
    rmSync(file)
    await expect(restoreBackup(store, backupDir(), manifest, OPTIONS)).rejects.toThrow(/is missing/)
    writeFileSync(join(backupDir(), 'manifest.json'), '{"format":"persona-router-backup/2"}')
    expect(() => readManifest(backupDir())).toThrow(BackupError)
  })

  test('one that was not finished is not restored, and not gone on with from another store', async () => {
    const [one, another] = [await sqlite('one'), await redisAt(redis)]
    await fill(one)
    const failing = writeBackup(one, backupDir(), {
      onProgress: () => {
        throw new Error('interrupted')
      },
    })
    await expect(failing).rejects.toThrow('interrupted')
    expect(() => readWhole(backupDir())).toThrow(/was not finished/)
    await expect(writeBackup(another, backupDir())).rejects.toThrow(/of another store/)
  })
})
