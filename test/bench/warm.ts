/**
 * What a request costs by how many were served before it: CPU of the gateway, everything on, Redis, 32 in flight. V8
 * optimises what has run often, so that a process is dear at first; each `--flags` starts one more kind with options of
 * V8, in turns with the others. Of all threads and, after the stroke, of the main thread alone: V8 optimises on others.
 *
 *     node test/bench/warm.ts [--served 60000] [--window 5000] [--rounds 2]
 *       [--flags=--invocation-count-for-turbofan=500,--always-sparkplug] [--flags=…]
 */
import { parseArgs } from 'node:util'
import { startRedis } from '../support/redis.ts'
import { Bench } from './harness/bench.ts'
import { mainThreadUs, processCost } from './harness/process-cost.ts'
import { startGateway } from './harness/subjects.ts'

const { values } = parseArgs({
  options: {
    served: { type: 'string', default: '60000' },
    window: { type: 'string', default: '5000' },
    rounds: { type: 'string', default: '2' },
    flags: { type: 'string', multiple: true, default: [] },
  },
})
const [served, window, rounds] = [values.served, values.window, values.rounds].map(Number) as [number, number, number]
const kinds = [[], ...values.flags.map((flags) => flags.split(','))]

/** Microseconds of a request: of all threads, and of the main one. */
type Costs = [all: number, main: number]

const spentBy = (pid: number): Costs => [processCost([pid]).cpuUs, mainThreadUs(pid)]

/** Costs in each window, of a process of its own. */
async function windowsOf(node: string[]): Promise<Costs[]> {
  const redis = await startRedis()
  const subject = await startGateway('everything on', bench.upstreamPort, { redis: redis.url, node })
  const pid = subject.child.pid as number
  const costs: Costs[] = []
  try {
    for (let done = 0; done < served; ) {
      const [all, main] = spentBy(pid)
      let requests = 0
      while (requests < window) requests += (await bench.round(subject, { inFlight: 32, seconds: 0.45 })).requests
      const after = spentBy(pid)
      costs.push([(after[0] - all) / requests, (after[1] - main) / requests])
      done += requests
    }
  } finally {
    await subject.stop()
    await redis.discard()
  }
  return costs
}

const bench = await Bench.open()
const found: Costs[][][] = kinds.map(() => [])
for (let round = 0; round < rounds; round++) {
  for (const [i, node] of kinds.entries()) found[i]?.push(await windowsOf(node))
}
await bench.close()

console.log(`| CPU us a request after | ${kinds.map((node) => node.join(' ') || 'as it is').join(' | ')} |`)
console.log(`|---|${kinds.map(() => '---|').join('')}`)
for (let i = 0; i < Math.floor(served / window); i++) {
  // Other work only ever adds.
  const best = (runs: Costs[][], of: 0 | 1) => Math.min(...runs.map((costs) => costs[i]?.[of] ?? Number.NaN)).toFixed(0)
  const cells = found.map((runs) => `${best(runs, 0)} / ${best(runs, 1)}`)
  console.log(`| ${(i * window).toLocaleString('en')} | ${cells.join(' | ')} |`)
}
