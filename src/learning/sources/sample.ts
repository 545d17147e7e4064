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
}

/** A share of the answers, looked at off the request's path: so many at once, within a budget of dollars a day. */
export class Sample {
  readonly budget: DailyBudget
  readonly #options: SampleOptions
  readonly #running = new Set<Promise<void>>()
  readonly #stop = new AbortController()

  constructor(options: SampleOptions) {
    this.#options = options
    this.budget = new DailyBudget(options.config.usd_per_day, options.now)
  }

  /** Looks at this one, in the background, if it is drawn. @returns whether it is */
  draw(look: (signal: AbortSignal) => Promise<void>): boolean {
    const { config, random, timeoutMs, onFailed } = this.#options
    if (random() >= config.rate || this.#running.size >= config.concurrent || !this.budget.isLeft) return false
    const run = look(AbortSignal.any([this.#stop.signal, fairTimeout(timeoutMs)]))
      .catch((error: unknown) => {
        if (!this.#stop.signal.aborted) onFailed(error)
      })
      .finally(() => this.#running.delete(run))
    this.#running.add(run)
    return true
  }

  /** Gives up what is being looked at. */
  async close(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#running)
  }
}
