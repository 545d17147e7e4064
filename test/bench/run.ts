/**
 * What routing costs, beside a bare proxy and the peers that are installed: README.md.
 *
 * npm run bench -- [--quick] [--only parts,latency,… [--add]] [--part adapting,…,together] [--device cpu|cuda]
 * [--seconds 0.8] [--rounds 9] [--warm-up 60000] [--per-second 500] [--out <file>]
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { hasCudaLibraries } from '../../src/runtime/cuda.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { Bench } from './harness/bench.ts'
import * as experiments from './harness/experiments.ts'
import { redisUse } from './harness/redis-use.ts'
import { swapUnderLoad } from './harness/swap.ts'
import * as tables from './harness/tables.ts'
import { targets } from './harness/targets.ts'

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    part: { type: 'string' },
    add: { type: 'boolean', default: false },
    device: { type: 'string', default: 'cpu' },
    seconds: { type: 'string' },
    rounds: { type: 'string' },
    'warm-up': { type: 'string' },
    'per-second': { type: 'string', default: '500' },
    out: { type: 'string' },
  },
})

const pace: experiments.Pace = values.quick
  ? { seconds: 0.15, rounds: 2, warmUpRequests: 1, parts: ['gnn'], together: true, idleStreams: 200, peers: false }
  : {
      seconds: 0.8,
      rounds: 9,
      warmUpRequests: 60_000,
      parts: experiments.PARTS,
      together: true,
      idleStreams: 10_000,
      peers: true,
    }
if (values.seconds) pace.seconds = Number(values.seconds)
if (values['warm-up']) pace.warmUpRequests = Number(values['warm-up'])
if (values.rounds) pace.rounds = Number(values.rounds)
const part = values.part?.split(',')
if (part) {
  pace.parts = experiments.PARTS.filter((name) => part.includes(name))
  pace.together = part.includes('together')
}

const only = values.only?.split(',')
const isWanted = (name: string) => only === undefined || only.includes(name)

async function redisIfThere(): Promise<RedisServer | null> {
  return startRedis().catch(() => null)
}

const noCuda = values.device === 'cuda' && !hasCudaLibraries()
if (noCuda) console.log('CUDA: not tried, its libraries are not installed (docs/gpu.md); this is the CPU')
const device = noCuda ? 'cpu' : values.device

const redis = await redisIfThere()
const bench = await Bench.open()
const setting: experiments.Setting = { bench, redis, pace, device, log: console.log }
const machine = {
  node: process.version,
  cpu: cpus()[0]?.model,
  cores: availableParallelism(),
  loadAtStart: loadavg(),
  device: noCuda ? 'cpu (cuda not tried: not installed)' : device,
  store: redis ? 'redis' : 'sqlite (no redis-server here)',
}
console.log(machine)

const out =
  values.out ??
  fileURLToPath(new URL(values.quick ? '../../.cache/bench-quick.json' : 'results/latest.json', import.meta.url))
mkdirSync(dirname(out), { recursive: true })
const earlier: Record<string, unknown> = values.add && existsSync(out) ? JSON.parse(readFileSync(out, 'utf8')) : {}
const results: Record<string, unknown> = { ...earlier, at: new Date().toISOString(), machine, pace }

async function section<T>(name: string, title: string, work: () => Promise<T>, show: (result: T) => string) {
  if (isWanted(name)) {
    results[name] = await work()
    // A run takes a quarter of an hour: what is done is not lost when it is cut short.
    writeFileSync(out, `${JSON.stringify(results, null, 2)}\n`)
  }
  if (results[name] !== undefined) console.log(`\n${title}\n\n${show(results[name] as T)}`)
}

try {
  await section(
    'startup',
    'Start to ready',
    () => experiments.startUp(setting),
    (it) => {
      return (
        `${it.coldMs.toFixed(0)} ms with nothing compiled, ${it.warmMs.toFixed(0)} ms else; ` +
        `${it.rssMb.toFixed(0)} MB, idle ${it.idleMb.toFixed(0)} MB`
      )
    },
  )
  await section(
    'parts',
    'CPU of a request, 32 in flight, 12 candidates, 200 B',
    // In pieces, a few parts each: those of earlier pieces stay.
    async () => ({ ...(part && (earlier.parts as object)), ...(await experiments.partCosts(setting)) }),
    tables.partTable,
  )
  await section(
    'peers',
    'Beside other gateways',
    () => experiments.peerCosts(setting),
    (all) => Object.values(all).map(tables.costTable).join('\n\n'),
  )
  await section('traces', 'What traces cost', () => experiments.traceCosts(setting), tables.traceTable)
  await section('latency', 'Latency added', () => experiments.latencies(setting), tables.latencyTable)
  await section('streaming', 'Streaming, 100 chunks', () => experiments.streaming(setting), tables.streamTable)
  await section(
    'bodies',
    'Bodies, 8 in flight',
    () => experiments.bodies(setting),
    (all) =>
      Object.entries(all)
        .map(([name, costs]) => `${name}\n${tables.costTable(costs)}`)
        .join('\n\n'),
  )
  await section('pools', 'Candidates', () => experiments.pools(setting), tables.costTable)
  await section('workers', 'Workers, 64 in flight', () => experiments.workers(setting), tables.scalingTable)
  if (redis) {
    await section(
      'redis',
      'What a request asks of Redis',
      () => useOfRedis(redis),
      (use) =>
        Object.entries(use)
          .map(([name, value]) => `${name}: ${value.toFixed(1)}`)
          .join('\n'),
    )
  }
  await section(
    'swap',
    'Artifacts swapped under load',
    () => swapUnderLoad(setting, values.quick ? 100 : Number(values['per-second']), values.quick ? 4 : 45),
    tables.swapLine,
  )
  await section('idle', 'Memory', () => experiments.idleStreams(setting), tables.idleLine)
  console.log(`\n${targets(results)}`)
} finally {
  await bench.close()
  await redis?.discard()
}

async function useOfRedis(server: RedisServer) {
  const subject = await experiments.gateway(setting, experiments.ALL_ON)
  try {
    await experiments.warmUp(setting, [subject])
    return await redisUse(bench, server, subject, pace.seconds * 3)
  } finally {
    await subject.stop()
  }
}

console.log(`\nwritten to ${out}`)
process.exit(0)
