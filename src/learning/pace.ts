import { LRUCache } from 'lru-cache'

const MINUTE_MS = 60_000
const MAX_KEYS = 10_000

/**
 * So many a minute for each key, by minutes of the monotonic clock; of keys that are many at once the oldest begin
 * anew.
 */
export class Pace {
  readonly #perMinute: number
  readonly #counts = new LRUCache<string, { minute: number; count: number }>({ max: MAX_KEYS })

  constructor(perMinute: number) {
    this.#perMinute = perMinute
  }

  allows(key: string): boolean {
    const minute = Math.floor(performance.now() / MINUTE_MS)
    const known = this.#counts.get(key)
    if (known?.minute !== minute) {
      this.#counts.set(key, { minute, count: 1 })
      return true
    }
    return ++known.count <= this.#perMinute
  }
}
