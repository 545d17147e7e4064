import type { Candidate } from '../candidates/candidate.ts'
import { userFeeds } from '../routing/model/user-graph.ts'
import type { Policy } from '../routing/policy.ts'
import type { StoredEdge } from '../store/store.ts'
import { type FindCandidate, rebuild } from './belief.ts'

/** What something is worth to a user, in reward, and how surely that is believed. */
export interface Worth {
  mean: number
  /** 95 % of what is believed possible. */
  interval: readonly [low: number, high: number]
}

/** What a user likes, as the artifact believes it of what is kept of their rewards. */
export interface Tastes {
  /** `quality`, `cost`, `length`: see router-model/ARTIFACT.md; with what is believed of somebody unknown. */
  worth: Record<string, Worth & { usual: number }>
  /**
   * Probability of a right answer that they would give for a ten times cheaper one; null where quality may be worth
   * nothing to them.
   */
  quality_for_price: Worth | null
  /** How much more than others a maker's or a candidate's answers are liked for being theirs. */
  makers: Record<string, Worth>
  models: Record<string, Worth>
  /** How probable it is that they have liked the same since so many rewards; null: always. */
  same_since: { rewards: number | null; probability: number }[]
  /** How probable it is that they are of each kind of people that the artifact knows; empty where it knows but one. */
  people: Record<string, number>
}

const NORMAL_95 = 1.96

/**
 * What is believed of a user, in words' terms; null where the artifact does not tell.
 *
 * @param edges all that are kept of them, oldest first
 * @param candidates whose makers and names are asked for
 */
export async function tastesOf(
  policy: Policy,
  tenant: string,
  edges: readonly StoredEdge[],
  find: FindCandidate,
  candidates: readonly Candidate[],
): Promise<Tastes | null> {
  const { artifact } = policy.router
  const { manifest, dims } = artifact
  if (manifest.tastes.length === 0) return null
  const { sums } = await rebuild(policy, tenant, edges, find)
  const both = new Float32Array(2 * dims.H)
  both.set(sums)
  const found = await artifact.sessions.user.run(userFeeds(both, await policy.router.llms.tenantSums(tenant), 2, dims))
  const [taste, covariance, since] = [found.taste?.data, found.taste_covariance?.data, found.since?.data]
  if (!taste || !covariance || !since) return null
  const of = new Belief(taste as Float32Array, covariance as Float32Array, dims.D)
  const named = manifest.tastes.map((name, i) => [name, { ...of.worth([[i, 1]]), usual: taste[dims.D + i] as number }])
  const start = manifest.tastes.length
  const codes = (candidate: Candidate) => policy.router.llms.codesOf(tenant, candidate)
  const maker = (candidate: Candidate) => terms(codes(candidate).provider, start)
  const model = (candidate: Candidate) => terms(codes(candidate).name, start + dims.P)
  const known = new Map(candidates.map((candidate) => [candidate.vendor, candidate]))
  return {
    worth: Object.fromEntries(named),
    quality_for_price: of.ratio(manifest.tastes.indexOf('cost'), manifest.tastes.indexOf('quality')),
    makers: Object.fromEntries([...known].map(([vendor, candidate]) => [vendor, of.worth(maker(candidate))])),
    models: Object.fromEntries(
      candidates.map((candidate) => [candidate.name, of.worth([...maker(candidate), ...model(candidate)])]),
    ),
    same_since: sameSince(Array.from(since.slice(0, dims.W), Number), edges.at(-1)?.seq ?? 0, manifest.forget.block),
    people: Object.fromEntries(manifest.people.map((name, i) => [name, Number(found.people?.data[i])])),
  }
}

/** Index and weight of each direction that a sum is of. */
type Terms = readonly (readonly [index: number, weight: number])[]

const terms = (numbers: Float32Array, start: number): Terms => Array.from(numbers, (value, i) => [start + i, value])

/** A Gaussian belief over D directions. */
class Belief {
  readonly #mean: Float32Array
  readonly #covariance: Float32Array
  readonly #size: number

  constructor(mean: Float32Array, covariance: Float32Array, size: number) {
    this.#mean = mean
    this.#covariance = covariance
    this.#size = size
  }

  worth(sum: Terms): Worth {
    const mean = sum.reduce((total, [i, weight]) => total + weight * (this.#mean[i] as number), 0)
    return worthOf(mean, this.#between(sum, sum))
  }

  /** Of two directions, by the delta method; null where the divisor is not surely positive. */
  ratio(above: number, below: number): Worth | null {
    if (above < 0 || below < 0) return null
    const [a, b]: Terms[] = [[[above, 1]], [[below, 1]]]
    const [dividend, divisor] = [this.#mean[above] as number, this.#mean[below] as number]
    if (divisor <= NORMAL_95 * Math.sqrt(this.#between(b as Terms, b as Terms))) return null
    const ratio = dividend / divisor
    const variance =
      this.#between(a as Terms, a as Terms) -
      2 * ratio * this.#between(a as Terms, b as Terms) +
      ratio * ratio * this.#between(b as Terms, b as Terms)
    return worthOf(ratio, variance / divisor ** 2)
  }

  #between(some: Terms, others: Terms): number {
    let sum = 0
    for (const [i, x] of some) for (const [j, y] of others) sum += x * y * this.#covariance[i * this.#size + j]!
    return sum
  }
}

function worthOf(mean: number, variance: number): Worth {
  const half = NORMAL_95 * Math.sqrt(Math.max(0, variance))
  return { mean, interval: [mean - half, mean + half] }
}

/** @param since by blocks, the newest first. @param rewards how many there were. @param block rewards to a block */
function sameSince(since: readonly number[], rewards: number, block: number): Tastes['same_since'] {
  const newest = rewards === 0 ? 0 : ((rewards - 1) % block) + 1
  const found: Tastes['same_since'] = []
  let always = 0
  for (const [i, probability] of since.entries()) {
    const reached = newest + i * block
    if (reached >= rewards || i === since.length - 1) always += probability
    else found.push({ rewards: reached, probability })
  }
  return [...found, { rewards: null, probability: always }]
}
