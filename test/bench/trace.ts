/**
 * What telemetry costs of CPU, alone and in a tight loop: microseconds for a request with one try, all threads, sending
 * included. `node scripts/on-node.mjs test/bench/trace.ts`
 */
import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createMetrics } from '../../src/observability/metrics.ts'
import { openTelemetry } from '../../src/observability/telemetry/open.ts'
import { telemetrySchema } from '../../src/observability/telemetry/schema.ts'
import type { TracedRequest } from '../../src/observability/telemetry/telemetry.ts'
import { CORES, end, portOf, spawnNode } from './harness/spawned.ts'

const REQUESTS = 40_000
const ROUNDS = 5

const record = (id: number) => ({
  ...{
    id: `req_${id}`,
    tenant: 'bench',
    endpoint: 'chat',
    chosen: 'llm-3',
    reason: 'personal',
    policy: '2026.11.28-1',
  },
  ...{
    stream: false,
    finishReason: 'stop',
    completionId: `chatcmpl-${id}`,
    costUsd: 0.0001 * (1 + (id % 7)),
    ttftMs: 12.5,
  },
  usage: { promptTokens: 60, completionTokens: 80 + (id % 50), cachedTokens: 0, reasoningTokens: 0 },
})
const candidate = { name: 'llm-3', model: 'llm-3', provider: 'bench' }

async function microsecondsOf(telemetry: object): Promise<number> {
  const collector = spawnNode('collector.ts', [], { core: CORES.rest })
  const otlp = { endpoint: `http://127.0.0.1:${await portOf(collector)}` }
  const config = telemetrySchema.parse({ otlp, delay_ms: 200, ...telemetry })
  const log = { warn: console.error } as never
  const opened = await openTelemetry(config, { metrics: createMetrics(), log })
  const costs: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage()
    for (let i = 0; i < REQUESTS; i++) {
      const outgoing = Object.assign(new EventEmitter(), { statusCode: 200, writableFinished: true })
      const request: TracedRequest = {
        incoming: { method: 'POST', url: '/v1/chat/completions', headers: {} } as IncomingMessage,
        outgoing: outgoing as unknown as ServerResponse,
        caller: { tenant: 'bench' },
        snapshot: { config: { passthrough: {} } },
        ts: Date.now(),
        startedAt: performance.now(),
      }
      const trace = opened?.follow(request)
      trace?.attempt(candidate).answered(200)
      if (trace) trace.record = record(i)
      outgoing.emit('close')
      // As between requests: batches go out.
      if (i % 50 === 0) await new Promise(setImmediate)
    }
    await new Promise((done) => setTimeout(done, 400))
    const { user, system } = process.cpuUsage(before)
    costs.push((user + system) / REQUESTS)
  }
  await opened?.close()
  await end(collector)
  return costs.sort((a, b) => a - b)[ROUNDS >> 1] as number
}

const nothing = await microsecondsOf({ otlp: undefined })
for (const [name, telemetry] of [
  ['traces and histograms', {}],
  ['traces of a tenth, and histograms', { sample: 0.1 }],
  ['traces alone', { metrics: false }],
  ['histograms alone', { traces: false }],
] as const) {
  console.log(`${name}: ${((await microsecondsOf(telemetry)) - nothing).toFixed(1)} us a request`)
}
process.exit(0)
