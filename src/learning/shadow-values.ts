import { eachCandidate } from '../store/records/scored-candidates.ts'
import type { Answered } from './answered.ts'

/** What a shadow policy would have brought in place of the live one, from a log of the live one's choices. */
export interface ShadowValue {
  /** Requests that it scored, too, and that the router was free to choose in. */
  requests: number
  /** Probability that it would have chosen what was chosen by the live one; mean over requests. */
  agreement: number
  ratings: number
  /** Ratings that speak for it, each counted by its weight (Kish, 1965). */
  effective_ratings: number
  /** Share of its choices that the live one never made: nothing is known of these but a prediction. */
  unsupported: number
  /** Mean reward of the live one (-1 to 1); null where too little is known. */
  reward: number | null
  /** The shadow's less the live one's, with its 95 % interval over users. */
  difference: number | null
  interval: readonly [low: number, high: number] | null
}

interface Rated {
  user: string
  reward: number
  difference: number
  weight: number
}

/** Below so many ratings that speak for it, nothing is said. */
const LEAST_RATINGS = 30
/** So many ratings are kept, evenly drawn. */
const RESERVOIR = 20_000
const NORMAL_95 = 1.96
const FREE: ReadonlySet<string> = new Set(['personal', 'cold_start', 'explore'])

/**
 * Shadow policies by their version, each judged by a doubly robust estimate (Dudík et al., 2011): what the live one
 * expected of the shadow's choices, corrected by what users said where both could have chosen alike. Both policies are
 * judged with the same expectations, so that these cancel where the policies agree.
 */
export class ShadowValues {
  readonly #versions = new Map<string, Shadow>()

  add(record: Answered, rating: number | undefined): void {
    const { shadow, reason, status } = record
    if (!shadow || !FREE.has(reason) || status >= 400) return
    const live = eachCandidate(record.candidates)
    const chosen = live.findIndex(({ name }) => name === record.chosen)
    const propensity = live[chosen]?.propensity ?? 0
    if (propensity <= 0 || live.some(({ mean }) => mean === null)) return
    const wanted = new Map(eachCandidate(shadow.candidates).map((one) => [one.name, one.propensity]))
    const of = live.map(({ name }) => wanted.get(name) ?? 0)
    const known = this.#versions.get(shadow.policy) ?? new Shadow()
    this.#versions.set(shadow.policy, known)
    known.add(
      live.map(({ propensity }) => propensity),
      of,
      live.map(({ mean }) => mean ?? 0),
      chosen,
      record.user,
      rating,
    )
  }

  report(): Record<string, ShadowValue> {
    return Object.fromEntries([...this.#versions].map(([version, shadow]) => [version, shadow.value()]))
  }
}

class Shadow {
  #requests = 0
  #agreement = 0
  #unsupported = 0
  #seen = 0
  readonly #rated: Rated[] = []

  add(
    live: readonly number[],
    shadow: readonly number[],
    expected: readonly number[],
    chosen: number,
    user: string,
    rating: number | undefined,
  ): void {
    this.#requests++
    for (const [i, p] of shadow.entries()) {
      this.#agreement += p * (live[i] as number)
      if (live[i] === 0) this.#unsupported += p
    }
    if (rating === undefined) return
    this.#seen++
    const at = this.#rated.length < RESERVOIR ? this.#rated.length : Math.floor(Math.random() * this.#seen)
    if (at >= RESERVOIR) return
    const weight = (shadow[chosen] as number) / (live[chosen] as number)
    let difference = (weight - 1) * (rating - (expected[chosen] as number))
    for (const [i, p] of shadow.entries()) difference += (p - (live[i] as number)) * (expected[i] as number)
    this.#rated[at] = { user, reward: rating, difference, weight }
  }

  value(): ShadowValue {
    const rated = this.#rated
    const n = rated.length
    const weights = rated.reduce((sum, { weight }) => sum + weight, 0)
    const squares = rated.reduce((sum, { weight }) => sum + weight ** 2, 0)
    const effective = squares === 0 ? 0 : weights ** 2 / squares
    const isKnown = effective >= LEAST_RATINGS
    const difference = rated.reduce((sum, one) => sum + one.difference, 0) / n
    const half = NORMAL_95 * standardError(rated, difference)
    return {
      requests: this.#requests,
      agreement: this.#agreement / this.#requests,
      ratings: this.#seen,
      effective_ratings: effective,
      unsupported: this.#unsupported / this.#requests,
      reward: isKnown ? rated.reduce((sum, { reward }) => sum + reward, 0) / n : null,
      difference: isKnown ? difference : null,
      interval: isKnown && Number.isFinite(half) ? [difference - half, difference + half] : null,
    }
  }
}

/** Of a mean over ratings, of which one user's belong together. */
function standardError(rated: readonly Rated[], mean: number): number {
  const sums = new Map<string, number>()
  for (const { user, difference } of rated) sums.set(user, (sums.get(user) ?? 0) + difference - mean)
  const users = sums.size
  let squares = 0
  for (const sum of sums.values()) squares += sum ** 2
  return (Math.sqrt(squares) / rated.length) * Math.sqrt(users / (users - 1))
}
