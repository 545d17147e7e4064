/**
 * Where the time of a reward goes: CPU of the whole process (all threads), part by part, and of rewards as a whole,
 * through the learner and a real Redis, of users who are in memory and of users who are not.
 *
 *     node test/bench/reward.ts [ratings of the user, 20] [--parts] [--whole]
 *
 * Median of several rounds, microseconds.
 */
import { believed, messagesOf, rebuild } from '../../src/learning/belief.ts'
import { readArtifact } from '../../src/routing/artifact/files.ts'
import { openState, packState } from '../../src/routing/model/packed-state.ts'
import { openGraph } from '../../src/routing/model/sessions.ts'
import { runUser, userFeeds } from '../../src/routing/model/user-graph.ts'
import { Tensor } from '../../src/runtime/onnxruntime.ts'
import { edgesIn, encodeMemory } from '../../src/store/user-rows.ts'
import { newestArtifact } from './harness/newest-artifact.ts'
import { findInPool, People, TENANT } from './harness/people.ts'
import { userCosts } from './harness/user-costs.ts'

const args = process.argv.slice(2)
const wants = (what: string) => args.includes(what) || !args.some((word) => word.startsWith('--'))
const ratings = Number(args.find((word) => !word.startsWith('--')) ?? 20)
const people = await People.open()
if (wants('--whole')) {
  console.log(
    'us of CPU: look-up in memory, not | reward in memory (of it the request thread), eight at once, not in memory',
  )
  for (const many of [1, 20, 100, 512]) {
    const costs = await userCosts(people, many, many > 100 ? 50 : 200)
    const us = (all: number, ofThread?: number) =>
      `${all.toFixed(0).padStart(6)}${ofThread === undefined ? '' : ` (${ofThread.toFixed(0).padStart(4)})`}`
    const here = us(costs.rewardUs, costs.rewardThreadUs)
    const together = us(costs.togetherUs, costs.togetherThreadUs)
    const away = us(costs.strangerUs, costs.strangerThreadUs)
    console.log(
      `${String(many).padStart(4)} ratings ${us(costs.hotUs)} ${us(costs.coldUs)} | ${here} ${together} ${away}`,
    )
  }
}
if (!wants('--parts')) process.exit(0)
const { policy } = people
const edges = people.edges(ratings, 3)
const { sums, state } = await rebuild(policy, TENANT, edges, findInPool)
const files = await readArtifact(newestArtifact(), null)
const { manifest, graphs, golden } = files

async function measure(name: string, task: () => unknown, runs = 100): Promise<number> {
  for (let i = 0; i < 20; i++) await task()
  const rounds: number[] = []
  for (let round = 0; round < 7; round++) {
    const from = process.cpuUsage()
    for (let i = 0; i < runs; i++) await task()
    const { user, system } = process.cpuUsage(from)
    rounds.push((user + system) / runs)
  }
  const median = rounds.sort((a, b) => a - b)[3] as number
  console.log(`${name.padEnd(56)} ${median.toFixed(0).padStart(8)} us  (best ${rounds[0]!.toFixed(0)})`)
  return median
}

const { Q, Z, G, H } = manifest.dims
const local = {
  edge: await openGraph('edge', graphs.edge, manifest.dims, golden),
  user: await openGraph('user', graphs.user, manifest.dims, golden),
}
const feeds = (n: number, sums = n) => ({
  reading: new Tensor('float32', new Float32Array(n * Q).fill(0.1), [n, Q]),
  z: new Tensor('float32', new Float32Array(n * Z).fill(0.1), [n, Z]),
  reward: new Tensor('float32', new Float32Array(n).fill(1), [n]),
  kind: new Tensor('int64', new BigInt64Array(n).fill(1n), [n]),
  weight: new Tensor('float32', new Float32Array(n).fill(1), [n]),
  prompt_tokens: new Tensor('float32', new Float32Array(n).fill(100), [n]),
  completion_tokens: new Tensor('float32', new Float32Array(n).fill(300), [n]),
  cost_usd: new Tensor('float32', new Float32Array(n).fill(0.001), [n]),
  share: new Tensor('float32', new Float32Array(n).fill(1), [sums, n / sums]),
})
console.log(`${policy.version}, a user of ${ratings} ratings; G ${G}, H ${H}`)
for (const n of [1, 8, 20, 64]) {
  const [each, whole] = [feeds(n), feeds(n, 1)]
  await measure(`edge.onnx in this thread, ${n} rewards`, () => local.edge.run(each))
  if (n > 1) await measure(`  their sum alone`, () => local.edge.run(whole))
}
const { dims } = policy.router.artifact
const summed = userFeeds(sums, new Float32Array(dims.Y), 1, dims)
await measure('user.onnx in this thread', () => local.user.run(summed))
await measure('edge.onnx in the model thread, with its tensors', () =>
  messagesOf(policy, TENANT, edges.slice(0, 1), findInPool),
)
await measure('user.onnx in the model thread, with its tensors', () =>
  runUser(policy.router.artifact.sessions.user, dims, sums),
)
await measure('sums and state made anew of all edges', () => rebuild(policy, TENANT, edges, findInPool), 20)
await measure('state packed', () => packState(state, policy.router.cold))
const packed = packState(state, policy.router.cold)
await measure('state unpacked', () => openState(packed, policy.router.cold))
const belief = { policy: policy.version, state: packed, since: Date.now(), heardAt: Date.now() }
await measure('row written', () => encodeMemory(belief, edges))
const { belief: row, history } = encodeMemory(belief, edges)
await measure('edges read', () => edgesIn(row, history))
const job = async () => believed(policy, TENANT, { sums: sums.slice(), seq: ratings }, edges.slice(-1), findInPool)
await measure('a reward more, sums in memory: messages, sums, state, packed', job)
await measure(
  'eight of them, of users who rate at the same time',
  () => Promise.all(Array.from({ length: 8 }, job)),
  20,
)
process.exit(0)
