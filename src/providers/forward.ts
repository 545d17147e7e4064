import { decorrelatedJitterGenerator, ExponentialBackoff } from 'cockatiel'
import type { Usage } from '../accounting/usage.ts'
import type { Candidate } from '../candidate.ts'
import type { RetriesConfig, TimeoutsConfig } from '../config.ts'
import { GatewayError } from '../errors.ts'
import type { ChatRequest } from '../openai/chat.ts'
import { errorBodyOf, parseJson, readError, statusOfError } from '../openai/error.ts'
import { retryAfterMs } from '../openai/retry-after.ts'
import { SseObserver } from '../openai/sse-observer.ts'
import { parseUsage } from '../openai/usage.ts'
import type { Attempt } from '../store/records.ts'
import type { Breakers } from './breakers.ts'
import { Deadline } from './deadline.ts'
import {
  allOpen,
  asForwardError,
  clientGone,
  errorKind,
  exhausted,
  type Failure,
  type ForwardError,
  internal,
  isDeploymentFailure,
  isOurFault,
  judge,
} from './failure.ts'
import { hedge } from './hedge.ts'
import { type Provider, type ProviderAnswer, UnsupportedRequest, UpstreamError } from './provider.ts'
import { readAll } from './read-all.ts'

export interface ForwardInput {
  /** Whom to try, best first; not empty. */
  ranking: readonly Candidate[]
  request: ChatRequest
  /** Aborted when the client leaves, or on shutdown; a `GatewayError` as its reason is what the client is told. */
  signal: AbortSignal
  requestId: string
  /** When all must have ended, on `performance.now()`'s clock. */
  deadline: number
}

export interface ForwardDeps {
  providers: ReadonlyMap<string, Provider>
  breakers: Breakers
  timeouts: TimeoutsConfig
  retries: RetriesConfig
}

interface Common {
  candidate: Candidate
  status: number
  /** The provider's, hop-by-hop headers taken out. */
  headers: Record<string, string>
  attempts: Attempt[]
  /** Milliseconds spent waiting for providers so far. */
  upstreamMs: number
}

/** A whole answer, checked to be JSON; or the provider's own 4xx, in OpenAI's shape. */
export interface PlainAnswer extends Common {
  stream: false
  body: Buffer
  usage: Usage | null
  finishReason: string | null
  completionId: string | null
  /** Characters of text in it, for an estimate where `usage` is null. */
  outputChars: number
}

/** A stream that has begun to say something. */
export interface StreamAnswer extends Common {
  stream: true
  /** Bytes read already, to be sent first. */
  head: Buffer[]
  /** What follows; throws `UpstreamError`. */
  rest: AsyncIterator<Uint8Array>
  /** Has read `head`, and reads the rest along. */
  observer: SseObserver
  /** Ends the upstream; the reason is what `rest` then throws. */
  abort(reason: UpstreamError): void
  /** Lets go of the client's signal; call it when the stream has ended. */
  release(): void
}

export type Forwarded = PlainAnswer | StreamAnswer

/** A plain answer larger than this is refused; images and audio in base64 fit. */
const MAX_BODY_BYTES = 64 * 1024 * 1024
const MAX_ERROR_BYTES = 256 * 1024
/** Before the first event that says something: role, comments, an image at most. */
const MAX_HEAD_BYTES = 16 * 1024 * 1024
const MAX_BACKOFF_MS = 5_000

/**
 * Tries candidates in order until one answers: the Upstream table of the fault matrix. Nothing has been sent to the client before this resolves,
 * so every failure until then may be tried again elsewhere.
 *
 * @throws ForwardError with the attempts made
 */
export async function forward(input: ForwardInput, deps: ForwardDeps): Promise<Forwarded> {
  const { ranking, signal } = input
  const { breakers, retries } = deps
  const run = new Run(input, deps)
  const refusedBy = new Set<string>()
  let last: Failure | null = null
  let unsupported: UnsupportedRequest | null = null
  let soonestMs = Number.POSITIVE_INFINITY
  const isUsable = (other: Candidate) => !refusedBy.has(other.provider) && !breakers.of(other).isOpen

  for (const [index, candidate] of ranking.entries()) {
    if (refusedBy.has(candidate.provider)) continue
    const breaker = breakers.of(candidate)
    const backups = ranking.slice(index + 1)
    for (let tries = 1; run.attempts.length < retries.max_attempts && performance.now() < input.deadline; tries++) {
      if (breaker.isOpen) {
        soonestMs = Math.min(soonestMs, breaker.remainingMs)
        break
      }
      const result = await run.ask(candidate, backups.find(isUsable))
      if ('answer' in result) return result.answer
      if ('unsupported' in result) {
        unsupported ??= result.unsupported
        break
      }
      const { failure } = result
      last = failure
      if (failure.kind === 'status' && isOurFault(failure.status)) refusedBy.add(candidate.provider)
      const situation = { tries, hasNext: backups.some(isUsable), maxRetryAfterMs: retries.max_retry_after_ms }
      const verdict = judge(failure, situation)
      if (verdict === 'pass' && failure.kind === 'status') return run.passError(candidate, failure)
      if (verdict === 'next' || run.attempts.length >= retries.max_attempts) break
      await run.wait(failure, tries)
    }
  }
  if (signal.aborted) throw run.failed(abortedError(signal))
  if (performance.now() >= input.deadline) throw run.failed(exhausted(OUT_OF_TIME))
  if (last) throw run.failed(exhausted(last))
  throw run.failed(unsupported ? asForwardError(unsupported) : allOpen(Number.isFinite(soonestMs) ? soonestMs : 0))
}

const OUT_OF_TIME: Failure = { kind: 'timeout', message: 'the deadline passed' }

type AttemptResult = { deploymentFailed: boolean } & (
  | { answer: Forwarded }
  | { failure: Failure }
  | { unsupported: UnsupportedRequest }
)

/** One request's tries: what they share, and what is noted of them. */
class Run {
  readonly attempts: Attempt[] = []
  upstreamMs = 0
  readonly #input: ForwardInput
  readonly #deps: ForwardDeps

  constructor(input: ForwardInput, deps: ForwardDeps) {
    this.#input = input
    this.#deps = deps
  }

  /** One try, or two at once where hedging is on and the first is slow. */
  ask(candidate: Candidate, backup: Candidate | undefined): Promise<AttemptResult> {
    const { breakers, retries } = this.#deps
    const attempt = (who: Candidate) => (cancel?: AbortSignal) => breakers.of(who).run(() => this.#attempt(who, cancel))
    const { hedge_after_ms: afterMs, max_attempts: most } = retries
    if (afterMs === undefined || !backup || this.attempts.length + 2 > most) return attempt(candidate)()
    return hedge(attempt(candidate), attempt(backup), afterMs, (result) => 'answer' in result)
  }

  /**
   * @param cancel aborted when another try has answered first
   * @throws ForwardError when the client left, or the try was cancelled
   */
  async #attempt(candidate: Candidate, cancel?: AbortSignal): Promise<AttemptResult> {
    const { request, signal, requestId, deadline } = this.#input
    const provider = this.#deps.providers.get(candidate.provider)
    const started = performance.now()
    const abort = new AbortController()
    const onAbort = () => abort.abort(new UpstreamError('aborted', 'the client left', signal.reason))
    if (signal.aborted) throw this.failed(abortedError(signal))
    signal.addEventListener('abort', onAbort, { once: true })
    cancel?.addEventListener('abort', () => {
      this.#noteHedged(candidate, started)
      abort.abort(new UpstreamError('aborted', 'another try answered first'))
    })
    const timer = new Deadline(Math.min(started + this.#patience(), deadline), () =>
      abort.abort(new UpstreamError('timeout', 'the answer did not come in time')),
    )
    let keep = false
    let failure: Failure
    let status: number | null = null
    try {
      if (!provider) throw new UpstreamError('connect', 'its provider is not configured')
      const answer = await provider.chat({ candidate, request, signal: abort.signal, requestId })
      status = answer.status
      if (!request.stream) timer.move(deadline)
      const read = await this.#read(candidate, answer, abort, () => signal.removeEventListener('abort', onAbort))
      if ('answer' in read) {
        this.#note(candidate, status, null, started)
        read.answer.upstreamMs = this.upstreamMs
        keep = read.answer.stream
        return { answer: read.answer, deploymentFailed: false }
      }
      failure = read.failure
      if (failure.kind === 'status') status = failure.status
    } catch (error) {
      if (error instanceof UnsupportedRequest) return { unsupported: error, deploymentFailed: false }
      if (error instanceof GatewayError) throw this.failed(asForwardError(error))
      if (signal.aborted) {
        this.#note(candidate, status, 'aborted', started)
        throw this.failed(abortedError(signal))
      }
      if (cancel?.aborted) throw this.failed(clientGone())
      if (!(error instanceof UpstreamError)) {
        this.#note(candidate, status, 'internal', started)
        throw this.failed(internal(error))
      }
      failure = { kind: error.fault === 'aborted' ? 'reset' : error.fault, message: error.message }
    } finally {
      timer.clear()
      if (!keep) signal.removeEventListener('abort', onAbort)
    }
    this.#note(candidate, status, errorKind(failure), started)
    return { failure, deploymentFailed: isDeploymentFailure(failure) }
  }

  /** The provider's own 4xx goes to the client. */
  async passError(candidate: Candidate, failure: Failure & { kind: 'status' }): Promise<PlainAnswer> {
    return {
      stream: false,
      candidate,
      status: failure.status,
      headers: { ...failure.headers, 'content-type': 'application/json' },
      attempts: this.attempts,
      upstreamMs: this.upstreamMs,
      body: errorBodyOf(failure.status, failure.body),
      usage: null,
      finishReason: null,
      completionId: null,
      outputChars: 0,
    }
  }

  failed(error: ForwardError): ForwardError {
    error.attempts = this.attempts
    error.upstreamMs = this.upstreamMs
    return error
  }

  /** Waits before the same candidate is asked again: as it asked for, else exponential with jitter. */
  async wait(failure: Failure, tries: number): Promise<void> {
    const { signal, deadline } = this.#input
    const asked = failure.kind === 'status' ? failure.retryAfterMs : null
    const ms = Math.min(
      asked ?? backoffMs(this.#deps.retries.backoff_ms, tries),
      Math.max(0, deadline - performance.now()),
    )
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal.addEventListener('abort', done, { once: true })
    })
    if (signal.aborted) throw this.failed(abortedError(signal))
    if (performance.now() >= deadline) throw this.failed(exhausted(OUT_OF_TIME))
  }

  /** A streamed answer shows life early; a plain one comes only when all of it has been written. */
  #patience(): number {
    const { timeouts } = this.#deps
    return this.#input.request.stream ? timeouts.first_byte_ms : timeouts.answer_ms
  }

  /** Before the note of the try that answered, which stays the last; its time ran beside the other's. */
  #noteHedged({ name, provider }: Candidate, started: number): void {
    const ms = Math.round(performance.now() - started)
    this.attempts.splice(-1, 0, { candidate: name, provider, status: null, error: 'hedged', ms })
  }

  #note(candidate: Candidate, status: number | null, error: string | null, started: number): void {
    const ms = performance.now() - started
    this.upstreamMs += ms
    this.attempts.push({ candidate: candidate.name, provider: candidate.provider, status, error, ms: Math.round(ms) })
  }

  async #read(
    candidate: Candidate,
    answer: ProviderAnswer,
    abort: AbortController,
    release: () => void,
  ): Promise<{ answer: Forwarded } | { failure: Failure }> {
    const { status, headers, body } = answer
    if (status < 200 || status >= 300) {
      return { failure: statusFailure(status, headers, await readErrorBody(body)) }
    }
    const common = { candidate, status, headers, attempts: this.attempts, upstreamMs: 0 }
    if (!this.#input.request.stream) return readPlain(common, body)
    if (/^(application\/json|text\/html)/i.test(headers['content-type'] ?? '')) {
      const json = parseJson(await readErrorBody(body))
      return { failure: bodyFailure(json) ?? { kind: 'protocol', message: 'the provider did not stream' } }
    }
    return this.#peek(common, body, abort, release)
  }

  /** Reads a stream up to the first event that says something: an error there has been seen by nobody yet. */
  async #peek(
    common: Common,
    body: AsyncIterable<Uint8Array>,
    abort: AbortController,
    release: () => void,
  ): Promise<{ answer: StreamAnswer } | { failure: Failure }> {
    const observer = new SseObserver({ dropUsage: !this.#input.request.wantsUsage })
    const rest = body[Symbol.asyncIterator]()
    const head: Buffer[] = []
    let size = 0
    while (!observer.speaks && !observer.done && observer.error === null) {
      const { value, done } = await rest.next()
      if (done) {
        observer.end()
        break
      }
      size += value.length
      const bytes = observer.push(value)
      if (bytes) head.push(bytes)
      if (size > MAX_HEAD_BYTES) {
        await rest.return?.()
        return { failure: { kind: 'protocol', message: 'the provider sent more than we take' } }
      }
    }
    if (observer.error !== null) {
      await rest.return?.()
      return { failure: errorFailure(observer.error) }
    }
    if (!observer.speaks) {
      await rest.return?.()
      return { failure: { kind: 'protocol', message: 'the provider ended its answer before it said anything' } }
    }
    return {
      answer: { ...common, stream: true, head, rest, observer, abort: (reason) => abort.abort(reason), release },
    }
  }
}

async function readPlain(
  common: Common,
  body: AsyncIterable<Uint8Array>,
): Promise<{ answer: PlainAnswer } | { failure: Failure }> {
  const bytes = await readAll(body, MAX_BODY_BYTES)
  const json = parseJson(bytes)
  const failed = bodyFailure(json)
  if (failed) return { failure: failed }
  if (!isObject(json) || !Array.isArray(json.choices)) {
    return { failure: { kind: 'protocol', message: 'the provider sent something that is not a chat completion' } }
  }
  const choices = json.choices.filter(isObject)
  const reason = choices.find((choice) => typeof choice.finish_reason === 'string')?.finish_reason
  return {
    answer: {
      ...common,
      stream: false,
      body: bytes,
      usage: parseUsage(json.usage),
      finishReason: typeof reason === 'string' ? reason : null,
      completionId: typeof json.id === 'string' ? json.id : null,
      outputChars: choices.reduce((sum, { message }) => sum + textLength(message), 0),
    },
  }
}

function textLength(message: unknown): number {
  if (!isObject(message)) return 0
  const texts = [message.content, message.reasoning_content, message.reasoning, message.refusal]
  const text = texts.reduce<number>((sum, value) => sum + (typeof value === 'string' ? value.length : 0), 0)
  return text + (Array.isArray(message.tool_calls) ? JSON.stringify(message.tool_calls).length : 0)
}

/** Some answer 200 with an error in the body. */
function bodyFailure(json: unknown): Failure | null {
  const error = isObject(json) && !Array.isArray(json.choices) ? json.error : null
  return error ? errorFailure(error) : null
}

function errorFailure(error: unknown): Failure {
  return statusFailure(statusOfError(error), {}, Buffer.from(JSON.stringify({ error })))
}

function statusFailure(status: number, headers: Record<string, string>, body: Buffer): Failure {
  const { code } = readError(status, parseJson(body))
  return { kind: 'status', status, code, retryAfterMs: retryAfterMs(headers), body, headers }
}

/** The body of an error is of use only while it is small and comes at all. */
async function readErrorBody(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  try {
    return await readAll(body, MAX_ERROR_BYTES)
  } catch (error) {
    if (error instanceof UpstreamError && (error.fault === 'aborted' || error.fault === 'timeout')) throw error
    return Buffer.alloc(0)
  }
}

const abortedError = ({ reason }: AbortSignal) =>
  reason instanceof GatewayError ? asForwardError(reason) : clientGone()

function backoffMs(initialDelay: number, tries: number): number {
  if (initialDelay === 0) return 0
  let backoff = new ExponentialBackoff({
    generator: decorrelatedJitterGenerator,
    initialDelay,
    maxDelay: MAX_BACKOFF_MS,
  }).next()
  for (let i = 1; i < tries; i++) backoff = backoff.next(undefined)
  return backoff.duration
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
