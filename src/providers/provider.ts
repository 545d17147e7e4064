import type { Candidate } from '../candidates/candidate.ts'
import type { ChatRequest, NativeRequest } from '../openai/chat.ts'
import type { Guards } from './guards.ts'

/** One try at one candidate. */
export interface ProviderCall {
  candidate: Candidate
  /** The client's request: parsed fields, and the raw bytes with the places that may be rewritten. */
  request: ChatRequest
  /** Aborted when the client leaves, when a timer runs out, or on shutdown. */
  signal: AbortSignal
  /** Our request id, sent upstream as `x-request-id`. */
  requestId: string
  /** False where the server has refused to be asked for the usage of a stream. */
  askUsage?: boolean
  /** Whose turn it takes on a thread that converts what is large. */
  tenant?: string
  /** Headers of the trace, for the provider to go on with. */
  traceHeaders?: Record<string, string>
}

export type PassMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

export interface PassCall extends Pick<ProviderCall, 'signal' | 'requestId'> {
  method: PassMethod
  /** Begins with a slash; checked: no way out of the configured prefix. */
  path: string
  /** Without a question mark. */
  query: string
  headers: Record<string, string>
  /** Whole, or as it comes; then `length` is what was declared of it, or null. */
  body: Buffer | (AsyncIterable<Buffer> & { readonly length: number | null })
}

/** A request whose prompt is to be counted. */
export interface CountCall extends Pick<ProviderCall, 'candidate' | 'signal' | 'requestId'> {
  native: NativeRequest
}

/** Answer of a provider, always in OpenAI's wire format. */
export interface ProviderAnswer {
  status: number
  /** Lower-cased; hop-by-hop headers, `content-length` and `content-encoding` are already gone. */
  headers: Record<string, string>
  /**
   * The body's bytes as they arrive: for a streamed answer SSE bytes, exactly the provider's own where it speaks
   * OpenAI's format. Ends when the upstream ends; throws when the connection breaks. Returning from the iterator closes
   * the upstream.
   */
  body: AsyncIterable<Uint8Array>
}

/** Serves candidates. Kinds of providers are folders in `kinds/`; docs/extending.md says how to add one. */
export interface Provider {
  readonly name: string
  /** Why it can't be used now (e.g. "OPENAI_API_KEY is not set"), or null. */
  readonly unavailable: string | null
  /** Fields that it would take and a client may not set. */
  readonly guards?: Guards
  /** Sends one request. Resolves with the status and headers; throws `UpstreamError` when no response could be had. */
  chat(call: ProviderCall): Promise<ProviderAnswer>
  /**
   * Tokens of a request's prompt, as the provider itself counts them; for those that can.
   *
   * @throws UpstreamError
   */
  countTokens?(call: CountCall): Promise<number>
  /**
   * Sends what is not routed, as it is, to a path behind the provider's base URL.
   *
   * @throws UpstreamError
   */
  pass?(call: PassCall): Promise<ProviderAnswer>
  /** Models that it serves now: for local servers, whose candidates are not in the configuration. */
  listModels?(signal: AbortSignal): Promise<ListedModel[]>
  close(): Promise<void>
}

export interface ListedModel {
  /** What the provider calls it. */
  id: string
  /** Tokens, where the provider says. */
  contextWindow?: number
}

export type UpstreamFault = 'connect' | 'reset' | 'timeout' | 'protocol' | 'aborted'

/** No usable response came: what went wrong, without the address. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError'
  readonly fault: UpstreamFault

  constructor(fault: UpstreamFault, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.fault = fault
  }
}
