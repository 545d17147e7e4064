import { beforeAll, expect, test } from 'vitest'
import { readArtifact } from '../../../src/routing/artifact/files.ts'
import type { BeliefJob, Believed } from '../../../src/routing/model/belief-job.ts'
import { type Believer, believe } from '../../../src/routing/model/believe.ts'
import { believeTogether } from '../../../src/routing/model/believe-together.ts'
import { numbersOf, openState } from '../../../src/routing/model/packed-state.ts'
import { openGraph } from '../../../src/routing/model/sessions.ts'
import { runUser } from '../../../src/routing/model/user-graph.ts'
import { COMMITTED } from '../../support/artifacts.ts'
import { expectClose } from '../../support/close.ts'

const [BLOCK, KINDS] = [12, 9]

let by: Believer

beforeAll(async () => {
  const { manifest, graphs, golden } = await readArtifact(COMMITTED, null)
  const edge = await openGraph('edge', graphs.edge, manifest.dims, golden)
  const user = await openGraph('user', graphs.user, manifest.dims, golden)
  const { state: cold } = await runUser(user, manifest.dims, new Float32Array(manifest.dims.H))
  by = { edge, user, manifest, cold }
}, 60_000)

const openedState = ({ packed }: Believed) => numbersOf(openState(packed, by.cold)!)

const draw = (n: number, salt: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(salt + i * 1.7))

function jobOf(rewards: number, from: number, sums: Float32Array | null): BeliefJob {
  const { Q, Z } = by.manifest.dims
  const n = rewards
  const column = (salt: number, of: (x: number) => number) => ({
    ...{ type: 'float32' as const, dims: [n] },
    data: draw(n, salt).map(of),
  })
  return {
    rewards: {
      reading: { type: 'float32', data: draw(n * Q, 1).map(Math.abs), dims: [n, Q] },
      z: { type: 'float32', data: draw(n * Z, 2), dims: [n, Z] },
      reward: column(3, (x) => x),
      kind: { type: 'int64', data: BigInt64Array.from({ length: n }, (_, i) => BigInt((i + 1) % KINDS)), dims: [n] },
      weight: column(4, (x) => (x > 0.9 ? 0 : 1)),
      prompt_tokens: column(5, (x) => 200 + 100 * x),
      completion_tokens: column(6, (x) => (x < -0.5 ? -1 : 300 * (x + 1))),
      cost_usd: column(7, (x) => (x < -0.5 ? -1 : 0.001 * (x + 1))),
    },
    blocks: Array.from({ length: n }, (_, i) => from + Math.floor(i / BLOCK)),
    newest: from + Math.floor(Math.max(0, n - 1) / BLOCK),
    ...{ sums, from, asksLast: n > 0, gone: 0 },
  }
}

/** The same graph, asked for each message by itself. */
const singly = (of: Believer): Believer => ({ ...of, edge: { run: (feeds) => of.edge.run(feeds) } })

test.each([
  [1, 1],
  [5, 1],
  [40, 0.97],
  [120, 1],
  [512, 0.999],
])(
  'sums that the graph makes of %d rewards, fading by %d, are those of their messages',
  async (rewards, fade) => {
    const forgetful = { ...by, manifest: { ...by.manifest, forget: { per_reward: fade, block: BLOCK } } }
    const known = (await believe(singly(forgetful), jobOf(30, 0, null))).sums
    for (const [sums, from] of [
      [null, 0],
      [known, 2],
    ] as const) {
      const found = await believe(forgetful, jobOf(rewards, from, sums?.slice() ?? null))
      const expected = await believe(singly(forgetful), jobOf(rewards, from, sums?.slice() ?? null))
      expectClose(found.sums, expected.sums, 1e-5)
      expectClose(found.state, expected.state, 1e-4)
      expectClose(found.last!, expected.last!, 1e-5)
      expect(found.packed.length).toBeLessThan(found.state.byteLength / 2)
    }
  },
  60_000,
)

test('what is gone is told of and is part of no sum', async () => {
  const job = jobOf(8, 0, null)
  const whole = { ...job, gone: 3, blocks: job.blocks.map(() => 0), newest: 0 }
  const [found, expected] = [await believe(by, whole), await believe(singly(by), whole)]
  expect(found.gone).toHaveLength(3)
  for (const [i, message] of found.gone.entries()) expectClose(message!, expected.gone[i]!, 1e-5)
  const keeping = { ...by, manifest: { ...by.manifest, forget: { per_reward: 1, block: BLOCK } } }
  const [some, all] = [await believe(keeping, whole), await believe(keeping, { ...whole, gone: 0 })]
  const sum = all.sums.map((value, i) => value - some.gone.reduce((total, one) => total + (one?.[i] ?? 0), 0))
  expectClose(some.sums.subarray(0, sum.length), sum.subarray(0, some.sums.length), 1e-5)
})

test('nothing that is no finite number is believed: the other rewards are', async () => {
  const job = jobOf(6, 0, null)
  ;(job.rewards.z!.data as Float32Array).fill(Number.NaN, by.manifest.dims.Z, 2 * by.manifest.dims.Z)
  const { state, last } = await believe(by, job)
  expect(state.every(Number.isFinite)).toBe(true)
  expect(state).not.toEqual(by.cold)
  expect(last).not.toBeNull()
})

test('of no reward the belief is that of a new user', async () => {
  const { state, last } = await believe(by, jobOf(0, 0, null))
  expect(state).toEqual(by.cold)
  expect(last).toBeNull()
})

test('rewards that wait together are one run of either graph, and each is believed as by itself', async () => {
  const known = [
    null,
    ...(await Promise.all([5, 20, 40].map(async (n) => (await believe(by, jobOf(n, 0, null))).sums))),
  ]
  const { Y } = by.manifest.dims
  const more = (of: number) => ({
    ...jobOf(1, [0, 0, 1, 3][of]!, known[of]?.slice() ?? null),
    tenant: draw(Y, of),
  })
  // Not one more rating but several, and one that can't be read.
  const all = () => [...[1, 1, 0, 2, 3, 1].map(more), jobOf(3, 0, null), jobOf(0, 1, known[1]!.slice())]
  let runs = 0
  const counted = (graph: Believer['edge']): Believer['edge'] => ({
    ...(graph.inputNames && { inputNames: graph.inputNames }),
    run: (feeds) => {
      runs++
      return graph.run(feeds)
    },
  })
  const found = await believeTogether({ ...by, edge: counted(by.edge), user: counted(by.user) }, all())
  // Four users have one block of sums; the last job has no reward to read.
  expect(runs).toBe(2 * (1 + 3) + 1)
  for (const [i, job] of all().entries()) {
    const expected = await believe(by, job)
    for (const name of ['sums', 'state', 'told'] as const) expectClose(found[i]![name], expected[name], 1e-5)
    expect(found[i]!.gone).toEqual([])
    expect(found[i]!.last === null).toBe(expected.last === null)
    if (expected.last) expectClose(found[i]!.last!, expected.last, 1e-5)
    expectClose(openedState(found[i]!), openedState(expected), 1e-4)
  }
  // What is no finite number spoils no other.
  const broken = jobOf(1, 0, null)
  ;(broken.rewards.z!.data as Float32Array).fill(Number.NaN)
  const [bad, good] = await believeTogether(by, [broken, jobOf(1, 0, null)])
  expect(bad!.last).toBeNull()
  expect(bad!.state).toEqual(by.cold)
  expectClose(good!.state, (await believe(by, jobOf(1, 0, null))).state, 1e-5)
}, 60_000)
