import { LRUCache } from 'lru-cache'
import { userKey } from '../runtime/keys.ts'
import { atMost } from '../runtime/lru.ts'

/** Many users who rate a candidate for the first time, and nearly all alike. */
export interface Surge {
  tenant: string
  candidate: string
  users: number
  /** Mean of their ratings, -1 to 1. */
  mean: number
}

const WINDOW_MS = 3_600_000
/** First-time raters within an hour, and how one-sided they are, that somebody should look at. */
const USERS = 20
const ONE_SIDED = 0.6

/**
 * Watches who rates a candidate for the first time, whether or not that counts for others yet: made-up users come in a
 * crowd and say the same. Of this process alone.
 */
export class Surges {
  readonly #onSurge: (surge: Surge) => void
  readonly #now: () => number
  readonly #open = new LRUCache<string, { since: number; users: number; sum: number; told: boolean }>(atMost(5_000))

  constructor(onSurge: (surge: Surge) => void, now: () => number = Date.now) {
    this.#onSurge = onSurge
    this.#now = now
  }

  note(tenant: string, candidate: string, reward: number): void {
    const key = userKey(tenant, candidate)
    const now = this.#now()
    let window = this.#open.get(key)
    if (!window || now - window.since > WINDOW_MS) {
      window = { since: now, users: 0, sum: 0, told: false }
      this.#open.set(key, window)
    }
    window.users++
    window.sum += reward
    const mean = window.sum / window.users
    if (window.told || window.users < USERS || Math.abs(mean) < ONE_SIDED) return
    window.told = true
    this.#onSurge({ tenant, candidate, users: window.users, mean })
  }
}
