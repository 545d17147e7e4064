const DAY_MS = 86_400_000

/** Dollars of the gateway's own questions within 24 hours. */
export class DailyBudget {
  readonly #usd: number
  readonly #now: () => number
  #windowStart = 0
  #spent = 0

  /** @param now Unix milliseconds */
  constructor(usd: number, now: () => number) {
    this.#usd = usd
    this.#now = now
  }

  /** What is asked last may overspend it. */
  get isLeft(): boolean {
    if (this.#now() - this.#windowStart >= DAY_MS) {
      this.#windowStart = this.#now()
      this.#spent = 0
    }
    return this.#spent < this.#usd
  }

  spend(usd: number): void {
    this.#spent += usd
  }
}
