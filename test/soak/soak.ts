import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parse, stringify } from 'yaml'
import { editManifest } from '../routing/support.ts'
import { adminCall, metric } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { startUpstream } from '../support/upstream.ts'
import { type Account, account } from './records.ts'
import { type Kind, type Sample, Traffic } from './traffic.ts'
import { MoodyUpstream } from './upstream.ts'

const ARTIFACT = fileURLToPath(new URL('../../router-model/artifacts/current', import.meta.url))
const COLLECT_GARBAGE = new URL('collect-garbage.mjs', import.meta.url).href
const CLIENTS = 8
/** Faults of one kind after the other, so far apart. */
const FAULT_EVERY_MS = 4_500
/**
 * What a fault may still be seen by after its end: `timeouts.answer_ms`, an open breaker, a try at another candidate.
 */
const AFTERMATH_MS = 3_000
const CALM_MS = 4_000
/**
 * Growth of the heap, after garbage collection, over the second half: more is a leak. What is cached grows in the
 * first.
 */
const MAX_HEAP_GROWTH = 24 * 1024 * 1024
const MAX_MORE_HANDLES = 12
const MAX_MORE_FILES = 16
/**
 * How much slower the last quarter's p99 may be than the first's, after what the machine itself has slowed down; plus a
 * little.
 */
const MAX_DRIFT = 3
const MAX_DRIFT_MS = 100

interface Usage {
  heapBytes: number
  /** Sockets, servers and watchers of Node. */
  handles: number
  /** What the system holds open for it: sockets, files, pipes. */
  files: number
  inFlight: number
}

/** When a fault played, its aftermath included, on `performance.now()`'s clock. */
interface Span {
  from: number
  to: number
}

interface Drift {
  first: number
  last: number
}

export interface SoakReport extends Account {
  minutes: number
  requests: number
  statuses: Record<string, number>
  faults: Record<string, number>
  halfway: Usage
  end: Usage
  /** Milliseconds of good answers while no fault played: first and last quarter. */
  p99: Drift
  /** The same of requests to the provider itself. */
  control: Drift
  /** Requests while no fault played. */
  calm: number
  problems: string[]
}

/** Mixed traffic for so long while one part after the other fails, and then what must not have happened. */
export async function soak(minutes: number, tell: (line: string) => void): Promise<SoakReport> {
  const mood = new MoodyUpstream()
  const upstream = await startUpstream(mood.script)
  const redis = await startRedis('--appendonly', 'yes', '--appendfsync', 'always')
  const artifacts = mkdtempSync(join(tmpdir(), 'persona-router-soak-'))
  for (const version of ['odd', 'even']) {
    cpSync(ARTIFACT, join(artifacts, version), { recursive: true, dereference: true })
    editManifest(join(artifacts, version), (manifest) => Object.assign(manifest, { version }))
  }
  symlinkSync('odd', join(artifacts, 'current'))
  const provider = { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false }
  const gateway = await startGateway(
    {
      store: { kind: 'redis', url: redis.url },
      providers: { up: provider },
      candidates: ['one', 'two', 'three'].map((name) => ({ name, provider: 'up', price: { input: 1, output: 2 } })),
      router: { artifact: join(artifacts, 'current'), deadline_ms: 50 },
      timeouts: { first_byte_ms: 2_000, answer_ms: 2_000, content_idle_ms: 2_000, total_ms: 5_000 },
      retries: { breaker: { failures: 20, open_ms: 500 } },
    },
    { env: { NODE_OPTIONS: `--expose-gc --import=${COLLECT_GARBAGE}` } },
  )
  const traffic = new Traffic({
    url: () => gateway.url,
    key: gateway.key,
    clients: CLIENTS,
    control: upstream.origin + MoodyUpstream.CONTROL,
  })
  const faults = faultsOf({ gateway, redis, mood, artifacts })
  const counts: Record<string, number> = {}
  const spans: Span[] = []
  const started = performance.now()
  const until = started + minutes * 60_000
  let halfway: Usage | undefined
  try {
    for (let i = 0; performance.now() < until; i++) {
      const [name, fault] = faults[i % faults.length]!
      counts[name] = (counts[name] ?? 0) + 1
      const from = performance.now()
      await fault()
      spans.push({ from, to: performance.now() + AFTERMATH_MS })
      await sleep(FAULT_EVERY_MS)
      if (i % faults.length === 0)
        tell(`${((performance.now() - started) / 60_000).toFixed(1)} min, ${traffic.samples.length} requests`)
      if (!halfway && performance.now() > (started + until) / 2) halfway = await usageOf(gateway)
    }
    await traffic.stop()
    await sleep(CALM_MS)
    const end = await usageOf(gateway)
    const { samples } = traffic
    const calm = samples.filter(({ at, ms }) => !spans.some(({ from, to }) => at < to && at + ms > from))
    const gatewayCalm = calm.filter(({ kind }) => kind !== 'control')
    const accounted = await account(redis.url, traffic.answered())
    const report = {
      minutes,
      requests: samples.length,
      statuses: statusesOf(samples),
      faults: counts,
      halfway: halfway ?? end,
      end,
      p99: drift(gatewayCalm),
      control: drift(calm.filter(({ kind }) => kind === 'control')),
      calm: calm.length,
      ...accounted,
    }
    const dropped = await metric(gateway, 'persona_router_records_dropped')
    return { ...report, problems: problemsOf(report, { dropped, calm: statusesOf(calm) }, gateway) }
  } finally {
    await traffic.stop()
    await discard(gateway)
    await redis.discard()
    await upstream.close()
    rmSync(artifacts, { recursive: true, force: true })
  }
}

interface Parts {
  gateway: RunningGateway
  redis: RedisServer
  mood: MoodyUpstream
  artifacts: string
}

function faultsOf({ gateway, redis, mood, artifacts }: Parts): [string, () => unknown][] {
  const good = readFileSync(gateway.configFile, 'utf8')
  let swaps = 0
  const moody = (name: MoodyUpstream['mood']): [string, () => Promise<void>] => [
    `provider ${name}`,
    async () => {
      mood.mood = name
      await sleep(1_000)
      mood.mood = 'well'
    },
  ]
  return [
    moody('resets'),
    [
      'redis killed',
      async () => {
        await redis.kill()
        await sleep(1_000)
        await redis.start()
      },
    ],
    [
      'configuration reloaded',
      async () => {
        const parsed = parse(good)
        writeFileSync(
          gateway.configFile,
          stringify({
            ...parsed,
            candidates: [...parsed.candidates, { ...parsed.candidates[0], name: `more-${++swaps}` }],
          }),
        )
        await adminCall(gateway, '/config/reload', { method: 'POST' })
      },
    ],
    moody('stalls'),
    [
      'configuration broken',
      () => {
        writeFileSync(gateway.configFile, good.slice(0, good.length / 2).concat('\n  nonsense: ['))
        gateway.process.kill('SIGHUP')
      },
    ],
    [
      'redis frozen',
      async () => {
        redis.freeze()
        await sleep(1_500)
        redis.thaw()
      },
    ],
    [
      'artifact swapped',
      () => {
        symlinkSync(++swaps % 2 ? 'even' : 'odd', join(artifacts, 'next'))
        renameSync(join(artifacts, 'next'), join(artifacts, 'current'))
      },
    ],
    moody('fails'),
  ]
}

/** Its own metrics, just after garbage collection. */
async function usageOf(gateway: RunningGateway): Promise<Usage> {
  gateway.process.kill('SIGUSR2')
  await sleep(500)
  return {
    heapBytes: await metric(gateway, 'nodejs_heap_size_used_bytes'),
    handles: await metric(gateway, 'nodejs_active_handles_total'),
    files: await metric(gateway, 'process_open_fds'),
    inFlight: await metric(gateway, 'persona_router_in_flight'),
  }
}

const drift = (samples: Sample[]): Drift => ({ first: p99(quarter(samples, 0)), last: p99(quarter(samples, 3)) })

const quarter = (samples: Sample[], n: number) =>
  samples.slice((n * samples.length) / 4, ((n + 1) * samples.length) / 4).filter(({ status }) => status === 200)

function p99(samples: Sample[]): number {
  const times = samples.map(({ ms }) => ms).sort((a, b) => a - b)
  return Math.round(times[Math.floor(0.99 * (times.length - 1))] ?? 0)
}

function statusesOf(samples: Sample[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { kind, status } of samples) counts[`${kind} ${status}`] = (counts[`${kind} ${status}`] ?? 0) + 1
  return counts
}

const ASKED: Kind[] = ['plain', 'stream', 'tools']

/** Faults of the provider may be seen by clients, nothing else. */
const IN_A_FAULT: Record<string, number[]> = {
  ...Object.fromEntries(ASKED.map((kind) => [kind, [200, 429, 500, 502, 503, 504]])),
  feedback: [202, 404, 503],
  bad: [400, 404],
  abort: [0, 200, 429, 500, 502, 503, 504],
  control: [200],
}
const IN_THE_CALM: Record<string, number[]> = {
  ...Object.fromEntries(ASKED.map((kind) => [kind, [200]])),
  feedback: [202, 404],
  bad: [400, 404],
  abort: [0, 200],
  control: [200],
}

const unexpected = (statuses: Record<string, number>, allowed: Record<string, number[]>, when: string) => {
  const odd = Object.keys(statuses).filter((key) => {
    const [kind = '', status] = key.split(' ')
    return !allowed[kind]?.includes(Number(status))
  })
  return odd.length > 0 && `unexpected ${when}: ${odd.map((key) => `${key}: ${statuses[key]}`).join(', ')}`
}

function problemsOf(
  report: Omit<SoakReport, 'problems'>,
  { dropped, calm }: { dropped: number; calm: Record<string, number> },
  { process: child }: RunningGateway,
): string[] {
  const { halfway, end, lost, doubled, p99, control } = report
  const machine = Math.max(1, control.last / Math.max(1, control.first))
  return [
    child.exitCode !== null && `the gateway ended with ${child.exitCode}`,
    lost.length > 0 && `${lost.length} records lost`,
    doubled.length > 0 && `${doubled.length} records doubled`,
    dropped > 0 && `${dropped} records dropped by the spool`,
    unexpected(report.statuses, IN_A_FAULT, 'in a fault'),
    unexpected(calm, IN_THE_CALM, 'in the calm'),
    end.inFlight > 0 && `${end.inFlight} requests in flight with nobody there`,
    end.heapBytes - halfway.heapBytes > MAX_HEAP_GROWTH &&
      `the heap grew from ${halfway.heapBytes} to ${end.heapBytes} bytes`,
    end.handles - halfway.handles > MAX_MORE_HANDLES && `handles grew from ${halfway.handles} to ${end.handles}`,
    end.files - halfway.files > MAX_MORE_FILES && `open files grew from ${halfway.files} to ${end.files}`,
    p99.last > MAX_DRIFT * machine * p99.first + MAX_DRIFT_MS &&
      `p99 rose from ${p99.first} to ${p99.last} ms; of the provider itself from ${control.first} to ${control.last}`,
  ].filter((problem) => problem !== false)
}
