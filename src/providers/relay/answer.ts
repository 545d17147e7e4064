import type { Candidate } from '../../candidates/candidate.ts'
import type { ChatRequest } from '../../openai/chat.ts'
import type { PlainFacts, StreamObserver } from '../../openai/stream-observer.ts'
import type { Attempt } from '../../store/records/records.ts'
import type { UpstreamError } from '../provider.ts'

export interface AnswerHead {
  candidate: Candidate
  status: number
  /** The provider's, hop-by-hop headers taken out. */
  headers: Record<string, string>
  attempts: Attempt[]
  /** Milliseconds spent waiting for providers so far. */
  upstreamMs: number
  /** The request as this candidate got it. */
  request: ChatRequest
  /** It ended of itself and says nothing: another candidate may have an answer. */
  isEmpty?: boolean
}

/** A whole answer, checked to be JSON; or the provider's own 4xx, in OpenAI's shape. */
export interface PlainAnswer extends AnswerHead, PlainFacts {
  stream: false
  body: Buffer
}

/** A stream that has begun to say something. */
export interface StreamAnswer extends AnswerHead {
  stream: true
  /** Bytes read already, to be sent first. */
  head: Buffer[]
  /** What follows; throws `UpstreamError`. */
  rest: AsyncIterator<Uint8Array>
  /** Has read `head`, and reads the rest along. */
  observer: StreamObserver
  /** Ends the upstream; the reason is what `rest` then throws. */
  abort(reason: UpstreamError): void
  /** Lets go of the client's signal; call it when the stream has ended. */
  release(): void
}

export type Forwarded = PlainAnswer | StreamAnswer
