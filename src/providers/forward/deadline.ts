/** Node's timers take at most 2^31 - 1 ms. */
const MAX_MS = 2 ** 31 - 1

/**
 * A timer that fires once, at a time on `performance.now()`'s clock. Moving it to a later time costs nothing: it looks
 * again when it fires. What had arrived by then, but was not read since the event loop was busy, may move or clear it
 * first (as in `FairTimer`).
 */
export class Deadline {
  readonly #onPassed: () => void
  #at: number
  #timer: NodeJS.Timeout
  #look: NodeJS.Immediate | undefined

  constructor(at: number, onPassed: () => void) {
    this.#at = at
    this.#onPassed = onPassed
    this.#timer = this.#start()
  }

  move(at: number): void {
    const sooner = at < this.#at
    this.#at = at
    if (!sooner) return
    this.clear()
    this.#timer = this.#start()
  }

  clear(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#look)
  }

  #start(): NodeJS.Timeout {
    return setTimeout(this.#fire, Math.min(MAX_MS, Math.max(0, this.#at - performance.now())))
  }

  readonly #fire = () => {
    // Timers may fire a fraction of a millisecond early.
    if (performance.now() < this.#at) this.#timer = this.#start()
    else this.#look = setImmediate(this.#looked)
  }

  readonly #looked = () => {
    if (performance.now() < this.#at) this.#timer = this.#start()
    else this.#onPassed()
  }
}
