import type { Capability } from '../candidates/candidate.ts'

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
}
