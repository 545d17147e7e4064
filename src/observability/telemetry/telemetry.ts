import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RequestTrace } from './trace.ts'

/** A reward, and the answer that it is about. */
export interface TracedReward {
  /** Id of the request. */
  interaction: string
  kind: string
  /** In [-1, 1]. */
  value: number
  /** Unix milliseconds. */
  ts: number
}

/** A request whose spans are wanted. */
export interface TracedRequest {
  incoming: IncomingMessage
  outgoing: ServerResponse
  /** Whose request it is. */
  caller: { readonly tenant: string }
  snapshot: { readonly config: { readonly passthrough: Readonly<Record<string, unknown>> } }
  /** When it began: Unix milliseconds, and on `performance.now()`'s clock. */
  ts: number
  startedAt: number
}

/** OpenTelemetry by the GenAI semantic conventions: ids, counts and times, never what was said. */
export interface Telemetry {
  /** Follows a request until its response is closed. */
  follow(request: TracedRequest): RequestTrace
  reward(reward: TracedReward): void
  /** Sends what is left. */
  close(): Promise<void>
}
