import { readFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { type Context, ROOT_CONTEXT, TraceFlags, trace as traces } from '@opentelemetry/api'
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { LRUCache } from 'lru-cache'
import { PerMinute } from '../../runtime/per-minute.ts'
import { proxyFor } from '../../runtime/proxy.ts'
import { secretFile } from '../../runtime/secret-file.ts'
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
import { Histogram, HistogramProducer } from './histograms.ts'
import type { TelemetryConfig } from './schema.ts'
import { SpanBatch } from './span-batch.ts'
import { SpanSender } from './span-sender.ts'
import type { Telemetry, TracedRequest, TracedReward } from './telemetry.ts'
import { type AttemptSpan, RequestTrace } from './trace.ts'

const SCOPE = 'persona-router'
const SECONDS = { unit: 's', bounds: DURATION_BOUNDS }

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

/** The configuration's, and those of the file as it is now. */
function headersOf({ headers, headers_file: file }: Options['otlp']): () => Record<string, string> {
  if (file === undefined) return () => headers
  const read = secretFile(file)
  return () => ({ ...headers, ...Object.fromEntries((read() ?? '').split('\n').flatMap(headerOf)) })
}

function headerOf(line: string): [string, string][] {
  const [, name, value] = /^\s*([\w-]+)\s*:\s*(.*?)\s*$/.exec(line) ?? []
  return name === undefined || value === undefined ? [] : [[name.toLowerCase(), value]]
}

interface RecentAnswer {
  traceId: string
  spanId: string
  completionId: string | null
}

interface Options extends TelemetryConfig {
  otlp: NonNullable<TelemetryConfig['otlp']>
}

/** Sends spans, histograms and events to a collector, in batches beside the requests. */
export class OtlpTelemetry implements Telemetry {
  readonly #config: Options
  /** A caller's flag costs the operator room at the collector, whatever share they chose for their own. */
  readonly #callers: PerMinute
  readonly #spans: SpanSender
  readonly #meters: MeterProvider
  readonly #loggers: LoggerProvider
  readonly #recent = new LRUCache<string, RecentAnswer>({ max: RECENT_ANSWERS })
  readonly #duration = new Histogram({ ...SECONDS, name: 'gen_ai.client.operation.duration' })
  readonly #firstChunk = new Histogram({ ...SECONDS, name: 'gen_ai.client.operation.time_to_first_chunk' })
  readonly #tokens = new Histogram({ name: 'gen_ai.client.token.usage', unit: '{token}', bounds: TOKEN_BOUNDS })

  constructor(config: Options, deps: { metrics: Metrics; log: Logger }) {
    this.#config = config
    this.#callers = new PerMinute(config.callers_per_minute)
    const { otlp } = config
    const named = { 'service.name': config.service_name, 'process.pid': process.pid }
    const resource = resourceFromAttributes(named)
    const headers = headersOf(otlp)
    const to = (signal: string) => ({
      url: `${otlp.endpoint.replace(/\/+$/, '')}/v1/${signal}`,
      headers: async () => headers(),
      timeoutMillis: otlp.timeout_ms,
      httpAgentOptions: agentFor(otlp),
    })
    const onFailed = tellingOfFailures(deps)
    const told = <Exporter extends { export: Exports }>(exporter: Exporter) => tellingOf(exporter, onFailed)
    const batches = { scheduledDelayMillis: config.delay_ms, exportTimeoutMillis: otlp.timeout_ms }
    this.#spans = new SpanSender({
      url: to('traces').url,
      headers,
      ca: otlp.ca_file === undefined ? undefined : readFileSync(otlp.ca_file),
      timeoutMs: otlp.timeout_ms,
      delayMs: config.delay_ms,
      batch: new SpanBatch(named, SCOPE),
      onFailed,
    })
    this.#meters = new MeterProvider({
      resource,
      readers: config.metrics
        ? [
            new PeriodicExportingMetricReader({
              exporter: told(new OTLPMetricExporter(to('metrics'))),
              exportIntervalMillis: config.interval_ms,
              exportTimeoutMillis: Math.min(otlp.timeout_ms, config.interval_ms),
              metricProducers: [
                new HistogramProducer(resource, SCOPE, [this.#duration, this.#firstChunk, this.#tokens]),
              ],
            }),
          ]
        : [],
    })
    this.#loggers = new LoggerProvider({
      resource,
      processors: [new BatchLogRecordProcessor({ exporter: told(new OTLPLogExporter(to('logs'))), ...batches })],
    })
  }

  follow(request: TracedRequest): RequestTrace {
    const { sample, propagate } = this.#config
    const isKeptForCaller = () => this.#callers.allows(request.caller.tenant)
    const trace = new RequestTrace(request.incoming.headers, { sample, propagate, isKeptForCaller })
    request.outgoing.once('close', () => this.#end(trace, request))
    return trace
  }

  reward({ interaction, kind, value, ts }: TracedReward): void {
    if (!this.#config.events) return
    const answer = this.#recent.get(interaction)
    this.#loggers.getLogger(SCOPE).emit({
      eventName: 'gen_ai.evaluation.result',
      timestamp: ts,
      ...(answer && { context: inSpan(answer) }),
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
    await Promise.allSettled([this.#spans.close(), this.#meters.shutdown(), this.#loggers.shutdown()])
  }

  #end(trace: RequestTrace, request: TracedRequest): void {
    const { incoming, outgoing, ts, startedAt } = request
    const endedAt = performance.now()
    const { record, traceId } = trace
    if (this.#config.metrics) for (const attempt of trace.attempts) this.#measure(attempt, trace, endedAt)
    if (!this.#config.traces || !trace.isSampled) return
    const at = (time: number) => ts + (time - startedAt)
    const { statusCode } = outgoing
    const isBroken = !outgoing.writableFinished
    const route = routeOf(request)
    this.#spans.add({
      traceId,
      spanId: trace.spanId,
      parentId: trace.parentId,
      name: `${incoming.method} ${route}`,
      kind: 'server',
      start: ts,
      end: at(endedAt),
      attributes: {
        'http.request.method': incoming.method ?? '',
        'http.route': route,
        'http.response.status_code': statusCode,
        ...(record && requestAttributes(record)),
        ...((isBroken || statusCode >= 500) && { 'error.type': isBroken ? 'aborted' : String(statusCode) }),
      },
      isError: statusCode >= 500,
    })
    for (const attempt of trace.attempts) {
      this.#spans.add({
        traceId,
        spanId: attempt.id,
        parentId: trace.spanId,
        name: `${operationOf(record)} ${attempt.candidate.model}`,
        kind: 'client',
        start: at(attempt.startedAt),
        end: at(attempt.endedAt ?? endedAt),
        attributes: attemptAttributes(attempt, record),
        isError: attempt.error !== null,
      })
      if (attempt.isAnswer && record) {
        this.#recent.set(record.id, { traceId, spanId: attempt.id, completionId: record.completionId ?? null })
      }
    }
  }

  #measure(attempt: AttemptSpan, { record }: RequestTrace, endedAt: number): void {
    const { candidate, error } = attempt
    const key = `${operationOf(record)}\0${candidate.provider}\0${candidate.model}\0${error ?? ''}`
    const attributes = () => metricAttributes(candidate, record, error)
    this.#duration.record(((attempt.endedAt ?? endedAt) - attempt.startedAt) / 1e3, key, attributes)
    if (!attempt.isAnswer || !record) return
    const { usage, ttftMs } = record
    if (ttftMs !== null) this.#firstChunk.record(ttftMs / 1e3, key, attributes)
    const ofTokens = (type: string) => () => ({ ...attributes(), 'gen_ai.token.type': type })
    this.#tokens.record(usage.promptTokens, `${key}\0input`, ofTokens('input'))
    this.#tokens.record(usage.completionTokens, `${key}\0output`, ofTokens('output'))
  }
}

const inSpan = ({ traceId, spanId }: RecentAnswer): Context =>
  traces.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED })

const OWN_ROUTES: ReadonlySet<string> = new Set(
  'chat completions embeddings feedback messages models responses router usage users'.split(' '),
)

/**
 * The first two steps of a path, since what follows may be an id. Of a path that nobody serves the first alone: the
 * client chose the other, and names of spans are what collectors count by.
 */
function routeOf({ incoming, snapshot }: TracedRequest): string {
  const [, version = '', name = ''] = (incoming.url?.split('?', 1)[0] ?? '').split('/', 3)
  const isServed = () => Object.keys(snapshot.config.passthrough).some((prefix) => prefix.startsWith(`/v1/${name}/`))
  return OWN_ROUTES.has(name) || isServed() ? `/${version}/${name}` : `/${version}/*`
}

interface ExportResult {
  code: number
  error?: Error
}

// biome-ignore lint/suspicious/noExplicitAny: each signal has items of its own, which only pass through.
type Exports = (items: any, done: (result: ExportResult) => void) => void

const TOLD_EVERY_MS = 60_000

/** A collector that takes nothing is counted each time and told once a minute. */
function tellingOfFailures({ metrics, log }: { metrics: Metrics; log: Logger }): (error?: Error) => void {
  let toldAt = Number.NEGATIVE_INFINITY
  return (error) => {
    metrics.telemetryErrors.inc()
    if (performance.now() - toldAt <= TOLD_EVERY_MS) return
    toldAt = performance.now()
    log.warn({ err: error }, 'the collector of telemetry takes nothing')
  }
}

function tellingOf<Exporter extends { export: Exports }>(
  exporter: Exporter,
  onFailed: (error?: Error) => void,
): Exporter {
  const send = exporter.export.bind(exporter)
  exporter.export = (items, done) =>
    send(items, (result: ExportResult) => {
      if (result.code !== 0) onFailed(result.error)
      done(result)
    })
  return exporter
}
