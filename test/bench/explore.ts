/**
 * What exploring costs and gains, by simulation with the real `choose`: the mean regret of a user's first 200 requests.
 *
 *     node test/bench/explore.ts
 *
 * Users have Gaussian tastes over quality, cost, length and single LLMs; the model is the exact Bayesian belief over
 * them; every user, query and noise is the same in each row (common random numbers). `rated` = share of answers that
 * are rated.
 */
import type { Candidate } from '../../src/candidates/candidate.ts'
import { choose } from '../../src/routing/choose/choose.ts'

const [USERS, REQUESTS, K, TASTES, NOISE] = [150, 200, 8, 4, 0.5]
const PRIOR = { mean: [0.1, 0.3, -0.12, -0.02], spread: [0.25, 0.2, 0.2, 0.15], liking: 0.12 }
const D = TASTES + K

const pool = Array.from(
  { length: K },
  (_, i): Candidate => ({
    name: `llm-${i}`,
    provider: 'p',
    model: `llm-${i}`,
    vendor: 'v',
    description: '',
    price: { input: 1, output: 1 },
    contextWindow: 1e6,
    capabilities: new Set(),
    groups: [],
    explore: true,
    benchmarks: {},
  }),
)

/** Mulberry32. */
function randomOf(seed: number) {
  let state = seed
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  return { uniform, normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()) }
}

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0)

/** Posterior mean and covariance of linear weights, one rating at a time (Sherman-Morrison). */
function newBelief() {
  const prior = [...PRIOR.spread, ...pool.map(() => PRIOR.liking)]
  return {
    mean: [...PRIOR.mean, ...pool.map(() => 0)],
    covariance: prior.map((spread, i) => prior.map((_, j) => (i === j ? spread ** 2 : 0))),
  }
}

function learn(belief: ReturnType<typeof newBelief>, phi: readonly number[], rating: number): void {
  const gain = belief.covariance.map((row) => dot(row, phi))
  const scale = NOISE ** 2 + dot(phi, gain)
  const surprise = rating - dot(phi, belief.mean)
  for (let i = 0; i < D; i++) {
    belief.mean[i]! += (gain[i]! * surprise) / scale
    for (let j = 0; j < D; j++) belief.covariance[i]![j]! -= (gain[i]! * gain[j]!) / scale
  }
}

function regretOf(base: number, perReward: number, explore: boolean, rated: number): number {
  let regret = 0
  for (let user = 0; user < USERS; user++) {
    const world = randomOf(user + 1)
    const own = randomOf(10_000 + user)
    const taste = PRIOR.mean.map((mean, i) => mean + PRIOR.spread[i]! * world.normal())
    taste.push(...pool.map(() => PRIOR.liking * world.normal()))
    const llms = pool.map(() => [world.normal(), world.normal(), world.normal()])
    const belief = newBelief()
    let rewards = 0
    for (let t = 0; t < REQUESTS; t++) {
      const features = llms.map((llm, k) => [
        1,
        ...llm.map((value) => value + 0.3 * world.normal()),
        ...pool.map((_, i) => (i === k ? 1 : 0)),
      ])
      const worth = features.map((phi) => dot(phi, taste))
      const scores = features.map((phi, k) => ({
        candidate: pool[k]!,
        mean: dot(phi, belief.mean),
        std: 0,
        parts: {},
        quality: 0,
        completionTokens: 1,
        costUsd: 0,
      }))
      const { chosen } = choose({
        scores,
        by: 'graph',
        limits: { needs: new Set(), promptTokens: 1, maxTokens: null },
        explicit: null,
        stated: null,
        rewards,
        explore,
        previous: null,
        baseline: null,
        policy: { gamma: { base, per_reward: perReward }, sticky: { enabled: false, reward_per_usd: 0, min_gain: 0 } },
        random: own.uniform(),
      })
      const index = pool.indexOf(chosen.candidate)
      regret += Math.max(...worth) - worth[index]!
      const [isRated, noise] = [world.uniform() < rated, world.normal()]
      if (!isRated) continue
      rewards++
      learn(belief, features[index]!, worth[index]! + NOISE * noise)
    }
  }
  return regret / USERS
}

console.log('base  per reward   all rated   one in ten rated')
for (const [base, perReward] of [
  [10, 1],
  [20, 2],
  [40, 4],
  [80, 8],
  [80, 0],
  [160, 16],
] as const) {
  const cells = [1, 0.1].map((rated) => regretOf(base, perReward, true, rated).toFixed(2).padStart(12))
  console.log(`${String(base).padStart(4)}  ${String(perReward).padStart(10)}${cells.join('   ')}`)
}
console.log(
  `never explores  ${[1, 0.1].map((rated) => regretOf(1, 1, false, rated).toFixed(2).padStart(12)).join('   ')}`,
)
