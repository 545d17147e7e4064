import type { GatewayError } from '../errors.ts'
import { FairTimer } from '../runtime/fair-timer.ts'
import { type BodySource, beginBody, bodyTimeout, brokenOff, tooLarge } from './body.ts'

/**
 * A request's body as it comes: of any size, none of it held. What is wrong with it is `error`, and ends it, so that
 * whoever sends it on notices.
 */
export class Upload implements AsyncIterable<Buffer> {
  error: GatewayError | null = null
  /** As the client declares it; null where it does not. */
  readonly length: number | null
  readonly #source: BodySource
  readonly #maxBytes: number
  readonly #onBytes: () => void

  /**
   * @param onBytes called whenever some have come
   * @throws GatewayError 413, 415, 400 as `readBody`
   */
  constructor(source: BodySource, maxBytes: number, onBytes: () => void) {
    beginBody(source, maxBytes, { isHeld: false })
    const declared = source.incoming.headers['content-length']
    this.length = declared === undefined ? null : Number(declared)
    this.#source = source
    this.#maxBytes = maxBytes
    this.#onBytes = onBytes
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    const { incoming, snapshot, held } = this.#source
    const { body_timeout_ms: timeoutMs, body_min_bytes_per_s: minBytesPerS } = snapshot.config.server
    const late = Promise.withResolvers<never>()
    late.promise.catch(() => {})
    // Only while it is waited for: whoever sends it on may be slower than the client.
    let timer: FairTimer | undefined
    const pieces = incoming.iterator({ destroyOnReturn: false })
    let size = 0
    let waitedMs = 0
    try {
      for (;;) {
        const from = performance.now()
        timer = new FairTimer(timeoutMs, () => late.reject(this.#fail(bodyTimeout())))
        const { value, done } = await Promise.race([pieces.next(), late.promise])
        timer.clear()
        if (done) break
        size += value.length
        waitedMs += performance.now() - from
        if (size > this.#maxBytes) throw this.#fail(tooLarge(this.#maxBytes))
        if (waitedMs > timeoutMs + (size / minBytesPerS) * 1_000) throw this.#fail(bodyTimeout())
        this.#onBytes()
        yield value as Buffer
      }
      if (!incoming.complete) throw this.#fail(brokenOff())
    } catch {
      throw this.error ?? this.#fail(brokenOff())
    } finally {
      timer?.clear()
      held.read()
    }
  }

  #fail(error: GatewayError): GatewayError {
    this.error = error
    return error
  }
}
