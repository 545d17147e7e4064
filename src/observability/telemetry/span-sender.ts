import { setTimeout as sleep } from 'node:timers/promises'
import type { SentSpan, SpanBatch } from './span-batch.ts'

export interface SpanSenderOptions {
  url: string
  headers: Readonly<Record<string, string>>
  /** Milliseconds for one batch, retries included. */
  timeoutMs: number
  /** Milliseconds that a span waits for others. */
  delayMs: number
  batch: SpanBatch
  /** A batch was not taken, or there was no room for spans: they are gone. */
  onFailed: (error: Error) => void
}

/** So much is sent without waiting for more. */
const FULL_BYTES = 1024 * 1024
/** Batches on their way; beyond them spans are dropped, so that a slow collector costs no memory. */
const MOST_SENDING = 16
/** A collector that is busy says so (OTLP, "Failures"). */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504])
const RETRY_AFTER_MS = 1_000

/** Sends spans by OTLP over HTTP, in batches beside the requests. */
export class SpanSender {
  readonly #options: SpanSenderOptions
  readonly #sending = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | null = null

  constructor(options: SpanSenderOptions) {
    this.#options = options
  }

  add(span: SentSpan): void {
    const { batch, delayMs } = this.#options
    batch.add(span)
    if (batch.size >= FULL_BYTES) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), delayMs).unref()
  }

  /** Sends what is left. */
  async close(): Promise<void> {
    this.#flush()
    await Promise.all(this.#sending)
  }

  #flush(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    const body = this.#options.batch.take()
    if (!body) return
    if (this.#sending.size >= MOST_SENDING) {
      this.#options.onFailed(new Error('the collector is slower than spans come'))
      return
    }
    const sending = this.#send(body)
      .catch(this.#options.onFailed)
      .finally(() => this.#sending.delete(sending))
    this.#sending.add(sending)
  }

  async #send(body: Buffer<ArrayBuffer>): Promise<void> {
    const { url, headers, timeoutMs } = this.#options
    const signal = AbortSignal.timeout(timeoutMs)
    for (;;) {
      const response = await fetch(url, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/x-protobuf' },
        body,
        redirect: 'error',
        signal,
      })
      await response.body?.cancel()
      if (response.ok) return
      if (!RETRYABLE.has(response.status)) throw new Error(`the collector answers with HTTP ${response.status}`)
      await sleep(RETRY_AFTER_MS, undefined, { signal, ref: false })
    }
  }
}
