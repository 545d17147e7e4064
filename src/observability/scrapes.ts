import { setTimeout as sleep } from 'node:timers/promises'

const WRITTEN_A_SECOND = 10
const SECOND_MS = 1_000

/**
 * Whoever reaches the port may ask for the metrics, and to write them down takes milliseconds in which nothing else is
 * done. Beyond so many times a second, those who ask get one text together, written when the second is over: nobody is
 * told what was before they asked.
 */
export class Scrapes {
  readonly #write: () => Promise<string>
  readonly #now: () => number
  readonly #wait: (ms: number) => Promise<unknown>
  #next: Promise<string> | null = null
  #since = Number.NEGATIVE_INFINITY
  #written = 0

  /** @param now in milliseconds */
  constructor(
    write: () => Promise<string>,
    now = () => performance.now(),
    wait: (ms: number) => Promise<unknown> = (ms) => sleep(ms),
  ) {
    this.#write = write
    this.#now = now
    this.#wait = wait
  }

  /** @throws Error of whatever writes it */
  text(): Promise<string> {
    if (this.#next) return this.#next
    const waitMs = this.#since + SECOND_MS - this.#now()
    if (waitMs > 0 && this.#written >= WRITTEN_A_SECOND) {
      this.#next = this.#wait(waitMs).then(() => {
        this.#next = null
        return this.#begin(true)
      })
      return this.#next
    }
    return this.#begin(waitMs <= 0)
  }

  #begin(isNewSecond: boolean): Promise<string> {
    if (isNewSecond) {
      this.#since = this.#now()
      this.#written = 0
    }
    this.#written++
    return this.#write()
  }
}
