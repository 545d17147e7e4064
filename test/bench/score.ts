/**
 * What scoring and learning cost on one core, with the committed artifact:
 *
 *     node test/bench/score.ts [artifact] [cpu | cuda]
 *
 * "alone": `session.run` by itself. "router": `GraphRouter.score`, so many requests in one turn of the event loop. CPU
 * time of the whole process, median of several rounds.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import type { Candidate } from '../../src/candidates/candidate.ts'
import { rebuild } from '../../src/learning/belief.ts'
import { loadArtifact } from '../../src/routing/artifact/load.ts'
import { GraphRouter } from '../../src/routing/model/graph-router.ts'
import { runUser } from '../../src/routing/model/user-graph.ts'
import { Tensor } from '../../src/runtime/onnxruntime.ts'
import type { StoredEdge } from '../../src/store/store.ts'

const ARTIFACTS = fileURLToPath(new URL('../../router-model/artifacts', import.meta.url))
const latest = () =>
  readdirSync(ARTIFACTS)
    .filter((name) => existsSync(join(ARTIFACTS, name, 'manifest.json')))
    .sort()
    .at(-1) ?? ''

const [directory = join(ARTIFACTS, latest()), device = 'cpu'] = process.argv.slice(2)
const loading = performance.now()
const artifact = await loadArtifact(directory, device as 'cpu' | 'cuda')
console.log(
  `${artifact.version} on ${artifact.device}, loaded and checked in ${(performance.now() - loading).toFixed(0)} ms`,
)
const { E, H, S, Z } = artifact.dims

const noise = (n: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * 1.7) / Math.sqrt(E))
const router = await GraphRouter.open({
  artifact,
  embed: () => noise(E),
  loadEvidence: async () => new Map(),
  candidatesOf: () => [],
  deadlineMs: 60_000,
  log: pino({ level: 'silent' }),
})
const policy = { version: artifact.version, router, embedder: { version: 'bench', dim: E, embed: () => noise(E) } }
const pool = (m: number): Candidate[] =>
  Array.from({ length: m }, (_, i) => ({
    name: `llm-${i}`,
    provider: 'bench',
    model: `llm-${i}`,
    vendor: `vendor-${i % 5}`,
    description: '',
    price: { input: 0.1 * (i + 1), output: 0.4 * (i + 1) },
    contextWindow: 128_000,
    capabilities: new Set(['tools']),
    groups: [],
    explore: true,
    benchmarks: {},
  }))

async function measure(name: string, task: () => Promise<unknown>, per = 1, runs = 200): Promise<void> {
  for (let i = 0; i < 20; i++) await task()
  const rounds: number[] = []
  for (let round = 0; round < 7; round++) {
    const before = process.cpuUsage()
    for (let i = 0; i < runs; i++) await task()
    const { user, system } = process.cpuUsage(before)
    rounds.push((user + system) / runs / per)
  }
  const median = rounds.sort((a, b) => a - b)[3] as number
  console.log(`${name.padEnd(44)} ${median.toFixed(1).padStart(9)} us`)
}

/** Wall-clock time that a call of `session.run` keeps the thread, against the time until its promise is kept. */
async function blocking(feeds: Record<string, Tensor>): Promise<void> {
  let idle = 0
  let counting = true
  const spin = () => {
    idle++
    if (counting) setImmediate(spin)
  }
  setImmediate(spin)
  const runs = 50
  for (let i = 0; i < runs; i++) await artifact.sessions.score.run(feeds)
  counting = false
  console.log(
    `turns of the event loop during one run: ${(idle / runs).toFixed(1)} (1 or 2 = the run blocks the thread)`,
  )
}

for (const m of [12, 100]) {
  const candidates = pool(m)
  for (const b of [1, 8, 32]) {
    const feeds = {
      query: new Tensor('float32', noise(b * E), [b, E]),
      prompt_tokens: new Tensor('float32', new Float32Array(b).fill(100), [b]),
      state: new Tensor('float32', noise(b * S), [b, S]),
      z: new Tensor('float32', noise(m * Z), [m, Z]),
      anchor: new Tensor('float32', noise(Z), [1, Z]),
      cost_weight: new Tensor('float32', new Float32Array(b).fill(-1), [b]),
    }
    if (m === 12 && b === 32) await blocking(feeds)
    await measure(`score alone, M=${m} B=${b}, per request`, () => artifact.sessions.score.run(feeds), b)
    const query = { tenant: 'bench', embedding: noise(E), promptTokens: 100, state: null }
    await measure(
      `score router, M=${m} B=${b}, per request`,
      () => Promise.all(Array.from({ length: b }, () => router.score(query, candidates))),
      b,
    )
  }
}

const candidates = pool(12)
const edges = Array.from({ length: 512 }, (_, i): StoredEdge => {
  const int8 = Int8Array.from(noise(policy.router.artifact.dims.Q), (value) => value * 127)
  return {
    id: `${i}:rating`,
    seq: i + 1,
    ts: i,
    candidate: `llm-${i % 12}`,
    reading: { int8, scale: 1 / 127 },
    reader: policy.router.artifact.manifest.reader ?? '',
    vector: null,
    reward: i % 2 ? 1 : -1,
    kind: 'rating',
    weight: 1,
    promptTokens: 100,
    completionTokens: 300,
    costUsd: 0.001,
  }
})
const find = (name: string) => candidates.find((candidate) => candidate.name === name)
const sums = noise(H).fill(0)
await measure('user.onnx, one user', () => runUser(artifact.sessions.user, artifact.dims, sums))
await measure('one reward: edge.onnx + user.onnx', () => rebuild(policy, 'bench', edges.slice(0, 1), find))
await measure('rebuild from 20 rewards', () => rebuild(policy, 'bench', edges.slice(0, 20), find), 1, 50)
await measure('rebuild from 512 rewards', () => rebuild(policy, 'bench', edges, find), 1, 10)
process.exit(0)
