import type { Candidate } from '../../candidates/candidate.ts'
import type { Usage } from '../../candidates/usage.ts'
import type { GatewayError } from '../../errors.ts'
import type { ChatRequest } from '../../openai/chat.ts'
import { estimateUsage } from '../../openai/estimate-tokens.ts'
import { NO_USAGE } from '../../openai/usage.ts'
import type { Attempt } from '../../store/records/records.ts'
import type { ForwardError } from '../forward/failure.ts'
import type { PlainAnswer } from './answer.ts'

/** How a request ended, for its record and bill: made by `relay`, or by `unanswered` where no candidate answered. */
export interface Outcome {
  /** The candidate that answered; the first choice where none did. */
  candidate: Candidate
  attempts: Attempt[]
  /** HTTP status that the client saw. */
  status: number
  usage: Usage
  usageEstimated: boolean
  /** The provider's; `error` or `aborted` where the answer did not end by itself. */
  finishReason: string
  completionId: string | null
  /** Milliseconds until the first byte went to the client. */
  ttftMs: number | null
  /** Milliseconds spent waiting for providers, and for the client to read. */
  waitedMs: number
  /**
   * What went wrong, or null. After the answer had begun: `aborted`, `timeout`, `reset`, `protocol`, `upstream`,
   * `slow_reader`, `shutdown`; before it: the code of the error that the client is told.
   */
  error: string | null
  /** An error that was thrown after the answer had begun, for the log; the answer may be whole all the same. */
  cause?: unknown
}

/** Whether the client has got a whole and good answer. */
export const isWhole = ({ status, finishReason }: Outcome) =>
  status < 400 && finishReason !== 'error' && finishReason !== 'aborted'

/** A request that no candidate answered. */
export function unanswered(error: ForwardError, candidate: Candidate, { promptTokens }: ChatRequest): Outcome {
  const { attempts } = error
  const sent = attempts.some(({ status, error }) => status === 200 || error === 'aborted' || error === 'timeout')
  return {
    candidate,
    attempts,
    status: error.status,
    // A provider that was cut off has read the prompt, and bills it.
    usage: sent ? estimateUsage(promptTokens, 0) : NO_USAGE,
    usageEstimated: sent,
    finishReason: error.code === 'client_closed_request' ? 'aborted' : 'error',
    completionId: null,
    ttftMs: null,
    waitedMs: error.upstreamMs,
    error: error.code,
  }
}

/** A whole answer that could not be told to its client: its provider bills it all the same. */
export function untold(answer: PlainAnswer, { promptTokens }: ChatRequest, { status, code }: GatewayError): Outcome {
  const { candidate, attempts, usage, outputChars, completionId, upstreamMs } = answer
  return {
    candidate,
    attempts: withError(attempts, 'protocol'),
    status,
    usage: usage ?? estimateUsage(promptTokens, outputChars),
    usageEstimated: usage === null,
    finishReason: 'error',
    completionId,
    ttftMs: null,
    waitedMs: upstreamMs,
    error: code,
  }
}

/** The attempt that began to answer and then broke did not work. */
export function withError(attempts: Attempt[], error: string | null): Attempt[] {
  const last = attempts.at(-1)
  return error === null || !last ? attempts : [...attempts.slice(0, -1), { ...last, error }]
}
