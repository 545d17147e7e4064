/**
 * What a request costs by how many were served before it: CPU of the gateway, everything on, Redis, 32 in flight. V8
 * optimises what has run often, so that a process is dear at first; `--flags` starts a second kind with options of V8,
 * in turns with the first.
 *
 *     node test/bench/warm.ts [--served 60000] [--window 5000] [--rounds 2]
 *       [--flags=--invocation-count-for-turbofan=500]
 */
import { parseArgs } from 'node:util'
import { startRedis } from '../support/redis.ts'
import { Bench } from './harness/bench.ts'
import { processCost } from './harness/process-cost.ts'
import { startGateway } from './harness/subjects.ts'

const { values } = parseArgs({
  options: {
    served: { type: 'string', default: '60000' },
    window: { type: 'string', default: '5000' },
    rounds: { type: 'string', default: '2' },
    flags: { type: 'string' },
  },
})
const [served, window, rounds] = [values.served, values.window, values.rounds].map(Number) as [number, number, number]
const kinds = [[], ...(values.flags ? [values.flags.split(',')] : [])]

/** Microseconds of a request in each window, of a process of its own. */
async function windowsOf(node: string[]): Promise<number[]> {
  const redis = await startRedis()
  const subject = await startGateway('everything on', bench.upstreamPort, { redis: redis.url, node })
  const costs: number[] = []
  try {
    for (let done = 0; done < served; ) {
      const before = processCost([subject.child.pid as number]).cpuUs
      let requests = 0
      while (requests < window) requests += (await bench.round(subject, { inFlight: 32, seconds: 0.5 })).requests
      costs.push((processCost([subject.child.pid as number]).cpuUs - before) / requests)
      done += requests
    }
  } finally {
    await subject.stop()
    await redis.discard()
  }
  return costs
}

const bench = await Bench.open()
const found: number[][][] = kinds.map(() => [])
for (let round = 0; round < rounds; round++) {
  for (const [i, node] of kinds.entries()) found[i]?.push(await windowsOf(node))
}
await bench.close()

console.log(`| CPU us a request after | ${kinds.map((node) => node.join(' ') || 'as it is').join(' | ')} |`)
console.log(`|---|${kinds.map(() => '---|').join('')}`)
for (let i = 0; i < Math.floor(served / window); i++) {
  // Other work only ever adds.
  const best = found.map((runs) => Math.min(...runs.map((costs) => costs[i] ?? Number.POSITIVE_INFINITY)))
  console.log(`| ${(i * window).toLocaleString('en')} | ${best.map((us) => us.toFixed(0)).join(' | ')} |`)
}
