import type { Logger } from '../observability/logger.ts'
import { StoreError } from '../store/store.ts'

interface Task {
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
 * Rewards that could not be learned because the store was away, tried again until it is back, each tenant's in order.
 * They wait in memory: what a crash takes is in the log still, for the next training, but not in the user's belief.
 * Where there is no room, whoever has most waiting gives up their last: nobody takes all of it.
 */
export class LearnLater {
  readonly #log: Logger
  readonly #everyMs: number
  readonly #max: number
  /** By tenant, each in order. */
  readonly #tasks = new Map<string, Task[]>()
  #waiting = 0
  #timer: NodeJS.Timeout | undefined
  #dropped = 0

  constructor({ log, everyMs = 1_000, max = 10_000 }: LearnLaterOptions) {
    this.#log = log
    this.#everyMs = everyMs
    this.#max = max
  }

  add(tenant: string, user: string, run: () => Promise<unknown>): void {
    if (this.#waiting >= this.#max) {
      if (this.#dropped++ === 0)
        this.#log.warn({ waiting: this.#max }, 'rewards are left to the log until the store is back')
      if (!this.#makesRoomFor(tenant)) return
    }
    const theirs = this.#tasks.get(tenant) ?? []
    theirs.push({ user, run })
    this.#tasks.set(tenant, theirs)
    this.#waiting++
    this.#schedule()
  }

  #makesRoomFor(tenant: string): boolean {
    let busiest: Task[] = []
    for (const theirs of this.#tasks.values()) if (theirs.length > busiest.length) busiest = theirs
    if (busiest.length <= (this.#tasks.get(tenant)?.length ?? 0) + 1) return false
    busiest.pop()
    this.#waiting--
    return true
  }

  /** Drops what waits for an erased user. */
  forget(tenant: string, user: string): void {
    const theirs = this.#tasks.get(tenant)
    if (!theirs) return
    const kept = theirs.filter((task) => task.user !== user)
    this.#waiting -= theirs.length - kept.length
    this.#tasks.set(tenant, kept)
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#tasks.clear()
    this.#waiting = 0
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => void this.#work(), this.#everyMs).unref()
  }

  /** One of each tenant's in turn. Of a cluster one's part may be away: others are learned meanwhile. */
  async #work(): Promise<void> {
    for (let tenants = [...this.#tasks.keys()]; tenants.length > 0; ) {
      const more: string[] = []
      for (const tenant of tenants) if (await this.#learnFirst(tenant)) more.push(tenant)
      tenants = more
    }
    this.#timer = undefined
    if (this.#waiting > 0) this.#schedule()
    else this.#dropped = 0
  }

  /** False: none is left, or none of theirs can be learned for now. */
  async #learnFirst(tenant: string): Promise<boolean> {
    const task = this.#tasks.get(tenant)?.[0]
    if (!task) {
      this.#tasks.delete(tenant)
      return false
    }
    try {
      await task.run()
    } catch (error) {
      if (error instanceof StoreError) return false
      this.#log.error({ err: error }, 'a reward can’t be learned')
    }
    // It may have been forgotten meanwhile.
    const theirs = this.#tasks.get(tenant)
    if (theirs?.[0] !== task) return true
    theirs.shift()
    this.#waiting--
    return true
  }
}
