import type { ServerResponse } from 'node:http'
import { GatewayError } from '../../errors.ts'
import type { ChatRequest } from '../../openai/chat.ts'
import { errorFrame, type OpenAIError, readError, statusOfError } from '../../openai/error.ts'
import { estimateUsage } from '../../openai/estimate-tokens.ts'
import { NO_USAGE } from '../../openai/usage.ts'
import { FairTimer } from '../../runtime/fair-timer.ts'
import { Deadline } from '../forward/deadline.ts'
import { UpstreamError } from '../provider.ts'
import type { Forwarded, PlainAnswer, StreamAnswer } from './answer.ts'
import { type Outcome, withError } from './outcome.ts'
import { Sink } from './sink.ts'
import type { StreamWriter } from './writer.ts'

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
  /** How long comments alone keep a stream from being taken for stalled; milliseconds since the last event. */
  commentsMs: number
  /** How long a stream of which nothing is missing may stay open: counts come then, and the goodbye. */
  endingMs: number
  writeIdleMs: number
  /** Tells a stream in the endpoint's own format; the provider's bytes go through where left out. */
  writer?: StreamWriter | undefined
  /** Called once, before the client gets the first bytes from which it can know the id of its answer. */
  onNamed?: (completionId: string) => void
  /**
   * Called once, and awaited: before the last bytes of a whole answer go out, so that what is noted there is noted of
   * every answer that a client has got in whole, however this process ends; otherwise when the answer has failed.
   */
  onEnding?: (outcome: Outcome) => Promise<void> | undefined
}

/** Sends an answer to the client; never throws. The response is ended when it resolves. */
export function relay(answer: Forwarded, response: ServerResponse, options: RelayOptions): Promise<Outcome> {
  if (answer.stream) return new StreamRelay(answer, response, options).run()
  return (goesAtOnce(answer.body, response) ? relayAtOnce : relayPlain)(answer, response, options)
}

/** Providers' headers that would mislead the client about this connection, or about us. */
const KEPT = /^(content-type|openai-|anthropic-|retry-after|x-should-retry)/

function headersOf(answer: Forwarded, own: Record<string, string>): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const name in answer.headers) if (KEPT.test(name)) headers[name] = answer.headers[name] as string
  Object.assign(headers, own)
  if (!answer.stream) headers['content-length'] = String(answer.body.length)
  return headers
}

/** A whole answer is told of just before its first byte goes out, where it has but one piece. */
function firstByteMs({ firstByteAt }: Sent, started: number, error: string | null): number | null {
  if (firstByteAt !== null) return firstByteAt - started
  return error === null ? performance.now() - started : null
}

/** What has gone to the client. */
type Sent = Pick<Sink, 'firstByteAt' | 'waitedMs'>

/** Below the mark at which a socket asks to wait. */
const MAX_AT_ONCE_BYTES = 16 * 1024

/**
 * Large bodies go out piece by piece, so that a client that reads slowly but reads is not taken for one that does not.
 */
const PIECE_BYTES = 256 * 1024

async function relayPlain(answer: PlainAnswer, response: ServerResponse, options: RelayOptions): Promise<Outcome> {
  const { body, status } = answer
  const { signal, writeIdleMs } = options
  const sink = new Sink(response, { signal, writeIdleMs, onLeave: () => {} })
  let error: string | null = null
  if (sink.left) error = 'aborted'
  else response.writeHead(status, headersOf(answer, options.headers))
  let ended = false
  const end = async () => {
    if (ended) return
    ended = true
    await options.onEnding?.(plainOutcome(answer, options, sink, error))
  }
  for (let at = 0; at < body.length && error === null; at += PIECE_BYTES) {
    if (at + PIECE_BYTES >= body.length) await end()
    if (!(await sink.send(body.subarray(at, at + PIECE_BYTES)))) {
      error = sink.left || signal.aborted ? 'aborted' : 'slow_reader'
    }
  }
  sink.release()
  await end()
  if (error === null) response.end()
  else response.destroy()
  return plainOutcome(answer, options, sink, error)
}

const goesAtOnce = (body: Buffer, { destroyed, socket }: ServerResponse) =>
  !destroyed && socket?.writableLength === 0 && body.length > 0 && body.length <= MAX_AT_ONCE_BYTES

/** Nothing to wait for but the record, nobody to watch: headers, body and end in one write (docs/profile.md). */
async function relayAtOnce(answer: PlainAnswer, response: ServerResponse, options: RelayOptions): Promise<Outcome> {
  const { body, status } = answer
  response.writeHead(status, headersOf(answer, options.headers))
  const sent = { firstByteAt: performance.now(), waitedMs: 0 }
  const outcome = plainOutcome(answer, options, sent, null)
  await options.onEnding?.(outcome)
  response.end(body)
  return outcome
}

function plainOutcome(answer: PlainAnswer, options: RelayOptions, sent: Sent, error: string | null): Outcome {
  const ok = answer.status < 400
  const estimated = ok && answer.usage === null
  return {
    candidate: answer.candidate,
    attempts: withError(answer.attempts, error),
    status: answer.status,
    usage: answer.usage ?? (estimated ? estimateUsage(options.request.promptTokens, answer.outputChars) : NO_USAGE),
    usageEstimated: estimated,
    finishReason: error ? 'aborted' : (answer.finishReason ?? (ok ? 'stop' : 'error')),
    completionId: answer.completionId,
    ttftMs: firstByteMs(sent, options.started, error),
    waitedMs: answer.upstreamMs + sent.waitedMs,
    error,
  }
}

const writtenAll = (writer: StreamWriter, head: readonly Buffer[]) =>
  head.map((bytes) => writer.push(bytes)).filter((bytes) => bytes !== null)

const joined = (bytes: Buffer | null, last: Buffer | null) =>
  bytes && last ? Buffer.concat([bytes, last]) : (bytes ?? last)

/**
 * Passes a stream on, chunk by chunk, at the client's pace. After the first byte there is no second try: what goes
 * wrong becomes an event `{"error": …}`, on which the official SDKs raise, and no `[DONE]`.
 */
class StreamRelay {
  readonly #answer: StreamAnswer
  readonly #response: ServerResponse
  readonly #options: RelayOptions
  readonly #sink: Sink
  #upstreamMs = 0
  /** When the provider was last heard of, on `performance.now()`'s clock. */
  #heardAt = 0
  #waitingForUpstream = false
  #isReported = false
  #isNamed = false
  #cause: unknown
  /** Runs once nothing is missing; of what comes then only more of the answer moves it. */
  #ending: Deadline | null = null
  /** Events of the answer by then. */
  #told = 0

  constructor(answer: StreamAnswer, response: ServerResponse, options: RelayOptions) {
    this.#answer = answer
    this.#response = response
    this.#options = options
    this.#sink = new Sink(response, {
      signal: options.signal,
      writeIdleMs: options.writeIdleMs,
      onLeave: () => answer.abort(new UpstreamError('aborted', 'the client left')),
    })
  }

  async run(): Promise<Outcome> {
    const { abort, release } = this.#answer
    const { deadline, contentIdleMs } = this.#options
    const total = new Deadline(deadline, () => abort(new UpstreamError('timeout', 'the answer took too long')))
    const idle = new FairTimer(contentIdleMs, () => {
      // While the client is the slow one, the provider is not to blame.
      if (this.#waitingForUpstream) abort(new UpstreamError('timeout', 'the answer stalled'))
      else idle.refresh()
    })
    try {
      const error = await this.#pump(idle)
      await this.#report(error)
      // Not what was reported: the client may have left between that and the last bytes.
      return this.#outcome(error)
    } finally {
      idle.clear()
      total.clear()
      this.#ending?.clear()
      release()
      this.#sink.release()
    }
  }

  async #pump(idle: FairTimer): Promise<string | null> {
    const { head, rest, observer, status } = this.#answer
    const { writer, commentsMs } = this.#options
    if (this.#sink.left) return this.#cut()
    this.#response.writeHead(status, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      ...headersOf(this.#answer, this.#options.headers),
    })
    try {
      this.#name()
      const first = writer ? writtenAll(writer, head) : head
      const last = observer.done ? await this.#complete() : null
      for (const bytes of last ? [...first, last] : first) if (!(await this.#sink.send(bytes))) return this.#cut()
      let { events } = observer
      let eventAt = performance.now()
      while (observer.error === null && !observer.done && !observer.oversize) {
        this.#awaitEnding()
        // Comments and roles say nothing yet: the time to the first byte is the time to the first word.
        if (!observer.speaks) this.#sink.firstByteAt = null
        const { value, done } = await this.#next(rest)
        if (done) return await this.#finish()
        let bytes = observer.push(value)
        if (!this.#isNamed) this.#name()
        if (bytes && writer) bytes = writer.push(bytes)
        if (observer.events !== events || observer.done) {
          events = observer.events
          eventAt = this.#heardAt
          idle.refresh()
        } else if (this.#heardAt - eventAt < commentsMs) idle.refresh()
        if (observer.done && observer.error === null) bytes = joined(bytes, await this.#complete())
        if (bytes && !(await this.#sink.send(bytes))) return this.#cut()
      }
      if (observer.done && observer.error === null) {
        this.#response.end()
        void drain(this.#answer)
        return null
      }
      await rest.return?.()
      if (observer.oversize) return this.#break('protocol', 'The model sent an event that is too large.')
      return await this.#endAfterError()
    } catch (error) {
      return await this.#failed(error)
    }
  }

  /** The provider has closed the stream. */
  async #finish(): Promise<string | null> {
    const { observer } = this.#answer
    this.#flush()
    if (observer.error !== null) return this.#endAfterError()
    if (!this.#isComplete()) {
      return this.#break('reset', "The model's provider ended the stream before the answer was complete.")
    }
    await this.#sendLast()
    return null
  }

  /** The provider's own error event is the last one, where it is one that clients see. */
  async #endAfterError(): Promise<string> {
    const { error, errorUntold } = this.#answer.observer
    if (this.#options.writer || errorUntold) this.#writeError(readError(statusOfError(error), { error }))
    await this.#report('upstream')
    this.#response.end()
    return 'upstream'
  }

  async #failed(error: unknown): Promise<string | null> {
    const { signal } = this.#options
    if (this.#sink.left) return 'aborted'
    if (signal.aborted && !(signal.reason instanceof GatewayError)) return this.#cut()
    this.#flush()
    if (signal.aborted) {
      const { message, code, type } = signal.reason as GatewayError
      this.#end({ message, type, param: null, code })
      return 'shutdown'
    }
    this.#cause = error
    const fault = error instanceof UpstreamError ? error.fault : 'protocol'
    const { observer } = this.#answer
    // Nothing of the answer is missing, only its goodbye.
    if (observer.error === null && this.#isComplete()) {
      await this.#sendLast()
      return null
    }
    if (observer.error !== null) return this.#endAfterError()
    return this.#break(
      fault,
      fault === 'timeout'
        ? "The model's answer took too long."
        : "The connection to the model's provider broke before the answer was complete.",
    )
  }

  #awaitEnding(): void {
    if (!this.#isComplete()) return
    const { outputEvents } = this.#answer.observer
    if (this.#ending !== null && outputEvents === this.#told) return
    this.#told = outputEvents
    const until = performance.now() + this.#options.endingMs
    if (this.#ending !== null) {
      this.#ending.move(until)
      return
    }
    this.#ending = new Deadline(until, () => {
      // What the provider has sent while the client was the slow one has not been read.
      if (this.#waitingForUpstream) this.#answer.abort(new UpstreamError('timeout', 'no goodbye came'))
      else this.#ending = null
    })
  }

  #name(): void {
    const { id } = this.#answer.observer
    if (id === null) return
    this.#isNamed = true
    this.#options.onNamed?.(id)
  }

  #isComplete(): boolean {
    return this.#answer.observer.isComplete(this.#options.request.body.n ?? 1)
  }

  /** Sends a last event that lacked only its line ends; half an event is dropped. */
  #flush(): void {
    const held = this.#answer.observer.end()
    const bytes = held && this.#options.writer ? this.#options.writer.push(held) : held
    if (bytes) this.#sink.write(bytes)
  }

  /** Nothing of the answer is missing. Returns what the endpoint's format has after it. */
  async #complete(): Promise<Buffer | null> {
    await this.#report(null)
    return (await this.#options.writer?.end()) ?? null
  }

  async #sendLast(): Promise<void> {
    const last = await this.#complete()
    if (last) this.#sink.write(last)
    this.#response.end()
  }

  #break(fault: string, message: string): string {
    this.#end({
      message,
      type: 'api_error',
      param: null,
      code: fault === 'timeout' ? 'upstream_timeout' : 'upstream_error',
    })
    return fault
  }

  #end(error: OpenAIError): void {
    // Behind half an event an error would be read as part of it; a broken connection is an error, too.
    if (this.#answer.observer.torn) {
      this.#response.destroy()
      return
    }
    this.#writeError(error)
    this.#response.end()
  }

  #writeError(error: OpenAIError): void {
    const { writer } = this.#options
    const bytes = writer ? writer.fail(error) : errorFrame(error)
    if (bytes) this.#sink.write(bytes)
  }

  /** Closes the connection: nobody reads on the other side. */
  #cut(): string {
    this.#answer.abort(new UpstreamError('aborted', 'the client left'))
    this.#response.destroy()
    return this.#sink.left || this.#options.signal.aborted ? 'aborted' : 'slow_reader'
  }

  async #next(rest: AsyncIterator<Uint8Array>): Promise<IteratorResult<Uint8Array>> {
    const from = performance.now()
    this.#waitingForUpstream = true
    try {
      return await rest.next()
    } finally {
      this.#waitingForUpstream = false
      this.#heardAt = performance.now()
      this.#upstreamMs += this.#heardAt - from
    }
  }

  async #report(error: string | null): Promise<void> {
    if (this.#isReported) return
    this.#isReported = true
    await this.#options.onEnding?.(this.#outcome(error))
  }

  #outcome(error: string | null): Outcome {
    const { candidate, attempts, status, observer, upstreamMs } = this.#answer
    const { request, started } = this.#options
    const aborted = error === 'aborted' || error === 'slow_reader'
    return {
      candidate,
      attempts: withError(attempts, error),
      status,
      usage: observer.usage ?? estimateUsage(request.promptTokens, observer.outputBytes, observer.outputEvents),
      usageEstimated: observer.usage === null,
      finishReason: error ? (aborted ? 'aborted' : 'error') : (observer.finishReason ?? 'stop'),
      completionId: observer.id,
      ttftMs: firstByteMs(this.#sink, started, error),
      waitedMs: upstreamMs + this.#upstreamMs + this.#sink.waitedMs,
      error,
      cause: this.#cause,
    }
  }
}

/** A provider closes right after `[DONE]`; then its connection can be used again. */
const GOODBYE_MS = 1_000

/** Reads on after `[DONE]`, where nothing is for the client any more. */
async function drain({ rest, abort }: StreamAnswer): Promise<void> {
  const timer = setTimeout(() => abort(new UpstreamError('aborted', 'the answer was whole')), GOODBYE_MS).unref()
  try {
    while (!(await rest.next()).done);
  } catch {
    // Nobody misses what comes after the end.
  } finally {
    clearTimeout(timer)
  }
}
