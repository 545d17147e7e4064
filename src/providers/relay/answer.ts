import type { Candidate } from '../../candidates/candidate.ts'
import type { Usage } from '../../candidates/usage.ts'
import type { SseObserver } from '../../openai/sse-observer.ts'
import type { Attempt } from '../../store/records/records.ts'
import type { UpstreamError } from '../provider.ts'

export interface AnswerHead {
  candidate: Candidate
  status: number
  /** The provider's, hop-by-hop headers taken out. */
  headers: Record<string, string>
  attempts: Attempt[]
  /** Fields of the request that this candidate does not take, and that were left off: `x-router-dropped`. */
  dropped: readonly string[]
  /** Milliseconds spent waiting for providers so far. */
  upstreamMs: number
}

/** A whole answer, checked to be JSON; or the provider's own 4xx, in OpenAI's shape. */
export interface PlainAnswer extends AnswerHead {
  stream: false
  body: Buffer
  usage: Usage | null
  finishReason: string | null
  completionId: string | null
  /** Characters of text in it, for an estimate where `usage` is null. */
  outputChars: number
}

/** A stream that has begun to say something. */
export interface StreamAnswer extends AnswerHead {
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
