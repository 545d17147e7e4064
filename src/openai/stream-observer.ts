import type { Usage } from '../candidates/usage.ts'

/** What is to be known of a whole answer. */
export interface PlainFacts {
  usage: Usage | null
  finishReason: string | null
  completionId: string | null
  /** Characters of text in it, for an estimate where `usage` is null. */
  outputChars: number
}

/** Of a large answer: or the error that it tells. */
export interface LargeFacts {
  facts: PlainFacts | null
  error?: unknown
}

/** Reads along in a streamed answer: what the record, the bill and the relay need to know of it. */
export interface StreamObserver {
  /** The provider's id of the answer. */
  readonly id: string | null
  readonly usage: Usage | null
  readonly finishReason: string | null
  /** The event that ends the answer came. */
  readonly done: boolean
  /** The error object of an error event. */
  readonly error: unknown
  /** The error came in a shape on which the official SDKs do not raise: it was taken out, and is to be told anew. */
  readonly errorUntold?: boolean
  /** The stream ended inside an event whose first bytes have been passed on: nothing can be added behind them. */
  readonly torn?: boolean
  /** Some event carried more than a role: text, a tool call, an end that tells why there is none. */
  readonly speaks: boolean
  /** An event was larger than is taken. */
  readonly oversize: boolean
  /** Events with data, so far; grows when something other than a comment came. */
  readonly events: number
  /** UTF-8 bytes of text, reasoning and tool arguments, as they stand in JSON. */
  readonly outputBytes: number
  readonly outputEvents: number
  /** Whether the answer is whole: nothing more has to come. */
  isComplete(choices: number): boolean
  /** Takes the next bytes; returns those to pass on, or null for none. */
  push(bytes: Uint8Array): Buffer | null
  /** The stream has ended; returns what was held back, as whole events: half of one is dropped. */
  end(): Buffer | null
}
