import cluster from 'node:cluster'
import { Counter, Gauge, Histogram, Registry, wholeClient } from './prometheus.ts'

const OVERHEAD_BUCKETS = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1]
const LATENCY_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

/** One finished request, as far as it is counted. */
export interface CountedRequest {
  tenant: string
  /** The candidate that answered. */
  chosen: string
  reason: string
  /** HTTP status that the client saw. */
  status: number
  policy: string
  attempts: readonly { provider: string; error: string | null }[]
  usage: { promptTokens: number; completionTokens: number; cachedTokens: number; reasoningTokens: number }
  costUsd: number
  overheadUs: number
  ttftMs: number | null
  totalMs: number
}

/** Prometheus metrics. Labels hold only names from the configuration: no user, no key, no text. */
export function createMetrics() {
  const registry = new Registry()
  // In a worker it listens for the supervisor, which asks all of them (src/server/workers.ts).
  if (cluster.isWorker) {
    const { AggregatorRegistry } = wholeClient()
    AggregatorRegistry.setRegistries([registry])
    new AggregatorRegistry()
    countProcess(registry)
  }
  const registers = [registry]
  const requests = new Counter({
    name: 'persona_router_requests_total',
    help: 'Chat completions by tenant, candidate that answered, reason, HTTP status and policy.',
    labelNames: ['tenant', 'candidate', 'reason', 'status', 'policy'],
    registers,
  })
  const attempts = new Counter({
    name: 'persona_router_attempts_total',
    help: 'Tries at providers by kind of error ("none" = it worked).',
    labelNames: ['provider', 'error'],
    registers,
  })
  const tokens = new Counter({
    name: 'persona_router_tokens_total',
    help: 'Tokens by tenant, candidate and kind (prompt, completion, cached, reasoning).',
    labelNames: ['tenant', 'candidate', 'kind'],
    registers,
  })
  const cost = new Counter({
    name: 'persona_router_cost_usd_total',
    help: 'Dollars by tenant and candidate.',
    labelNames: ['tenant', 'candidate'],
    registers,
  })
  const overhead = new Histogram({
    name: 'persona_router_overhead_seconds',
    help: 'Our own time per request, upstream time taken out.',
    buckets: OVERHEAD_BUCKETS,
    registers,
  })
  const ttft = new Histogram({
    name: 'persona_router_time_to_first_token_seconds',
    help: 'Time from the request to the first byte of the answer, by candidate.',
    labelNames: ['candidate'],
    buckets: LATENCY_BUCKETS,
    registers,
  })
  const duration = new Histogram({
    name: 'persona_router_request_duration_seconds',
    help: 'Time from the request to the end of the answer, by candidate.',
    labelNames: ['candidate'],
    buckets: LATENCY_BUCKETS,
    registers,
  })
  const passed = new Counter({
    name: 'persona_router_passed_through_total',
    help: 'Requests passed through as they are, by tenant, provider, configured prefix and HTTP status (0 = none came).',
    labelNames: ['tenant', 'provider', 'prefix', 'status'],
    registers,
  })
  const rejected = new Counter({
    name: 'persona_router_rejected_total',
    help: 'Errors told to clients, by HTTP status and code.',
    labelNames: ['status', 'code'],
    registers,
  })
  const routerFallback = new Counter({
    name: 'persona_router_router_fallback_total',
    help: 'Requests that the fallback router ranked, by reason.',
    labelNames: ['reason'],
    registers,
  })
  const gainVerdicts = new Counter({
    name: 'persona_router_gain_verdicts_total',
    help: 'Groups of users found to gain or lose by the router, compared with the baseline.',
    labelNames: ['tenant', 'verdict'],
    registers,
  })
  const evidenceSurges = new Counter({
    name: 'persona_router_evidence_surges_total',
    help: 'Hours in which many new users rated one candidate alike: see /admin/evidence.',
    labelNames: ['tenant', 'candidate'],
    registers,
  })
  const rewards = new Counter({
    name: 'persona_router_rewards_total',
    help: 'Rewards by tenant and kind.',
    labelNames: ['tenant', 'kind'],
    registers,
  })
  const feedbackLost = new Counter({
    name: 'persona_router_feedback_lost_total',
    help: 'Feedback that was accepted before its answer was found, and it never was, by tenant.',
    labelNames: ['tenant'],
    registers,
  })
  const artifactLoads = new Counter({
    name: 'persona_router_artifact_loads_total',
    help: 'Artifacts loaded, by result.',
    labelNames: ['result'],
    registers,
  })
  const webhookErrors = new Counter({
    name: 'persona_router_webhook_errors_total',
    help: 'Messages that the webhook did not take.',
    registers,
  })
  const telemetryErrors = new Counter({
    name: 'persona_router_telemetry_errors_total',
    help: 'Batches of telemetry that the collector did not take.',
    registers,
  })
  const storeErrors = new Counter({
    name: 'persona_router_store_errors_total',
    help: 'Calls of the store that failed, by what they were for.',
    labelNames: ['call'],
    registers,
  })
  const rowsPassedBy = new Counter({
    name: 'persona_router_rows_passed_by_total',
    help: 'Rows of the log, by tenant, that a reading passed by since what they share with others is gone.',
    labelNames: ['tenant'],
    registers,
  })

  const storeDegraded = new Gauge({
    name: 'persona_router_store_degraded',
    help: '1 while the store takes no writes, or may drop what must stay.',
    registers,
  })

  return {
    registry,
    storeDegraded,
    passed,
    rejected,
    routerFallback,
    gainVerdicts,
    evidenceSurges,
    rewards,
    feedbackLost,
    artifactLoads,
    storeErrors,
    rowsPassedBy,
    telemetryErrors,
    webhookErrors,
    /** As Prometheus reads it. How the process fares is measured from the first time on. */
    text(): Promise<string> {
      countProcess(registry)
      return registry.metrics()
    },
    /** Counts one finished request. */
    observe(record: CountedRequest): void {
      const { tenant, chosen: candidate, usage } = record
      requests.inc({ tenant, candidate, reason: record.reason, status: record.status, policy: record.policy })
      for (const { provider, error } of record.attempts) attempts.inc({ provider, error: error ?? 'none' })
      tokens.inc({ tenant, candidate, kind: 'prompt' }, usage.promptTokens)
      tokens.inc({ tenant, candidate, kind: 'completion' }, usage.completionTokens)
      if (usage.cachedTokens > 0) tokens.inc({ tenant, candidate, kind: 'cached' }, usage.cachedTokens)
      if (usage.reasoningTokens > 0) tokens.inc({ tenant, candidate, kind: 'reasoning' }, usage.reasoningTokens)
      if (record.costUsd > 0) cost.inc({ tenant, candidate }, record.costUsd)
      overhead.observe(record.overheadUs / 1e6)
      if (record.ttftMs !== null) ttft.observe({ candidate }, record.ttftMs / 1e3)
      duration.observe({ candidate }, record.totalMs / 1e3)
    },
    /**
     * A gauge that is read when Prometheus asks.
     *
     * @param aggregator of the values of several workers
     */
    watch(name: string, help: string, read: () => number, aggregator: 'sum' | 'max' | 'min' = 'sum'): void {
      new Gauge({
        name: `persona_router_${name}`,
        help,
        registers,
        aggregator,
        collect() {
          this.set(read())
        },
      })
    },
  }
}

type AnyRegistry = InstanceType<typeof Registry>

const counted = new WeakSet<AnyRegistry>()

function countProcess(registry: AnyRegistry): void {
  if (counted.has(registry)) return
  counted.add(registry)
  const { user, system } = process.cpuUsage()
  wholeClient().collectDefaultMetrics({ register: registry })
  // It counts from now on; the name says of the process.
  const seconds = { user: user / 1e6, system: system / 1e6, '': (user + system) / 1e6 }
  for (const [kind, value] of Object.entries(seconds)) {
    const counter = registry.getSingleMetric(`process_cpu_${kind && `${kind}_`}seconds_total`)
    if (counter instanceof Counter) counter.inc(value)
  }
  for (const part of ['min', 'mean', 'stddev']) skipUnmeasured(registry, `nodejs_eventloop_lag_${part}_seconds`)
}

/** 2^63 ns: what the least of no measurements is said to be; their mean is NaN. */
const NOTHING_MEASURED_S = 2 ** 63 / 1e9

/** Nothing is measured yet at the first scrape, nor between two that come at once: it stays as it was. */
function skipUnmeasured(registry: AnyRegistry, name: string): void {
  const gauge = registry.getSingleMetric(name)
  if (!(gauge instanceof Gauge)) return
  const set = gauge.set.bind(gauge) as (labels: object, value: number) => void
  gauge.set = (labels: object | number, value?: number) => {
    if (value !== undefined && value < NOTHING_MEASURED_S) set(labels as object, value)
  }
}

export type Metrics = ReturnType<typeof createMetrics>
