import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openEmbedder } from '../../src/embedding/index.ts'
import { rebuild } from '../../src/learning/belief.ts'
import { UserStates } from '../../src/learning/user-states.ts'
import { VectorVault } from '../../src/learning/vector-vault.ts'
import { numbersOf, PackedState, packState } from '../../src/routing/model/packed-state.ts'
import { Policies } from '../../src/routing/policies/policies.ts'
import type { Policy } from '../../src/routing/policy.ts'
import { type QuantisedVector, quantise } from '../../src/runtime/quantise.ts'
import { edgeId } from '../../src/store/history.ts'
import { openStore } from '../../src/store/index.ts'
import type { Store, StoredEdge } from '../../src/store/store.ts'
import { candidate, routerConfig, silent } from '../routing/support.ts'
import { COMMITTED } from '../support/artifacts.ts'
import { expectClose } from '../support/close.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

const POOL = Array.from({ length: 12 }, (_, i) =>
  candidate(`some-model-${i}`, {
    vendor: `vendor-${i % 5}`,
    price: { input: 0.05 * 1.6 ** i, output: 0.2 * 1.6 ** i },
  }),
)
const find = (name: string) => POOL.find((one) => one.name === name)
const QUESTIONS = ['Sort a list in Python', 'Who won the war of the roses?', 'Solve x^2 = 9', 'A haiku on rain', 'Hi!']
/** Ratings, and bytes that their user may take. */
const MOST = [
  [1, 1.5],
  [20, 4],
  [100, 12],
  [512, 40],
] as const
const COLD_BYTES = 4 * 1024
const HOT_BYTES = 8 * 1024

let policies: Policies
let policy: Policy
let readings: { int8: Int8Array; scale: number }[]
let redis: RedisServer
let client: Redis
let store: Store

beforeAll(async () => {
  policies = await Policies.open({
    config: routerConfig({ artifact: COMMITTED, required: true }),
    openEmbedder: (artifact) => openEmbedder('static', artifact),
    loadEvidence: async () => new Map(),
    candidatesOf: () => POOL,
    log: silent,
  })
  policy = policies.snapshot('acme', 'ann').policy as Policy
  const vectors = await Promise.all(QUESTIONS.map((question) => policy.embedder.embed(question)))
  readings = ((await policy.router.read(vectors)) ?? []).map((reading) => asKept(quantise(reading)!))
  redis = await startRedis()
  client = new Redis(redis.url)
  store = await openStore({ kind: 'redis', url: redis.url, command_timeout_ms: 10_000, retention_days: 90 })
}, 60_000)
afterAll(async () => {
  client?.disconnect()
  await store?.close()
  await redis?.discard()
  await policies?.close()
})

/** Scales are float32. */
const asKept = ({ int8, scale }: QuantisedVector) => ({ int8, scale: Math.fround(scale) })

/** Dense ratings, of which each says most. */
const edgesOf = (n: number): StoredEdge[] =>
  Array.from({ length: n }, (_, i) => ({
    id: edgeId(`req_${i}`, 'rating'),
    seq: i + 1,
    ts: 1_764_000_000_000 + i * 3_600_000,
    candidate: POOL[(i * 7) % POOL.length]!.name,
    reading: readings[(i * 3) % readings.length]!,
    reader: policy.router.artifact.manifest.reader as string,
    vector: null,
    reward: Math.fround(Math.sin(1 + i * 1.3)),
    kind: 'rating',
    weight: 1,
    promptTokens: 20 + ((i * 37) % 900),
    completionTokens: 50 + ((i * 91) % 2_000),
    costUsd: Math.fround(0.0001 * (1 + (i % 17))),
  }))

async function bytesOf(user: string): Promise<number> {
  const keys = await client.keys(`*:${user}`)
  const bytes = await Promise.all(keys.map((key) => client.call('MEMORY', 'USAGE', key, 'SAMPLES', '0')))
  return bytes.reduce((sum: number, one) => sum + Number(one), 0)
}

describe.each(MOST)('a user of %d ratings', (ratings, most) => {
  // As long as the hash that user ids are kept as.
  const user = `${ratings}`.padStart(32, 'u')

  test(`takes at most ${most} KB in Redis, and is believed to be who they are`, async () => {
    const edges = edgesOf(ratings)
    const { state } = await rebuild(policy, 'acme', edges, find)
    const next = {
      ...{ revision: 1, policy: policy.version, rewards: ratings, preferences: {} },
      ...{ updatedAt: Date.now(), since: Date.now(), heardAt: Date.now(), older: new Float32Array(0) },
      state: packState(state, policy.router.cold),
    }
    expect(await store.commitUser('acme', user, next, edges)).toBe(true)
    expect(await bytesOf(user)).toBeLessThanOrEqual(most * 1024)
    expect(await store.loadEdges('acme', user)).toEqual(edges)

    const states = new UserStates({
      ...{ store, vault: new VectorVault(store, null), find, max: 10, deadlineMs: 10_000, log: silent },
    })
    const cold = (await states.get(policy, 'acme', user)).state as PackedState
    expect(cold).toBeInstanceOf(PackedState)
    expect(cold.bytes.length).toBeLessThan(COLD_BYTES)
    const once = cold.unpacked()
    const hot = (await states.get(policy, 'acme', user)).state as PackedState
    expect(hot.bytes.length).toBeLessThan(HOT_BYTES)
    const k = Math.floor(Math.sqrt(state.length))
    for (const found of [once, numbersOf(hot)]) {
      expectClose(found.subarray(0, k), state.subarray(0, k), 1e-4)
      expectClose(found.subarray(k), state.subarray(k), 1e-4)
    }
    const scores = async (of: Float32Array | PackedState) => {
      const embedding = await policy.embedder.embed('How do I boil an egg?')
      return policy.router.score({ tenant: 'acme', embedding, promptTokens: 10, state: of }, POOL)
    }
    const [exact, kept] = [await scores(state), await scores(hot)]
    expectClose(
      kept.map(({ mean }) => mean),
      exact.map(({ mean }) => mean),
      2e-4,
    )
    expectClose(
      kept.map(({ std }) => std),
      exact.map(({ std }) => std),
      2e-4,
    )
    states.close()
  }, 60_000)
})
