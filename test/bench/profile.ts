/**
 * Where the CPU of a warm request goes: everything on, Redis, 32 in flight. A sampling profile of the main thread after
 * the warm-up, grouped by what the code is for, and the CPU of every thread by its name.
 *
 *     node test/bench/profile.ts [--seconds 8] [--warm-up 60000] [--store redis|sqlite] [--without log,…] [--files 40]
 *       [--out warm.cpuprofile]
 *
 * A sample counts for the innermost frame that has a file of ours or of a library; what Node's own modules and V8's
 * builtins do below it (a write, JSON) counts for the frame that called them.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { freePort, startRedis } from '../support/redis.ts'
import { Bench } from './harness/bench.ts'
import { processCost, threadCosts } from './harness/process-cost.ts'
import { groupOf, ownersOf } from './harness/profile-groups.ts'
import { type Profile, profiled } from './harness/profiler.ts'
import { startGateway } from './harness/subjects.ts'
import { warmUp } from './harness/warm-up.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '8' },
    'warm-up': { type: 'string', default: '60000' },
    store: { type: 'string', default: 'redis' },
    without: { type: 'string', default: '' },
    files: { type: 'string', default: '40' },
    out: { type: 'string' },
  },
})

const redis = values.store === 'redis' ? await startRedis() : null
const bench = await Bench.open()
const inspector = await freePort()
const subject = await startGateway('everything on', bench.upstreamPort, {
  redis: redis?.url ?? null,
  without: values.without.split(',').filter(Boolean),
  node: [`--inspect=127.0.0.1:${inspector}`],
})
try {
  await warmUp(bench, subject, Number(values['warm-up']))
  const pid = subject.child.pid as number
  const asked = { inFlight: 32, seconds: Number(values.seconds) }

  // Threads first, without the profiler, which has a thread of its own.
  const before = [processCost([pid]).cpuUs, threadCosts(pid)] as const
  const { requests } = await bench.round(subject, { ...asked, seconds: Number(values.seconds) / 2 })
  const after = [processCost([pid]).cpuUs, threadCosts(pid)] as const
  const perRequest = (from: number, to: number) => (to - from) / requests
  console.log(`CPU ${perRequest(before[0], after[0]).toFixed(0)} us a request (the warm requests before it included)\n`)
  console.log('| thread | us a request |\n|---|---:|')
  for (const [name, us] of [...after[1]].sort((a, b) => b[1] - a[1])) {
    console.log(`| ${name} | ${perRequest(before[1].get(name) ?? 0, us).toFixed(1)} |`)
  }

  let asking = { requests: 0 }
  const profile = await profiled(inspector, async () => {
    asking = await bench.round(subject, asked)
  })
  if (values.out) writeFileSync(values.out, JSON.stringify(profile))
  show(profile, asking.requests)
} finally {
  await subject.stop()
  await bench.close()
  await redis?.discard()
}

function show(profile: Profile, requests: number): void {
  const byFile = ownersOf(profile)
  const groups = new Map<string, number>()
  for (const [file, us] of byFile) groups.set(groupOf(file), (groups.get(groupOf(file)) ?? 0) + us)
  const idle = (groups.get('idle') ?? 0) + (groups.get('not running') ?? 0)
  const busy = [...groups.values()].reduce((sum, us) => sum + us, 0) - idle
  console.log(`\nmain thread: ${requests} requests, ${(busy / requests).toFixed(0)} us busy a request\n`)
  console.log('| share | us a request | what |\n|---:|---:|---|')
  const rows = (of: Map<string, number>, most: number) => {
    for (const [name, us] of [...of].sort((a, b) => b[1] - a[1]).slice(0, most)) {
      if (name === 'idle' || name === 'not running') continue
      console.log(`| ${((us / busy) * 100).toFixed(1)} % | ${(us / requests).toFixed(1)} | ${name} |`)
    }
  }
  rows(groups, 100)
  console.log('\n| share | us a request | file |\n|---:|---:|---|')
  rows(byFile, Number(values.files))
}

process.exit(0)
