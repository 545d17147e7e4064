const MINUTE_MS = 60_000

/**
 * Traces that are kept since their callers keep them: so many a minute and tenant. A caller's flag costs the operator
 * room at the collector, whatever share they chose for their own.
 */
export class CallerTraces {
  readonly #perMinute: number
  readonly #kept = new Map<string, number>()
  #minute = 0

  constructor(perMinute: number) {
    this.#perMinute = perMinute
  }

  /** Whether one more of the tenant's is kept; it is counted. @param now Unix milliseconds */
  keepsOneMore(tenant: string, now: number): boolean {
    const minute = Math.floor(now / MINUTE_MS)
    if (minute !== this.#minute) this.#kept.clear()
    this.#minute = minute
    const kept = this.#kept.get(tenant) ?? 0
    if (kept >= this.#perMinute) return false
    this.#kept.set(tenant, kept + 1)
    return true
  }
}
