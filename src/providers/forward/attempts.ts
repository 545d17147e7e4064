import { type Candidate, goesByResponses } from '../../candidates/candidate.ts'
import type { RetriesConfig, TimeoutsConfig } from '../../config/schema.ts'
import { GatewayError, UnsupportedRequest } from '../../errors.ts'
import type { RequestTrace } from '../../observability/telemetry/trace.ts'
import type { ChatRequest } from '../../openai/chat.ts'
import { errorBodyOf, parseJson, readError } from '../../openai/error.ts'
import { isUnreadable } from '../../openai/unreadable.ts'
import { withoutSealed } from '../../openai/without-sealed.ts'
import type { Attempt } from '../../store/records/records.ts'
import { adapt } from '../dialect/adapt.ts'
import { withBound } from '../dialect/bound.ts'
import { isBound, Learned, type Refused } from '../dialect/learned.ts'
import { TUNING } from '../dialect/neutral.ts'
import { type Refusal, readRefusal } from '../dialect/refusal.ts'
import type { Refusals } from '../dialect/refusals.ts'
import { withoutGuarded } from '../guarded.ts'
import { type Provider, UpstreamError } from '../provider.ts'
import type { AnswerHead, Forwarded, PlainAnswer } from '../relay/answer.ts'
import { readAnswer } from '../relay/read-answer.ts'
import type { Breakers, Health } from './breakers.ts'
import { Deadline } from './deadline.ts'
import {
  abortedError,
  asForwardError,
  clientGone,
  errorKind,
  type Failure,
  type ForwardError,
  isBeyondContent,
  isDeploymentFailure,
} from './failure.ts'
import { hedge } from './hedge.ts'
import { SaidNothing } from './said-nothing.ts'

export interface ForwardInput {
  /** Whom to try, best first; not empty. */
  ranking: readonly Candidate[]
  request: ChatRequest
  /** Aborted when the client leaves, or on shutdown; a `GatewayError` as its reason is what the client is told. */
  signal: AbortSignal
  requestId: string
  /** When all must have ended, on `performance.now()`'s clock. */
  deadline: number
  /** The router chose: what a candidate refuses is an answer about the candidate. */
  routed?: boolean
  /** No field may be left off. */
  strict?: boolean
  /** A bound on the length of an answer that has none: what a budget still pays for; null: there is none. */
  mostTokens?(candidate: Candidate): number | null
  /** On whose behalf, and who of them (`voiceOf`), for what is remembered. */
  tenant?: string
  voice?: string
  /**
   * Whose failures these are: something that can't be made up at will, such as a tenant, or a user whom somebody
   * vouches for. Other names of users cost nothing, nor does another key; who has many of them is one asker.
   */
  asker?: string
  /** Bytes of an answer are kept in memory until the request ends. @returns why they may not be */
  hold?(bytes: number): GatewayError | null
  /** Follows the tries; null where no traces are asked for. */
  trace?: RequestTrace | null
}

export interface ForwardDeps {
  providers: ReadonlyMap<string, Provider>
  breakers: Breakers
  timeouts: TimeoutsConfig
  retries: RetriesConfig
  refusals?: Refusals
  /** A mistake of ours came up at a candidate. */
  onBug?(error: unknown, candidate: Candidate): void
}

const MAX_BACKOFF_MS = 5_000
/** By then less than half of it is left. */
const MAX_SHORTENED = 3

export type AttemptResult = Health &
  (
    | { answer: Forwarded; note: Attempt }
    | { failure: Failure; refusal: Refusal | null }
    | { unsupported: UnsupportedRequest }
    /** It said nothing, and somebody else may say more: kept in `saidNothing`. */
    | { isNothing: true }
  )

/** One request's tries: what they share, and what is noted of them. */
export class Attempts {
  readonly made: Attempt[] = []
  /** How many of them were refusals, which have a bound of their own. */
  refused = 0
  upstreamMs = 0
  readonly saidNothing = new SaidNothing()
  /** What was learned of candidates on the way. */
  readonly #learned = new Map<Candidate, Learned>()
  /** What those get who could not read the request. */
  readonly #readable = new Map<Candidate, (own: ChatRequest) => ChatRequest>()
  /** What those get for whom the request was too long, and how often it has been. */
  readonly #shortened = new Map<Candidate, { request: ChatRequest; times: number }>()
  readonly #input: ForwardInput
  readonly #deps: ForwardDeps

  constructor(input: ForwardInput, deps: ForwardDeps) {
    this.#input = input
    this.#deps = deps
  }

  /** One try, or two at once where hedging is on and the first is slow. */
  async ask(candidate: Candidate, findBackup: () => Candidate | undefined): Promise<AttemptResult> {
    const { hedge_after_ms: afterMs, max_attempts: most } = this.#deps.retries
    const backup = afterMs === undefined || this.failures + 2 > most ? undefined : findBackup()
    if (afterMs === undefined || !backup) return this.#askOne(candidate)
    const attempt = (who: Candidate) => (cancel: AbortSignal) => this.#askOne(who, cancel)
    const result = await hedge(attempt(candidate), attempt(backup), afterMs, (one) => 'answer' in one)
    // The other may have ended in the same turn.
    if ('answer' in result) this.#moveLast(result.note, result.note)
    return result
  }

  /** Tries that failed. */
  get failures(): number {
    return this.made.length - this.refused
  }

  /** Notes for this request what a candidate has refused. */
  learn(candidate: Candidate, refused: readonly Refused[]): void {
    this.#learned.set(candidate, this.learnedOf(candidate)?.with(refused) ?? new Learned(refused))
  }

  learnedOf(candidate: Candidate): Learned | undefined {
    return (
      this.#learned.get(candidate) ?? this.#deps.refusals?.of(this.#input.tenant ?? '', candidate, this.#input.voice)
    )
  }

  /** Whether a candidate could be asked again without what it has refused. */
  canDoWithout(candidate: Candidate, { refused, isOfModel }: Refusal): boolean {
    const { strict = false } = this.#input
    // A value that all refuse is the client's mistake; neither a field that none takes nor what we have put in words.
    const { format } = this.#input.request
    const isMistake = (one: Refused) => isValue(one) && (format === undefined || !TUNING.has(fieldOf(one)))
    if (refused.length === 0 || strict || (!isOfModel && refused.some(isMistake))) return false
    const learned = this.learnedOf(candidate)
    try {
      const own = this.#ownRequest(candidate)
      const after = this.#adapted(own, candidate, learned?.with(refused) ?? new Learned(refused))
      return !sameBytes(after, this.#adapted(own, candidate, learned))
    } catch {
      return false
    }
  }

  /**
   * Whether a candidate is to be asked once more without what its provider could not read. No client can know which of
   * several candidates gets what another one has made. A chat that goes to it as it came is the client's own business.
   */
  canBeReadable(candidate: Candidate, failure: Failure): boolean {
    if (failure.kind !== 'status' || this.#readable.has(candidate)) return false
    if (!isUnreadable(readError(failure.status, parseJson(failure.body)))) return false
    const own = this.#ownRequest(candidate)
    const native = own.native?.readable?.()
    if (native) this.#readable.set(candidate, (request) => ({ ...request, native }))
    else if (!own.native && this.#isConverted(own, candidate) && withoutSealed(own))
      this.#readable.set(candidate, (request) => withoutSealed(request) ?? request)
    return this.#readable.has(candidate)
  }

  #isConverted(own: ChatRequest, candidate: Candidate): boolean {
    const { request, routed } = this.#input
    return (
      routed === true ||
      request.format !== undefined ||
      candidate.apis?.has('messages') === true ||
      goesByResponses(candidate, own)
    )
  }

  /**
   * Whether a candidate is to be asked once more with a shorter conversation: the client lets it be cut, and how long
   * it is had been estimated. What its provider itself could cut is left to it.
   */
  canBeShorter(candidate: Candidate, refusal: Refusal | null): boolean {
    const times = (this.#shortened.get(candidate)?.times ?? 0) + 1
    if (!refusal?.isTooLong || times > MAX_SHORTENED) return false
    const request = this.#input.request.shortened?.(times)
    if (!request || request.forCandidate?.(candidate).native) return false
    this.#shortened.set(candidate, { request, times })
    return true
  }

  /** What the gateway has made of another format is adapted, whoever chose; a chat completion only where we did. */
  #adapted(own: ChatRequest, candidate: Candidate, learned: Learned | undefined): ChatRequest {
    const { request, routed, strict = false } = this.#input
    if (!routed && request.format === undefined) return own
    return adapt(own, candidate, learned, strict, !routed)
  }

  #ownRequest(candidate: Candidate): ChatRequest {
    const request = this.#shortened.get(candidate)?.request ?? this.#input.request
    const own = request.forCandidate?.(candidate) ?? request
    const readable = this.#readable.get(candidate)?.(own) ?? own
    const most = this.#boundOf(candidate)
    return most === null ? readable : withBound(readable, candidate, this.learnedOf(candidate), most)
  }

  /** A bound that the gateway adds: what a budget pays for, unless the candidate itself ends sooner than that. */
  #boundOf(candidate: Candidate): number | null {
    const most = this.#input.mostTokens?.(candidate) ?? null
    if (most === null || this.learnedOf(candidate)?.endsBelow(most)) return null
    const rule = candidate.dialect?.fields.max_tokens
    return typeof rule === 'object' && most >= (rule.max ?? Number.POSITIVE_INFINITY) ? null : most
  }

  async #askOne(candidate: Candidate, cancel?: AbortSignal): Promise<AttemptResult> {
    const breaker = this.#deps.breakers.of(candidate)
    const result = await breaker.run(() => this.#attempt(candidate, cancel), this.#input.asker).catch(asUnsupported)
    if (!('answer' in result) || !this.#isNothing(result.answer)) return result
    await this.saidNothing.keep(result.answer, result.note)
    return { isNothing: true, health: result.health }
  }

  /** Where the client has named who answers, what they say is the answer. */
  #isNothing(answer: Forwarded): boolean {
    return answer.isEmpty === true && this.#input.routed === true
  }

  /**
   * @param cancel aborted when another try has answered first
   * @throws ForwardError when the client left, or the try was cancelled
   */
  async #attempt(candidate: Candidate, cancel?: AbortSignal): Promise<AttemptResult> {
    const { signal, requestId, deadline, strict = false } = this.#input
    const provider = this.#deps.providers.get(candidate.provider)
    const started = performance.now()
    const span = this.#input.trace?.attempt(candidate)
    const abort = new AbortController()
    const onAbort = () => abort.abort(new UpstreamError('aborted', 'the client left', signal.reason))
    if (signal.aborted) throw this.failed(abortedError(signal))
    signal.addEventListener('abort', onAbort, { once: true })
    let isOver = false
    cancel?.addEventListener('abort', () => {
      if (isOver) return
      this.#noteHedged(candidate, started)
      span?.failed(null, 'hedged')
      abort.abort(new UpstreamError('aborted', 'another try answered first'))
    })
    const patience = () => Math.min(performance.now() + this.#patienceMs(), deadline)
    const timer = new Deadline(patience(), () =>
      abort.abort(new UpstreamError('timeout', 'the answer did not come in time')),
    )
    let keep = false
    let hasWon = false
    let failure: Failure
    let refusal: Refusal | null = null
    let status: number | null = null
    try {
      if (!provider) throw new UpstreamError('connect', 'its provider is not configured')
      const learned = this.learnedOf(candidate)
      const adapted = this.#adapted(this.#ownRequest(candidate), candidate, learned)
      const { guards } = provider
      const request = guards ? withoutGuarded(adapted, guards, candidate.name, strict) : adapted
      const askUsage = !learned?.has(ADDED_USAGE)
      const answer = await provider.chat({
        candidate,
        request,
        signal: abort.signal,
        requestId,
        askUsage,
        tenant: this.#input.tenant ?? '',
        ...(span && { traceHeaders: span.headers }),
      })
      status = answer.status
      const { headers, body } = answer
      const head: AnswerHead = { candidate, request, status, headers, attempts: this.made, upstreamMs: 0 }
      const cap = request.stream ? started + this.#deps.timeouts.comments_ms : Number.POSITIVE_INFINITY
      const read = await readAnswer(head, body, {
        tenant: this.#input.tenant ?? '',
        abort: (reason) => abort.abort(reason),
        onBytes: () => timer.move(Math.min(patience(), Math.max(cap, performance.now()))),
        // In a race nobody has won yet.
        quietMs: cancel ? null : this.#deps.timeouts.quiet_ms,
        endingMs: this.#deps.timeouts.ending_ms,
        release: () => signal.removeEventListener('abort', onAbort),
        ...(this.#input.hold && { hold: this.#input.hold }),
      })
      if ('answer' in read) {
        // All of it had come already when the other one won.
        if (cancel?.aborted) throw this.failed(clientGone())
        const { answer } = read
        const note = this.#note(candidate, status, null, started)
        span?.answered(status)
        answer.upstreamMs = this.upstreamMs
        keep = answer.stream
        hasWon = !this.#isNothing(answer)
        return { answer, note, health: 'well' }
      }
      failure = read.failure
      if (failure.kind === 'status') {
        status = failure.status
        refusal = ofAddedBound(readRefusal(failure, request), this.#boundOf(candidate))
      }
    } catch (error) {
      // A client that leaves ends what is held for it, too.
      const isRefused = error instanceof GatewayError && !signal.aborted
      if (error instanceof UnsupportedRequest || isRefused) span?.failed(null, 'unsupported')
      if (error instanceof UnsupportedRequest) throw error
      if (isRefused) {
        // It had begun to answer.
        if (status !== null) this.#note(candidate, status, error.code, started)
        throw this.failed(asForwardError(error))
      }
      if (signal.aborted) {
        this.#note(candidate, status, 'aborted', started)
        span?.failed(status, 'aborted')
        throw this.failed(abortedError(signal))
      }
      if (cancel?.aborted) throw this.failed(clientGone())
      if (error instanceof UpstreamError) {
        failure = { kind: error.fault === 'aborted' ? 'reset' : error.fault, message: error.message, cause: error }
      } else {
        this.#deps.onBug?.(error, candidate)
        failure = { kind: 'internal', message: 'the gateway could not convert it', cause: error }
      }
    } finally {
      timer.clear()
      // An answer is cancelled where the other try has won in the same turn; what came to nothing has been noted.
      isOver = !hasWon
      if (!keep) signal.removeEventListener('abort', onAbort)
    }
    this.#note(candidate, status, errorKind(failure), started)
    span?.failed(status, errorKind(failure))
    if (refusal) this.refused++
    return { failure, refusal, health: healthOf(failure, refusal) }
  }

  /** The answer of nothing that was kept, where nobody has said more. */
  bringBack(): Forwarded | null {
    const kept = this.saidNothing.take()
    if (!kept) return null
    const { answer, note } = kept
    const { candidate, provider, status, ms } = note
    this.#moveLast(note, { candidate, provider, status, error: null, ms })
    answer.upstreamMs = this.upstreamMs
    return answer
  }

  /** The provider's own 4xx goes to the client. */
  async passError(candidate: Candidate, failure: Failure & { kind: 'status' }): Promise<PlainAnswer> {
    // What has been tried with other candidates is not to be tried again.
    const isFinal = failure.status >= 402 && failure.status !== 404
    return {
      stream: false,
      candidate,
      request: this.#input.request,
      status: failure.status,
      headers: {
        ...failure.headers,
        'content-type': 'application/json',
        ...(isFinal && { 'x-should-retry': 'false' }),
      },
      attempts: this.made,
      upstreamMs: this.upstreamMs,
      body: errorBodyOf(failure.status, failure.body),
      usage: null,
      finishReason: null,
      completionId: null,
      outputChars: 0,
    }
  }

  failed(error: ForwardError): ForwardError {
    error.attempts = this.made
    error.upstreamMs = this.upstreamMs
    return error
  }

  /**
   * Waits before the same candidate is asked again: as it asked for, else exponential with jitter; until the deadline
   * at most.
   */
  async wait(failure: Failure, tries: number): Promise<void> {
    const { signal, deadline } = this.#input
    const asked = failure.kind === 'status' ? failure.retryAfterMs : null
    const ms = Math.min(
      asked ?? backoffMs(this.#deps.retries.backoff_ms, tries),
      Math.max(0, deadline - performance.now()),
    )
    // A signal that is aborted already does not say so again.
    if (signal.aborted) throw this.failed(abortedError(signal))
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
  }

  /** A streamed answer shows life early; a plain one comes only when all of it has been written. */
  #patienceMs(): number {
    const { timeouts } = this.#deps
    return this.#input.request.stream ? timeouts.first_byte_ms : timeouts.answer_ms
  }

  /** Goes before the note of the try that answered, which stays the last; its time ran beside the other's. */
  #noteHedged({ name, provider }: Candidate, started: number): void {
    const ms = Math.round(performance.now() - started)
    const own = this.made.findIndex(({ candidate, error }) => candidate === name && error === null)
    if (own >= 0) this.made.splice(own, 1)
    this.made.splice(-1, 0, { candidate: name, provider, status: null, error: 'hedged', ms })
  }

  #note(candidate: Candidate, status: number | null, error: string | null, started: number): Attempt {
    const ms = performance.now() - started
    this.upstreamMs += ms
    const note = { candidate: candidate.name, provider: candidate.provider, status, error, ms: Math.round(ms) }
    this.made.push(note)
    return note
  }

  /** The note of the try that answered is the last. */
  #moveLast(note: Attempt, as: Attempt): void {
    const at = this.made.indexOf(note)
    if (at >= 0) this.made.splice(at, 1)
    this.made.push(as)
  }
}

/** A request that a provider can't express says nothing of its health: the breaker sees a throw. */
function asUnsupported(error: unknown): AttemptResult {
  if (error instanceof UnsupportedRequest) return { unsupported: error, health: 'unknown' }
  throw error
}

/**
 * Decorrelated jitter, smooth, with medians of about 1, 2, 4 … times the first: steps between points of an exponential
 * curve at random places, one in each unit (github.com/App-vNext/Polly/issues/530).
 */
function backoffMs(initialMs: number, tries: number): number {
  let [before, reached] = [0, 0]
  for (let i = 0; i < tries; i++) {
    const place = i + Math.random()
    before = reached
    reached = 2 ** place * Math.tanh(2 * Math.sqrt(place))
  }
  return Math.min(Math.max(0, reached - before) * (initialMs / 1.4), MAX_BACKOFF_MS)
}

/** A bound that the client never sent: then the same candidate is asked in another way. */
function ofAddedBound(refusal: Refusal | null, bound: number | null): Refusal | null {
  const [refused] = refusal?.refused ?? []
  if (!refusal || bound === null || refused === undefined || !isBound(refused)) return refusal
  return { ...refusal, added: refused }
}

/** Asking for usage is the gateway's own wish. */
const ADDED_USAGE = 'stream_options'

/** What a try says of the deployment's health. A refusal is about the request, or about a model that is not there. */
function healthOf(failure: Failure, refusal: Refusal | null): Health['health'] {
  if (refusal) return refusal.about === 'model' ? 'failed' : 'unknown'
  if (!isDeploymentFailure(failure)) return 'unknown'
  return isBeyondContent(failure) ? 'gone' : 'failed'
}

const isValue = (refused: Refused) => refused.includes('=')
const fieldOf = (refused: Refused) => refused.split('=', 1)[0] as string

const sameBytes = (a: ChatRequest, b: ChatRequest) => Buffer.compare(a.raw, b.raw) === 0
