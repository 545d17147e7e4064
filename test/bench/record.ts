/**
 * What writing down a request costs on one core:
 *
 *     node test/bench/record.ts [candidates] [rounds]
 *
 * "made": `recordOf`. "line": with its text as the spool gets it. "recorder": with the spool's write, and a store that
 * takes everything at once. CPU time of the whole process, median and best of the rounds. "redis": 20,000 rows of 500
 * users in batches of 50, all that Redis then takes more (`used_memory`): rows, indexes, users' logs, usage; not their
 * conversations (needs redis-server).
 */
import { hash, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Candidate } from '../../src/candidates/candidate.ts'
import type { Call } from '../../src/pipeline/call.ts'
import type { RequestContext } from '../../src/pipeline/context.ts'
import type { Decision } from '../../src/pipeline/decide.ts'
import { recordOf } from '../../src/pipeline/record.ts'
import type { Outcome } from '../../src/providers/relay/outcome.ts'
import { openStore } from '../../src/store/index.ts'
import { Recorder } from '../../src/store/recorder/recorder.ts'
import type { InteractionRecord } from '../../src/store/records/codec.ts'
import { interactionLine } from '../../src/store/records/codec.ts'
import type { Store } from '../../src/store/store.ts'
import { startRedis } from '../support/redis.ts'

const [candidates = 12, rounds = 9] = process.argv.slice(2).map(Number)
const PER_ROUND = 20_000
const KEPT = 20_000
const USERS = 500
/** As providers call them: 6 to 17 characters. */
const NAMES = [
  ...['gpt-5.5', 'gpt-5.5-mini', 'claude-opus-4.8', 'claude-sonnet-4.8', 'gemini-3.5-pro', 'gemini-3.5-flash'],
  ...['grok-5', 'deepseek-v4', 'qwen-4-235b', 'llama-5-70b', 'mistral-large-4', 'command-r-plus-2'],
]

const pool = Array.from({ length: candidates }, (_, i) => ({
  name: NAMES[i] ?? `${NAMES[i % NAMES.length]!.slice(0, 14)}-${i}`,
  provider: 'bench',
  price: { input: 0.1 * (i + 1), output: 0.4 * (i + 1) },
})) as unknown as Candidate[]
const noise = (seed: number) => Math.fround(Math.sin(seed * 1.7))

/** As `decide` leaves it, numbers of its own for each request. */
function decision(n: number): Decision {
  const scored = pool.map((candidate, i) => ({
    ...{ candidate, mean: noise(n + i), std: Math.abs(noise(n - i)), quality: 0.5, completionTokens: 200 + i },
    ...{ costUsd: (n + 200 * i) / 3e8, parts: {} },
  }))
  const propensities = pool.map((_, i) => (i === 0 ? 1 - 0.03 * (candidates - 1) : 0.03 + noise(n) / 1e3))
  return {
    selection: {
      chosen: scored[0]!,
      reason: 'personal',
      detail: '',
      ranking: pool,
      scored,
      propensities,
      excluded: [],
    },
    scores: scored,
    policy: {
      embedder: { version: 'static-2' },
      router: { artifact: { manifest: { reader: 'reader-1' } } },
    },
    version: '2026.11.28-2',
    fallback: null,
    taste: undefined,
    embedding: Float32Array.from({ length: 256 }, (_, i) => noise(n + i)),
    reading: Float32Array.from({ length: 38 }, (_, i) => noise(n + i)),
  } as unknown as Decision
}

const contextOf = (): RequestContext =>
  ({ requestId: `req_${randomUUID()}`, startedAt: performance.now(), ts: Date.now() }) as unknown as RequestContext
const idOf = (what: string) => `h_${hash('sha256', what, 'base64url').slice(0, 32)}`
const calls = Array.from(
  { length: USERS },
  (_, i) =>
    ({
      endpoint: { name: 'chat' },
      request: { stream: true, needs: new Set() },
      principal: { tenant: { name: 'bench', config: {} }, user: idOf(`user ${i}`) },
      conversation: idOf(`conversation ${i}`),
    }) as unknown as Call,
)
const outcome = (n: number): Outcome => ({
  candidate: pool[0]!,
  attempts: [{ candidate: pool[0]!.name, provider: 'bench', status: 200, error: null, ms: 12.345 }],
  status: 200,
  usage: {
    promptTokens: 50 + (n % 50),
    completionTokens: 200,
    cachedTokens: 0,
    cacheWriteTokens: 0,
    reasoningTokens: 0,
  },
  usageEstimated: false,
  finishReason: 'stop',
  completionId: `chatcmpl-${n}`,
  ttftMs: 10.125,
  waitedMs: 0,
  error: null,
})

const decisions = Array.from({ length: 256 }, (_, n) => decision(n))
let n = 0
const made = (): InteractionRecord => recordOf(contextOf(), calls[n % USERS]!, decisions[++n % 256]!, outcome(n))

const cpuUs = () => {
  const { user, system } = process.cpuUsage()
  return user + system
}

async function measure(name: string, task: () => unknown, after: () => Promise<unknown> = async () => {}) {
  const took: number[] = []
  for (let round = -2; round < rounds; round++) {
    const before = cpuUs()
    for (let i = 0; i < PER_ROUND; i++) {
      task()
      // A batch of records a turn, as in a busy gateway.
      if (i % 32 === 31) await new Promise(setImmediate)
    }
    await after()
    if (round >= 0) took.push((cpuUs() - before) / PER_ROUND)
  }
  took.sort((a, b) => a - b)
  console.log(`${name.padEnd(10)} ${took[took.length >> 1]!.toFixed(2)} us, best ${took[0]!.toFixed(2)}`)
}

let bytes = 0
await measure('nothing', () => outcome(contextOf().ts))
await measure('made', made)
await measure('line', () => {
  bytes = Buffer.byteLength(interactionLine(made()))
})
const folder = mkdtempSync(join(tmpdir(), 'persona-router-record-'))
const sink = { appendInteractions: async () => {}, appendRewards: async () => {} } as unknown as Store
const recorder = new Recorder(sink, { path: join(folder, 'spool'), max_bytes: 1e9, flush_ms: 10 })
await measure(
  'recorder',
  () => recorder.interaction(made()),
  () => recorder.flush(),
)
await recorder.close()
rmSync(folder, { recursive: true })
console.log(`a line     ${bytes} bytes`)

const redis = await startRedis()
const store = await openStore({ kind: 'redis', url: redis.url, command_timeout_ms: 5_000, retention_days: 90 })
const used = async (name: string) => {
  const section = String(await redis.command('INFO', 'everything'))
  return Number(new RegExp(`\n${name}:([\\d.]+)`).exec(section)?.[1])
}
await store.appendInteractions([made()])
const reading = async () => ({
  memory: await used('used_memory'),
  sent: await used('total_net_input_bytes'),
  there: 1e6 * ((await used('used_cpu_user')) + (await used('used_cpu_sys'))),
  here: cpuUs(),
})
const before = await reading()
for (let i = 0; i < KEPT; i += 50) await store.appendInteractions(Array.from({ length: 50 }, made))
const after = await reading()
const each = (what: keyof typeof after) => (after[what] - before[what]) / KEPT
console.log(`redis      ${each('memory').toFixed(0)} bytes kept a row, ${each('sent').toFixed(0)} sent`)
console.log(`           ${each('here').toFixed(1)} us here (made, too), ${each('there').toFixed(1)} us there`)
await store.close()
await redis.discard()
process.exit(0)
