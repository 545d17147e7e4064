import { eachCandidate } from '../store/records/scored-candidates.ts'
import type { Answered } from './answered.ts'

/** The router's mean less the baseline's, with its 95 % interval; null where too little is known. */
export interface Difference {
  /** Answers that speak for it. */
  observations: number
  estimate: number
  interval: readonly [low: number, high: number]
}

/** Reward: -1 to 1, of rated answers. `ttft_ms`: until the first output. */
export const OUTCOMES = ['reward', 'cost_usd', 'ttft_ms', 'total_ms'] as const
export type Outcome = (typeof OUTCOMES)[number]
export type Differences = Record<Outcome, Difference | null>

/**
 * Router against baseline. Parts add up to the total: those of groups and of days as means of their own answers,
 * those of models as what each contributed to the total's mean.
 */
export interface Compared {
  total: Differences
  by_group: Record<string, Differences>
  by_day: Record<string, Differences>
  by_model: Record<string, Differences>
}

export interface AgainstBaseline {
  /** From the exact propensities with which router and baseline were drawn (inverse propensity weights). */
  drawn: Compared | null
  /** From users who are held out and always get the baseline. No model of it answers for another. */
  holdout: Omit<Compared, 'by_model'> | null
}

const NORMAL_95 = 1.96
const LEAST = 2

/** Gathers what requests of a log tell of the router against its baseline, each once. */
export class BaselineDifferences {
  readonly #drawn = new Sliced(() => new Weighted())
  readonly #holdout = new Sliced(() => new TwoMeans())

  add(record: Answered, rating: number | undefined): void {
    if (record.status >= 400) return
    const slices = { group: record.group ?? record.gain?.group ?? 'unknown', day: dayOf(record.ts) }
    const { gain, arm } = record
    for (const outcome of OUTCOMES) {
      const value = outcomeOf(record, rating, outcome)
      if (value === null) continue
      if (gain) {
        this.#drawn.each(outcome, slices, (sums) => sums.add(gain.weight, value))
        for (const [model, weight] of contributionsOf(record, gain.weight)) {
          this.#drawn.of(outcome, `by_model\0${model}`).add(weight, value)
        }
      }
      if (arm === 'route' || arm === 'holdout') this.#holdout.each(outcome, slices, (sums) => sums.add(arm, value))
    }
  }

  report(): AgainstBaseline {
    const centres = new Map(OUTCOMES.map((outcome) => [outcome, this.#drawn.of(outcome, 'total').mean]))
    const drawn = (outcome: Outcome, slice: string, sums: Weighted) => {
      const whole = slice.startsWith('by_model') ? this.#drawn.of(outcome, 'total').count : sums.count
      return sums.difference(whole, centres.get(outcome) ?? 0)
    }
    const { by_model: _, ...holdout } = this.#holdout.compared((_outcome, _slice, sums) => sums.difference())
    const hasAny = ({ total }: Pick<Compared, 'total'>) => Object.values(total).some((one) => one !== null)
    const found = this.#drawn.compared(drawn)
    return { drawn: hasAny(found) ? found : null, holdout: hasAny(holdout) ? holdout : null }
  }
}

function outcomeOf(record: Answered, rating: number | undefined, outcome: Outcome): number | null {
  if (outcome === 'reward') return rating ?? null
  return outcome === 'cost_usd' ? record.costUsd : outcome === 'ttft_ms' ? record.ttftMs : record.totalMs
}

/**
 * The weight of an answer, shared out among the models in whose stead the baseline would have answered: that of the
 * one that answered; where the baseline did, those that the router wanted, by how much.
 */
function contributionsOf({ chosen, gain, candidates }: Answered, weight: number): [string, number][] {
  if (chosen !== gain?.baseline) return [[chosen, weight]]
  const others = eachCandidate(candidates).filter(({ name, propensity }) => name !== chosen && propensity > 0)
  const sum = others.reduce((total, { propensity }) => total + propensity, 0)
  return others.map(({ name, propensity }) => [name, (weight * propensity) / sum])
}

/** Sums by outcome and by slice of the log: `total`, `by_group\0new`, … */
class Sliced<Sums> {
  readonly #make: () => Sums
  readonly #sums = new Map<Outcome, Map<string, Sums>>(OUTCOMES.map((outcome) => [outcome, new Map()]))

  constructor(make: () => Sums) {
    this.#make = make
  }

  of(outcome: Outcome, slice: string): Sums {
    const slices = this.#sums.get(outcome) as Map<string, Sums>
    const sums = slices.get(slice) ?? this.#make()
    slices.set(slice, sums)
    return sums
  }

  each(outcome: Outcome, { group, day }: { group: string; day: string }, add: (sums: Sums) => void): void {
    for (const slice of ['total', `by_group\0${group}`, `by_day\0${day}`]) add(this.of(outcome, slice))
  }

  compared(difference: (outcome: Outcome, slice: string, sums: Sums) => Difference | null): Compared {
    const found: Compared = { total: none(), by_group: {}, by_day: {}, by_model: {} }
    for (const [outcome, slices] of this.#sums) {
      for (const [slice, sums] of [...slices].sort(([a], [b]) => (a < b ? -1 : 1))) {
        const [by, name = ''] = slice.split('\0') as ['total' | 'by_group' | 'by_day' | 'by_model', string?]
        if (by !== 'total' && !found[by][name]) found[by][name] = none()
        const parts = by === 'total' ? found.total : (found[by][name] as Differences)
        parts[outcome] = difference(outcome, slice, sums)
      }
    }
    return found
  }
}

const none = (): Differences => ({ reward: null, cost_usd: null, ttft_ms: null, total_ms: null })

/** Of values under importance weights: router's less baseline's propensity, over that with which it was drawn. */
class Weighted {
  count = 0
  #x = 0
  #w = 0
  #wx = 0
  #ww = 0
  #wwx = 0
  #wwxx = 0

  add(weight: number, value: number): void {
    this.count++
    this.#x += value
    this.#w += weight
    this.#wx += weight * value
    this.#ww += weight * weight
    this.#wwx += weight * weight * value
    this.#wwxx += (weight * value) ** 2
  }

  get mean(): number {
    return this.#x / Math.max(1, this.count)
  }

  /**
   * @param whole answers that the mean is of
   * @param centre taken from each value: weights add up to nothing in expectation, so it narrows the interval alone
   */
  difference(whole: number, centre: number): Difference | null {
    if (whole < LEAST) return null
    const estimate = (this.#wx - centre * this.#w) / whole
    const square = (this.#wwxx - 2 * centre * this.#wwx + centre * centre * this.#ww) / whole
    const half = NORMAL_95 * Math.sqrt(Math.max(0, square - estimate * estimate) / whole)
    return { observations: this.count, estimate, interval: [estimate - half, estimate + half] }
  }
}

/** Two means and their difference (Welch, 1947). */
class TwoMeans {
  readonly #arms = { route: { n: 0, mean: 0, squares: 0 }, holdout: { n: 0, mean: 0, squares: 0 } }

  add(name: 'route' | 'holdout', value: number): void {
    const arm = this.#arms[name]
    const apart = value - arm.mean
    arm.n++
    arm.mean += apart / arm.n
    arm.squares += apart * (value - arm.mean)
  }

  difference(): Difference | null {
    const { route, holdout } = this.#arms
    if (route.n < LEAST || holdout.n < LEAST) return null
    const estimate = route.mean - holdout.mean
    const variance = [route, holdout].reduce((sum, { n, squares }) => sum + squares / (n - 1) / n, 0)
    const half = NORMAL_95 * Math.sqrt(variance)
    return { observations: route.n + holdout.n, estimate, interval: [estimate - half, estimate + half] }
  }
}

/** UTC. */
export const dayOf = (ts: number) => new Date(ts).toISOString().slice(0, 10)
