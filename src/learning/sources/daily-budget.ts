const DAY_MS = 86_400_000

/** Dollars of the gateway's own questions within 24 hours, of all tenants and of each. */
export class DailyBudget {
  readonly #usd: number
  readonly #now: () => number
  readonly #spent = new Map<string, number>()
  #windowStart = 0
  #total = 0

  /** @param now Unix milliseconds */
  constructor(usd: number, now: () => number) {
    this.#usd = usd
    this.#now = now
  }

  /**
   * Whether there is room for what is expected to cost so much: what comes to more may overspend it.
   *
   * @param share of it that the tenant may spend at most
   */
  hasRoom(tenant: string, share: number, usd: number): boolean {
    if (this.#now() - this.#windowStart >= DAY_MS) {
      this.#windowStart = this.#now()
      this.#total = 0
      this.#spent.clear()
    }
    const left = Math.min(this.#usd - this.#total, share * this.#usd - (this.#spent.get(tenant) ?? 0))
    return left > 0 && usd <= left
  }

  spend(tenant: string, usd: number): void {
    this.#total += usd
    this.#spent.set(tenant, (this.#spent.get(tenant) ?? 0) + usd)
  }
}
