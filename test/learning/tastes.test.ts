import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openEmbedder } from '../../src/embedding/index.ts'
import { tastesOf } from '../../src/learning/tastes.ts'
import { Policies } from '../../src/routing/policies/policies.ts'
import type { Policy } from '../../src/routing/policy.ts'
import type { StoredEdge } from '../../src/store/store.ts'
import { candidate, routerConfig, silent, tinyPolicy } from '../routing/support.ts'
import { expectClose } from '../support/close.ts'
import { quantise } from './support.ts'

const ARTIFACT = fileURLToPath(new URL('../../router-model/artifacts/current', import.meta.url))
const CHEAP = candidate('mini', { vendor: 'one', price: { input: 0.1, output: 0.4 } })
const DEAR = candidate('grand', { vendor: 'two', price: { input: 10, output: 60 } })
const POOL = [CHEAP, DEAR]
const find = (wanted: string) => POOL.find(({ name }) => name === wanted)

describe('what is believed of a user’s tastes', () => {
  let policies: Policies
  let policy: Policy
  let reading: ReturnType<typeof quantise>

  beforeAll(async () => {
    policies = await Policies.open({
      config: routerConfig({ artifact: ARTIFACT, required: true }),
      openEmbedder: (artifact) => openEmbedder('static', artifact),
      loadEvidence: async () => new Map(),
      candidatesOf: () => POOL,
      log: silent,
    })
    policy = policies.snapshot('acme', 'ann').policy as Policy
    const [read] = (await policy.router.read([await policy.embedder.embed('Why is the sky blue?')])) ?? []
    reading = quantise(read as Float32Array)
  })
  afterAll(() => policies.close())

  /** Ratings of short cheap answers and of long dear ones in turn: `likes` 1 = the former are good. */
  const edges = (ratings: number, likes: (n: number) => number): StoredEdge[] =>
    Array.from({ length: ratings }, (_, n) => {
      const isCheap = n % 2 === 0
      return {
        id: `i${n}:rating`,
        seq: n + 1,
        ts: n,
        candidate: isCheap ? 'mini' : 'grand',
        reading,
        reader: policy.router.artifact.manifest.reader as string,
        vector: null,
        reward: (isCheap ? 1 : -1) * likes(n) * 0.8,
        kind: 'rating',
        weight: 1,
        promptTokens: 50,
        completionTokens: isCheap ? 40 : 1_000,
        costUsd: isCheap ? 0.00002 : 0.06,
      }
    })
  const of = async (kept: readonly StoredEdge[]) => {
    const found = await tastesOf(policy, 'acme', kept, find, POOL)
    if (!found) throw new Error('nothing is told')
    return found
  }
  const width = ({ interval: [low, high] }: { interval: readonly [number, number] }) => high - low

  it('is the usual one of somebody unknown, and says how little that is', async () => {
    const { worth, makers, models, same_since } = await of([])
    expect(Object.keys(worth)).toEqual(['quality', 'cost', 'length'])
    for (const { mean, usual } of Object.values(worth)) expectClose(mean, usual, 1e-6)
    expect(worth.quality?.mean).toBeGreaterThan(0)
    expect([Object.keys(makers), Object.keys(models)]).toEqual([
      ['one', 'two'],
      ['mini', 'grand'],
    ])
    expect(same_since).toEqual([{ rewards: null, probability: expect.closeTo(1, 5) }])
  })

  it('follows ratings, and is surer of them', async () => {
    const [nobody, thrifty, lavish] = [await of([]), await of(edges(30, () => 1)), await of(edges(30, () => -1))]
    const cost = (one: typeof nobody) => one.worth.cost as (typeof one.worth)[string]
    expect(cost(thrifty).mean).toBeGreaterThan(cost(nobody).mean)
    expect(cost(lavish).mean).toBeLessThan(cost(nobody).mean)
    expect(width(cost(thrifty))).toBeLessThan(width(cost(nobody)))
    expect(thrifty.worth.length?.mean).toBeLessThan(lavish.worth.length?.mean as number)
    const liked = (name: string) => thrifty.models[name]?.mean as number
    expect(liked('mini')).toBeGreaterThan(liked('grand'))
    expect(thrifty.makers.one?.mean).toBeGreaterThan(thrifty.makers.two?.mean as number)
  })

  it('finds a change of taste, and when it was', async () => {
    const always = await of(edges(36, () => 1))
    const flipped = await of(edges(36, (n) => (n < 24 ? 1 : -1)))
    const sumOf = ({ same_since }: typeof always) => same_since.reduce((sum, { probability }) => sum + probability, 0)
    expectClose([sumOf(always), sumOf(flipped)], [1, 1], 1e-5)
    const surest = ({ same_since }: typeof always) =>
      same_since.reduce((best, one) => (one.probability > best.probability ? one : best)).rewards
    expect([surest(always), surest(flipped)]).toEqual([null, 12])
  })
})

it('nothing is told where the artifact tells nothing', async () => {
  expect(await tastesOf(await tinyPolicy(), 'acme', [], find, POOL)).toBeNull()
})
