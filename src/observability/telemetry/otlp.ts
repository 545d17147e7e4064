import { readFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { type Context, ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace as traces } from '@opentelemetry/api'
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { LRUCache } from 'lru-cache'
import { proxyFor } from '../../runtime/proxy.ts'
import type { Logger } from '../logger.ts'
import type { Metrics } from '../metrics.ts'
import {
  attemptAttributes,
  DURATION_BOUNDS,
  metricAttributes,
  operationOf,
  requestAttributes,
  TOKEN_BOUNDS,
} from './conventions.ts'
import type { TelemetryConfig } from './schema.ts'
import type { Telemetry, TracedRequest, TracedReward } from './telemetry.ts'
import { type AttemptSpan, RequestTrace } from './trace.ts'

const SCOPE = 'persona-router'

/** Answers whose rewards still find their spans; a later reward tells the request's id alone. */
const RECENT_ANSWERS = 10_000

/** By the environment's proxy, as providers are reached. */
function agentFor({ endpoint, ca_file }: Options['otlp']): () => Agent {
  const proxy = proxyFor(endpoint, undefined)
  const proxyEnv = proxy === null ? {} : { HTTP_PROXY: proxy, HTTPS_PROXY: proxy }
  const ca = ca_file === undefined ? {} : { ca: readFileSync(ca_file) }
  return () =>
    endpoint.startsWith('https:')
      ? new HttpsAgent({ keepAlive: true, proxyEnv, ...ca })
      : new Agent({ keepAlive: true, proxyEnv })
}

interface RecentAnswer {
  span: Context
  completionId: string | null
}

interface Options extends TelemetryConfig {
  otlp: NonNullable<TelemetryConfig['otlp']>
}

/** Sends spans, histograms and events to a collector, in batches beside the requests. */
export class OtlpTelemetry implements Telemetry {
  readonly #config: Options
  readonly #ids = new GivenIds()
  readonly #tracers: TracerProvider
  readonly #meters: MeterProvider
  readonly #loggers: LoggerProvider
  readonly #recent = new LRUCache<string, RecentAnswer>({ max: RECENT_ANSWERS })
  readonly #duration
  readonly #firstChunk
  readonly #tokens

  constructor(config: Options, deps: { metrics: Metrics; log: Logger }) {
    this.#config = config
    const { otlp } = config
    const resource = resourceFromAttributes({ 'service.name': config.service_name, 'process.pid': process.pid })
    const to = (signal: string) => ({
      url: `${otlp.endpoint.replace(/\/+$/, '')}/v1/${signal}`,
      headers: otlp.headers,
      timeoutMillis: otlp.timeout_ms,
      httpAgentOptions: agentFor(otlp),
    })
    const told = <Exporter extends { export: Exports }>(exporter: Exporter) => tellingOfFailures(exporter, deps)
    const batches = { scheduledDelayMillis: config.delay_ms, exportTimeoutMillis: otlp.timeout_ms }
    this.#tracers = new TracerProvider({
      resource,
      idGenerator: this.#ids,
      spanProcessors: [new BatchSpanProcessor({ exporter: told(new OTLPTraceExporter(to('traces'))), ...batches })],
    })
    this.#meters = new MeterProvider({
      resource,
      readers: config.metrics
        ? [
            new PeriodicExportingMetricReader({
              exporter: told(new OTLPMetricExporter(to('metrics'))),
              exportIntervalMillis: config.interval_ms,
              exportTimeoutMillis: Math.min(otlp.timeout_ms, config.interval_ms),
            }),
          ]
        : [],
    })
    this.#loggers = new LoggerProvider({
      resource,
      processors: [new BatchLogRecordProcessor({ exporter: told(new OTLPLogExporter(to('logs'))), ...batches })],
    })
    const meter = this.#meters.getMeter(SCOPE)
    const histogram = (name: string, unit: string, bounds: number[]) =>
      meter.createHistogram(name, { unit, advice: { explicitBucketBoundaries: bounds } })
    this.#duration = histogram('gen_ai.client.operation.duration', 's', DURATION_BOUNDS)
    this.#firstChunk = histogram('gen_ai.client.operation.time_to_first_chunk', 's', DURATION_BOUNDS)
    this.#tokens = histogram('gen_ai.client.token.usage', '{token}', TOKEN_BOUNDS)
  }

  follow(request: TracedRequest): RequestTrace {
    const trace = new RequestTrace(request.incoming.headers, this.#config)
    request.outgoing.once('close', () => this.#end(trace, request))
    return trace
  }

  reward({ interaction, kind, value, ts }: TracedReward): void {
    if (!this.#config.events) return
    const answer = this.#recent.get(interaction)
    this.#loggers.getLogger(SCOPE).emit({
      eventName: 'gen_ai.evaluation.result',
      timestamp: ts,
      ...(answer && { context: answer.span }),
      attributes: {
        'gen_ai.evaluation.name': kind,
        'gen_ai.evaluation.score.value': value,
        'gen_ai.evaluation.score.label': value > 0 ? 'positive' : value < 0 ? 'negative' : 'neutral',
        'persona_router.request.id': interaction,
        ...(answer?.completionId && { 'gen_ai.response.id': answer.completionId }),
      },
    })
  }

  async close(): Promise<void> {
    // A collector that is gone is no reason to stay.
    await Promise.allSettled([this.#tracers.shutdown(), this.#meters.shutdown(), this.#loggers.shutdown()])
  }

  #end(trace: RequestTrace, { incoming, outgoing, ts, startedAt }: TracedRequest): void {
    const endedAt = performance.now()
    const { record } = trace
    for (const attempt of trace.attempts) this.#measure(attempt, trace, endedAt)
    if (!this.#config.traces || !trace.isSampled) return
    const at = (time: number) => ts + (time - startedAt)
    const tracer = this.#tracers.getTracer(SCOPE)
    this.#ids.next(trace.traceId, trace.spanId)
    const { statusCode } = outgoing
    const isBroken = !outgoing.writableFinished
    const route = routeOf(incoming.url)
    const span = tracer.startSpan(
      `${incoming.method} ${route}`,
      {
        kind: SpanKind.SERVER,
        startTime: at(startedAt),
        attributes: {
          'http.request.method': incoming.method ?? '',
          'http.route': route,
          'http.response.status_code': statusCode,
          ...(record && requestAttributes(record)),
          ...((isBroken || statusCode >= 500) && { 'error.type': isBroken ? 'aborted' : String(statusCode) }),
        },
      },
      trace.parentId === null ? ROOT_CONTEXT : inSpan(trace.traceId, trace.parentId, true),
    )
    if (statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
    for (const attempt of trace.attempts) {
      this.#ids.next(trace.traceId, attempt.id)
      const tried = tracer.startSpan(
        `${operationOf(record)} ${attempt.candidate.model}`,
        {
          kind: SpanKind.CLIENT,
          startTime: at(attempt.startedAt),
          attributes: attemptAttributes(attempt, record),
        },
        inSpan(trace.traceId, trace.spanId, false),
      )
      if (attempt.error !== null) tried.setStatus({ code: SpanStatusCode.ERROR })
      tried.end(at(attempt.endedAt ?? endedAt))
      if (attempt.isAnswer && record) {
        this.#recent.set(record.id, {
          span: inSpan(trace.traceId, attempt.id, false),
          completionId: record.completionId ?? null,
        })
      }
    }
    span.end(at(endedAt))
  }

  #measure(attempt: AttemptSpan, { record }: RequestTrace, endedAt: number): void {
    const attributes = metricAttributes(attempt.candidate, record, attempt.error)
    this.#duration.record(((attempt.endedAt ?? endedAt) - attempt.startedAt) / 1e3, attributes)
    if (!attempt.isAnswer || !record) return
    const { usage, ttftMs } = record
    if (ttftMs !== null) this.#firstChunk.record(ttftMs / 1e3, attributes)
    this.#tokens.record(usage.promptTokens, { ...attributes, 'gen_ai.token.type': 'input' })
    this.#tokens.record(usage.completionTokens, { ...attributes, 'gen_ai.token.type': 'output' })
  }
}

const inSpan = (traceId: string, spanId: string, isRemote: boolean) =>
  traces.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote })

/** The first two steps of a path: what follows may be an id. */
const routeOf = (url = '') => (url.split('?', 1)[0] ?? '').split('/', 3).join('/')

/** Spans get the ids that were drawn when the request began. */
class GivenIds {
  #traceId = ''
  #spanId = ''

  next(traceId: string, spanId: string): void {
    this.#traceId = traceId
    this.#spanId = spanId
  }

  generateTraceId = () => this.#traceId
  generateSpanId = () => this.#spanId
}

interface ExportResult {
  code: number
  error?: Error
}

// biome-ignore lint/suspicious/noExplicitAny: each signal has items of its own, which only pass through.
type Exports = (items: any, done: (result: ExportResult) => void) => void

const TOLD_EVERY_MS = 60_000

/** A collector that takes nothing is counted each time and told once a minute. */
function tellingOfFailures<Exporter extends { export: Exports }>(
  exporter: Exporter,
  { metrics, log }: { metrics: Metrics; log: Logger },
): Exporter {
  const send = exporter.export.bind(exporter)
  let toldAt = Number.NEGATIVE_INFINITY
  exporter.export = (items, done) =>
    send(items, (result: ExportResult) => {
      if (result.code !== 0) {
        metrics.telemetryErrors.inc()
        if (performance.now() - toldAt > TOLD_EVERY_MS) {
          toldAt = performance.now()
          log.warn({ err: result.error }, 'the collector of telemetry takes nothing')
        }
      }
      done(result)
    })
  return exporter
}
