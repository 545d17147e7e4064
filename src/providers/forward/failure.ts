import { GatewayError } from '../../errors.ts'
import { errorTypeOf } from '../../openai/error.ts'
import type { Attempt } from '../../store/records/records.ts'
import type { UpstreamError, UpstreamFault } from '../provider.ts'

/** Why a try gave no answer: an HTTP status that is not one, or no usable response. */
export type Failure =
  | {
      kind: 'status'
      status: number
      code: string | null
      retryAfterMs: number | null
      body: Buffer
      headers: Record<string, string>
    }
  | { kind: Exclude<UpstreamFault, 'aborted'>; message: string; cause?: UpstreamError }
  /** A mistake of ours in converting a request or an answer. */
  | { kind: 'internal'; message: string; cause?: unknown }

/**
 * What to do about it. `pass`: the client's own mistake, it gets the body; `again`: the same candidate once more;
 * `next`: the next candidate.
 */
export type Verdict = 'pass' | 'again' | 'next'

export interface Situation {
  /** Tries at this candidate so far, the failed one included. */
  tries: number
  /** There is another candidate to go to. */
  hasNext: boolean
  /** A Retry-After up to this is waited for. */
  maxRetryAfterMs: number
}

/** The Upstream table of the fault matrix, as a function. Attempts are bounded by the caller. */
export function classifyFailure(failure: Failure, { tries, hasNext, maxRetryAfterMs }: Situation): Verdict {
  // One more try where somebody else could answer, too; all the tries that are left where nobody else can.
  const mayRepeat = tries < 2 || !hasNext
  switch (failure.kind) {
    case 'connect':
      return hasNext ? 'next' : 'again'
    case 'reset':
      return mayRepeat ? 'again' : 'next'
    case 'timeout':
    case 'protocol':
    case 'internal':
      return 'next'
    case 'status':
      return judgeStatus(failure, mayRepeat, maxRetryAfterMs)
  }
}

function judgeStatus(failure: Failure & { kind: 'status' }, mayRepeat: boolean, maxRetryAfterMs: number): Verdict {
  const { status, code, retryAfterMs } = failure
  if (isOurFault(status) || isRedirect(status)) return 'next'
  if (status === 429) {
    const short = retryAfterMs !== null && retryAfterMs <= maxRetryAfterMs
    return short && mayRepeat && code !== 'insufficient_quota' ? 'again' : 'next'
  }
  if (status >= 500 || status === 408) {
    const long = retryAfterMs !== null && retryAfterMs > maxRetryAfterMs
    return mayRepeat && !long ? 'again' : 'next'
  }
  return 'pass'
}

/** Our key, our account: the client can do nothing about it, and neither can another model of the same provider. */
export const isOurFault = (status: number) => status === 401 || status === 402 || status === 403
const isRedirect = (status: number) => status >= 300 && status < 400

/** Whether a breaker counts it: not the client's mistakes. */
export const isDeploymentFailure = (failure: Failure) =>
  failure.kind === 'status' ? judgeStatus(failure, false, 0) !== 'pass' : failure.kind !== 'internal'

/** Failures that no request's content can bring about: one caller's word is enough. */
export const isBeyondContent = (failure: Failure) => failure.kind === 'connect'

/** As `Attempt.error` tells it. */
export const errorKind = (failure: Failure) => (failure.kind === 'status' ? `http_${failure.status}` : failure.kind)

/** No candidate answered. Its message names no address and no key; `attempts` is for the record. */
export class ForwardError extends GatewayError {
  override readonly name = 'ForwardError'
  attempts: Attempt[] = []
  /** Milliseconds spent waiting for providers. */
  upstreamMs = 0
}

/**
 * The last failure as the client sees it. The official SDKs must not retry what has been retried here: `x-should-retry:
 * false`.
 */
export function exhausted(failure: Failure): ForwardError {
  if (failure.kind === 'internal') return internal(failure.cause)
  if (failure.kind === 'timeout') {
    return error(504, 'upstream_timeout', 'The model did not answer in time.', failure.cause)
  }
  if (failure.kind !== 'status') {
    const code = failure.kind === 'connect' ? 'upstream_unreachable' : 'upstream_error'
    return error(502, code, `The model could not answer: ${failure.message}.`, failure.cause)
  }
  const { status, retryAfterMs } = failure
  if (status === 429) {
    return new ForwardError('The model is rate limited at its provider. Try again later.', {
      status: 429,
      type: 'rate_limit_error',
      code: 'rate_limit_exceeded',
      retryAfterS: Math.max(1, Math.ceil((retryAfterMs ?? DEFAULT_RETRY_AFTER_MS) / 1000)),
      shouldRetry: false,
    })
  }
  if (isOurFault(status)) {
    return error(502, 'upstream_auth', "The model's provider refused the gateway's own credentials.")
  }
  if (isRedirect(status)) return error(502, 'upstream_error', "The model's provider answered with a redirect.")
  // 529: Anthropic is overloaded.
  const seen = status === 529 ? 503 : status === 503 || status === 504 ? status : 502
  return error(seen, 'upstream_error', `The model's provider had an error (HTTP ${status}).`)
}

const DEFAULT_RETRY_AFTER_MS = 5_000

/** What the operator's account at the provider is worth is not for the client; that fewer tokens would do is. */
export const tooManyTokens = () =>
  new ForwardError('The model can not write that many tokens for this request: ask for fewer.', {
    status: 400,
    type: 'invalid_request_error',
    code: 'max_tokens_too_large',
    param: 'max_tokens',
  })

/** Every candidate's breaker is open. */
export const allOpen = (remainingMs: number) =>
  new ForwardError('The model is temporarily unavailable: its provider has failed repeatedly.', {
    status: 503,
    type: 'api_error',
    code: 'upstream_unavailable',
    retryAfterS: Math.max(1, Math.ceil(remainingMs / 1000)),
    shouldRetry: false,
  })

/** The client left: nobody sees this, the record does (499 as nginx has it). */
export const clientGone = () =>
  new ForwardError('The client closed the request.', { status: 499, type: 'api_error', code: 'client_closed_request' })

const error = (status: number, code: string, message: string, cause?: UpstreamError) =>
  new ForwardError(message, { status, type: errorTypeOf(status), code, shouldRetry: false, cause })

/** A mistake of ours: its cause is for the log. */
export const internal = (cause: unknown) =>
  new ForwardError('The gateway had an internal error while processing your request.', {
    status: 500,
    type: 'api_error',
    code: 'internal_error',
    cause,
  })

/** Another part's error, with room for the attempts. */
export function asForwardError(known: GatewayError): ForwardError {
  const { message, status, type, code, param, headers, retryAfterS, shouldRetry, cause } = known
  return new ForwardError(message, {
    status,
    type,
    code,
    param,
    headers,
    cause,
    ...(retryAfterS !== undefined && { retryAfterS }),
    ...(shouldRetry !== undefined && { shouldRetry }),
  })
}

/** The whole request's deadline has passed. */
export const OUT_OF_TIME: Failure = { kind: 'timeout', message: 'the deadline passed' }

/** The client left, or the gateway shuts down: then the signal's reason is what the client is told. */
export const abortedError = ({ reason }: AbortSignal): ForwardError =>
  reason instanceof GatewayError ? asForwardError(reason) : clientGone()
