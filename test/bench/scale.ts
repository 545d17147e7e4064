/**
 * How far it scales: unit costs measured here (a real redis-server, a SQLite file; and test/bench/results/latest.json
 * of `npm run bench`), and so many users for real: loaded through the store into one redis-server, then asked for by
 * random requests at a gateway.
 *
 *     npm run bench:scale -- [users, 100000] [seconds of traffic, 60] [--quick] [--out FILE]      writes docs/scale.md
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openStore } from '../../src/store/index.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { crowds } from './harness/crowd.ts'
import { ALL_ON, type Costs, type Idle } from './harness/experiments.ts'
import { bytesInRedis, fileBytes, infoOf, People, storedId, TENANT } from './harness/people.ts'
import type { RedisUse } from './harness/redis-use.ts'
import { type UserCosts, userCosts } from './harness/user-costs.ts'

interface Measured {
  at: string
  parts: Costs
  redis: RedisUse
  idle: Idle
  startup: { rssMb: number }
}

const RESULTS = new URL('results/latest.json', import.meta.url)
const DOC = fileURLToPath(new URL('../../docs/scale.md', import.meta.url))
const [RATINGS, FEW_USERS, SIZES] = [20, 1_000, [1, 20, 100, 512]]
const MILLION = 1e6
const GB = 1024 ** 3

const args = process.argv.slice(2)
const at = args.indexOf('--out')
const out = at < 0 ? DOC : (args.splice(at, 2)[1] as string)
/** A few runs of each. */
const isQuick = args.includes('--quick')
const [users = 100_000, seconds = 60] = args.filter((word) => word !== '--quick').map(Number)

const measured = JSON.parse(readFileSync(RESULTS, 'utf8')) as Measured
const people = await People.open()
const { policy } = people

const openRedis = (redis: RedisServer) =>
  openStore({ kind: 'redis', url: redis.url, command_timeout_ms: 10_000, retention_days: 90 })

/** Mean over some users, of those with so many ratings. */
async function sizesInRedis(): Promise<Map<number, number>> {
  const redis = await startRedis()
  const store = await openRedis(redis)
  const bytes = new Map<number, number>()
  const sample = 8
  for (const [kind, ratings] of SIZES.entries()) {
    let sum = 0
    for (let n = kind * sample; n < (kind + 1) * sample; n++) {
      const { user, edges } = await people.make(ratings, n)
      await store.commitUser(TENANT, storedId(n), user, edges)
      sum += await bytesInRedis(redis, n)
    }
    bytes.set(ratings, sum / sample)
  }
  await store.close()
  await redis.discard()
  return bytes
}

async function sizesInSqlite(): Promise<Map<number, number>> {
  const bytes = new Map<number, number>()
  for (const ratings of SIZES) {
    const dir = mkdtempSync(join(tmpdir(), 'scale-'))
    const path = join(dir, 'store.db')
    const open = () => openStore({ kind: 'sqlite', path, retention_days: 90 })
    await (await open()).close()
    const before = fileBytes(path)
    const store = await open()
    const sample = isQuick ? 20 : ratings > 100 ? 40 : 400
    for (let n = 0; n < sample; n++) {
      const { user, edges } = await people.make(ratings, n % 8)
      await store.commitUser(TENANT, storedId(n), user, edges)
    }
    await store.close()
    bytes.set(ratings, (fileBytes(path) - before) / sample)
    rmSync(dir, { recursive: true })
  }
  return bytes
}

async function real() {
  const redis = await startRedis()
  const store = await openRedis(redis)
  const used = () => infoOf(redis, 'memory', 'used_memory')
  const empty = await used()
  const perSecond = await people.load(store, users, RATINGS, (done) => console.log(`${done} users loaded`))
  const bytes = (await used()) - empty
  const rss = await infoOf(redis, 'memory', 'used_memory_rss')
  await store.close()
  const load = loadavg()[0] as number
  const [few, many] = await crowds(
    [
      { redis, users: Math.min(users, FEW_USERS) },
      { redis, users },
    ],
    seconds,
  )
  if (!few || !many) throw new Error('Nobody asked.')
  console.log(JSON.stringify([few, many]))
  await redis.discard()
  return { perSecond, bytes, rss, few, many, load }
}

const [inRedis, inSqlite] = [await sizesInRedis(), await sizesInSqlite()]
console.log('bytes a user', JSON.stringify([...inRedis]), JSON.stringify([...inSqlite]))
const costs = new Map<number, UserCosts>()
for (const ratings of SIZES) {
  costs.set(ratings, await userCosts(people, ratings, isQuick ? 8 : ratings > 100 ? 200 : 1_000))
}
console.log(JSON.stringify([...costs]))
const run = await real()

const { redis, parts, idle, startup } = measured
const mine = parts[ALL_ON]!
const rate = 1_000
const typical = inRedis.get(20)!
const logPerDay = redis.keptBytesPerRequest * rate * 86_400
const redisShare = (redis.cpuUsPerRequest * rate) / 1e6
const cores = (mine.cpuUs * rate) / 1e6
const redisMost = 1e6 / redis.cpuUsPerRequest

const gb = (value: number) => `${(value / GB).toFixed(1)} GB`
const kb = (value: number) => `${(value / 1024).toFixed(1)} KB`
/** Streams that wait for a model: seconds an answer takes, times requests a second. */
const ANSWER_S = 10

const limits: [what: string, at: number][] = [
  ['one gateway process (one core)', 1e6 / mine.cpuUs],
  ['one Redis server (one core)', redisMost],
]
limits.sort((a, b) => a[1] - b[1])

const ms = (value: number) => `${value.toFixed(value < 10 ? 1 : 0)} ms`
const us = (value: number) => `${value.toFixed(0)} us`
const number = (value: number) => Math.round(value).toLocaleString('en')
const row = (...cells: (string | number)[]) => `| ${cells.join(' | ')} |`
const each = (cells: (ratings: number) => (string | number)[]) =>
  SIZES.map((ratings) => row(...cells(ratings))).join('\n')

writeFileSync(
  out,
  `# How far it scales

Written by \`npm run bench:scale\` from what it measured (a real redis-server, a SQLite file, artifact ${policy.version}; ${new Date().toISOString().slice(0, 10)}) and from the bench's last run
(${measured.at.slice(0, 10)}, \`test/bench/results/latest.json\`). The machine is small and busy, so take CPU figures as upper ones.

## ${number(users)} users, run

${number(users)} users with ${RATINGS} ratings each, loaded through the store into one redis-server, then requests of random users at two gateways by turns,
${seconds} s each in turns of 15 s, 8 in flight (load of the machine before: ${run.load.toFixed(1)} on ${availableParallelism()} cores).

| | |
|---|---|
| memory of Redis, used | ${gb(run.bytes)}: ${kb(run.bytes / users)} a user |
| memory of Redis, resident | ${gb(run.rss)} |
| users loaded a second, one process | ${number(run.perSecond)} |

| random requests over | requests | failed | a second | p50 | p99 | users found in memory |
|---|---:|---:|---:|---:|---:|---:|
${[run.few, run.many].map((one) => row(`${number(one.users)} users`, number(one.requests), one.failures, number(one.perSecond), ms(one.latency.p50), ms(one.latency.p99), `${(100 * one.hits).toFixed(1)} %`)).join('\n')}

Each user is as likely as any other, which no deployment is: who came lately comes again. \`router.user_cache\` users stay in memory (10,000 unless configured).

## A user

Everything that is kept of one: belief, edges, what was stated. A user who never gave feedback is stored nowhere.

| ratings | in Redis | in SQLite | state in a gateway, once seen | often | CPU of a look-up, in memory | not in memory | CPU of a reward, in memory | not in memory |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|
${each((ratings) => {
  const cost = costs.get(ratings)!
  return [
    ...[ratings, kb(inRedis.get(ratings)!), kb(inSqlite.get(ratings)!), kb(cost.coldBytes), kb(cost.hotBytes)],
    ...[us(cost.hotUs), us(cost.coldUs), us(cost.rewardUs), us(cost.strangerUs)],
  ]
})}

Thumbs; dense ratings take up to a third more, and \`test/learning/user-size.test.ts\` lets no user take more than 1.5, 4, 12 and 40 KB. How a state is kept: [profile.md](profile.md#what-is-kept-of-a-user).

CPU is of the gateway's process with all its threads; one run of \`edge.onnx\` by itself takes ${us(costs.get(20)!.edgeUs)}. Rewards are computed in the model thread. Edges are the truth, and sums are made of them where they are not in
memory: that is what the first reward of a user who was away costs. Who it is takes a gateway some half a kilobyte besides the state.

When another artifact goes live, nobody is gone over: a user's state is made anew of their edges when they next ask, one user at a time beside requests, and kept with their next reward. That takes 2.4 to 4.7 ms of CPU for 20 ratings at a
load of 13 on two cores (*sums and state made anew* in \`node test/bench/reward.ts 20 --parts\`): 40 to 80 minutes of one core if a million such users all came once, and nothing for those who don't.

## Unit costs of requests

| | |
|---|---|
| CPU of a request in the gateway, everything on | ${mine.cpuUs.toFixed(0)} us |
| CPU of a request in Redis | ${redis.cpuUsPerRequest.toFixed(0)} us |
| commands Redis carries out for it, those inside scripts included | ${redis.commandsPerRequest.toFixed(0)} |
| traffic of a request with Redis | ${kb(redis.bytesPerRequest)} |
| kept in Redis of a request (log row, index, conversation, reservation) | ${kb(redis.keptBytesPerRequest)} |
| a gateway process by itself | ${startup.rssMb.toFixed(0)} MB |
| a stream that waits | ${idle.kbPerStream.toFixed(1)} KB |

## Per million users, multiplied

| all with | in Redis |
|---|---|
${each((ratings) => [`${ratings} rating${ratings === 1 ? '' : 's'}`, gb(inRedis.get(ratings)! * MILLION)])}

## Per 1,000 requests a second, multiplied

| | |
|---|---|
| gateway | ${cores.toFixed(2)} cores, ${Math.ceil(cores / 0.7)} processes at 70 % |
| Redis | ${redisShare.toFixed(2)} of its one core, ${(redis.commandsPerRequest * rate).toFixed(0)} commands a second |
| network to Redis | ${((redis.bytesPerRequest * rate * 8) / 1e6).toFixed(0)} Mbit/s |
| log | ${gb(logPerDay)} a day; ${gb(logPerDay * 90)} in the default 90 days of \`retention_days\` |
| streams open, answers of ${ANSWER_S} s | ${(rate * ANSWER_S).toLocaleString('en')}: ${gb(idle.kbPerStream * 1024 * rate * ANSWER_S)} over all gateways |
| feedback on one answer in ten | 100 commits a second, ${((inRedis.get(100)! * 100 * 8) / 1e6).toFixed(0)} Mbit/s for users of 100 ratings |

## The first limit

1. **Memory of Redis.** 1,000 requests a second write ${gb(logPerDay)} of log a day, beside ${gb(typical * MILLION)} for a million users with 20 rewards each. Lower
   \`store.retention_days\`, and move the log (\`persona-router archive\`) to where disk is cheap; training reads it there.
2. **${limits[0]![0]}**: ${limits[0]![1].toFixed(0)} requests a second. Gateways hold no state: add \`workers\`, then machines.
3. **${limits[1]![0]}**: ${limits[1]![1].toFixed(0)} requests a second, of all gateways together.

## What to shard

All keys of a tenant share one hash tag, so a Redis Cluster spreads tenants over servers and a script stays on one of them: with many tenants of like size, n servers are n times the
users, the log and the requests. A single tenant beyond one server's limit does not spread by itself: split it in several tenants by user
(their evidence on LLMs is then learned apart), or give its log a shorter retention. Limits of a tenant are counters in its one slot and can't be spread without losing
exactness. \`pr:changes\` is heard by every gateway: 100 rewards a second are 100 small messages a second to each.
`,
)
console.log(`written to ${out}`)
process.exit(0)
