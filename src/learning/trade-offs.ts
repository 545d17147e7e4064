import { eachWithRests } from '../runtime/rest.ts'
import { isSettled } from '../store/records/records.ts'
import { eachCandidate } from '../store/records/scored-candidates.ts'
import type { Answered } from './answered.ts'

/** What the requests of a log would have cost and earned, had a dollar weighed more, or less, in each choice. */
export interface TradeOff {
  /** Reward that a dollar must bring, beyond what the router itself asked; negative: money matters less. */
  reward_per_usd: number
  /** Mean over requests: dollars, and reward (-1 to 1) with its 95 % interval; null where too little is known. */
  cost_usd: number
  reward: number | null
  reward_interval: readonly [low: number, high: number] | null
  /** Ratings that speak for it, each counted by its weight (Kish, 1965). */
  effective_ratings: number
  /** No other is both cheaper and better. */
  efficient: boolean
}

interface Logged {
  means: number[]
  costs: number[]
  chosen: number
  propensity: number
  costUsd: number
  rating: number | undefined
}

/** So many requests are looked at, evenly drawn. */
const RESERVOIR = 20_000
/** Below so many nothing is said. */
const LEAST_RATINGS = 30
/** Weights of a dollar that are tried on each side of the router's own: quantiles of those at which a choice turns. */
const QUANTILES = [0.1, 0.25, 0.5, 0.75, 0.9]
const NORMAL_95 = 1.96

/**
 * A curve of reward over cost from the log: for each weight of a dollar, the value of the choices that it would have
 * made, by self-normalised importance weights from exact propensities (Swaminathan & Joachims, 2015). It tells of no
 * choice that the router never made: explored requests carry it.
 */
export class TradeOffs {
  #seen = 0
  readonly #logged: Logged[] = []

  add(record: Answered, rating: number | undefined): void {
    const { chosen, reason, costUsd, status } = record
    if (isSettled(record) || reason === 'sticky' || status >= 400) return
    const candidates = eachCandidate(record.candidates)
    const index = candidates.findIndex(({ name }) => name === chosen)
    const propensity = candidates[index]?.propensity ?? 0
    if (propensity <= 0 || candidates.some(({ mean }) => mean === null)) return
    this.#seen++
    const at = this.#logged.length < RESERVOIR ? this.#logged.length : Math.floor(Math.random() * this.#seen)
    if (at >= RESERVOIR) return
    this.#logged[at] = {
      means: candidates.map(({ mean }) => mean ?? 0),
      costs: candidates.map(({ predictedCostUsd }) => predictedCostUsd),
      chosen: index,
      propensity,
      costUsd,
      rating,
    }
  }

  /** From the most careful with money to the least; empty where nothing was logged. */
  async points(): Promise<TradeOff[]> {
    if (this.#logged.length === 0) return []
    const points: TradeOff[] = []
    for (const weight of await weightsOf(this.#logged)) points.push(await tradeOffAt(this.#logged, weight))
    return points.map((point) => ({ ...point, efficient: !points.some((other) => dominates(other, point)) }))
  }
}

function dominates(other: TradeOff, point: TradeOff): boolean {
  if (other.reward === null || point.reward === null) return false
  const noWorse = other.cost_usd <= point.cost_usd && other.reward >= point.reward
  return noWorse && (other.cost_usd < point.cost_usd || other.reward > point.reward)
}

/** Weights at which requests would go elsewhere, and 0: the router's own. */
async function weightsOf(logged: readonly Logged[]): Promise<number[]> {
  const turns: number[] = []
  await eachWithRests(logged, ({ means, costs }) => {
    const best = indexOfBest(means)
    for (const [i, mean] of means.entries()) {
      const dearer = (costs[best] as number) - (costs[i] as number)
      if (dearer !== 0) turns.push(((means[best] as number) - mean) / dearer)
    }
  })
  // As a list of floats it is sorted without a call for each pair.
  const sorted = Float64Array.from(turns).sort()
  const frugal = sorted.subarray(sorted.findLastIndex((turn) => turn <= 0) + 1)
  const lavish = sorted.subarray(0, sorted.findLastIndex((turn) => turn < 0) + 1).reverse()
  const quantiles = (of: Float64Array) =>
    of.length === 0 ? [] : QUANTILES.map((q) => of[Math.floor(q * (of.length - 1))] as number)
  return [...new Set([...quantiles(frugal).reverse(), 0, ...quantiles(lavish)])]
}

async function tradeOffAt(logged: readonly Logged[], weight: number): Promise<TradeOff> {
  let weights = 0
  let dollars = 0
  const rated: { weight: number; rating: number }[] = []
  await eachWithRests(logged, ({ means, costs, chosen, propensity, costUsd, rating }) => {
    if (indexOfBest(means.map((mean, i) => mean - weight * (costs[i] as number))) !== chosen) return
    weights += 1 / propensity
    dollars += costUsd / propensity
    if (rating !== undefined) rated.push({ weight: 1 / propensity, rating })
  })
  const sum = rated.reduce((total, one) => total + one.weight, 0)
  const squares = rated.reduce((total, one) => total + one.weight ** 2, 0)
  const effective = squares === 0 ? 0 : sum ** 2 / squares
  const mean = rated.reduce((total, one) => total + one.weight * one.rating, 0) / sum
  const spread = Math.sqrt(rated.reduce((total, one) => total + (one.weight * (one.rating - mean)) ** 2, 0)) / sum
  const isKnown = effective >= LEAST_RATINGS
  return {
    reward_per_usd: weight,
    cost_usd: weights === 0 ? 0 : dollars / weights,
    reward: isKnown ? mean : null,
    reward_interval: isKnown ? [mean - NORMAL_95 * spread, mean + NORMAL_95 * spread] : null,
    effective_ratings: effective,
    efficient: false,
  }
}

function indexOfBest(values: readonly number[]): number {
  let best = 0
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i
  return best
}
