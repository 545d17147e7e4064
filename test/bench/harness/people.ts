import { randomBytes } from 'node:crypto'
import { statSync } from 'node:fs'
import type { Candidate } from '../../../src/candidates/candidate.ts'
import { openEmbedder } from '../../../src/embedding/index.ts'
import { rebuild } from '../../../src/learning/belief.ts'
import { Policies } from '../../../src/routing/policies/policies.ts'
import type { Policy } from '../../../src/routing/policy.ts'
import { quantise } from '../../../src/runtime/quantise.ts'
import { edgeId } from '../../../src/store/history.ts'
import type { Store, StoredEdge, StoredUser } from '../../../src/store/store.ts'
import { candidate, routerConfig, silent } from '../../routing/support.ts'
import type { RedisServer } from '../../support/redis.ts'
import { newestArtifact } from './newest-artifact.ts'

export const TENANT = 'test'
/** As long as the hash that user ids are kept as; such as a tenant with plain ids keeps. */
export const storedId = (n: number): string => `p:${nameOf(n)}`
export const nameOf = (n: number): string => `user-${String(n).padStart(25, '0')}`

export const POOL: readonly Candidate[] = Array.from({ length: 8 }, (_, i) =>
  candidate(`some-model-${i}`, { vendor: `vendor-${i % 4}`, price: { input: 0.05 * 2 ** i, output: 0.2 * 2 ** i } }),
)
export const findInPool = (name: string) => POOL.find((one) => one.name === name)
const QUESTIONS = [
  'Write a Python function that merges two sorted lists.',
  'Who won the war of the roses, and why?',
  'Solve x^2 - 5x + 6 = 0.',
  'A haiku on autumn rain, please.',
  'Translate into French: the cat sleeps.',
  'Summarise the plot of Hamlet in two lines.',
]
const HISTORIES = 64

/** Makes users: beliefs and histories of some dozen; ids of answers are each one's own. */
export class People {
  readonly policy: Policy
  readonly close: () => Promise<void>
  readonly #readings: { int8: Int8Array; scale: number }[]
  readonly #beliefs = new Map<number, { edges: StoredEdge[]; state: Uint8Array; told: Float32Array }[]>()

  private constructor(policy: Policy, readings: { int8: Int8Array; scale: number }[], close: () => Promise<void>) {
    this.policy = policy
    this.#readings = readings
    this.close = close
  }

  static async open(): Promise<People> {
    const policies = await Policies.open({
      config: routerConfig({ artifact: newestArtifact(), required: true }),
      openEmbedder: (artifact) => openEmbedder('static', artifact),
      loadEvidence: async () => new Map(),
      candidatesOf: () => POOL,
      log: silent,
    })
    const { policy } = policies.snapshot(TENANT, '')
    if (!policy) throw new Error('The artifact can’t be served.')
    const vectors = await Promise.all(QUESTIONS.map((question) => policy.embedder.embed(question)))
    const readings = ((await policy.router.read(vectors)) ?? []).map((reading) => quantise(reading)!)
    return new People(policy, readings, () => policies.close())
  }

  edges(ratings: number, seed: number): StoredEdge[] {
    const draw = (i: number, of: number) => Math.floor(((Math.sin(seed * 97.3 + i * 12.7) + 1) / 2) * of) % of
    return Array.from({ length: ratings }, (_, i) => ({
      id: edgeId(randomBytes(12).toString('hex'), 'rating'),
      seq: i + 1,
      ts: Date.now() - (ratings - i) * 3_600_000 + draw(i, 1e6),
      candidate: POOL[draw(i, POOL.length)]!.name,
      reading: this.#readings[draw(i + 50, this.#readings.length)]!,
      reader: this.policy.router.artifact.manifest.reader ?? '',
      vector: null,
      reward: draw(i + 7, 3) > 0 ? 1 : -1,
      kind: 'thumb',
      weight: 1,
      promptTokens: 20 + draw(i + 3, 900),
      completionTokens: 50 + draw(i + 9, 2_000),
      costUsd: 0.0001 * (1 + draw(i + 11, 50)),
    }))
  }

  /** A user's row and edges. */
  async make(ratings: number, n: number): Promise<{ user: StoredUser; edges: StoredEdge[] }> {
    const all = this.#beliefs.get(ratings) ?? []
    this.#beliefs.set(ratings, all)
    const known = all[n % HISTORIES]
    let made = known
    if (!made) {
      const edges = this.edges(ratings, n)
      const { packed, told } = await rebuild(this.policy, TENANT, edges, findInPool)
      made = { edges, state: packed, told }
      all[n % HISTORIES] = made
    }
    const edges = made.edges.map((edge) => ({ ...edge, id: edgeId(randomBytes(12).toString('hex'), 'rating') }))
    const [updatedAt, since] = [Date.now(), edges[0]?.ts ?? 0]
    const of = { policy: this.policy.version, rewards: ratings, preferences: {}, updatedAt, since, heardAt: since }
    return { user: { ...of, revision: 1, state: made.state, told: made.told, older: new Float32Array(0) }, edges }
  }

  /** Loads users through the store, as a gateway does. @returns commits a second */
  async load(store: Store, users: number, ratings: number, onProgress: (done: number) => void): Promise<number> {
    const startedAt = performance.now()
    let next = 0
    const worker = async () => {
      for (let n = next++; n < users; n = next++) {
        const { user, edges } = await this.make(ratings, n)
        if (!(await store.commitUser(TENANT, storedId(n), user, edges))) throw new Error('The user is there already.')
        if ((n + 1) % 100_000 === 0) onProgress(n + 1)
      }
    }
    await Promise.all(Array.from({ length: 64 }, worker))
    return (1000 * users) / (performance.now() - startedAt)
  }
}

/** `MEMORY USAGE` of everything that Redis keeps of a user. */
export async function bytesInRedis(redis: RedisServer, n: number): Promise<number> {
  const keys = (await redis.command('KEYS', `*${nameOf(n)}`)) as unknown[]
  let bytes = 0
  for (const key of keys) bytes += Number(await redis.command('MEMORY', 'USAGE', String(key), 'SAMPLES', '0'))
  return bytes
}

export async function infoOf(redis: RedisServer, section: string, field: string): Promise<number> {
  const info = String(await redis.command('INFO', section))
  return Number(new RegExp(`^${field}:(?:calls=)?(\\d+)`, 'm').exec(info)?.[1] ?? 0)
}

export const fileBytes = (path: string): number =>
  ['', '-wal'].reduce((sum, suffix) => sum + (statSync(path + suffix, { throwIfNoEntry: false })?.size ?? 0), 0)
