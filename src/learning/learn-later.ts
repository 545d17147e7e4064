import type { Logger } from '../observability/logger.ts'
import { StoreError } from '../store/store.ts'

interface Task {
  tenant: string
  user: string
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
 * in memory: what a crash takes is in the log still, for the next training, but not in the user's belief. Where there
 * is no room, whoever has most waiting gives up their last: nobody takes all of it.
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

  add(tenant: string, user: string, run: () => Promise<unknown>): void {
    if (this.#tasks.length >= this.#max && !this.#makesRoomFor(tenant)) {
      if (this.#dropped++ === 0)
        this.#log.warn({ waiting: this.#max }, 'rewards are left to the log until the store is back')
      return
    }
    this.#tasks.push({ tenant, user, run })
    this.#schedule()
  }

  #makesRoomFor(tenant: string): boolean {
    const waiting = new Map<string, number>()
    for (const task of this.#tasks) waiting.set(task.tenant, (waiting.get(task.tenant) ?? 0) + 1)
    const [busiest, most] = [...waiting].reduce((a, b) => (b[1] > a[1] ? b : a), ['', 0])
    if (most <= (waiting.get(tenant) ?? 0) + 1) return false
    this.#tasks.splice(
      this.#tasks.findLastIndex((task) => task.tenant === busiest),
      1,
    )
    return true
  }

  /** Drops what waits for an erased user. */
  forget(tenant: string, user: string): void {
    this.#tasks = this.#tasks.filter((task) => task.tenant !== tenant || task.user !== user)
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#tasks = []
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => void this.#work(), this.#everyMs).unref()
  }

  async #work(): Promise<void> {
    // Of a cluster one tenant's part may be away: others are learned meanwhile.
    const away = new Set<string>()
    for (;;) {
      const task = this.#tasks.find(({ tenant }) => !away.has(tenant))
      if (!task) break
      try {
        await task.run()
      } catch (error) {
        if (error instanceof StoreError) {
          away.add(task.tenant)
          continue
        }
        this.#log.error({ err: error }, 'a reward can’t be learned')
      }
      // It may have been forgotten meanwhile.
      const at = this.#tasks.indexOf(task)
      if (at >= 0) this.#tasks.splice(at, 1)
    }
    this.#timer = undefined
    if (this.#tasks.length > 0) this.#schedule()
    else this.#dropped = 0
  }
}
