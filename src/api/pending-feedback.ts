import { setTimeout as sleep } from 'node:timers/promises'
import { StoreError } from '../store/store.ts'

/** In all, and of one tenant. */
const MOST = { all: 10_000, perTenant: 1_000 }
const WAIT_MS = { first: 50, most: 1_000 }
/** As long as the store is away; then what is known of an answer is not soon to be had. */
const STORE_AWAY_MS = 600_000

export interface PendingFeedbackEvents {
  /** Feedback that was accepted, and whose answer was not found. */
  lost(tenant: string): void
}

/**
 * Feedback on answers that are not found yet: another replica is still to write them down, or the store is away. It is
 * tried again until they must have been written. It waits in memory: the end of this process tries all once more, its
 * death loses them.
 */
export class PendingFeedback {
  readonly #events: PendingFeedbackEvents
  readonly #closing = new AbortController()
  readonly #waiting = new Map<string, number>()
  readonly #work = new Set<Promise<void>>()

  constructor(events: PendingFeedbackEvents) {
    this.#events = events
  }

  get size(): number {
    return this.#work.size
  }

  /**
   * @param take finds the answer and rates it; false = it is not found yet. Errors but the store's end the tries.
   * @param forMs how long it may take to be found
   * @returns false where too much waits already
   */
  add(tenant: string, take: () => Promise<boolean>, forMs: number): boolean {
    const waiting = this.#waiting.get(tenant) ?? 0
    if (this.#work.size >= MOST.all || waiting >= MOST.perTenant || this.#closing.signal.aborted) return false
    this.#waiting.set(tenant, waiting + 1)
    const work = this.#tryUntil(take, forMs)
      .then((taken) => taken || this.#events.lost(tenant))
      .then(() => {
        const left = (this.#waiting.get(tenant) ?? 1) - 1
        if (left > 0) this.#waiting.set(tenant, left)
        else this.#waiting.delete(tenant)
        this.#work.delete(work)
      })
    this.#work.add(work)
    return true
  }

  /** Tries all once more. */
  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.all(this.#work)
  }

  async #tryUntil(take: () => Promise<boolean>, forMs: number): Promise<boolean> {
    const { signal } = this.#closing
    const from = performance.now()
    let until = from + forMs
    for (let wait = WAIT_MS.first; ; wait = Math.min(WAIT_MS.most, 2 * wait)) {
      await sleep(wait, undefined, { signal, ref: false }).catch(() => {})
      try {
        if (await take()) return true
      } catch (error) {
        if (!(error instanceof StoreError)) return false
        until = Math.min(performance.now() + forMs, from + STORE_AWAY_MS)
      }
      if (performance.now() >= until || signal.aborted) return false
    }
  }
}
