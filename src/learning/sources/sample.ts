import { fairTimeout } from '../../runtime/fair-timer.ts'
import { DailyBudget } from './daily-budget.ts'

export interface SampleOptions {
  /** As a judge is configured. */
  config: { rate: number; concurrent: number; usd_per_day: number }
  /** For one of them, in milliseconds. */
  timeoutMs: number
  /** One could not be looked at; not called for those that are given up at the end. */
  onFailed: (error: unknown) => void
  /** Unix milliseconds. */
  now: () => number
  /** 0 <= random < 1. */
  random: () => number
  /** How many tenants there are. */
  tenants: () => number
}

/** Of the budget, and of those at once, that one tenant's answers get where there are others. */
const MOST_OF_ONE = 0.5

/**
 * A share of the answers, looked at off the request's path: so many at once, within a budget of dollars a day. Where
 * there are several tenants one that asks a lot leaves half of both to the others.
 */
export class Sample {
  readonly budget: DailyBudget
  readonly #options: SampleOptions
  /** What is looked at, and whose it is. */
  readonly #running = new Map<Promise<void>, string>()
  readonly #stop = new AbortController()

  constructor(options: SampleOptions) {
    this.#options = options
    this.budget = new DailyBudget(options.config.usd_per_day, options.now)
  }

  /**
   * Looks at this one, in the background, if it is drawn.
   *
   * @param usd that looking at it is expected to cost
   * @returns whether it is
   */
  draw({ tenant, usd }: { tenant: string; usd: number }, look: (signal: AbortSignal) => Promise<void>): boolean {
    const { config, random, timeoutMs, onFailed } = this.#options
    if (random() >= config.rate || !this.#hasRoom(tenant, usd)) return false
    const run = look(AbortSignal.any([this.#stop.signal, fairTimeout(timeoutMs)]))
      .catch((error: unknown) => {
        if (!this.#stop.signal.aborted) onFailed(error)
      })
      .finally(() => this.#running.delete(run))
    this.#running.set(run, tenant)
    return true
  }

  /** Gives up what is being looked at. */
  async close(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#running.keys())
  }

  #hasRoom(tenant: string, usd: number): boolean {
    const { config, tenants } = this.#options
    const share = tenants() > 1 ? MOST_OF_ONE : 1
    const theirs = [...this.#running.values()].filter((one) => one === tenant).length
    const isFull = this.#running.size >= config.concurrent || theirs >= Math.ceil(share * config.concurrent)
    return !isFull && this.budget.hasRoom(tenant, share, usd)
  }
}
