import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Candidate } from '../../../src/candidates/candidate.ts'
import { openEmbedder } from '../../../src/embedding/index.ts'
import { Learner } from '../../../src/learning/learner.ts'
import { UserStates } from '../../../src/learning/user-states.ts'
import { VectorVault } from '../../../src/learning/vector-vault.ts'
import { readArtifact } from '../../../src/routing/artifact/files.ts'
import { FAVOURITE_ONLY } from '../../../src/routing/choose/safe-caution.ts'
import { Policies } from '../../../src/routing/policies/policies.ts'
import type { Policy } from '../../../src/routing/policy.ts'
import type { Store } from '../../../src/store/store.ts'
import { routerContract } from '../../contracts/router.ts'
import { HEARD_AT_ONCE, interaction, openTestStore, quantise, reward } from '../../learning/support.ts'
import { COMMITTED, RIVAL } from '../../support/artifacts.ts'
import { expectClose } from '../../support/close.ts'
import { candidate, routerConfig, silent } from '../support.ts'

const POOL: Candidate[] = [
  candidate('small-8b', { price: { input: 0.05, output: 0.15 }, sizeB: 8, benchmarks: { mmlu: 0.68 } }),
  candidate('mid', { price: { input: 0.4, output: 1.6 }, benchmarks: { mmlu: 0.8 } }),
  candidate('large', { price: { input: 2, output: 8 }, benchmarks: { mmlu: 0.87, gpqa: 0.6 } }),
]
const QUESTIONS = [
  'Write a haiku about rain.',
  'Prove that the square root of two is irrational.',
  'What are the side effects of ibuprofen?',
]

/** An artifact with learned layers, no tastes in words and no blocks by age, served by the same code. */
describe('PersonalizedRouter’s networks as an artifact', () => {
  let policies: Policies
  let policy: Policy
  let store: Store
  let states: UserStates
  let learner: Learner
  const find = (wanted: string) => POOL.find((one) => one.name === wanted)

  beforeAll(async () => {
    policies = await Policies.open({
      config: routerConfig({ artifact: RIVAL, required: true, deadline_ms: 10_000 }),
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

  const readOf = async (text: string) => {
    const [reading] = (await policy.router.read([await policy.embedder.embed(text)])) ?? []
    return { reading: quantise(reading as Float32Array), reader: policy.router.artifact.manifest.reader as string }
  }
  const meansOf = async (user: string) => {
    const [{ state }, embedding] = [await states.get(policy, 'acme', user), await policy.embedder.embed('Hello?')]
    const scores = await policy.router.score({ tenant: 'acme', embedding, promptTokens: 200, state }, POOL)
    return scores.map(({ mean }) => mean)
  }

  it('gives its golden outputs here', () => {
    expect(policies.status()).toMatchObject({ policy: 'personalized-router', error: null })
  })

  it('reads questions as the committed artifact does: one history serves both', async () => {
    const { reader } = (await readArtifact(COMMITTED)).manifest
    expect((await readArtifact(RIVAL)).manifest.reader).toBe(reader)
  })

  it('learns from ratings whatever their order, moves nobody else, and forgets what is taken back', async () => {
    const history = await Promise.all(
      QUESTIONS.map(async (question, i) => {
        const about = interaction(`r${i}`, { candidate: POOL[i]?.name as string, ...(await readOf(question)) })
        return [reward(about, i === 0 ? 1 : -1, { binary: false }), about] as const
      }),
    )
    const tell = async (user: string, rows: typeof history) => {
      for (const [reward, about] of rows) await learner.apply(policy, { ...reward, user }, { ...about, user })
    }
    const nobody = await meansOf('nobody')
    await tell('fwd', history)
    await tell('bwd', history.toReversed())
    const [forward, backward] = [await meansOf('fwd'), await meansOf('bwd')]
    expectClose(backward, forward, 1e-3)
    expect(forward.some((mean, i) => Math.abs(mean - (nobody[i] as number)) > 1e-3)).toBe(true)
    expect(await meansOf('nobody')).toEqual(nobody)
    // The last rating of an answer counts alone.
    const [changed, about] = history[0] as (typeof history)[number]
    await tell('bwd', [[{ ...changed, value: -1, ts: changed.ts + 1 }, about]])
    expect(await meansOf('bwd')).not.toEqual(backward)
    await tell('bwd', [[{ ...changed, ts: changed.ts + 2 }, about]])
    expectClose(await meansOf('bwd'), backward, 1e-3)
  })

  it('says how cautious to be with a user', async () => {
    const cautionOf = (risk: number) =>
      policy.router.cautionOf({ tenant: 'acme', state: null }, POOL, { caution: 0.15, risk })
    const cautions = [await cautionOf(0.5), await cautionOf(0.2), await cautionOf(0.01)]
    expect(cautions).toEqual(cautions.toSorted((a, b) => a - b))
    expect(cautions.every((caution) => caution >= 0.15 && caution <= FAVOURITE_ONLY)).toBe(true)
  })

  routerContract(
    'personalized-router',
    async () => ({
      router: policy.router,
      embedding: (seed) => policy.embedder.embed(`${seed}: ${QUESTIONS[seed % QUESTIONS.length]}`) as Float32Array,
    }),
    POOL,
  )
})
