import { z } from 'zod'

/** Where telemetry goes, by OTLP over HTTP; nowhere unless configured. */
export const telemetrySchema = z.strictObject({
  otlp: z
    .strictObject({
      /** Base URL of a collector; `/v1/traces`, `/v1/metrics` and `/v1/logs` are added. */
      endpoint: z.url({ protocol: /^https?$/ }),
      /** Such as a collector's key. */
      headers: z.record(z.string(), z.string()).default({}),
      /** A file with more of them, `name: value` a line, read again when it is replaced. */
      headers_file: z.string().optional(),
      timeout_ms: z.number().int().positive().default(10_000),
      /** Authorities of a collector with a certificate of its own, PEM; instead of the usual ones. */
      ca_file: z.string().optional(),
    })
    .optional(),
  /** How long spans and events wait for company. */
  delay_ms: z.number().int().positive().default(5_000),
  /** Spans of requests and of their tries. */
  traces: z.boolean().default(true),
  /** Share of the traces that begin here; for others the caller's flag decides, as far as the next field goes. */
  sample: z.number().min(0).max(1).default(1),
  /** Traces a minute and tenant that are kept for their callers' flags; beyond it `sample` decides of them, too. */
  callers_per_minute: z.number().int().nonnegative().default(600),
  /** `gen_ai.client.*` histograms, every `interval_ms`. */
  metrics: z.boolean().default(true),
  interval_ms: z.number().int().positive().default(60_000),
  /** Rewards as `gen_ai.evaluation.result` events. */
  events: z.boolean().default(true),
  /** Tell providers the trace (`traceparent`). */
  propagate: z.boolean().default(true),
  service_name: z.string().default('persona-router'),
})

export type TelemetryConfig = z.infer<typeof telemetrySchema>
