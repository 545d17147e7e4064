/** Weight of the newest measurement. */
const ALPHA = 0.2

/**
 * Time to the first byte of each candidate in this process, in milliseconds: an exponential moving average.
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
