/** A timer that fires once, at a time on `performance.now()`'s clock, and may be moved. */
export class Deadline {
  readonly #fire: () => void
  #timer: NodeJS.Timeout

  constructor(at: number, fire: () => void) {
    this.#fire = fire
    this.#timer = start(at, fire)
  }

  move(at: number): void {
    clearTimeout(this.#timer)
    this.#timer = start(at, this.#fire)
  }

  clear(): void {
    clearTimeout(this.#timer)
  }
}

/** Node's timers take at most 2^31 - 1 ms. */
const MAX_MS = 2 ** 31 - 1

const start = (at: number, fire: () => void) => setTimeout(fire, Math.min(MAX_MS, Math.max(0, at - performance.now())))
