const FRESH_A_SECOND = 10
const SECOND_MS = 1_000

/**
 * Whoever reaches the port may ask for the metrics, and to write them down takes milliseconds in which nothing else is
 * done. Beyond so many times a second the last text is given again.
 */
export class Scrapes {
  readonly #write: () => Promise<string>
  readonly #now: () => number
  #last: Promise<string> | null = null
  #since = Number.NEGATIVE_INFINITY
  #written = 0

  /** @param now in milliseconds */
  constructor(write: () => Promise<string>, now = () => performance.now()) {
    this.#write = write
    this.#now = now
  }

  /** @throws Error of whatever writes it */
  text(): Promise<string> {
    const now = this.#now()
    if (now - this.#since >= SECOND_MS) {
      this.#since = now
      this.#written = 0
    }
    if (this.#last && this.#written >= FRESH_A_SECOND) return this.#last
    this.#written++
    this.#last = this.#write()
    return this.#last
  }
}
