import { LRUCache } from 'lru-cache'

/** Weight of the newest measurement. */
const ALPHA = 0.2
/** Older measurements say nothing: a candidate that was slow is asked again. */
const FRESH_MS = 600_000
/** Of a candidate; the one that has been quiet for longest goes. */
const MAX_ASKERS = 64

interface Measured {
  ms: number
  at: number
}

/**
 * Time to the first byte of each candidate in this process, in milliseconds, as each asker has seen it: an exponential
 * moving average. Who asks for what takes long must not make a candidate look slow to others.
 */
export class Latencies {
  readonly #of = new Map<string, LRUCache<string, Measured>>()
  readonly #now: () => number

  /** @param now milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** @param asker what costs something to have many of: a tenant's key, or a user whom somebody vouches for */
  note(candidate: string, ms: number, asker: string): void {
    let askers = this.#of.get(candidate)
    if (!askers) {
      askers = new LRUCache<string, Measured>({ max: MAX_ASKERS })
      this.#of.set(candidate, askers)
    }
    const at = this.#now()
    const known = askers.get(asker)
    if (!known) {
      askers.set(asker, { ms, at })
      return
    }
    // Read, it is the newest by now.
    known.ms = at - known.at <= FRESH_MS ? known.ms + ALPHA * (ms - known.ms) : ms
    known.at = at
  }

  /**
   * What an asker has seen, or the (lower) median of others where that is less. Undefined where neither they nor two
   * others have been answered lately.
   */
  expectedMs(candidate: string, asker: string): number | undefined {
    const askers = this.#of.get(candidate)
    if (!askers) return undefined
    const since = this.#now() - FRESH_MS
    const others: number[] = []
    let own: number | undefined
    for (const [who, { ms, at }] of askers.entries()) {
      if (at < since) continue
      if (who === asker) own = ms
      else others.push(ms)
    }
    if (others.length === 0 || (own === undefined && others.length < 2)) return own
    others.sort((a, b) => a - b)
    const median = others[(others.length - 1) >> 1] as number
    return own === undefined ? median : Math.min(own, median)
  }
}
