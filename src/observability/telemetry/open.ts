import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import type { TelemetryConfig } from './schema.ts'
import type { Telemetry } from './telemetry.ts'

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
