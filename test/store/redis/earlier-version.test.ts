import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Policy } from '../../../src/routing/policy.ts'
import { edgeId } from '../../../src/store/history.ts'
import { plainState } from '../../../src/store/plain-state.ts'
import { RedisStore } from '../../../src/store/redis/store.ts'
import { HEARD_AT_ONCE, interaction, learnerOn, meansFor, reward, tinyReading } from '../../learning/support.ts'
import { findCandidate, tinyPolicy } from '../../routing/support.ts'
import { EarlierReplica, type EarlierUser, eraseLogAsBefore } from '../../support/earlier-version.ts'
import { type RedisServer, startRedis } from '../../support/redis.ts'
import { all, anEdge, anInteraction } from '../records.ts'

let server: RedisServer
let client: Redis
let policy: Policy
const TENANT = 'acme'

beforeAll(async () => {
  server = await startRedis()
  client = new Redis(server.url)
  policy = await tinyPolicy()
})
afterAll(async () => {
  client?.disconnect()
  await server?.discard()
})

async function open(): Promise<RedisStore> {
  const store = new RedisStore({ kind: 'redis', url: server.url, command_timeout_ms: 5_000, retention_days: 90 })
  await store.connect()
  return store
}

const earlierUser = (of: Partial<EarlierUser> = {}): EarlierUser => ({
  ...{
    revision: 1,
    policy: 'tiny-1',
    rewards: 1,
    preferences: { cost_weight: 0.5 },
    updatedAt: 5,
    since: 6,
    heardAt: 7,
  },
  sums: Float32Array.from({ length: 8 }, (_, i) => i),
  state: Float32Array.from({ length: 8 }, (_, i) => -i),
  ...of,
})
const earlierEdge = (id: string, seq: number) =>
  anEdge({
    id: `${id}:rating`,
    seq,
    ts: seq,
    candidate: 'dear',
    kind: 'rating',
    reader: 'tiny',
    reading: tinyReading(id),
    vector: null,
  })
const rate = (id: string, value: number, user: string) => {
  const about = interaction(id, { user, candidate: 'dear' })
  return [reward(about, value, { ts: Date.now(), binary: false }), about] as const
}

test('a row of the version before is read as it is, and kept packed from the next reward on', async () => {
  const store = await open()
  const before = new EarlierReplica(client, TENANT, 'ann')
  const user = earlierUser()
  await before.commit(user, earlierEdge('req_1', 1))
  const { state, ...rest } = user
  expect(await store.loadUser(TENANT, 'ann')).toEqual({
    ...rest,
    state: plainState(Buffer.from(state.buffer)),
    older: new Float32Array(0),
  })
  expect(await store.loadEdges(TENANT, 'ann')).toMatchObject([{ id: edgeId('req_1', 'rating'), seq: 1 }])

  const { learner, states } = learnerOn(store, findCandidate, { hearing: HEARD_AT_ONCE })
  expect(await learner.apply(policy, ...rate('req_2', 1, 'ann'))).toBe('learned')
  expect(await store.loadUser(TENANT, 'ann')).toMatchObject({ revision: 2, rewards: 2, since: 6, heardAt: 7 })
  expect((await store.loadEdges(TENANT, 'ann')).map(({ seq }) => seq)).toEqual([1, 2])
  const keys = await client.keys('*ann*')
  expect(keys).toEqual([`pr:{${TENANT}}:user:ann`])
  expect((await client.hkeys(keys[0] as string)).sort()).toEqual([
    'belief',
    'preferences',
    'revision',
    'rewards',
    'updated_at',
  ])
  states.close()
  await store.close()
})

test('while a replica of it is there, users are written as it reads them; when it has gone, packed', async () => {
  await client.zadd('pr:replicas', Date.now(), 'an-earlier-one')
  const store = await open()
  expect(store.hasEarlierReplicas).toBe(true)
  const { learner, states } = learnerOn(store)
  const before = new EarlierReplica(client, TENANT, 'bob')
  expect(await learner.apply(policy, ...rate('req_1', 1, 'bob'))).toBe('learned')
  const seen = (await before.load()) as EarlierUser
  expect(seen).toMatchObject({ revision: 1, policy: 'tiny-1', rewards: 1 })
  expect(seen.sums.some((value) => value !== 0)).toBe(true)
  expect(seen.state).toEqual((await states.get(policy, TENANT, 'bob')).state)
  expect(await before.edges()).toMatchObject([{ id: 'req_1:rating', seq: 1, candidate: 'dear' }])
  // It goes on from there, and this version from what it wrote.
  expect(await before.commit({ ...seen, revision: 2, rewards: 2 }, earlierEdge('req_2', 2))).toBe(1)
  expect(await learner.apply(policy, ...rate('req_1', -1, 'bob'))).toBe('learned')
  expect((await before.edges()).map(({ id, seq }) => [id, seq])).toEqual([
    ['req_2:rating', 2],
    ['req_1:rating', 3],
  ])
  expect(await before.load()).toMatchObject({ revision: 3, rewards: 2 })
  const means = await meansFor(policy, states, 'bob', TENANT)

  await client.zrem('pr:replicas', 'an-earlier-one')
  await store.check()
  expect(store.hasEarlierReplicas).toBe(false)
  expect(await learner.apply(policy, ...rate('req_3', 0, 'bob'))).toBe('learned')
  expect(await before.edges()).toEqual([])
  expect((await store.loadEdges(TENANT, 'bob')).map(({ seq }) => seq)).toEqual([2, 3, 4])
  expect(await meansFor(policy, states, 'bob', TENANT)).not.toEqual(means)
  states.close()
  await store.close()
})

test('one that comes back sees who is packed as new, and what it hears and erases meanwhile is not lost', async () => {
  const store = await open()
  const { learner, states } = learnerOn(store)
  const stated = { user: 'eve', key: 'k', vouched: true }
  await learner.setPreferences(policy, TENANT, stated, { deny: ['dear'] })
  for (const id of ['req_1', 'req_2']) await learner.apply(policy, ...rate(id, 1, 'eve'))
  const before = new EarlierReplica(client, TENANT, 'eve')
  const seen = (await before.load()) as EarlierUser
  expect(seen).toMatchObject({ revision: 3, rewards: 2, preferences: { deny: ['dear'] } })
  expect([seen.sums.length, seen.state.length]).toEqual([0, 0])
  const heard = {
    ...seen,
    revision: 4,
    rewards: 3,
    policy: 'tiny-1',
    sums: new Float32Array(8),
    state: new Float32Array(8),
  }
  expect(await before.commit(heard, earlierEdge('req_3', 1))).toBe(1)

  const other = learnerOn(store)
  const edges = await store.loadEdges(TENANT, 'eve')
  expect(edges.map(({ id, seq }) => [id, seq])).toEqual([
    [edgeId('req_1', 'rating'), 1],
    [edgeId('req_2', 'rating'), 2],
    [edgeId('req_3', 'rating'), 3],
  ])
  expect(await store.loadUserState(TENANT, 'eve')).toMatchObject({ revision: 4, rewards: 3, state: new Uint8Array(0) })
  const means = await meansFor(policy, other.states, 'eve', TENANT)
  expect(await other.learner.apply(policy, ...rate('req_4', 0, 'eve'))).toBe('learned')
  expect(await meansFor(policy, other.states, 'eve', TENANT)).not.toEqual(means)
  expect(await store.loadEdges(TENANT, 'eve')).toHaveLength(4)
  expect(await before.edges()).toEqual([])

  await before.erase()
  expect(await store.loadUser(TENANT, 'eve')).toBeNull()
  expect(await store.loadEdges(TENANT, 'eve')).toEqual([])
  expect(await client.keys('*eve*')).toEqual([])
  states.close()
  other.states.close()
  await store.close()
})

test('one that comes back and erases a user leaves no prompt of theirs behind', async () => {
  const store = await open()
  const rows = ['canary of a prompt', null].map((text, i) =>
    anInteraction({ id: `req-text-${i}`, tenant: 'opted-in', user: 'fay', text, completionId: `chatcmpl-text-${i}` }),
  )
  await store.appendInteractions(rows)
  const entries = await client.xrange('pr:{opted-in}:interactions', '-', '+')
  expect(entries.map(([, fields]) => fields.filter((_, i) => i % 2 === 0))).toEqual([
    ['{ }', 'b', 'id', 'completion'],
    ['{ }', 'b'],
  ])
  expect((await all(store.readInteractions({ tenant: 'opted-in' }))).map(({ text }) => text)).toEqual([
    'canary of a prompt',
    null,
  ])
  await eraseLogAsBefore(client, 'opted-in', 'fay')
  expect((await client.keys('pr:{opted-in}:*req-text-0*')).sort()).toEqual([])
  expect(await client.exists('pr:{opted-in}:completion:chatcmpl-text-0')).toBe(0)
  expect(await client.keys('pr:{opted-in}:text:*')).toEqual([])
  await store.close()
})
