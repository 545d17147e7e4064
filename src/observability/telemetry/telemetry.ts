import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import type { TelemetryConfig } from './schema.ts'
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

/** @returns null where none is configured: its libraries are not even loaded */
export async function openTelemetry(
  config: TelemetryConfig,
  deps: { metrics: Metrics; log: Logger },
): Promise<Telemetry | null> {
  const { otlp } = config
  if (!otlp) return null
  const { OtlpTelemetry } = await import('./otlp.ts')
  return new OtlpTelemetry({ ...config, otlp }, deps)
}
