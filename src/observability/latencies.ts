/** Weight of the newest measurement. */
const ALPHA = 0.2

/**
 * Time to the first byte that each candidate has shown lately in this process: an exponential moving average, in
 * milliseconds.
 */
export class Latencies {
  readonly #ms = new Map<string, number>()

  note(candidate: string, ms: number): void {
    const before = this.#ms.get(candidate)
    this.#ms.set(candidate, before === undefined ? ms : before + ALPHA * (ms - before))
  }

  /** Undefined until the candidate has answered once. */
  expectedMs(candidate: string): number | undefined {
    return this.#ms.get(candidate)
  }
}
