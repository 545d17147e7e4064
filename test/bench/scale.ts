/**
 * How far it scales, on paper: unit costs measured here (a real redis-server, and test/bench/results/latest.json of
 * `npm run bench`), multiplied.
 *
 *     npm run bench:scale      writes docs/scale.md
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { openStore } from '../../src/store/index.ts'
import type { StoredEdge, StoredUser } from '../../src/store/store.ts'
import { startRedis } from '../support/redis.ts'
import { ALL_ON, type Costs, type Idle } from './harness/experiments.ts'
import { newestArtifact } from './harness/newest-artifact.ts'
import type { RedisUse } from './harness/redis-use.ts'

interface Measured {
  at: string
  parts: Costs
  redis: RedisUse
  idle: Idle
  startup: { rssMb: number }
}

const RESULTS = new URL('results/latest.json', import.meta.url)
const DOC = fileURLToPath(new URL('../../docs/scale.md', import.meta.url))
const SAMPLE = 300
const MILLION = 1e6
const GB = 1024 ** 3

const measured = JSON.parse(readFileSync(RESULTS, 'utf8')) as Measured
const manifest = JSON.parse(readFileSync(`${newestArtifact()}/manifest.json`, 'utf8')) as {
  version: string
  dims: { E: number; Q: number; G: number; H?: number; S: number }
  reader: string
  forget: { block?: number }
}

/** Numbers of a user's sums after so many rewards: empty blocks are not stored. */
function sumsAfter(rewards: number): number {
  const { G, H = G } = manifest.dims
  const blocks = manifest.forget.block ? 1 + Math.floor((rewards - 1) / manifest.forget.block) : 1
  return Math.min(H, blocks * G)
}

const noise = (n: number, seed: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(seed + i * 1.7))

const userWith = (seed: number, rewards: number): StoredUser => ({
  revision: rewards,
  policy: manifest.version,
  rewards,
  sums: noise(sumsAfter(rewards), seed),
  state: noise(manifest.dims.S, seed),
  preferences: {},
  updatedAt: 1,
  since: 1,
  heardAt: 0,
})

const edgeOf = (seq: number): StoredEdge => ({
  id: `req_0b2ba6b5-0000-4000-8000-${String(seq).padStart(12, '0')}:rating`,
  seq,
  ts: 1_750_000_000_000 + seq,
  candidate: 'gpt-5-mini',
  reading: { int8: new Int8Array(noise(manifest.dims.Q, seq).map((x) => x * 127)), scale: 0.01 },
  reader: manifest.reader,
  vector: null,
  reward: 0.5,
  kind: 'rating',
  weight: 1,
  promptTokens: 100,
  completionTokens: 200,
  costUsd: 0.0001,
})

/** Bytes that a user with so many rewards takes in Redis: growth of its memory over some hundred of them. */
async function bytesPerUser(rewards: number, sample: number): Promise<number> {
  const redis = await startRedis()
  const store = await openStore({ kind: 'redis', url: redis.url, command_timeout_ms: 5_000, retention_days: 90 })
  const used = async () => Number(/used_memory:(\d+)/.exec(String(await redis.command('INFO', 'memory')))?.[1])
  await store.commitUser('scale', 'first', userWith(0, 1), edgeOf(1))
  const before = await used()
  for (let user = 1; user <= sample; user++) {
    for (let reward = 1; reward <= rewards; reward++) {
      await store.commitUser('scale', `user-${user}`, userWith(user, reward), edgeOf(reward))
    }
  }
  const bytes = ((await used()) - before) / sample
  await store.close()
  await redis.discard()
  return bytes
}

const rewardsOf = [1, 20, 100, 512]
const bytes = new Map<number, number>()
for (const rewards of rewardsOf) bytes.set(rewards, await bytesPerUser(rewards, rewards > 100 ? 10 : SAMPLE / 10))

const { redis, parts, idle, startup } = measured
const mine = parts[ALL_ON]!
const rate = 1_000
const typical = bytes.get(20)!
const cachedUserBytes = 4 * manifest.dims.S + 600
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

writeFileSync(
  DOC,
  `# How far it scales

Written by \`npm run bench:scale\` from unit costs that it measures itself (a real redis-server, artifact ${manifest.version}) and from the bench's last run
(${measured.at.slice(0, 10)}, \`test/bench/results/latest.json\`). Multiplied, not run: no machine here serves a million users. The bench machine is small and busy, so take CPU figures as upper ones.

## Unit costs

| | |
|---|---|
| CPU of a request in the gateway, everything on | ${mine.cpuUs.toFixed(0)} us |
| CPU of a request in Redis | ${redis.cpuUsPerRequest.toFixed(0)} us |
| commands Redis carries out for it, those inside scripts included | ${redis.commandsPerRequest.toFixed(0)} |
| traffic of a request with Redis | ${kb(redis.bytesPerRequest)} |
| kept in Redis of a request (log row, index, conversation, reservation) | ${kb(redis.keptBytesPerRequest)} |
${rewardsOf.map((rewards) => `| a user in Redis after ${rewards} reward${rewards === 1 ? '' : 's'} | ${kb(bytes.get(rewards)!)} |`).join('\n')}
| a user in a gateway's cache | ${kb(cachedUserBytes)} |
| a gateway process by itself | ${startup.rssMb.toFixed(0)} MB |
| a stream that waits | ${idle.kbPerStream.toFixed(1)} KB |

A user who never gave feedback is stored nowhere.

## Per million users

| all with | in Redis |
|---|---|
${rewardsOf.map((rewards) => `| ${rewards} reward${rewards === 1 ? '' : 's'} | ${gb(bytes.get(rewards)! * MILLION)} |`).join('\n')}

Much of a user of few rewards is \`state\`, which is computed from \`sums\` and could be left out. A gateway keeps the last \`router.user_cache\` users (50,000: ${gb(cachedUserBytes * 50_000)}); a user who
is not there costs one read of ${kb(4 * manifest.dims.S)}.

## Per 1,000 requests a second

| | |
|---|---|
| gateway | ${cores.toFixed(2)} cores, ${Math.ceil(cores / 0.7)} processes at 70 % |
| Redis | ${redisShare.toFixed(2)} of its one core, ${(redis.commandsPerRequest * rate).toFixed(0)} commands a second |
| network to Redis | ${((redis.bytesPerRequest * rate * 8) / 1e6).toFixed(0)} Mbit/s |
| log | ${gb(logPerDay)} a day; ${gb(logPerDay * 90)} in the default 90 days of \`retention_days\` |
| streams open, answers of ${ANSWER_S} s | ${(rate * ANSWER_S).toLocaleString('en')}: ${gb(idle.kbPerStream * 1024 * rate * ANSWER_S)} over all gateways |
| feedback on one answer in ten | 100 commits a second, ${((4 * (manifest.dims.S + sumsAfter(100)) * 100 * 8) / 1e6).toFixed(0)} Mbit/s |

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
console.log(`written to ${DOC}`)
process.exit(0)
