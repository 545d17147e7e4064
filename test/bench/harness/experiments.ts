import { readFileSync } from 'node:fs'
import type { RedisServer } from '../../support/redis.ts'
import type { Asked, Bench, Round } from './bench.ts'
import { childrenOf, processCost } from './process-cost.ts'
import { median, spread } from './quantiles.ts'
import { CORES, end, portOf, spawnNode } from './spawned.ts'
import {
  type GatewayOptions,
  type Subject,
  startFloor,
  startGateway,
  startLiteLlm,
  startPortkey,
  withoutAdapting,
} from './subjects.ts'
import { warmUp as warmUpOne } from './warm-up.ts'

/** How long and how often things are measured. */
export interface Pace {
  seconds: number
  rounds: number
  /** At most, before anything is measured: until the price no longer falls (a chunk of a stream counts as one). */
  warmUpRequests: number
  /** What is taken out in turn. */
  parts: readonly (typeof PARTS)[number][]
  /** Beside each part alone: without all of them, and SQLite. */
  together: boolean
  /** Streams held open. */
  idleStreams: number
  /** Measure the peers, too: LiteLLM alone takes a quarter of a minute to come up. */
  peers: boolean
}

export interface Setting {
  bench: Bench
  redis: RedisServer | null
  pace: Pace
  device: string
  log: (line: string) => void
}

/** CPU of a request: median, spread and best of the rounds. */
export interface Cost {
  cpuUs: number
  spreadUs: number
  bestUs: number
  /** Median over rounds of the ratio to the floor in the same round. */
  timesFloor: number
  perCore: number
  /** Less than everything on: median over rounds of the difference in the same round, and its spread. */
  savedUs?: number
  savedSpreadUs?: number
}

export type Costs = Record<string, Cost>

export const ALL_ON = 'everything on'
export const FLOOR = 'bare Hono + undici'
export const PARTS = [
  'key',
  'limits',
  'embedding',
  'gnn',
  'policy',
  'record',
  'conversation',
  'metrics',
  'log',
  'adapting',
] as const

const PEERS = [
  ['Portkey', startPortkey],
  ['LiteLLM', startLiteLlm],
] as const

export function gateway({ bench, redis, device }: Setting, name: string, options: GatewayOptions = {}) {
  return startGateway(name, bench.upstreamPort, { redis: redis?.url ?? null, device, ...options })
}

export async function warmUp({ bench, pace }: Setting, subjects: readonly Subject[], asked: Asked = {}): Promise<void> {
  for (const subject of subjects) await warmUpOne(bench, subject, pace.warmUpRequests, asked)
}

/** Runs `work` and stops the subjects however it ends. */
async function using<T>(subjects: readonly Subject[], work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } finally {
    for (const subject of subjects) await subject.stop()
  }
}

const costsOf = (rounds: ReadonlyMap<Subject, Round[]>) => costsByName(byName(rounds))

const byName = (rounds: ReadonlyMap<Subject, Round[]>) =>
  new Map([...rounds].map(([{ name }, all]): [string, Round[]] => [name, all]))

function costsByName(rounds: ReadonlyMap<string, Round[]>): Costs {
  const floor = rounds.get(FLOOR) ?? []
  return Object.fromEntries(
    [...rounds].map(([name, all]): [string, Cost] => {
      const cpu = all.map(({ cpuUs }) => cpuUs)
      const ratios = cpu.map((us, i) => us / (floor[i]?.cpuUs ?? Number.NaN))
      const cpuUs = median(cpu)
      const cost = { cpuUs, spreadUs: spread(cpu), bestUs: Math.min(...cpu), timesFloor: median(ratios) }
      return [name, { ...cost, perCore: 1e6 / cpuUs }]
    }),
  )
}

/**
 * What a request costs: the floor, everything on, and each part off in turn. Each beside fresh ones of the first two:
 * of a dozen processes that take turns, those that wait for minutes first are half as fast.
 */
export async function partCosts(setting: Setting): Promise<Costs> {
  const { bench, redis, pace } = setting
  const variants: [name: string, options: GatewayOptions][] = [
    ...pace.parts.map((part): [string, GatewayOptions] => [`without ${part}`, { without: [part] }]),
  ]
  if (pace.together) variants.push(['without all of these', { without: PARTS }])
  if (pace.together && redis) variants.push(['SQLite instead of Redis', { redis: null }])
  const streams = variants.filter(([, { without }]) => without?.length === 1 && without[0] === 'adapting')
  const common = new Map<string, Round[]>([FLOOR, ALL_ON].map((name) => [name, []]))
  const costs: Costs = {}
  for (const [name, options] of variants) {
    const subjects = [await startFloor(bench.upstreamPort), ...(await beside(setting, name, options))]
    const rounds = await using(subjects, async () => {
      await warmUp(setting, subjects)
      return byName(await bench.rounds(subjects, { seconds: pace.seconds }, pace.rounds))
    })
    for (const [each, all] of common) all.push(...rounds.get(each)!)
    costs[name] = savedBy(name, rounds)
  }
  for (const [name, options] of streams) {
    const asked = { chunks: STREAMED, seconds: pace.seconds }
    const subjects = [await startFloor(bench.upstreamPort), ...(await beside(setting, name, options))]
    const rounds = await using(subjects, async () => {
      await warmUp(setting, subjects, { chunks: STREAMED })
      return byName(await bench.rounds(subjects, asked, pace.rounds))
    })
    costs[`streams of ${STREAMED} events, ${ALL_ON}`] = costsByName(rounds)[ALL_ON]!
    costs[`streams of ${STREAMED} events, ${name}`] = savedBy(name, rounds)
  }
  return { ...costsByName(common), ...costs }
}

/** Everything on, and what is compared with it. */
async function beside(setting: Setting, name: string, options: GatewayOptions): Promise<Subject[]> {
  if (options.without?.join() !== 'adapting') {
    return [await gateway(setting, ALL_ON), await gateway(setting, name, options)]
  }
  return withoutAdapting(name, await gateway(setting, ALL_ON, { twin: true }))
}

/** Events of the streams in which parts are compared. */
const STREAMED = 20

function savedBy(name: string, rounds: ReadonlyMap<string, Round[]>): Cost {
  const saved = rounds.get(name)!.map(({ cpuUs }, i) => rounds.get(ALL_ON)![i]!.cpuUs - cpuUs)
  return { ...costsByName(rounds)[name]!, savedUs: median(saved), savedSpreadUs: spread(saved) }
}

/**
 * The peers that are installed, each with the floor and this gateway in the same rounds, and apart from all else:
 * LiteLLM works on after its last answer.
 */
export async function peerCosts(setting: Setting): Promise<Record<string, Costs>> {
  const { bench, pace, log } = setting
  const result: Record<string, Costs> = {}
  for (const [name, start] of pace.peers ? PEERS : []) {
    const peer = await start(bench.upstreamPort)
    if (!peer) {
      log(`${name}: not installed, skipped (npm run bench:peers)`)
      continue
    }
    const subjects = [await startFloor(bench.upstreamPort), await gateway(setting, ALL_ON), peer]
    result[name] = await using(subjects, async () => {
      await warmUp(setting, subjects)
      return costsOf(await bench.rounds(subjects, { seconds: pace.seconds }, pace.rounds))
    })
  }
  return result
}

/** What traces cost. */
export interface Traces {
  costs: Costs
  /** CPU of a request that is traced, x one of the same process and round that is not: median over rounds. */
  times: { median: number; spread: number }
  /** Bytes of spans that came to the collector for one request: none may be dropped to be cheap. */
  bytesPerRequest: number
}

export const TRACED = 'traces of every request'
export const UNTRACED = 'the same process, requests that are not traced'

export async function traceCosts(setting: Setting): Promise<Traces> {
  const { bench, pace } = setting
  const collector = spawnNode('collector.ts', [], { core: CORES.rest })
  const otlp = { endpoint: `http://127.0.0.1:${await portOf(collector)}` }
  const taken = () =>
    new Promise<number>((done) => {
      collector.once('message', (message) => done((message as { bytes: number }).bytes))
      collector.send('bytes')
    })
  const telemetry = { otlp, sample: 1, delay_ms: 500 }
  const tracing = await gateway(setting, TRACED, { telemetry })
  // The caller's flag decides (W3C Trace Context, 3.2.2.5.1): one process, since two differ by more than traces cost.
  const flagged = (name: string, flag: string, stop = async () => {}): Subject => ({
    ...tracing,
    name,
    headers: { ...tracing.headers, traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-${flag}` },
    stop,
  })
  const subjects = [
    await startFloor(bench.upstreamPort),
    await gateway(setting, ALL_ON),
    flagged(TRACED, '01', tracing.stop),
    flagged(UNTRACED, '00'),
  ]
  try {
    return await using(subjects, async () => {
      await warmUp(setting, subjects)
      const rounds = byName(await bench.rounds(subjects, { seconds: pace.seconds }, pace.rounds))
      const of = (name: string) => rounds.get(name) ?? []
      const ratios = of(TRACED).map(({ cpuUs }, i) => cpuUs / (of(UNTRACED)[i]?.cpuUs ?? Number.NaN))
      const times = { median: median(ratios), spread: spread(ratios) }
      const traced = subjects.find(({ name }) => name === TRACED) as Subject
      const before = await taken()
      const { requests } = await bench.round(traced, { seconds: Math.max(pace.seconds, 0.4) })
      await new Promise((done) => setTimeout(done, 2_000))
      const bytesPerRequest = ((await taken()) - before) / requests
      return { costs: costsByName(rounds), times, bytesPerRequest }
    })
  } finally {
    await end(collector)
  }
}

/** Latencies less those without a proxy, milliseconds; medians over rounds, and the best round. */
export interface Added {
  p50: number
  p99: number
  p999: number
  best: { p50: number; p99: number }
}

export async function latencies(setting: Setting): Promise<Record<string, Record<string, Added>>> {
  const { bench, pace } = setting
  const portkey = pace.peers ? await startPortkey(bench.upstreamPort) : null
  const proxies = [await startFloor(bench.upstreamPort), await gateway(setting, ALL_ON), ...(portkey ? [portkey] : [])]
  return using(proxies, async () => {
    await warmUp(setting, proxies)
    const result: Record<string, Record<string, Added>> = {}
    for (const inFlight of [1, 32, 256]) {
      const all = await bench.rounds([bench.direct, ...proxies], { inFlight, seconds: pace.seconds }, pace.rounds)
      const direct = all.get([...all.keys()][0]!)!
      result[inFlight] = Object.fromEntries(
        proxies.map((proxy): [string, Added] => {
          const rounds = all.get(proxy)!
          const added = (which: 'p50' | 'p99' | 'p999') =>
            rounds.map(({ latencyMs }, i) => latencyMs[which] - direct[i]!.latencyMs[which])
          const best = { p50: Math.min(...added('p50')), p99: Math.min(...added('p99')) }
          return [
            proxy.name,
            { p50: median(added('p50')), p99: median(added('p99')), p999: median(added('p999')), best },
          ]
        }),
      )
    }
    return result
  })
}

export interface Streaming {
  /** CPU of one more event, microseconds. */
  chunkUs: number
  /** Time to the first byte less that without a proxy, milliseconds. */
  firstByteAddedMs: number
}

const CHUNKS = 100

export async function streaming(setting: Setting): Promise<Record<string, Streaming>> {
  const { bench, pace } = setting
  const proxies = [await startFloor(bench.upstreamPort), await gateway(setting, ALL_ON)]
  return using(proxies, async () => {
    await warmUp(setting, proxies, { chunks: CHUNKS })
    const seconds = Math.max(pace.seconds, 1)
    const short = await bench.rounds(proxies, { chunks: 1, inFlight: 16, seconds }, pace.rounds)
    const long = await bench.rounds(proxies, { chunks: CHUNKS + 1, inFlight: 16, seconds }, pace.rounds)
    const alone = await bench.rounds([bench.direct, ...proxies], { chunks: 1, inFlight: 1, seconds }, pace.rounds)
    const direct = alone.get([...alone.keys()][0]!)!
    return Object.fromEntries(
      proxies.map((proxy): [string, Streaming] => {
        const [few, many] = [short, long].map((rounds) => median(rounds.get(proxy)!.map(({ cpuUs }) => cpuUs)))
        const firstByteAddedMs = median(
          alone.get(proxy)!.map(({ firstByteMs }, i) => firstByteMs.p50 - direct[i]!.firstByteMs.p50),
        )
        return [proxy.name, { chunkUs: (many! - few!) / CHUNKS, firstByteAddedMs }]
      }),
    )
  })
}

export interface Idle {
  streams: number
  kbPerStream: number
  /** Resident memory of the gateway with all of them open. */
  totalMb: number
}

/** A stream is two sockets for the gateway. */
export function openableStreams(wanted: number): number {
  const limit = /Max open files +(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  return Math.min(wanted, Math.floor((Number(limit ?? 1_024) - 200) / 2))
}

export async function idleStreams(setting: Setting): Promise<Idle> {
  const { bench, pace } = setting
  const subject = await gateway(setting, ALL_ON)
  return using([subject], async () => {
    await warmUp(setting, [subject], { chunks: 5 })
    const rss = () => processCost([subject.child.pid ?? 0]).rss
    const before = rss()
    const streams = openableStreams(pace.idleStreams)
    const held = { hold: true, idle: true, chunks: 1, inFlight: streams }
    await bench.round(subject, held)
    await new Promise((done) => setTimeout(done, 1_000))
    return { streams, kbPerStream: (rss() - before) / streams / 1024, totalMb: rss() / 1024 / 1024 }
  })
}

/** The floor and everything on, with bodies of several sizes. */
export async function bodies(setting: Setting): Promise<Record<string, Costs>> {
  const { bench, pace } = setting
  const subjects = [await startFloor(bench.upstreamPort), await gateway(setting, ALL_ON)]
  return using(subjects, async () => {
    await warmUp(setting, subjects)
    const result: Record<string, Costs> = {}
    for (const [name, bytes] of [
      ['200 B', 200],
      ['20 KB', 20_000],
      ['1 MB', 1_000_000],
    ] as const) {
      // The generator keeps a request for each of its users.
      const asked = { bytes, seconds: pace.seconds, inFlight: 8, users: 32 }
      result[name] = costsOf(await bench.rounds(subjects, asked, pace.rounds))
    }
    return result
  })
}

export async function pools(setting: Setting): Promise<Costs> {
  const { bench, pace } = setting
  const subjects = [await startFloor(bench.upstreamPort)]
  for (const candidates of [3, 12, 100]) {
    subjects.push(await gateway(setting, `${candidates} candidates`, { candidates }))
  }
  return using(subjects, async () => {
    await warmUp(setting, subjects)
    return costsOf(await bench.rounds(subjects, { seconds: pace.seconds }, pace.rounds))
  })
}

export interface Scaling {
  perSecond: number
  cpuUs: number
}

/** Requests a second of one process and of two, on cores that they share with everything else here. */
export async function workers(setting: Setting): Promise<Record<string, Scaling>> {
  const { bench, pace } = setting
  const subjects = [await gateway(setting, '1 worker'), await gateway(setting, '2 workers', { workers: 2 })]
  return using(subjects, async () => {
    await warmUp(setting, subjects, { inFlight: 64 })
    const all = await bench.rounds(subjects, { seconds: pace.seconds, inFlight: 64 }, pace.rounds)
    return Object.fromEntries(
      [...all].map(([{ name }, rounds]): [string, Scaling] => [
        name,
        {
          perSecond: median(rounds.map(({ requests, seconds }) => requests / seconds)),
          cpuUs: median(rounds.map(({ cpuUs }) => cpuUs)),
        },
      ]),
    )
  })
}

/** After so long without a request, a gateway has given back what it does not need. */
const IDLE_MS = 65_000

export interface StartUp {
  /** Milliseconds from the start of the process until it answers, nothing compiled: medians. */
  coldMs: number
  /** With what an earlier start has compiled. */
  warmMs: number
  /** Resident memory right after it. */
  rssMb: number
  idleMb: number
}

/** Starts, in turn with and without compiled code; the last one is left alone for a minute. */
export async function startUp(setting: Setting): Promise<StartUp> {
  const { rounds, seconds } = setting.pace
  const times = { cold: [] as number[], warm: [] as number[] }
  let rssMb = 0
  let idleMb = 0
  for (let left = Math.min(5, rounds); left > 0; left--) {
    const cold = await gateway(setting, ALL_ON, { cold: true })
    times.cold.push(cold.readyMs)
    await cold.stop()
    const warm = await gateway(setting, ALL_ON, { cold: false })
    times.warm.push(warm.readyMs)
    const pid = warm.child.pid ?? 0
    const residentMb = () => processCost([pid, ...childrenOf(pid)]).rss / 1024 / 1024
    rssMb = residentMb()
    if (left === 1) {
      // A quick run is of little worth anyway.
      await new Promise((done) => setTimeout(done, seconds < 0.5 ? 100 : IDLE_MS))
      idleMb = residentMb()
    }
    await warm.stop()
  }
  return { coldMs: median(times.cold), warmMs: median(times.warm), rssMb, idleMb }
}
