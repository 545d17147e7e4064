import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Candidate } from '../../../src/candidates/candidate.ts'
import { openEmbedder } from '../../../src/embedding/index.ts'
import { Learner } from '../../../src/learning/learner.ts'
import { UserStates } from '../../../src/learning/user-states.ts'
import { VectorVault } from '../../../src/learning/vector-vault.ts'
import { FAVOURITE_ONLY } from '../../../src/routing/choose/safe-caution.ts'
import { Policies } from '../../../src/routing/policies/policies.ts'
import { cautionFor, type Policy } from '../../../src/routing/policy.ts'
import type { RouteQuery } from '../../../src/routing/router.ts'
import type { Store } from '../../../src/store/store.ts'
import { routerContract } from '../../contracts/router.ts'
import { HEARD_AT_ONCE, interaction, openTestStore, quantise, reward } from '../../learning/support.ts'
import { expectClose } from '../../support/close.ts'
import { candidate, routerConfig, silent } from '../support.ts'

const ARTIFACTS = fileURLToPath(new URL('../../../router-model/artifacts', import.meta.url))

/** LLMs of different price and skill, as a deployment would have them; the names are in no training data. */
const POOL: Candidate[] = [
  candidate('tiny-1b', {
    price: { input: 0.02, output: 0.05 },
    sizeB: 1,
    openWeights: true,
    benchmarks: { mmlu: 0.45 },
  }),
  candidate('small-8b', {
    price: { input: 0.05, output: 0.15 },
    sizeB: 8,
    openWeights: true,
    benchmarks: { mmlu: 0.68 },
  }),
  candidate('mid', { price: { input: 0.4, output: 1.6 }, benchmarks: { mmlu: 0.8 } }),
  candidate('large', { price: { input: 2, output: 8 }, benchmarks: { mmlu: 0.87, gpqa: 0.6 } }),
  candidate('frontier', { price: { input: 10, output: 40 }, reasoning: true, benchmarks: { mmlu: 0.91, gpqa: 0.8 } }),
]

const QUESTIONS = [
  'Write a haiku about rain.',
  'Prove that the square root of two is irrational.',
  'Wie spät ist es in Tokio, wenn es in Berlin zwölf Uhr ist?',
  'Refactor this function to be asynchronous: def load(path): return open(path).read()',
  'What are the side effects of ibuprofen?',
]

const NAMES = readdirSync(ARTIFACTS).filter((name) => existsSync(join(ARTIFACTS, name, 'manifest.json')))

describe.each(NAMES.sort())('artifact %s', (name) => {
  let policies: Policies
  let policy: Policy
  let store: Store
  let states: UserStates
  let learner: Learner
  const find = (wanted: string) => POOL.find((one) => one.name === wanted)

  beforeAll(async () => {
    policies = await Policies.open({
      config: routerConfig({ artifact: join(ARTIFACTS, name), required: true }),
      openEmbedder: (artifact) => openEmbedder('static', artifact),
      loadEvidence: async () => new Map(),
      candidatesOf: () => POOL,
      log: silent,
    })
    policy = policies.snapshot('acme', 'ann').policy as Policy
    store = openTestStore()
    const vault = new VectorVault(store, null)
    states = new UserStates({ store, vault, find, max: 100, deadlineMs: 10_000, log: silent })
    learner = new Learner({ store, states, vault, find, hearing: HEARD_AT_ONCE, log: silent })
  })
  afterAll(async () => {
    policies.close()
    states.close()
    await store.close()
  })

  const embed = async (text: string) => policy.embedder.embed(text)
  const readOf = async (text: string) => {
    const [reading] = (await policy.router.read([await embed(text)])) ?? []
    return { reading: quantise(reading as Float32Array), reader: policy.router.artifact.manifest.reader as string }
  }
  const scoresOf = async (user: string, question: string, pool = POOL) => {
    const [{ state }, embedding] = [await states.get(policy, 'acme', user), await embed(question)]
    return policy.router.score({ tenant: 'acme', embedding, promptTokens: 200, state }, pool)
  }
  const bestOf = async (user: string, question: string) =>
    (await scoresOf(user, question)).reduce((best, score) => (score.mean > best.mean ? score : best)).candidate.name

  it('gives its golden outputs here, with the embedder that it carries', () => {
    expect(policies.status()).toMatchObject({ policy: policy.version, error: null })
  })

  it('knows a better LLM from a worse one by their cards', async () => {
    for (const question of QUESTIONS) {
      const [worst, , , , best] = await scoresOf('nobody', question)
      expect(best?.quality).toBeGreaterThan(worst?.quality as number)
    }
  })

  it('counts a candidate that is there twice like one that is there once', async () => {
    const twice = [...POOL, { ...(POOL[2] as Candidate) }]
    for (const question of QUESTIONS) {
      const [once, doubled] = [await scoresOf('nobody', question), await scoresOf('nobody', question, twice)]
      expectClose(meansOf(doubled), meansOf([...once, once[2] as (typeof once)[number]]))
    }
  })

  it('follows a user within ten ratings, to cheap short answers or to dear long ones, and moves nobody else', async () => {
    const before = await bestOf('third', QUESTIONS[0] as string)
    for (let i = 0; i < 5; i++) {
      const of = await readOf(QUESTIONS[i] as string)
      for (const [user, sign] of [
        ['thrifty', 1],
        ['lavish', -1],
      ] as const) {
        const short = { ...of, user, candidate: 'tiny-1b', completionTokens: 30, costUsd: 0.000005 }
        const long = { ...of, user, candidate: 'frontier', completionTokens: 1_200, costUsd: 0.05 }
        const [cheap, dear] = [interaction(`${user}-c${i}`, short), interaction(`${user}-d${i}`, long)]
        await learner.apply(policy, reward(cheap, sign), cheap)
        await learner.apply(policy, reward(dear, -sign), dear)
      }
    }
    const unseen = 'How do I remove a coffee stain from a wooden table?'
    expect(['tiny-1b', 'small-8b']).toContain(await bestOf('thrifty', unseen))
    expect(await bestOf('lavish', unseen)).toBe('frontier')
    expect(await bestOf('third', QUESTIONS[0] as string)).toBe(before)
  })

  it('is the more cautious the less risk is allowed, and lets go a user who has said what they like', async () => {
    const { state } = await states.get(policy, 'acme', 'thrifty')
    const cautionOf = (of: RouteQuery['state'], risk: number) =>
      policy.router.cautionOf({ tenant: 'acme', state: of }, POOL, { caution: 0.15, risk })
    for (const of of [null, state]) {
      const cautions = [await cautionOf(of, 0.5), await cautionOf(of, 0.2), await cautionOf(of, 0.01)]
      expect(cautions).toEqual(cautions.toSorted((a, b) => a - b))
      expect(cautions[0]).toBeGreaterThanOrEqual(0.15)
    }
    expect(await cautionOf(null, 0.01)).toBe(FAVOURITE_ONLY)
    expect(await cautionOf(state, 0.5)).toBeLessThan(FAVOURITE_ONLY)
    expect(await cautionFor(policy, { caution: 0.3 }, { tenant: 'acme', state }, POOL)).toBe(0.3)
  })

  it('does not mind the order of a user’s history', async () => {
    const given = QUESTIONS.map(async (question, i) => {
      const about = interaction(`o${i}`, {
        candidate: POOL[i % POOL.length]?.name as string,
        ...(await readOf(question)),
      })
      return [reward(about, Math.cos(i), { binary: false }), about] as const
    })
    const history = await Promise.all(given)
    const forget = policy.router.artifact.manifest.forget.per_reward
    for (const [reward, about] of history)
      await learner.apply(policy, { ...reward, user: 'fwd' }, { ...about, user: 'fwd' })
    for (const [reward, about] of history.toReversed()) {
      await learner.apply(policy, { ...reward, user: 'bwd' }, { ...about, user: 'bwd' })
    }
    const [forward, backward] = [await scoresOf('fwd', 'Hello?'), await scoresOf('bwd', 'Hello?')]
    // Where rewards fade, the order is the point.
    if (forget === 1) expectClose(meansOf(backward), meansOf(forward), 1e-3)
  })

  routerContract(
    name,
    async () => ({
      router: policy.router,
      embedding: (seed) =>
        policy.embedder.embed(`Question ${seed}: ${QUESTIONS[seed % QUESTIONS.length]}`) as Float32Array,
    }),
    POOL,
  )
})

const meansOf = (scores: readonly { mean: number }[]) => scores.map(({ mean }) => mean)
