import type { Logger } from '../observability/logger.ts'
import { StoreError } from '../store/store.ts'

interface Task {
  /** The user, as `userKey`. */
  key: string
  run: () => Promise<unknown>
}

export interface LearnLaterOptions {
  log: Logger
  everyMs?: number
  /** What comes beyond is left to the log. */
  max?: number
}

/**
 * Rewards that could not be learned because the store was away, tried again in their order until it is back. They wait
 * in memory: what a crash takes is in the log still, for the next training, but not in the user's belief.
 */
export class LearnLater {
  readonly #log: Logger
  readonly #everyMs: number
  readonly #max: number
  #tasks: Task[] = []
  #timer: NodeJS.Timeout | undefined
  #dropped = 0

  constructor({ log, everyMs = 1_000, max = 10_000 }: LearnLaterOptions) {
    this.#log = log
    this.#everyMs = everyMs
    this.#max = max
  }

  add(key: string, run: () => Promise<unknown>): void {
    if (this.#tasks.length >= this.#max) {
      if (this.#dropped++ === 0)
        this.#log.warn({ waiting: this.#max }, 'rewards are left to the log until the store is back')
      return
    }
    this.#tasks.push({ key, run })
    this.#schedule()
  }

  /** Drops what waits for an erased user. */
  forget(key: string): void {
    this.#tasks = this.#tasks.filter((task) => task.key !== key)
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#tasks = []
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => void this.#work(), this.#everyMs).unref()
  }

  async #work(): Promise<void> {
    while (this.#tasks[0]) {
      const task = this.#tasks[0]
      try {
        await task.run()
      } catch (error) {
        if (error instanceof StoreError) break
        this.#log.error({ err: error }, 'a reward can’t be learned')
      }
      // It may have been forgotten meanwhile.
      if (this.#tasks[0] === task) this.#tasks.shift()
    }
    this.#timer = undefined
    if (this.#tasks.length > 0) this.#schedule()
    else this.#dropped = 0
  }
}
