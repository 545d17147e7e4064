import { setTimeout as sleep } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import { openDispatcher } from '../../runtime/dispatcher.ts'
import { proxyFor } from '../../runtime/proxy.ts'
import type { SentSpan, SpanBatch } from './span-batch.ts'

export interface SpanSenderOptions {
  url: string
  /** As of now. */
  headers: () => Readonly<Record<string, string>>
  /** Authorities of the collector, instead of the usual ones. */
  ca?: Buffer | undefined
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
  readonly #collector: Dispatcher
  readonly #sending = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | null = null

  constructor(options: SpanSenderOptions) {
    this.#options = options
    const { origin } = new URL(options.url)
    this.#collector = openDispatcher({
      origin,
      connections: MOST_SENDING,
      connectTimeoutMs: options.timeoutMs,
      proxy: proxyFor(origin, undefined),
      tls: options.ca === undefined ? {} : { ca: options.ca },
      http2: false,
    })
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
    await this.#collector.close()
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
    const { origin, pathname, search } = new URL(url)
    for (;;) {
      const { statusCode: status, body: answer } = await this.#collector.request({
        origin,
        path: pathname + search,
        method: 'POST',
        headers: { ...headers(), 'content-type': 'application/x-protobuf' },
        body,
        signal,
      })
      await answer.dump()
      if (status >= 200 && status < 300) return
      if (!RETRYABLE.has(status)) throw new Error(`the collector answers with HTTP ${status}`)
      await sleep(RETRY_AFTER_MS, undefined, { signal, ref: false })
    }
  }
}
