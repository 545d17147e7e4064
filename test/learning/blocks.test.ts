import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { rebuild } from '../../src/learning/belief.ts'
import { edgesOf } from '../../src/learning/edges.ts'
import type { Learner } from '../../src/learning/learner.ts'
import type { UserStates } from '../../src/learning/user-states.ts'
import { loadArtifact } from '../../src/routing/artifact/load.ts'
import type { BeliefJob } from '../../src/routing/model/belief-job.ts'
import { believe } from '../../src/routing/model/believe.ts'
import { GraphRouter } from '../../src/routing/model/graph-router.ts'
import { numbersOf, openState } from '../../src/routing/model/packed-state.ts'
import type { Policy } from '../../src/routing/policy.ts'
import { Tensor } from '../../src/runtime/onnxruntime.ts'
import { floatBytes } from '../../src/store/bytes.ts'
import { plainState } from '../../src/store/plain-state.ts'
import { MAX_EDGES, type Store, type StoredEdge } from '../../src/store/store.ts'
import {
  copyArtifact,
  editManifest,
  findCandidate,
  POOL,
  silent,
  TINY_1,
  tinyEmbed,
  tinyEmbedder,
  tinyPolicy,
} from '../routing/support.ts'
import { expectClose } from '../support/close.ts'
import { writeAsBefore } from '../support/earlier-version.ts'
import fc from '../support/properties.ts'
import { interaction, learnerOn, newTestFile, openTestStore, reward, tinyReading } from './support.ts'

const [WIDTH, BLOCK, FADE] = [3, 2, 0.9]

let path: string
let store: Store
let policy: Policy
let learner: Learner
let states: UserStates

beforeEach(async () => {
  path = newTestFile()
  store = openTestStore(path)
  policy = inBlocks(await tinyPolicy(), FADE)
  ;({ learner, states } = learnerOn(store))
})
afterEach(async () => {
  states.close()
  await store.close()
})

/** The same policy with a user's sums in blocks, three of two rewards; its state is these sums. */
function inBlocks(of: Policy, fade: number, width = WIDTH, block = BLOCK): Policy {
  const { artifact } = of.router
  const { G } = artifact.dims
  const user: typeof artifact.sessions.user = {
    ...artifact.sessions.user,
    run: async (feeds) => {
      const sums = feeds.sums?.data as Float32Array
      expect(sums).toHaveLength(width * G)
      return { state: new Tensor('float32', sums.slice(), [1, width * G]) }
    },
  }
  const dims = { ...artifact.dims, H: width * G, S: width * G }
  const forget = { per_reward: fade, block }
  const by = { edge: artifact.sessions.edge, user, manifest: { dims, forget }, cold: of.router.cold }
  const router = Object.create(of.router, {
    artifact: {
      value: {
        ...artifact,
        dims,
        manifest: { ...artifact.manifest, forget },
        sessions: { ...artifact.sessions, user },
        believe: (job: BeliefJob) => believe(by, job),
      },
    },
  }) as Policy['router']
  return { ...of, version: `${of.version} in ${width} of ${block}, ${fade}`, router }
}

async function sumsOf(user = 'ann', under = policy): Promise<Float32Array> {
  const stored = await store.loadUser('acme', user)
  const state = openState(stored?.state ?? new Uint8Array(0), under.router.cold)
  return state ? numbersOf(state) : new Float32Array(under.router.artifact.dims.H)
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

it('adds up no messages of different codes: where another candidate turns them, all are made anew', async () => {
  const directory = copyArtifact(TINY_1)
  editManifest(directory, (manifest) => {
    manifest.codes = 'frame'
  })
  const artifact = await loadArtifact(directory)
  // The tiny graph knows of the codes, and makes nothing of them.
  const run = artifact.sessions.llm.run.bind(artifact.sessions.llm)
  artifact.sessions.llm.run = async (feeds: Parameters<typeof run>[0]) => {
    const outputs = await run(feeds)
    const codes = (feeds.name_code as unknown as { data: Float32Array }).data
    const z = outputs.z?.data as Float32Array
    const { Z, C } = artifact.dims
    for (let i = 0; i < z.length; i++) z[i]! += codes[Math.floor(i / Z) * C + (i % Z)]!
    return outputs
  }
  let pool = POOL.slice(0, 2)
  const router = await GraphRouter.open({
    ...{ artifact, embed: tinyEmbed, loadEvidence: async () => new Map(), deadlineMs: 1_000, log: silent },
    candidatesOf: () => pool,
  })
  policy = inBlocks({ version: artifact.version, router, embedder: tinyEmbedder }, FADE)
  const anew = async () => (await rebuild(policy, 'acme', await store.loadEdges('acme', 'ann'), findCandidate)).sums
  await learn(0, 1)
  expectClose(await learn(1, -0.5), await anew())
  const before = await anew()
  pool = [...POOL]
  expect(Math.max(...(await anew()).map((x, i) => Math.abs(x - before[i]!)))).toBeGreaterThan(0.01)
  expectClose(await learn(2, 0.7), await anew())
  expectClose(await learn(3, 0.3), await anew())
  router.llms.close()
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
  const artifacts = [inBlocks(tiny, FADE), inBlocks(tiny, 1, 4, 3), inBlocks(tiny, FADE, 2, 1), inBlocks(tiny, 1, 1, 1)]
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
      expectClose(await sumsOf(user, under), anew.state)
    }),
    { numRuns: 60 },
  )
  other.states.close()
})

it.each([
  ['as this version keeps them', false],
  ['as the version before kept them', true],
])(
  'forgets edges beyond the newest, not what they said, %s; and takes ratings out, whichever block they are in',
  async (_, isEarlier) => {
    const fade = 0.999
    policy = inBlocks(await tinyPolicy(), fade, 4, 150)
    const about = (i: number) =>
      interaction(`old-${i}`, {
        candidate: POOL[i % POOL.length]?.name as string,
        reading: tinyReading(`question ${i}`),
      })
    let all: StoredEdge[] = []
    const edgeOf = (i: number) => {
      const [edge] = edgesOf(reward(about(i), Math.cos(i), { binary: false, ts: i }), about(i))
      return { ...(edge as Omit<StoredEdge, 'seq'>), seq: i }
    }
    const early = isEarlier ? MAX_EDGES + 40 : MAX_EDGES - 30
    for (let i = 1; i <= early; i++) all.push(edgeOf(i))
    const { sums, state } = await rebuild(policy, 'acme', all, findCandidate)
    const user = {
      ...{ policy: policy.version, rewards: early, preferences: {}, updatedAt: 1, since: 1, heardAt: 1 },
      ...{ revision: 1, state: plainState(floatBytes(state)), older: new Float32Array(0) },
    }
    if (isEarlier) {
      const db = new DatabaseSync(path)
      const edges = all.slice(-MAX_EDGES).map((edge) => ({ ...edge, id: `old-${edge.seq}:rating` }))
      writeAsBefore(db, 'acme', 'ann', { ...user, sums, state }, edges)
      db.close()
    } else await store.commitUser('acme', 'ann', user, all)
    for (let i = early + 1; i <= early + 100; i++) {
      const given = reward(about(i), Math.cos(i), { binary: false, ts: i })
      expect(await learner.apply(policy, given, about(i))).toBe('learned')
      all.push(edgeOf(i))
    }
    expect(await store.loadEdges('acme', 'ann')).toHaveLength(MAX_EDGES)
    expectClose(await sumsOf(), (await rebuild(policy, 'acme', all, findCandidate)).sums, 1e-4)
    const later = learnerOn(store)
    for (const i of [early + 100, 101 + early - 500, early - 300, early, early + 99, early - 300]) {
      const given = reward(about(i), Math.sin(i), { binary: false, ts: 10_000 + ++ticks })
      expect(await later.learner.apply(policy, given, about(i))).toBe('learned')
      const newest = (await store.loadEdges('acme', 'ann')).at(-1) as StoredEdge
      all = [...all.filter(({ id }) => id !== newest.id), newest]
      expectClose(await sumsOf(), (await rebuild(policy, 'acme', all, findCandidate)).sums, 1e-4)
    }
    later.states.close()
  },
)
