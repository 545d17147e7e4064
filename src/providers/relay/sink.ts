import type { ServerResponse } from 'node:http'
import { FairTimer } from '../../runtime/fair-timer.ts'

export interface SinkOptions {
  /** Aborted when the client leaves, or on shutdown. */
  signal: AbortSignal
  /** A client that takes nothing for so long is let go. */
  writeIdleMs: number
  /** The client has closed the connection. */
  onLeave(): void
}

/** The client's side of an answer: writes at its pace, and notices when it leaves or stops reading. */
export class Sink {
  /** The client is gone; nothing more can be sent. */
  left = false
  /** Milliseconds spent waiting for the client to read. */
  waitedMs = 0
  /** When the first byte went out, on `performance.now()`'s clock. */
  firstByteAt: number | null = null
  readonly #response: ServerResponse
  readonly #options: SinkOptions
  #drained: PromiseWithResolvers<boolean> | null = null

  constructor(response: ServerResponse, options: SinkOptions) {
    this.#response = response
    this.#options = options
    response.once('close', this.#onClose)
    response.on('drain', this.#onDrain)
    options.signal.addEventListener('abort', this.#onAbort, { once: true })
    if (response.destroyed) this.#onClose()
  }

  /** False when the client has left or did not read in time. */
  send(bytes: Uint8Array): boolean | Promise<boolean> {
    if (this.left) return false
    return this.write(bytes) || this.#drain()
  }

  /** Without waiting; false when the client should be given time to read. */
  write(bytes: Uint8Array): boolean {
    this.firstByteAt ??= performance.now()
    return this.#response.write(bytes)
  }

  /** Stops watching the client. */
  release(): void {
    this.#response.off('close', this.#onClose)
    this.#response.off('drain', this.#onDrain)
    this.#options.signal.removeEventListener('abort', this.#onAbort)
  }

  readonly #onClose = () => {
    this.left = true
    this.#drained?.resolve(false)
    this.#options.onLeave()
  }

  readonly #onDrain = () => this.#drained?.resolve(true)

  // The provider's stream notices by itself; a client that does not read must be left behind, too.
  readonly #onAbort = () => this.#drained?.resolve(false)

  async #drain(): Promise<boolean> {
    const from = performance.now()
    const drained = Promise.withResolvers<boolean>()
    this.#drained = drained
    const timer = new FairTimer(this.#options.writeIdleMs, () => drained.resolve(false))
    const ok = await drained.promise
    timer.clear()
    this.#drained = null
    this.waitedMs += performance.now() - from
    return ok
  }
}
