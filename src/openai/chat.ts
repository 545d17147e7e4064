import type { Api, Candidate, Capability } from '../candidates/candidate.ts'
import type { LargeFacts, PlainFacts, StreamObserver } from './stream-observer.ts'

/** A part of a message as far as we read it; everything else passes through in the raw bytes. */
export interface ChatMessage {
  role: string
  content?: string | null | readonly { type: string; text?: string; [key: string]: unknown }[]
  [key: string]: unknown
}

/** The fields of a chat completion request that the gateway reads. */
export interface ChatBody {
  model: string
  messages: readonly ChatMessage[]
  stream?: boolean | null
  stream_options?: { include_usage?: boolean | null; [key: string]: unknown } | null
  max_tokens?: number | null
  max_completion_tokens?: number | null
  n?: number | null
  tools?: readonly unknown[] | null
  user?: string | null
  safety_identifier?: string | null
  [key: string]: unknown
}

/** Where a top-level field's value lies in the raw body: byte offsets, end exclusive. */
export interface Span {
  start: number
  end: number
}

/** A validated request, and the bytes to send on. */
export interface ChatRequest {
  body: ChatBody
  raw: Uint8Array
  /** Top-level field -> its value's bytes in `raw`. Keys are unique: duplicates were refused. */
  spans: ReadonlyMap<string, Span>
  stream: boolean
  /** The client itself asked for the usage chunk. */
  wantsUsage: boolean
  /** What a candidate must be able to do. */
  needs: ReadonlySet<Capability>
  /** Estimated, for filters, prices and the router: tokens. */
  promptTokens: number
  /** How many answers are asked for, at most, where the body's `n` does not say it all. */
  answers?: number
  /** The format that a request came in, where that is another one. */
  format?: Api
  /** What was asked in that format, parsed: a provider that speaks it reads more there than `body` tells. */
  asGiven?: unknown
  /**
   * Of a request that came in another format: what this candidate gets of it; the same request where left out.
   *
   * @throws UnsupportedRequest
   */
  forCandidate?(candidate: Candidate): ChatRequest
  /**
   * Of a conversation that may be cut (`truncation: auto`): with less of its oldest part, for a candidate that has
   * refused it as too long so many times. Null where no more can be left out.
   */
  shortened?(times: number): ChatRequest | null
  /** The request in a format that the candidate's provider speaks itself. */
  native?: NativeRequest
  /** Candidates whose provider speaks this format come first: they alone can do all that is asked. */
  prefers?: Api
  /** The field in which the client of a chat completion reads thoughts: they are told there, too. */
  thoughtsAs?: 'reasoning' | 'reasoning_content'
  /** Fields of the client's request that the candidate does not get. */
  dropped?: readonly string[]
}

/** A request whose bytes go to the provider, and whose answer's bytes come back, in the endpoint's own format. */
export interface NativeRequest {
  api: Api
  /** Headers of the client's that belong to the format. */
  headers?: Readonly<Record<string, string>>
  raw: Uint8Array
  spans: ReadonlyMap<string, Span>
  /** Reads along in a streamed answer. */
  observe(): StreamObserver
  /** What is to be known of a whole answer; null where it is none. */
  read(json: unknown): PlainFacts | null
  /**
   * The same of a large one, off this thread; with its bytes as the client is to have them.
   *
   * @param answer alone in its memory, which is not to be used any more
   * @param tenant whose turn it takes there
   */
  readLarge(answer: Buffer<ArrayBuffer>, tenant: string): Promise<LargeFacts & { body: Buffer }>
  /**
   * The request without what its provider can't read: another's thoughts, what it does not have any more. Null where
   * nothing of it is in the request.
   */
  readable?(): NativeRequest | null
}
