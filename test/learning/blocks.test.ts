import fc from 'fast-check'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { rebuild } from '../../src/learning/belief.ts'
import { edgesOf } from '../../src/learning/edges.ts'
import type { Learner } from '../../src/learning/learner.ts'
import type { UserStates } from '../../src/learning/user-states.ts'
import type { Policy } from '../../src/routing/policy.ts'
import { Tensor } from '../../src/runtime/onnxruntime.ts'
import { MAX_EDGES, type Store, type StoredEdge } from '../../src/store/store.ts'
import { findCandidate, POOL, tinyPolicy } from '../routing/support.ts'
import { expectClose } from '../support/close.ts'
import { interaction, learnerOn, openTestStore, reward, tinyReading } from './support.ts'

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

/** The same policy with a user's sums in blocks, three of two rewards; its state is made of all of them. */
function inBlocks(of: Policy, fade: number, width = WIDTH, block = BLOCK): Policy {
  const { artifact } = of.router
  const { G } = artifact.dims
  const user: typeof artifact.sessions.user = {
    ...artifact.sessions.user,
    run: (feeds) => {
      const blocks = feeds.sums?.data as Float32Array
      expect(blocks).toHaveLength(width * G)
      const sums = new Float32Array(G)
      for (const [i, value] of blocks.entries()) sums[i % G]! += value
      return artifact.sessions.user.run({ sums: new Tensor('float32', sums, [1, G]) })
    },
  }
  const router = Object.create(of.router, {
    artifact: {
      value: {
        ...artifact,
        dims: { ...artifact.dims, H: width * G },
        manifest: { ...artifact.manifest, forget: { per_reward: fade, block } },
        sessions: { ...artifact.sessions, user },
      },
    },
  }) as Policy['router']
  return { ...of, version: `${of.version} in ${width} of ${block}, ${fade}`, router }
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
    reading: tinyReading(`question ${i}`),
  })
  expect(await learner.apply(policy, reward(about, value, { binary: false, ts: 1_000 + ++ticks }), about)).toBe(
    'learned',
  )
  return sumsOf()
}
let ticks = 0

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

/**
 * Something that is said of an answer, under one of several artifacts, in one of two processes, perhaps while the other
 * is at it.
 */
const saying = fc.record({
  answer: fc.nat(9),
  candidate: fc.constantFrom('cheap', 'middle', 'dear', 'gone'),
  kind: fc.constantFrom('rating', 'rating', 'preference', 'continuation'),
  value: fc.constantFrom(-1, -0.3, 0, 0.7, 1),
  late: fc.boolean(),
  artifact: fc.constantFrom(0, 0, 0, 0, 1, 2, 3),
  process: fc.nat(1),
  together: fc.boolean(),
})

it('whatever is said, taken back and said again, under whichever artifacts and in two processes: sums are as if learned anew', async () => {
  const tiny = await tinyPolicy()
  const artifacts = [inBlocks(tiny, FADE), inBlocks(tiny, 1, 4, 3), inBlocks(tiny, FADE, 2, 1), tiny]
  const other = learnerOn(store)
  let runs = 0
  await fc.assert(
    fc.asyncProperty(fc.array(saying, { minLength: 1, maxLength: 24 }), async (sayings) => {
      const user = `user-${runs++}`
      let ts = 1_000
      let waiting: Promise<unknown>[] = []
      for (const { answer, candidate, kind, value, late, artifact, process, together } of sayings) {
        const about = interaction(`${user}-${answer}`, {
          ...{ user, candidate },
          reading: tinyReading(`question ${answer}`),
        })
        const given = reward(about, value, {
          ...{ kind, ts: late ? ts - 5 : ++ts, binary: false },
          weight: kind === 'continuation' ? 0.1 : 1,
          preferredModel: kind === 'preference' ? 'dear' : null,
        })
        waiting.push([learner, other.learner][process]!.apply(artifacts[artifact] as Policy, given, about))
        if (together) continue
        await Promise.all(waiting)
        waiting = []
      }
      await Promise.all(waiting)
      const stored = await store.loadUser('acme', user)
      if (!stored) return
      const under = artifacts.find(({ version }) => version === stored.policy) as Policy
      const anew = await rebuild(under, 'acme', await store.loadEdges('acme', user), findCandidate)
      const found = new Float32Array(under.router.artifact.dims.H)
      found.set(stored.sums)
      expectClose(found, anew.sums)
      expectClose(stored.state, anew.state)
      expect(stored.sums.at(-1), 'no zeros at the end').not.toBe(0)
    }),
    { numRuns: 60 },
  )
  other.states.close()
})

it('takes ratings out of a history of which the beginning is no longer kept, whichever block they are in', async () => {
  policy = inBlocks(await tinyPolicy(), 1, 4, 150)
  const total = MAX_EDGES + 100
  const about = (i: number) =>
    interaction(`old-${i}`, {
      candidate: POOL[i % POOL.length]?.name as string,
      reading: tinyReading(`question ${i}`),
    })
  let all: StoredEdge[] = []
  for (let i = 1; i <= total; i++) {
    const [edge] = edgesOf(reward(about(i), Math.cos(i), { binary: false, ts: i }), about(i))
    all.push({ ...(edge as Omit<StoredEdge, 'seq'>), seq: i })
  }
  const { sums, state } = await rebuild(policy, 'acme', all, findCandidate)
  const user = {
    policy: policy.version,
    rewards: total,
    sums,
    state,
    preferences: {},
    updatedAt: 1,
    since: 1,
    heardAt: 1,
  }
  for (const [i, edge] of all.entries()) await store.commitUser('acme', 'ann', { ...user, revision: i + 1 }, edge)
  expect(await store.loadEdges('acme', 'ann')).toHaveLength(MAX_EDGES)
  for (const i of [total, 101, 150, 151, 300, 450, 451, 600, total - 1, 101, 450]) {
    const given = reward(about(i), Math.sin(i), { binary: false, ts: total + ++ticks })
    expect(await learner.apply(policy, given, about(i))).toBe('learned')
    const newest = (await store.loadEdges('acme', 'ann')).at(-1) as StoredEdge
    all = [...all.filter(({ id }) => id !== newest.id), newest]
    expectClose(await storedSums(), (await rebuild(policy, 'acme', all, findCandidate)).sums)
  }
})
