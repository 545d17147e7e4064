import type { ServerResponse } from 'node:http'
import { estimateUsage } from '../accounting/estimate.ts'
import type { Usage } from '../accounting/usage.ts'
import { GatewayError } from '../errors.ts'
import type { ChatRequest } from '../openai/chat.ts'
import { errorFrame } from '../openai/error.ts'
import { NO_USAGE } from '../openai/usage.ts'
import { Deadline } from './deadline.ts'
import type { Forwarded, PlainAnswer, StreamAnswer } from './forward.ts'
import { UpstreamError } from './provider.ts'

export interface RelayOptions {
  request: ChatRequest
  /** The gateway's own headers; they win over the provider's. */
  headers: Record<string, string>
  /** Aborted when the client leaves, or on shutdown; a `GatewayError` as its reason becomes the stream's last event. */
  signal: AbortSignal
  /** When all must have ended, on `performance.now()`'s clock. */
  deadline: number
  /** When the request arrived, on the same clock: where `ttftMs` starts. */
  started: number
  contentIdleMs: number
  writeIdleMs: number
}

/** How an answer ended, for the record and the bill. */
export interface RelayOutcome {
  usage: Usage
  usageEstimated: boolean
  /** The provider's; `error` or `aborted` where the answer did not end by itself. */
  finishReason: string
  completionId: string | null
  /** Milliseconds until the first byte went to the client. */
  ttftMs: number | null
  /** Bytes sent to the client. */
  bytes: number
  /** Milliseconds spent waiting for the provider or for the client to read. */
  waitedMs: number
  /** What went wrong after the answer had begun, or null: `aborted`, `timeout`, `reset`, `protocol`, `upstream`, `slow_reader`, `shutdown`. */
  error: string | null
}

/** Sends an answer to the client; never throws. The response is ended when it resolves. */
export function relay(answer: Forwarded, response: ServerResponse, options: RelayOptions): Promise<RelayOutcome> {
  return answer.stream ? new StreamRelay(answer, response, options).run() : relayPlain(answer, response, options)
}

/** Providers' headers that would mislead the client about this connection, or about us. */
const KEPT = /^(content-type|openai-|anthropic-|retry-after|x-should-retry)/

const headersOf = (answer: Forwarded, own: Record<string, string>) => {
  const headers: Record<string, string> = {}
  for (const name in answer.headers) if (KEPT.test(name)) headers[name] = answer.headers[name] as string
  return Object.assign(headers, own)
}

function relayPlain(answer: PlainAnswer, response: ServerResponse, options: RelayOptions): Promise<RelayOutcome> {
  const { body, status } = answer
  const ok = status < 400
  const { promise, resolve } = Promise.withResolvers<RelayOutcome>()
  const sentAt = performance.now()
  const finish = (error: string | null) => {
    clearTimeout(idle)
    const estimated = ok && answer.usage === null
    resolve({
      usage: answer.usage ?? (estimated ? estimateUsage(options.request.promptTokens, answer.outputChars) : NO_USAGE),
      usageEstimated: estimated,
      finishReason: error ? 'aborted' : (answer.finishReason ?? (ok ? 'stop' : 'error')),
      completionId: answer.completionId,
      ttftMs: sentAt - options.started,
      bytes: body.length,
      waitedMs: performance.now() - sentAt,
      error,
    })
  }
  const idle = setTimeout(() => {
    finish('slow_reader')
    response.destroy()
  }, options.writeIdleMs)
  response.once('close', () => finish(response.writableFinished ? null : 'aborted'))
  if (response.destroyed) {
    finish('aborted')
    return promise
  }
  const headers = { ...headersOf(answer, options.headers), 'content-length': String(body.length) }
  response.writeHead(status, headers)
  response.end(body, () => finish(null))
  return promise
}

/**
 * Passes a stream on, chunk by chunk, at the client's pace. After the first byte there is no second try: what goes wrong becomes an event
 * `{"error": …}`, on which the official SDKs raise, and no `[DONE]`.
 */
class StreamRelay {
  readonly #answer: StreamAnswer
  readonly #response: ServerResponse
  readonly #options: RelayOptions
  #bytes = 0
  #waitedMs = 0
  #ttftMs: number | null = null
  /** The client is gone; nothing more can be sent. */
  #left = false
  #waitingForUpstream = false
  #drained: PromiseWithResolvers<boolean> | null = null

  constructor(answer: StreamAnswer, response: ServerResponse, options: RelayOptions) {
    this.#answer = answer
    this.#response = response
    this.#options = options
  }

  async run(): Promise<RelayOutcome> {
    const { abort, release } = this.#answer
    const { deadline, contentIdleMs, signal } = this.#options
    const total = new Deadline(deadline, () => abort(new UpstreamError('timeout', 'the answer took too long')))
    const idle = setTimeout(() => {
      // While the client is the slow one, the provider is not to blame.
      if (this.#waitingForUpstream) abort(new UpstreamError('timeout', 'the answer stalled'))
      else idle.refresh()
    }, contentIdleMs)
    const onClose = () => {
      this.#left = true
      this.#drained?.resolve(false)
      abort(new UpstreamError('aborted', 'the client left'))
    }
    const onDrain = () => this.#drained?.resolve(true)
    // The provider's stream notices by itself; a client that does not read must be left behind, too.
    const onAbort = () => this.#drained?.resolve(false)
    this.#response.once('close', onClose)
    this.#response.on('drain', onDrain)
    signal.addEventListener('abort', onAbort, { once: true })
    let error: string | null
    try {
      if (this.#response.destroyed) onClose()
      error = await this.#pump(idle)
    } finally {
      clearTimeout(idle)
      total.clear()
      release()
      this.#response.off('close', onClose)
      this.#response.off('drain', onDrain)
      signal.removeEventListener('abort', onAbort)
    }
    return this.#outcome(error)
  }

  async #pump(idle: NodeJS.Timeout): Promise<string | null> {
    const { head, rest, observer } = this.#answer
    this.#response.writeHead(this.#answer.status, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      ...headersOf(this.#answer, this.#options.headers),
    })
    try {
      for (const bytes of head) if (!(await this.#send(bytes))) return this.#cut(this.#leftBehind())
      let events = observer.events
      while (observer.error === null && !observer.oversize) {
        const { value, done } = await this.#next(rest)
        if (done) return this.#finish()
        const bytes = observer.push(value)
        if (observer.events !== events || observer.done) {
          events = observer.events
          idle.refresh()
        }
        if (bytes && !(await this.#send(bytes))) return this.#cut(this.#leftBehind())
      }
      await rest.return?.()
      if (observer.oversize) return this.#break('protocol', 'The model sent an event that is too large.')
      this.#response.end()
      return 'upstream'
    } catch (error) {
      return this.#failed(error)
    }
  }

  /** The provider has closed the stream. */
  #finish(): string | null {
    const { observer } = this.#answer
    const held = observer.end()
    if (held) this.#write(held)
    if (observer.error !== null) {
      this.#response.end()
      return 'upstream'
    }
    if (!observer.isComplete(this.#options.request.body.n ?? 1)) {
      return this.#break('reset', "The model's provider ended the stream before the answer was complete.")
    }
    this.#response.end()
    return null
  }

  #failed(error: unknown): string | null {
    const { signal, request } = this.#options
    if (this.#left) return 'aborted'
    if (signal.aborted && !(signal.reason instanceof GatewayError)) return this.#cut('aborted')
    if (signal.aborted) {
      const { message, code, type } = signal.reason as GatewayError
      this.#write(errorFrame({ message, type, param: null, code }))
      this.#response.end()
      return 'shutdown'
    }
    const fault = error instanceof UpstreamError ? error.fault : 'protocol'
    const held = this.#answer.observer.end()
    if (held) this.#write(held)
    if (fault === 'reset' && this.#answer.observer.isComplete(request.body.n ?? 1)) {
      this.#response.end()
      return null
    }
    return this.#break(
      fault,
      fault === 'timeout'
        ? "The model's answer took too long."
        : "The connection to the model's provider broke before the answer was complete.",
    )
  }

  #break(fault: string, message: string): string {
    const code = fault === 'timeout' ? 'upstream_timeout' : 'upstream_error'
    this.#write(errorFrame({ message, type: 'api_error', param: null, code }))
    this.#response.end()
    return fault
  }

  /** Closes the connection: nobody reads on the other side. */
  #cut(fault: string): string {
    this.#answer.abort(new UpstreamError('aborted', 'the client left'))
    this.#response.destroy()
    return fault
  }

  #leftBehind(): string {
    return this.#left || this.#options.signal.aborted ? 'aborted' : 'slow_reader'
  }

  async #next(rest: AsyncIterator<Uint8Array>): Promise<IteratorResult<Uint8Array>> {
    const from = performance.now()
    this.#waitingForUpstream = true
    try {
      return await rest.next()
    } finally {
      this.#waitingForUpstream = false
      this.#waitedMs += performance.now() - from
    }
  }

  /** False when the client has left or did not read in time. */
  #send(bytes: Buffer): boolean | Promise<boolean> {
    if (this.#left) return false
    return this.#write(bytes) || this.#drain()
  }

  #write(bytes: Buffer): boolean {
    this.#ttftMs ??= performance.now() - this.#options.started
    this.#bytes += bytes.length
    return this.#response.write(bytes)
  }

  async #drain(): Promise<boolean> {
    const from = performance.now()
    const drained = Promise.withResolvers<boolean>()
    this.#drained = drained
    const timer = setTimeout(() => drained.resolve(false), this.#options.writeIdleMs)
    const ok = await drained.promise
    clearTimeout(timer)
    this.#drained = null
    this.#waitedMs += performance.now() - from
    return ok
  }

  #outcome(error: string | null): RelayOutcome {
    const { observer } = this.#answer
    const { request } = this.#options
    const aborted = error === 'aborted' || error === 'slow_reader'
    return {
      usage: observer.usage ?? estimateUsage(request.promptTokens, observer.outputBytes, observer.outputEvents),
      usageEstimated: observer.usage === null,
      finishReason: error ? (aborted ? 'aborted' : 'error') : (observer.finishReason ?? 'stop'),
      completionId: observer.id,
      ttftMs: this.#ttftMs,
      bytes: this.#bytes,
      waitedMs: this.#waitedMs,
      error,
    }
  }
}
