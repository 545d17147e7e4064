import { readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RedisConfig } from '../../../src/config/schema.ts'
import { userHash } from '../../../src/runtime/keys.ts'
import { openStore } from '../../../src/store/index.ts'
import { windowAt } from '../../../src/store/limits.ts'
import * as keys from '../../../src/store/redis/keys.ts'
import { RedisStore } from '../../../src/store/redis/store.ts'
import { storeContract } from '../../contracts/store.ts'
import { type RedisServer, startRedis, startRedisCluster, until } from '../../support/redis.ts'
import { all, anEdge, anInteraction, aReward, aUser } from '../records.ts'

const DAY_MS = 86_400_000

const config = (server: Partial<RedisConfig>): RedisConfig => ({
  kind: 'redis',
  command_timeout_ms: 2_000,
  retention_days: 36_500,
  ...server,
})

storeContract('Redis', async () => {
  const server = await startRedis()
  return { open: () => openStore(config({ url: server.url })), discard: () => server.discard() }
})

storeContract('Redis Cluster of three nodes', async () => {
  const cluster = await startRedisCluster()
  return { open: () => openStore(config({ cluster: cluster.addresses })), discard: () => cluster.discard() }
})

describe('Redis', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server.discard())

  test('keeps rows as soon as no earlier version uses it, and reads both', async () => {
    const store = await openStore(config({ url: server.url }))
    const client = new Redis(server.url)
    try {
      const [tenant, user] = ['rows', 'ann']
      const fieldsOf = async () =>
        (await client.xrange(`pr:{${tenant}}:interactions`, '-', '+')).map(([, fields]) => fields[0])
      const answers = [1, 2, 3].map((ts) => anInteraction({ tenant, user, ts, completionId: `c-${ts}` }))
      // An earlier version: its id says nothing of rows. Then one that reads rows, but none that share.
      await client.zadd('pr:replicas', Date.now(), 'earlier')
      await store.check()
      await store.appendInteractions(answers.slice(0, 1))
      expect(await fieldsOf()).toEqual(['id'])
      await client.zadd('pr:replicas', Date.now(), 'packed:before')
      await client.zrem('pr:replicas', 'earlier')
      await store.check()
      await store.appendInteractions(answers.slice(1, 2))
      expect(await fieldsOf()).toEqual(['id', '{}'])
      await client.zrem('pr:replicas', 'packed:before')
      await store.check()
      // What was kept before is known, in whatever form.
      await store.appendInteractions(answers)
      await store.appendInteractions(answers)
      expect(await fieldsOf()).toEqual(['id', '{}', '{ }'])
      expect(await all(store.readInteractions({ tenant }))).toEqual(answers)
      expect(await all(store.readInteractions({ tenant, user }))).toEqual(answers)
      for (const answer of answers)
        expect(await store.findInteraction(tenant, answer.id)).toMatchObject({ id: answer.id })
      for (const { id, completionId } of answers)
        expect(await store.findCompletions(tenant, completionId!)).toMatchObject([{ interaction: id }])
      // As earlier versions find the document of an entry: none of a time.
      for (const name of ['json', '{}']) {
        const [, row] = (await client.xrevrange(`pr:{${tenant}}:interactions`, '+', '-', 'COUNT', 1))[0]!
        expect(JSON.parse(row[row.indexOf(name) + 1]!)).toEqual({})
      }
      await store.eraseUser(tenant, user)
      expect(await all(store.readInteractions({ tenant }))).toEqual([])
      for (const { id, completionId } of answers) {
        expect(await store.findInteraction(tenant, id)).toBeNull()
        expect(await store.findCompletions(tenant, completionId!)).toEqual([])
      }
    } finally {
      client.disconnect()
      await store.close()
    }
  })

  test('refusals that have expired go when others come, whatever keeps their hash alive', async () => {
    const store = await openStore(config({ url: server.url }))
    const note = (field: string, inMs: number) =>
      store.noteRefusals('made-up', [{ deployment: 'a/b', field, expiresAt: Date.now() + inMs }])
    await note('old', -1)
    await note('kept', 60_000)
    await note('old too', -1)
    await note('new', 60_000)
    expect(((await server.command('HKEYS', 'pr:{made-up}:refusals')) as Buffer[]).map(String).sort()).toEqual([
      'a/b\nkept',
      'a/b\nnew',
    ])
    await store.close()
  })

  test("the scripts' calendar is the calendar", async () => {
    const lua = readFileSync(new URL('../../../src/store/redis/commands/batch.lua', import.meta.url), 'utf8')
    const calendar = lua.slice(lua.indexOf('local function first_of_month'), lua.indexOf('local function window_at'))
    const everyDay = `${calendar}
      local months = {}
      for day = tonumber(ARGV[1]), tonumber(ARGV[2]) do
        local from, to = month_of(day)
        months[#months + 1] = from
        months[#months + 1] = to
      end
      return months`
    const [first, last] = [Date.UTC(2024, 0, 1) / DAY_MS, Date.UTC(2101, 0, 1) / DAY_MS]
    const expected: number[] = []
    for (let day = first; day <= last; day++) {
      const { start, end } = windowAt('month', day * DAY_MS)
      expected.push(start / DAY_MS, end / DAY_MS)
    }
    expect(await server.command('EVAL', everyDay, 0, first, last)).toEqual(expected)
  })

  test('reads keys and users that an earlier release wrote, and goes on from them', async () => {
    const store = new RedisStore(config({ url: server.url }))
    await store.connect()
    const old = {
      id: 'old',
      tenant: 'acme',
      name: '',
      hash: 'h',
      prefix: 'pr-',
      createdAt: 1,
      expiresAt: null,
      models: null,
    }
    await server.command('HSET', 'pr:{keys}:records', 'h', JSON.stringify(old))
    expect(await store.findKey('h')).toEqual({ ...old, revokedAt: null, user: null, scopes: null })
    const fields = ['revision', 1, 'policy', 'p', 'rewards', 2, 'sums', '', 'state', '', 'preferences', '{}']
    await server.command('HSET', 'pr:{acme}:user:long known', ...fields, 'updated_at', 9)
    expect(await store.loadUser('acme', 'long known')).toMatchObject({ revision: 1, since: 0, heardAt: 0 })
    await store.commitUser('acme', 'long known', aUser({ revision: 2, since: 7, heardAt: 8 }), [])
    expect(await store.loadUserState('acme', 'long known')).toMatchObject({ revision: 2, since: 7, heardAt: 8 })
    await store.close()
  })

  test('finds an answer by a completion id that an earlier release noted, beside those of today', async () => {
    const store = new RedisStore(config({ url: server.url }))
    await store.connect()
    const [before, now] = ['ann', 'bob'].map((user) => anInteraction({ tenant: 'acme', user, completionId: null }))
    await store.appendInteractions([before!])
    await server.command('SET', 'pr:{acme}:completion:chatcmpl-9', before!.id)
    const ref = { interaction: before!.id, user: userHash('ann'), ts: before!.ts }
    expect(await store.findCompletions('acme', 'chatcmpl-9')).toEqual([ref])
    await store.appendInteractions([{ ...now!, completionId: 'chatcmpl-9' }])
    const today = { interaction: now!.id, user: userHash('bob'), ts: now!.ts }
    expect(await store.findCompletions('acme', 'chatcmpl-9')).toEqual([today, ref])
    await server.command('SET', 'pr:{acme}:completion:chatcmpl-10', 'req_gone')
    expect(await store.findCompletions('acme', 'chatcmpl-10')).toEqual([])
    await store.close()
  })

  test('drops what is older than the retention, also of a tenant that writes no more', async () => {
    await server.command('FLUSHALL')
    const store = new RedisStore(config({ url: server.url, retention_days: 0.2 / 86_400 }))
    await store.connect()
    await store.appendInteractions([anInteraction({ text: 'a prompt' })])
    await store.appendRewards([aReward()])
    expect(await all(store.readInteractions({}))).toHaveLength(1)
    await until(async () => {
      await store.sweep()
      const rows = [...(await all(store.readInteractions({}))), ...(await all(store.readRewards({})))]
      return rows.length === 0
    })
    // Whatever is left is a stream without entries, the list of tenants, and sums that name no user.
    await until(async () => {
      const keys = (await server.command('KEYS', 'pr:*')) as string[]
      return keys.every((key) => /:(interactions|rewards|usage:[\d-]+)$|^pr:tenants$/.test(String(key)))
    })
    await store.close()
  })

  test('a tenant whose part fails is in the way of no other: sweeping, scrubbing', async () => {
    await server.command('FLUSHALL')
    const store = new RedisStore(config({ url: server.url, retention_days: 1 }))
    await store.connect()
    const old = Date.now() - 2 * DAY_MS
    for (const tenant of ['acme', 'zeta']) {
      await server.command('SADD', 'pr:tenants', tenant)
      await server.command('XADD', `pr:{${tenant}}:interactions`, old, 'id', 'x', '{}', '{"embedding":null}')
    }
    await server.command('SADD', 'pr:tenants', 'broken')
    await server.command('SET', 'pr:{broken}:interactions', 'no stream')
    await expect(store.scrubVectors(async (vectors) => vectors.map(() => null))).rejects.toThrow(/WRONGTYPE/)
    for (const tenant of ['acme', 'zeta']) {
      expect(await server.command('EXISTS', keys.isScrubbed(tenant))).toBe(1)
    }
    await expect(store.sweep()).rejects.toThrow(/WRONGTYPE/)
    for (const tenant of ['acme', 'zeta']) {
      expect(await server.command('XLEN', `pr:{${tenant}}:interactions`)).toBe(0)
    }
    await store.close()
  })

  test('a row whose shared part is lost is passed by, and no other with it', async () => {
    await server.command('FLUSHALL')
    const told: [tenant: string, rows: number][] = []
    const store = new RedisStore(config({ url: server.url }), { passedBy: (...of) => void told.push(of) })
    await store.connect()
    const then = Date.now() - 10 * DAY_MS
    const [lost, row] = [then, Date.now()].map((ts) => anInteraction({ ts, text: 'a prompt', policy: `of ${ts}` }))
    await store.appendInteractions([lost!, row!])
    expect(await server.command('DEL', keys.shared('acme', then))).toBe(1)
    const here = expect.objectContaining({ id: row!.id, text: 'a prompt' })
    expect(await all(store.readInteractions({}))).toEqual([here])
    expect(await all(store.readInteractions({ tenant: 'acme', user: 'u-1' }))).toEqual([here])
    const saved: unknown[] = []
    for await (const page of store.backup.read(''))
      saved.push(...page.rows.filter(({ type }) => type === 'interaction'))
    expect(saved).toEqual([{ type: 'interaction', record: here }])
    // By each reading.
    expect(told).toEqual(Array(3).fill(['acme', 1]))
    expect(await store.findInteraction('acme', lost!.id)).toBeNull()
    expect(await store.findInteraction('acme', row!.id)).toMatchObject({ id: row!.id })
    // For this what a row shares is not asked.
    const ref = { interaction: lost!.id, user: userHash('u-1'), ts: then }
    expect(await store.findCompletions('acme', lost!.completionId!)).toEqual([ref])
    await store.dropInteractions(await all(store.readInteractions({})))
    expect(await all(store.readInteractions({}))).toEqual([])
    await store.close()
  })

  test('what rows share and what leads to them stays as long as the last, whatever the retention was', async () => {
    await server.command('FLUSHALL')
    const store = new RedisStore(config({ url: server.url, retention_days: 1 }))
    await store.connect()
    const then = Date.now() - 10 * DAY_MS
    const kept = async () => {
      const found = await Promise.all(['index', 'shared'].map((kind) => server.command('KEYS', `pr:*:${kind}*`)))
      return (found.flat() as Buffer[]).map(String).sort()
    }
    const [early, late, row] = [then, then, Date.now()].map((ts) => anInteraction({ ts }))
    for (const one of [early!, row!]) {
      await store.appendInteractions([one])
      const at = Date.now()
      await until(() => Date.now() > at + 1)
    }
    await store.appendInteractions([late!])
    const before = await kept()
    const slices = [then, row!.ts].map((ts) => Math.floor(ts / 2 ** 28))
    const ofSlices = slices.flatMap((slice) => [`pr:{acme}:index:${slice}:`, `pr:{acme}:shared:${slice}`])
    expect(before).toEqual(['pr:{acme}:index', 'pr:{acme}:shared', ...ofSlices].sort())
    for (const key of before) expect(await server.command('PTTL', key)).toBe(-1)
    const drop = async (id: string) =>
      store.dropInteractions((await all(store.readInteractions({}))).filter((one) => one.id === id))
    await drop(early!.id)
    await store.sweep()
    expect(await kept()).toEqual(before)
    // A row of days ago came after it: that one's shared part stays, although newer ones are gone.
    await drop(row!.id)
    await store.sweep()
    expect(await all(store.readInteractions({}))).toEqual([expect.objectContaining({ id: late!.id })])
    expect(await store.findInteraction('acme', late!.id)).toMatchObject({ id: late!.id })
    await drop(late!.id)
    await store.sweep()
    expect(await kept()).toEqual([])
    await store.appendInteractions([anInteraction()])
    expect(await all(store.readInteractions({}))).toHaveLength(1)
    await store.close()
  })

  test('what is too old goes from among what is not, and what it shared with it', async () => {
    await server.command('FLUSHALL')
    const store = new RedisStore(config({ url: server.url }))
    await store.connect()
    const then = Date.now() - 100 * DAY_MS
    await store.appendInteractions([anInteraction({ ts: then, completionId: null })])
    // As if it had come then.
    const [[, fields]] = (await server.command('XRANGE', 'pr:{acme}:interactions', '-', '+')) as [[string, string[]]]
    await server.command('DEL', 'pr:{acme}:interactions')
    await server.command('XADD', 'pr:{acme}:interactions', then, ...fields)
    const slice = Math.floor(then / 2 ** 28)
    await server.command('ZADD', 'pr:{acme}:shared', then + 1, slice)
    // As many have it: in more hashes than one script drops.
    await server.command('ZADD', 'pr:{acme}:index', 8 * slice + 2, slice)
    for (const digits of ['0', 'f', '00', 'ff'])
      await server.command('HSET', `pr:{acme}:index:${slice}:${digits}`, 'x', 1)
    await store.appendInteractions([anInteraction()])
    expect(await all(store.readInteractions({}))).toHaveLength(2)
    await store.close()
    const shorter = new RedisStore(config({ url: server.url, retention_days: 90 }))
    await shorter.connect()
    await shorter.sweep()
    expect(await server.command('XLEN', 'pr:{acme}:interactions')).toBe(1)
    expect(await server.command('KEYS', `pr:{acme}:*:${slice}*`)).toEqual([])
    for (const kind of ['index', 'shared']) expect(await server.command('ZCARD', `pr:{acme}:${kind}`)).toBe(1)
    expect(await all(shorter.readInteractions({}))).toHaveLength(1)
    await shorter.close()
  })

  test('every key of a tenant has its hash tag, and no other key names a user', async () => {
    await server.command('FLUSHALL')
    const store = new RedisStore(config({ url: server.url }))
    await store.connect()
    const row = anInteraction({ user: 'some-user', text: 'a prompt' })
    await store.appendInteractions([row])
    await store.appendRewards([aReward({ user: 'some-user', interaction: row.id })])
    await store.commitUser('acme', 'some-user', aUser(), [anEdge()])
    await store.addEvidence('acme', 'p', 'c', Float32Array.of(1))
    await store.eraseUser('acme', 'other-user')
    const keys = ((await server.command('KEYS', '*')) as Buffer[]).map(String)
    expect(keys.length).toBeGreaterThan(10)
    for (const key of keys.filter((name) => name !== 'pr:tenants')) expect(key).toMatch(/^pr:\{acme\}:/)
    expect(keys.some((key) => key.includes('other-user'))).toBe(false)
    await store.close()
  })
})
