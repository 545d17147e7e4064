import { LRUCache } from 'lru-cache'
import { atMost } from './lru.ts'

const MINUTE_MS = 60_000
const MAX_KEYS = 10_000

/**
 * So many a minute for each key, by minutes of the monotonic clock; of keys that are many at once the oldest begin
 * anew.
 */
export class PerMinute {
  readonly #most: number
  readonly #counts = new LRUCache<string, { minute: number; count: number }>(atMost(MAX_KEYS))

  constructor(most: number) {
    this.#most = most
  }

  /** Whether there may be one more; it is counted. @param now milliseconds */
  allows(key: string, now = performance.now()): boolean {
    const minute = Math.floor(now / MINUTE_MS)
    const known = this.#counts.get(key)
    const count = known?.minute === minute ? known : { minute, count: 0 }
    if (count !== known) this.#counts.set(key, count)
    return ++count.count <= this.#most
  }
}
