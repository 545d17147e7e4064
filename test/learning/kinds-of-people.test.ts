import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { NOTHING_OLDER, rebuild } from '../../src/learning/belief.ts'
import { edgesOf } from '../../src/learning/edges.ts'
import type { Learner } from '../../src/learning/learner.ts'
import { tastesOf } from '../../src/learning/tastes.ts'
import type { UserStates } from '../../src/learning/user-states.ts'
import {
  evidenceKey,
  evidenceName,
  headsOf,
  opinionsOf,
  PEOPLE,
  pooledEvidence,
  voiceOf,
} from '../../src/routing/choose/evidence.ts'
import type { Policy } from '../../src/routing/policy.ts'
import { MAX_EDGES, type Store, type StoredEdge } from '../../src/store/store.ts'
import { findCandidate, POOL, TINY_4, tinyEmbed, tinyPolicy } from '../routing/support.ts'
import { expectClose } from '../support/close.ts'
import { interaction, learnerOn, meansFor, openTestStore, QUESTION, reward, withOverrides } from './support.ts'

const KEY = evidenceKey('tiny-4')
const VOUCHED = { vouched: true, key: 'k' }
const ANN = { user: 'ann', ...VOUCHED }
const RULES = { quorum: 3, keyWeight: 8, halfLifeDays: 90 }

let store: Store
let policy: Policy
let learner: Learner
let states: UserStates

beforeEach(async () => {
  store = openTestStore()
  const load = async (tenant: string) => pooledEvidence(await store.loadEvidence(tenant, KEY), RULES, Date.now())
  policy = await tinyPolicy(TINY_4, load)
  ;({ learner, states } = learnerOn(store))
})
afterEach(async () => {
  states.close()
  await store.close()
})

const rate = (id: string, value: number, of: object = ANN, by = learner) => {
  const about = interaction(id, of)
  return by.apply(policy, reward(about, value, { binary: false, ts: Date.now() }), about)
}
const rowOf = async (user: string) =>
  (await store.loadEvidence('acme', KEY)).get(evidenceName(PEOPLE, voiceOf({ user, ...VOUCHED })))
/** What the tiny graph says that a user tells: how much they like quality. */
const toldBy = async (user: string) => {
  const { sums } = await rebuild(policy, 'acme', await store.loadEdges('acme', user), findCandidate)
  return [0, Math.tanh(sums[5] as number)]
}
/** A time of which the day is a whole number. */
const START = 20_000 * 86_400_000
const newcomer = async (tenant = 'acme') => (await policy.router.llms.newcomerOf(tenant)).state

describe('what users tell of their tenant', () => {
  it('is counted once a user, follows what they say, and needs no memory of it', async () => {
    await rate('a', 1)
    expectClose((await rowOf('ann'))?.slice(0, 2), await toldBy('ann'))
    await rate('b', 0.5)
    await rate('a', -1)
    // Another process, which has only the store.
    await rate('c', 0.2, ANN, learnerOn(store).learner)
    await rate('d', -0.4)
    const row = await rowOf('ann')
    expectClose(row?.slice(0, 2), await toldBy('ann'))
    // One user, however often they rate.
    expect([row?.[2], row?.[3]]).toEqual([1, 1])
  })

  it('of who is not in memory reads their history once, and what they told before from their row', async () => {
    for (const id of ['a', 'b', 'c']) await rate(id, 0.5)
    const believe = vi.spyOn(policy.router.artifact, 'believe')
    const readOf = () => believe.mock.calls.splice(0).map(([job]) => job.blocks.length)
    await rate('d', -0.4, ANN, learnerOn(store).learner)
    expect(readOf()).toEqual([4])
    expectClose((await rowOf('ann'))?.slice(0, 2), await toldBy('ann'))
    readOf()
    // A row that does not say what they told: earlier versions' are such.
    const { told: _, ...row } = (await store.loadUser('acme', 'ann'))!
    const edges = await store.loadEdges('acme', 'ann')
    await store.commitUser('acme', 'ann', { ...row, revision: row.revision + 1 }, edges)
    await rate('e', 0.1, ANN, learnerOn(store).learner)
    expect(readOf()).toEqual([4, 1])
    expectClose((await rowOf('ann'))?.slice(0, 2), await toldBy('ann'))
  })

  it('takes the place of what was told before, faded or not, and stays one user', async () => {
    const day = 86_400_000
    const at = async (days: number, id: string, value: number) => {
      const about = interaction(id, ANN)
      await learner.apply(policy, reward(about, value, { binary: false, ts: START + days * day }), about)
      return [...((await rowOf('ann')) ?? [])]
    }
    await at(0, 'a', -1)
    const row = await at(180, 'b', 0.4)
    expectClose(row.slice(0, 2), await toldBy('ann'))
    expect(row[1]).toBeLessThan(0)
    expect(row.slice(2, 4)).toEqual([1, 1])
    // Given before, learned after.
    const late = await at(100, 'c', -0.3)
    expectClose(late.slice(0, 2), await toldBy('ann'))
    expectClose(late.slice(2, 4), [1, 1])
  })

  it('keeps its quorum as long as who told it go on', async () => {
    for (const days of [0, 40, 90]) {
      for (const user of ['ann', 'bob', 'cleo', 'dan', 'eve']) {
        const about = interaction(`${user}-${days}`, { user, ...VOUCHED })
        await learner.apply(policy, reward(about, 1, { ts: START + days * 86_400_000 }), about)
      }
    }
    const rows = await store.loadEvidence('acme', KEY)
    const of = opinionsOf(rows, RULES, START + 90 * 86_400_000).get(PEOPLE) ?? []
    expect(headsOf(of)).toBeCloseTo(5, 4)
  })

  it('counts what is older than what is kept of a user once', async () => {
    const edges: StoredEdge[] = []
    for (let seq = 1; seq <= MAX_EDGES; seq++) {
      const about = interaction(`old-${seq}`, ANN)
      const [edge] = edgesOf(reward(about, seq === 1 ? 0.3 : 0, { binary: false, ts: START + seq }), about)
      edges.push({ ...(edge as Omit<StoredEdge, 'seq'>), seq })
    }
    const told = async (of: readonly StoredEdge[]) => (await rebuild(policy, 'acme', of, findCandidate)).told
    const { packed } = await rebuild(policy, 'acme', edges, findCandidate)
    const user = { policy: 'tiny-4', rewards: MAX_EDGES, preferences: {}, updatedAt: 1, since: 1, heardAt: START }
    await store.commitUser('acme', 'ann', { ...user, revision: 1, state: packed, older: NOTHING_OLDER }, edges)
    const about = interaction('new', ANN)
    const given = reward(about, 0.1, { binary: false, ts: START + MAX_EDGES + 1 })
    await learner.apply(policy, given, about)
    const added = { ...(edgesOf(given, about)[0] as Omit<StoredEdge, 'seq'>), seq: MAX_EDGES + 1 }
    const [before, now] = [await told(edges), await told([...edges, added])]
    const row = await rowOf('ann')
    expect(row?.[1]).toBeCloseTo((now[1] as number) - (before[1] as number), 5)
  })

  it('changes what is believed of new users of the same tenant, once enough have spoken', async () => {
    const before = await newcomer()
    for (const user of ['ann', 'bob']) await rate(`r-${user}`, 1, { user, ...VOUCHED })
    await policy.router.llms.refresh('acme')
    expect(await newcomer()).toEqual(before)
    for (const user of ['cleo', 'dan', 'eve']) await rate(`r-${user}`, 1, { user, ...VOUCHED })
    await policy.router.llms.refresh('acme')
    const after = await newcomer()
    expect(after[1]).toBeGreaterThan(before[1] as number)
    expect(await newcomer('other')).toEqual(before)
    // A request of somebody of whom nothing is known is scored with it, and only at this tenant.
    const [here, there] = await Promise.all(['acme', 'other'].map((tenant) => meansFor(policy, states, 'new', tenant)))
    expect(here).not.toEqual(there)
    const score = (tenant: string, state: Float32Array | null) =>
      policy.router.score({ tenant, embedding: tinyEmbed(QUESTION), promptTokens: 20, state }, POOL)
    expect((await score('acme', null)).map(({ mean }) => mean)).toEqual(
      (await score('acme', after)).map(({ mean }) => mean),
    )
  })

  it('of a user for whose name somebody answers is what was said with that', async () => {
    const plain = { user: 'ann', key: 'k' }
    for (const i of [1, 2, 3]) await rate(`named-${i}`, -1, plain)
    const told = async () => (await rowOf('ann'))?.slice(0, 2)
    expect(await told()).toBeUndefined()
    await rate('own', 1)
    // As nobody had named them.
    await rate('own', 1, { ...ANN, user: 'bob' })
    const sums = async (key: string) => {
      const rows = await store.loadEvidence('acme', KEY)
      return rows.get(evidenceName(PEOPLE, key))
    }
    const [byKey, own] = [await sums(voiceOf({ user: 'ann', key: 'k', vouched: false })), await rowOf('ann')]
    const [ofKey = 0, ofAnn = 0] = [byKey?.[1], own?.[1]]
    expect(ofKey).toBeLessThan(0)
    expectClose(ofKey + ofAnn, (await toldBy('bob'))[1] as number)
    // What a key says then is not told at all.
    await rate('named-4', -1, plain)
    expect((await sums(voiceOf({ user: 'ann', key: 'k', vouched: false })))?.[1]).toBe(byKey?.[1])
    await rate('own-2', 1)
    await rate('own-2', 1, { ...ANN, user: 'bob' })
    expectClose(((await rowOf('ann'))?.[1] ?? 0) + ofKey, (await toldBy('bob'))[1] as number)
  })

  it('is of the edges that are stored, also where others wrote them meanwhile', async () => {
    const plain = { user: 'ann', key: 'k' }
    const anew = openTestStore()
    let first: (() => Promise<unknown>) | null = null
    const raced = withOverrides(store, {
      commitUser: async (...args) => {
        const meanwhile = first
        first = null
        await meanwhile?.()
        return store.commitUser(...args)
      },
    })
    const { learner: ours } = learnerOn(raced)
    const { learner: theirs } = learnerOn(store)
    const ROW = evidenceName(PEOPLE, voiceOf(ANN))
    /** Told by a process that has nothing in memory. */
    const expectAsAnew = async (words: readonly (readonly [string, number, object])[]) => {
      for (const word of words) await rate(...word, learnerOn(anew).learner)
      const [found, row] = await Promise.all(
        [store, anew].map(async (one) => (await one.loadEvidence('acme', KEY)).get(ROW)),
      )
      expect(row?.[1]).not.toBe(0)
      expectClose(found?.slice(0, 2), row?.slice(0, 2))
    }
    const words = [1, 2, 3, 4].map((i) => [`w-${i}`, i / 8, i % 2 ? plain : ANN] as const)
    for (const word of words) await rate(...word, ours)
    const [faster, slower] = [['faster', -1, ANN] as const, ['slower', 0.5, ANN] as const]
    first = () => rate(...faster, theirs)
    await rate(...slower, ours)
    await expectAsAnew([...words, faster, slower])
    // Another process drops them, and they are back with as many words.
    for (const one of [store, anew]) await one.dropIdleUsers('acme', Date.now() + 86_400_000, '')
    const back = [1, 2, 3, 4, 5, 6].map((i) => [`b-${i}`, -i / 8, i === 1 || i === 3 ? plain : ANN] as const)
    for (const word of back) await rate(...word, theirs)
    const last = ['last', 0.25, ANN] as const
    await rate(...last, ours)
    await expectAsAnew([...back, last])
    await anew.close()
  })

  it('is told by nobody who is not heard, and not by a judge', async () => {
    const hearing = { minAnswers: 3, minAgeMs: 0, halfLifeDays: 90 }
    const { learner: slow } = learnerOn(store, undefined, { hearing })
    await rate('a', 1, ANN, slow)
    await rate('b', 1, ANN, slow)
    expect(await rowOf('ann')).toBeUndefined()
    await rate('c', 1, ANN, slow)
    const row = await rowOf('ann')
    expectClose(row?.slice(0, 2), await toldBy('ann'))
    const judged = interaction('d', ANN)
    await slow.apply(policy, reward(judged, 1, { kind: 'judge', binary: false, ts: Date.now() }), judged)
    expect((await rowOf('ann'))?.slice(0, 2)).toEqual(row?.slice(0, 2))
    await rate('e', 1, ANN, slow)
    expectClose((await rowOf('ann'))?.slice(0, 2), await toldBy('ann'))
  })

  it('weighs no more under many made-up names of one key than that key does', async () => {
    for (let i = 0; i < 60; i++) await rate(`m${i}`, 1, { user: `made-up-${i}`, key: 'one', vouched: false })
    const crowd = pooledEvidence(await store.loadEvidence('acme', KEY), RULES, Date.now()).get(PEOPLE)
    const each = (await toldBy('made-up-0'))[1] as number
    expect(crowd?.[1]).toBeLessThan(RULES.keyWeight * each)
    expect(crowd?.[1]).toBeGreaterThan(0)
  })

  it('goes with the tenant', async () => {
    await rate('a', 1)
    await store.eraseTenant('acme')
    expect((await store.loadEvidence('acme', KEY)).size).toBe(0)
  })
})

it('an artifact of one kind of people is told nothing', async () => {
  policy = await tinyPolicy()
  await rate('a', 1)
  const names = [...(await store.loadEvidence('acme', evidenceKey('tiny-1'))).keys()]
  expect(names.length).toBeGreaterThan(0)
  expect(names.some((name) => name.startsWith(PEOPLE))).toBe(false)
  expect(await tastesOf(policy, 'acme', [], findCandidate, POOL)).toBeNull()
})
