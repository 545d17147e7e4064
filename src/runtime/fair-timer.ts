/** A wait is counted in so many parts. */
const PARTS = 5

/**
 * A timer for giving up on another party: it counts time in which their answer could have been seen. A plain timer that
 * fires because this process's event loop was busy blames them for it, while their answer lies in the socket.
 *
 * The wait is cut into parts. After each the sockets are polled (a timer runs before the poll of its turn of the loop,
 * an immediate after it), so that whatever has arrived can call `clear` or `refresh` first; and a loop that is held up
 * for long uses up one part, not the whole wait.
 *
 * Plain timers are right where no peer is judged: intervals, retries, back-off, the end of a drain or of a linger, an
 * answer that goes out whether or not work is done (feedback, warming). A request's total deadline is the client's
 * patience, which our own delays use up, too; it looks once more before it ends an answer (`Deadline`). Libraries' own
 * time-outs look (undici's connect), only lead to another try (ioredis' connect), or are tens of seconds (Node's HTTP).
 */
export class FairTimer {
  readonly #onPassed: () => void
  readonly #parts: number
  readonly #timer: NodeJS.Timeout
  #left: number
  #look: NodeJS.Immediate | undefined

  /**
   * @param ms until `onPassed` is called, once; late by a few milliseconds, and by the time in which the loop was busy
   */
  constructor(ms: number, onPassed: () => void) {
    this.#onPassed = onPassed
    this.#parts = Math.max(1, Math.min(PARTS, Math.floor(ms)))
    this.#left = this.#parts
    this.#timer = setTimeout(FairTimer.#onPart, Math.max(0, ms) / this.#parts, this)
  }

  /** Begins again, also after it has passed. */
  refresh(): void {
    this.#stopLooking()
    this.#left = this.#parts
    this.#timer.refresh()
  }

  clear(): void {
    this.#stopLooking()
    clearTimeout(this.#timer)
  }

  /** Keeps no process alive. */
  unref(): this {
    this.#timer.unref()
    return this
  }

  #stopLooking(): void {
    if (this.#look === undefined) return
    clearImmediate(this.#look)
    this.#look = undefined
  }

  static #onPart(timer: FairTimer): void {
    timer.#look = setImmediate(FairTimer.#onLooked, timer)
  }

  static #onLooked(timer: FairTimer): void {
    timer.#look = undefined
    if (--timer.#left > 0) timer.#timer.refresh()
    else timer.#onPassed()
  }
}

/** As `AbortSignal.timeout`, by a `FairTimer`. */
export function fairTimeout(ms: number): AbortSignal {
  const timeout = new AbortController()
  new FairTimer(ms, () => timeout.abort(new DOMException('The operation timed out.', 'TimeoutError'))).unref()
  return timeout.signal
}
