import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadArtifact } from '../../src/routing/artifact/load.ts'
import { GraphRouter } from '../../src/routing/model/graph-router.ts'
import { numbersOf, openState, packState, type UserStateVector } from '../../src/routing/model/packed-state.ts'
import { Policies, type PoliciesOptions } from '../../src/routing/policies/policies.ts'
import type { CandidateScore } from '../../src/routing/router.ts'
import type { Evidence, Store, StoredUser } from '../../src/store/store.ts'
import { interaction, learnerOn, openTestStore, reward } from '../learning/support.ts'
import {
  candidate,
  copyArtifact,
  editManifest,
  POOL,
  rewrite,
  routerConfig,
  silent,
  TINY_1,
  TINY_2,
  tinyEmbed,
  tinyEmbedder,
  tinyPolicy,
} from '../routing/support.ts'
import { expectClose } from '../support/close.ts'

const query = (of = {}) => ({ tenant: 'acme', embedding: tinyEmbed('why?'), promptTokens: 20, state: null, ...of })

let policies: Policies | undefined
afterEach(() => policies?.close())

async function open(config: Record<string, unknown>, of: Partial<PoliciesOptions> = {}): Promise<Policies> {
  policies = await Policies.open({
    config: routerConfig(config),
    openEmbedder: async () => tinyEmbedder,
    loadEvidence: async () => new Map(),
    candidatesOf: () => POOL,
    log: silent,
    ...of,
  })
  return policies
}

const damages: [name: string, check: string, damage: (directory: string) => void][] = [
  ['missing', 'manifest', (at) => rmSync(at, { recursive: true })],
  ['corrupt', 'hash', (at) => writeFileSync(join(at, 'score.onnx'), Buffer.alloc(2_000, 7))],
  ['corrupt with a hash that fits', 'graph', (at) => rewrite(at, 'score.onnx', (data) => data.subarray(0, 500))],
  ['of the wrong signature', 'signature', (at) => editManifest(at, (m) => Object.assign(m.dims, { S: 5 }))],
  [
    'of the wrong golden outputs',
    'golden',
    (at) => rewrite(at, 'golden.json', (data) => data.toString().replaceAll('"data": "A', '"data": "B')),
  ],
]

describe.each(damages)('an artifact that is %s', (_, check, damage) => {
  it('at boot: the fallback router serves, and the state says why', async () => {
    const directory = copyArtifact()
    damage(directory)
    const opened = await open({ artifact: directory, fallback: 'cheapest' })
    expect(opened.status()).toMatchObject({ policy: 'fallback:cheapest', device: null })
    expect(opened.status().error).toMatch(new RegExp(`^${check}: `))
    const { policy, fallback } = opened.snapshot('acme', 'ann')
    expect(policy).toBeNull()
    expect(await fallback.score(query(), POOL)).toHaveLength(POOL.length)
  })

  it('at boot, where one is required: no start', async () => {
    const directory = copyArtifact()
    damage(directory)
    await expect(open({ artifact: directory, required: true })).rejects.toMatchObject({ name: 'ArtifactError', check })
  })

  it('on reload: the old one stays, and the error is counted', async () => {
    const results: string[] = []
    const opened = await open({ artifact: TINY_1 }, { onLoad: (result) => results.push(result) })
    const before = opened.snapshot('acme', 'ann').policy
    const directory = copyArtifact(TINY_2)
    damage(directory)
    await expect(opened.reload(directory)).rejects.toMatchObject({ name: 'ArtifactError', check })
    expect(opened.snapshot('acme', 'ann').policy).toBe(before)
    expect(opened.status()).toMatchObject({ policy: 'tiny-1', previous: [] })
    expect(results).toEqual(['ok', 'refused'])
    expect(await before?.router.score(query(), POOL)).toHaveLength(POOL.length)
  })
})

describe('a hot swap under load', () => {
  it('fails no request, and shows no request two versions', async () => {
    const opened = await open({ artifact: TINY_1 })
    const expected = new Map<string, number[]>()
    for (const directory of [TINY_1, TINY_2]) {
      const { version, router } = await tinyPolicy(directory)
      expected.set(version, meansOf(await router.score(query(), POOL)))
    }
    const seen = new Map<string, number>()
    let running = true
    const client = async () => {
      while (running) {
        const { policy } = opened.snapshot('acme', 'ann')
        const version = policy?.version ?? ''
        const embedding = await policy?.embedder.embed('why?')
        // A pause in which swaps happen: what was taken at the start is what serves.
        await new Promise((done) => setImmediate(done))
        const scores = (await policy?.router.score(query({ embedding }), POOL)) ?? []
        expectClose(meansOf(scores), expected.get(version))
        seen.set(version, (seen.get(version) ?? 0) + 1)
      }
    }
    const clients = Promise.all(Array.from({ length: 20 }, client))
    const broken = copyArtifact(TINY_2)
    rewrite(broken, 'edge.onnx', () => 'broken')
    for (let i = 0; i < 10; i++) {
      await opened.reload(i % 2 ? TINY_1 : TINY_2)
      await expect(opened.reload(broken)).rejects.toThrow()
      await new Promise((done) => setTimeout(done, 5))
    }
    await opened.rollback('tiny-2')
    await new Promise((done) => setTimeout(done, 5))
    running = false
    await clients
    expect(seen.get('tiny-1')).toBeGreaterThan(0)
    expect(seen.get('tiny-2')).toBeGreaterThan(0)
  })
})

describe('scores that are not numbers', () => {
  let store: Store
  beforeEach(() => {
    store = openTestStore()
  })
  afterEach(() => store.close())

  it('fail their own request alone', async () => {
    const { router } = await tinyPolicy()
    const healthy = meansOf(await router.score(query(), POOL))
    const results = await Promise.allSettled([
      router.score(query(), POOL),
      router.score(query({ state: new Float32Array(8).fill(3e38) }), POOL),
      router.score(query({ state: new Float32Array(8).fill(Number.NaN) }), POOL),
      router.score(query({ state: Float32Array.of(0, 0, 0, 0, 1, 1, 1, 1) }), POOL),
      router.score(query(), POOL),
    ])
    expect(results.map((result) => (result.status === 'rejected' ? result.reason.reason : 'ok'))).toEqual([
      'ok',
      'not_finite',
      'not_finite',
      'all_equal',
      'ok',
    ])
    for (const result of results) if (result.status === 'fulfilled') expect(meansOf(result.value)).toEqual(healthy)
  })

  it('quarantine the user until their next reward makes their belief anew', async () => {
    const policy = await tinyPolicy()
    const { learner, states } = learnerOn(store)
    const about = interaction('i1')
    await learner.apply(policy, reward(about, 1), about)
    const good = (await store.loadUser('acme', 'ann')) as StoredUser
    // Finite, so that nobody notices before it is used.
    const bad = {
      ...good,
      revision: 2,
      state: packState(new Float32Array(8).fill(3e38), policy.router.cold),
      older: new Float32Array(8).fill(-Infinity),
    }
    await store.commitUser('acme', 'ann', bad, await store.loadEdges('acme', 'ann'))
    states.invalidate('acme', 'ann')
    const scoreNow = async () => {
      const { state } = await states.get(policy, 'acme', 'ann')
      return policy.router.score(query({ state }), POOL)
    }
    await expect(scoreNow()).rejects.toMatchObject({ reason: 'not_finite' })
    states.quarantine(policy, 'acme', 'ann')
    expect(meansOf(await scoreNow())).toEqual(meansOf(await policy.router.score(query(), POOL)))

    const next = interaction('i2')
    expect(await learner.apply(policy, reward(next, 1), next)).toBe('learned')
    const healed = (await store.loadUser('acme', 'ann')) as StoredUser
    const state = numbersOf(openState(healed.state, policy.router.cold) as UserStateVector)
    expect([...state, ...healed.older].every(Number.isFinite)).toBe(true)
    expect(meansOf(await scoreNow())).not.toEqual(meansOf(await policy.router.score(query(), POOL)))
    states.close()
  })

  it('of a reward that is no number move nobody', async () => {
    const policy = await tinyPolicy()
    const { learner, states } = learnerOn(store)
    const about = interaction('i1')
    await learner.apply(policy, reward(about, 1), about)
    const before = await store.loadUser('acme', 'ann')
    const odd = interaction('i2')
    expect(await learner.apply(policy, reward(odd, Number.NaN), odd)).toBe('kept')
    expect((await store.loadUser('acme', 'ann'))?.state).toEqual(before?.state)
    const { state } = await states.get(policy, 'acme', 'ann')
    expect(state).toEqual(openState(before?.state as Uint8Array, policy.router.cold))
    states.close()
  })
})

describe('a router that is too slow', () => {
  it('fails what it was too slow for, and does not make others wait for it for a while', async () => {
    const { router } = await tinyPolicy(TINY_1, new Map(), 20)
    await router.score(query(), POOL)
    const { run } = router.artifact.sessions.score
    let runs = 0
    router.artifact.sessions.score.run = (...args) => {
      runs++
      // Holds the thread where a real run does: in the immediate before it.
      setImmediate(() => holdUp(30))
      return run.apply(router.artifact.sessions.score, args as never)
    }
    await expect(router.score(query(), POOL)).rejects.toMatchObject({ name: 'RouterError', reason: 'timeout' })
    await expect(router.score(query(), POOL)).rejects.toMatchObject({ reason: 'timeout' })
    expect(runs).toBe(1)
  })

  it('does not give up because the event loop was held up by something else', async () => {
    const { router } = await tinyPolicy(TINY_1, new Map(), 20)
    await router.score(query(), POOL)
    const late = router.score(query(), POOL)
    holdUp(30)
    expect(await late).toHaveLength(POOL.length)
  })

  it('gives up at the request’s deadline', async () => {
    const { router } = await tinyPolicy()
    const late = router.score(query({ deadline: performance.now() - 1 }), POOL)
    await expect(late).rejects.toMatchObject({ reason: 'timeout' })
  })

  it('does not wait for a store that hangs, and takes in what it says at last', async () => {
    let answer: (evidence: Evidence) => void = () => {}
    const hanging = new Promise<Evidence>((resolve) => {
      answer = resolve
    })
    const artifact = await loadArtifact(TINY_1)
    const router = await GraphRouter.open({
      artifact,
      embed: tinyEmbed,
      loadEvidence: () => hanging,
      candidatesOf: () => POOL,
      deadlineMs: 20,
      log: silent,
    })
    await expect(router.score(query(), POOL)).rejects.toMatchObject({ reason: 'timeout' })
    answer(new Map())
    expect(await router.score(query({ deadline: performance.now() + 5_000 }), POOL)).toHaveLength(POOL.length)
  })
})

describe('what training never saw', () => {
  it('a new user is scored by the population’s taste', async () => {
    const { router } = await tinyPolicy()
    const scores = await router.score(query({ state: null }), POOL)
    expect(scores.every(({ mean, std }) => Number.isFinite(mean) && std > 0)).toBe(true)
  })

  it('a new LLM is scored from its card at once, and from its outcomes when there are some', async () => {
    const evidence: Evidence = new Map()
    const { router } = await tinyPolicy(TINY_1, evidence)
    await router.score(query(), POOL)
    const weak = candidate('brand-new-weak', { price: { input: 0.1, output: 0.4 }, benchmarks: { mmlu: 0.5 } })
    const strong = candidate('brand-new-strong', { price: { input: 3, output: 15 }, benchmarks: { mmlu: 0.9 } })
    const pool = [...POOL, weak, strong]
    const fromCard = qualities(await router.score(query(), pool))
    expect(fromCard['brand-new-strong']).toBeGreaterThan(fromCard['brand-new-weak'] as number)
    evidence.set('brand-new-weak', Float32Array.of(10, 10)).set('brand-new-strong', Float32Array.of(10, -10))
    await router.llms.refresh('acme')
    const fromOutcomes = qualities(await router.score(query(), pool))
    expect(fromOutcomes['brand-new-weak']).toBeGreaterThan(fromCard['brand-new-weak'] as number)
    expect(fromOutcomes['brand-new-strong']).toBeLessThan(fromCard['brand-new-strong'] as number)
  })
})

function holdUp(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

const meansOf = (scores: readonly CandidateScore[]) => scores.map(({ mean }) => mean)
const qualities = (scores: readonly CandidateScore[]) =>
  Object.fromEntries(scores.map((score) => [score.candidate.name, score.quality]))
