import { createHash, randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { configSchema } from '../../../src/config/schema.ts'
import { edgeId } from '../../../src/store/history.ts'
import type { InteractionRecord } from '../../../src/store/records/codec.ts'
import { readScript, type Script } from '../../../src/store/redis/commands.ts'
import { RedisStore } from '../../../src/store/redis/store.ts'
import { MAX_EDGES } from '../../../src/store/store.ts'
import { ageInRedis } from '../../support/old-vectors.ts'
import { type RedisServer, startRedis, until } from '../../support/redis.ts'
import { anEdge, anInteraction, aReward, aUser } from '../records.ts'

/** Redis does nothing else while a script runs: each says how many commands it may take, and takes no more. */
const DIRECTORY = new URL('../../../src/store/redis/commands/', import.meta.url)
const SCRIPTS = readdirSync(DIRECTORY).map((file) => {
  const { lua } = readScript(file.replace('.lua', '') as Script)
  return { file, lua, code: lua.replaceAll(/--\[\[[\s\S]*?\]\]/g, '') }
})

const HEAD = /Bound: (\d+) calls?(?:, and (\d+) an? \w+ for (\d+) \w+)?\.$/m

/** Commands, by what a script's head says. */
function boundOf(lua: string): number {
  const [, calls, each = 0, many = 0] = HEAD.exec(lua) ?? []
  return Number(calls) + Number(each) * Number(many)
}

describe.each(SCRIPTS)('$file', ({ lua, code }) => {
  test('says how much it does', () => expect(boundOf(lua)).toBeGreaterThan(0))

  test('has no loop without a bound beside it', () => {
    const loops = code.split('\n').filter((line) => /^\s*(for|while|repeat)\b|\bdo\s+for\b/.test(line))
    expect(loops.filter((line) => !/-- \S/.test(line))).toEqual([])
  })

  test('has no command whose work grows with what a tenant has', () => {
    expect(code).not.toMatch(/'(KEYS|SCAN|[HSZ]SCAN|HGETALL|HVALS|HKEYS|SMEMBERS|ZREMRANGEBYSCORE|SORT)'/)
    expect(code).not.toMatch(/'(ZRANGE|LRANGE|XRANGE|XREVRANGE)', *[^)]*-1 *\)(?! *- *1)(?=\)?\s*$)/m)
    for (const [call] of code.matchAll(/redis\.call\('(?:ZRANGEBYSCORE|XREAD)'[^\n]*/g)) expect(call).toMatch(/LIMIT/)
  })
})

describe('with a user of thousands of rows', () => {
  let redis: RedisServer
  let store: RedisStore
  let monitor: Redis
  /** The most commands that one run of a script took. */
  const most = new Map<string, number>()
  const scriptOf = new Map(SCRIPTS.map(({ file, lua }) => [createHash('sha1').update(lua).digest('hex'), file]))
  let seen = ''

  beforeAll(async () => {
    redis = await startRedis()
    const { store: config } = configSchema.parse({
      store: { kind: 'redis', url: redis.url, command_timeout_ms: 10_000 },
    })
    store = new RedisStore(config as Extract<typeof config, { kind: 'redis' }>)
    await store.connect()
    // So that none is sent as its text, which a monitor shows in its own way.
    for (const { lua } of SCRIPTS) await redis.command('SCRIPT', 'LOAD', lua)
    monitor = await new Redis(redis.url).monitor()
    let running = ''
    let taken = 0
    monitor.on('monitor', (_: string, args: string[], source: string) => {
      if (source === 'lua') most.set(running, Math.max(most.get(running) ?? 0, ++taken))
      else if (/^evalsha$/i.test(args[0] ?? '')) {
        running = scriptOf.get(args[1] ?? '') ?? 'another'
        taken = 0
      } else if (/^echo$/i.test(args[0] ?? '')) seen = args[1] ?? ''
    })
  })
  afterAll(async () => {
    monitor?.disconnect()
    await store?.close()
    await redis?.discard()
  })

  test('no run of a script takes more than it says', async () => {
    const t = `t-${randomUUID()}`
    const user = 'u-1'
    const rows = Array.from({ length: 1_000 }, (_, i) =>
      anInteraction({ tenant: t, user, text: 'Hi', completionId: `chatcmpl-${i % 40}` }),
    )
    const summaries = rows.slice(0, 200).map(({ id, ts, completionId }) => ({
      ...{
        id,
        ts,
        completionId,
        tenant: t,
        user,
        conversation: null,
        candidate: 'c',
        reading: null,
        reader: '',
        vector: null,
      },
      ...{ promptTokens: 1, completionTokens: -1, costUsd: -1, ended: false },
    }))
    await store.openInteractions(summaries)
    await store.appendInteractions(rows)
    await store.appendRewards(rows.map(({ id }) => aReward({ tenant: t, user, interaction: id })))
    for (let revision = 1; revision <= MAX_EDGES + 3; revision++) {
      await store.commitUser(t, user, aUser({ revision }), [anEdge({ id: `e-${revision}`, seq: revision })])
    }
    const turn = {
      candidate: 'c',
      interaction: 'i',
      user,
      lastUserHash: '',
      vector: null,
      messages: 1,
      promptTokens: 1,
      ts: 1,
    }
    await Promise.all(rows.map((_, i) => store.saveConversation(t, `c-${i}`, turn, 3_600)))
    const limits = (['minute', 'day', 'month', 'flight'] as const).flatMap((window) =>
      ['tenant', 'key:1', `user:${user}`].map((scope) => ({ scope, what: 'requests' as const, window, max: 1e9 })),
    )
    const ids = Array.from({ length: 300 }, () => randomUUID())
    const amounts = { requests: 1, tokens: 1, nanoUsd: 1 }
    await Promise.all(ids.map((id) => store.limits.reserve({ tenant: t, id, limits, amounts, ttlMs: 1 })))
    await Promise.all(
      ids.map((id) => store.limits.reserve({ tenant: t, id: `${id}-2`, limits, amounts, ttlMs: 60_000 })),
    )
    await Promise.all(ids.map((id) => store.limits.settle(t, `${id}-2`, amounts)))
    for (let i = 0; i < 200; i++) {
      await store.idempotency.claim({ tenant: t, user, key: `k-${i}`, bodyHash: 'b', token: `t-${i}`, ttlMs: 60_000 })
      const kept = Buffer.alloc(i === 199 ? 1_000 : 6)
      await store.idempotency.complete(t, `k-${i}`, `t-${i}`, kept, { keepMs: 60_000, maxBytes: 1_200 })
    }
    const response = (i: number, chain: string[] = []) => ({
      ...{ id: `resp_${i}`, ts: Date.now(), chain, body: Buffer.alloc(100) },
      items: Array.from({ length: 5 }, (_, item) => `item-${i}-${item}`),
    })
    const options = { ttlMs: 60_000, maxBytes: 60_000 }
    for (let i = 0; i < 200; i++) await store.responses.save(t, user, response(i), options)
    const chain = Array.from({ length: 200 }, (_, i) => `resp_${i}`)
    await store.responses.save(t, user, { ...response(200, chain), body: Buffer.alloc(50_000) }, options)
    for (let i = 201; i < 400; i++) await store.responses.save(t, user, response(i), options)
    await store.responses.load(t, user, chain)
    await store.responses.findItems(t, user, chain)
    for await (const _ of store.responses.list(t, user));
    for await (const _ of store.readInteractions({ tenant: t, user }));
    for await (const _ of store.readRewards({ tenant: t, user }));
    await store.findInteraction(t, rows[0]!.id)
    await store.findCompletions(t, 'chatcmpl-7')
    await store.addEvidence(t, 'p', 'c', Float32Array.of(1))
    await store.addEvidence(t, 'p', 'c', Float32Array.of(1))
    const key = {
      ...{ id: `k-${t}`, tenant: t, name: '', hash: t, prefix: 'p', createdAt: 1 },
      expiresAt: null,
      revokedAt: null,
      models: null,
      user: null,
      scopes: null,
    }
    await store.createKey(key)
    await store.revokeKey(`k-${t}`, 2)
    await store.commitUser(t, 'idle', aUser({ updatedAt: 1 }), [anEdge()], Date.now())
    await store.appendInteractions([anInteraction({ tenant: t, user: 'idle' })])
    expect(await store.moveUser(t, 'idle', 'moved')).toBe(true)
    await store.appendInteractions(Array.from({ length: 600 }, () => anInteraction({ tenant: t, user: 'before' })))
    await store.appendInteractions([anInteraction({ tenant: t, user: 'after' })])
    await store.commitUser(t, 'before', aUser(), [anEdge()])
    const ofUser = limits
      .filter(({ window }) => window !== 'flight')
      .map((limit) => ({ ...limit, scope: 'user:before' }))
    await store.limits.reserve({ tenant: t, id: 'of-before', limits: ofUser, amounts, ttlMs: 1_000 })
    expect(await store.moveUser(t, 'before', 'after')).toBe(true)
    for (let from: string | null = ''; from !== null; ) {
      const { next }: { next: string } = await store.dropIdleUsers(t, 2, from)
      from = next === '' ? null : next
    }
    expect(await store.loadUser(t, 'moved')).toBeNull()
    expect(await store.eraseUser(t, user)).toBeGreaterThan(3 * rows.length)
    const old = `old-${t}`
    await store.appendInteractions(Array.from({ length: 200 }, () => anInteraction({ tenant: old, user })))
    // As while a replica of the version before is there.
    for (let revision = 1; revision <= MAX_EDGES + 3; revision++) {
      const next = { ...aUser({ revision }), sums: Float32Array.of(1) }
      await store.commitUser(old, 'earlier', next, [anEdge({ id: edgeId(`e-${revision}`, 'rating'), seq: revision })])
    }
    expect(await store.loadEdges(old, 'earlier')).toHaveLength(MAX_EDGES)
    await store.commitUser(old, user, aUser())
    const client = new Redis(redis.url)
    await ageInRedis(client, old, { [user]: anEdge() })
    client.disconnect()
    expect(await store.scrubVectors(async (vectors) => vectors.map(() => null))).toBe(201)
    const archived: InteractionRecord[] = []
    for await (const batch of store.readInteractions({ tenant: old })) archived.push(...batch)
    const long = Array.from({ length: 40 }, (_, i) => anInteraction({ tenant: 'earlier', ts: i * 2 ** 28 }))
    await store.appendInteractions(long)
    await store.dropInteractions(archived)
    for await (const batch of store.readInteractions({ tenant: 'earlier' })) await store.dropInteractions(batch)
    await store.sweep()
    await store.check()
    await store.backup.noteErasures(t, [{ userHash: 'gone', at: Date.now() }])
    const day = {
      day: '2026-01-01',
      scope: 'tenant',
      id: '',
      requests: 1,
      promptTokens: 1,
      completionTokens: 1,
    } as const
    for (const model of ['a', 'b', 'a']) await store.backup.raiseUsage(t, [{ ...day, model, nanoUsd: 1 }])
    await redis.command('ECHO', t)
    await until(() => seen === t)

    const bounds = Object.fromEntries(SCRIPTS.map(({ file, lua }) => [file, boundOf(lua)]))
    expect([...most.keys()].sort()).toEqual(Object.keys(bounds).sort())
    expect([...most].filter(([file, taken]) => taken > (bounds[file] as number))).toEqual([])
  }, 120_000)
})
