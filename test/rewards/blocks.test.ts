import { Tensor } from 'onnxruntime-node'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { rebuild } from '../../src/rewards/belief.ts'
import type { Learner } from '../../src/rewards/learn.ts'
import type { UserStates } from '../../src/rewards/user-states.ts'
import type { Policy } from '../../src/routing/policy.ts'
import type { Store } from '../../src/store/store.ts'
import { findCandidate, POOL, tinyEmbed, tinyPolicy } from '../routing/support.ts'
import { interaction, learnerOn, openTestStore, quantise, reward } from './support.ts'

const [WIDTH, BLOCK, FADE] = [3, 2, 0.9]

let store: Store
let policy: Policy
let learner: Learner
let states: UserStates

beforeEach(async () => {
  store = openTestStore()
  policy = inBlocks(await tinyPolicy(), FADE)
  ;({ learner, states } = learnerOn(store))
})
afterEach(async () => {
  states.close()
  await store.close()
})

/** The same policy with a user's sums in three blocks of two rewards; its state is made of all of them. */
function inBlocks(of: Policy, fade: number): Policy {
  const { artifact } = of.router
  const { G } = artifact.dims
  const user: typeof artifact.sessions.user = {
    ...artifact.sessions.user,
    run: (feeds) => {
      const blocks = feeds.sums?.data as Float32Array
      expect(blocks).toHaveLength(WIDTH * G)
      const sums = new Float32Array(G).map((_, i) => blocks[i]! + blocks[G + i]! + blocks[2 * G + i]!)
      return artifact.sessions.user.run({ sums: new Tensor('float32', sums, [1, G]) })
    },
  }
  const router = Object.create(of.router, {
    artifact: {
      value: {
        ...artifact,
        dims: { ...artifact.dims, H: WIDTH * G },
        manifest: { ...artifact.manifest, forget: { per_reward: fade, block: BLOCK } },
        sessions: { ...artifact.sessions, user },
      },
    },
  }) as Policy['router']
  return { ...of, router }
}

const storedSums = async () => (await store.loadUser('acme', 'ann'))?.sums ?? new Float32Array(0)

/** With the empty blocks, which are not stored. */
async function sumsOf(): Promise<Float32Array> {
  const sums = new Float32Array(WIDTH * policy.router.artifact.dims.G)
  sums.set(await storedSums())
  return sums
}

async function learn(i: number, value: number): Promise<Float32Array> {
  const about = interaction(`b${i}`, {
    candidate: POOL[i % POOL.length]?.name as string,
    embedding: quantise(tinyEmbed(`question ${i}`)),
  })
  expect(await learner.apply(policy, reward(about, value, { binary: false, ts: 1_000 + ++ticks }), about)).toBe(
    'learned',
  )
  return sumsOf()
}
let ticks = 0

function expectClose(found: Float32Array, expected: Float32Array | readonly number[]): void {
  expect(found).toHaveLength(expected.length)
  for (const [i, value] of found.entries()) expect(value).toBeCloseTo(expected[i] as number, 4)
}

it('keeps messages in blocks by age: the newest two, two before them, and all others', async () => {
  const { G } = policy.router.artifact.dims
  let blocks: Float32Array[] = []
  for (let i = 0; i < 7; i++) {
    const before = await sumsOf()
    const after = await learn(i, Math.cos(i))
    blocks = [0, 1, 2].map((block) => after.slice(block * G, (block + 1) * G))
    if (i === 0) continue
    const old = [0, 1, 2].map((block) => before.slice(block * G, (block + 1) * G))
    expect((await storedSums()).length, 'empty blocks are not stored').toBe(
      G * Math.min(WIDTH, 1 + Math.floor(i / BLOCK)),
    )
    const starts = i % BLOCK === 0
    expectClose(
      blocks[1]!,
      old[starts ? 0 : 1]!.map((x) => x * FADE),
    )
    expectClose(
      blocks[2]!,
      old[2]!.map((x, k) => (x + (starts ? old[1]![k]! : 0)) * FADE),
    )
  }
  for (const block of blocks) expect(block.some((x) => x !== 0)).toBe(true)
})

it('takes a rating out of the block that it is in: as if the history were learned anew', async () => {
  policy = inBlocks(await tinyPolicy(), 1)
  for (let i = 0; i < 7; i++) await learn(i, Math.cos(i))
  for (const changed of [6, 3, 0, 5]) {
    const found = await learn(changed, -0.5)
    const { sums } = await rebuild(policy, 'acme', await store.loadEdges('acme', 'ann'), findCandidate)
    expectClose(found, sums)
  }
})
