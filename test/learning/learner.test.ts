import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { edgesOf } from '../../src/learning/edges.ts'
import type { Learner, Standing } from '../../src/learning/learner.ts'
import { ratingRewards } from '../../src/learning/sources/user-rating.ts'
import type { UserStates } from '../../src/learning/user-states.ts'
import { evidenceKey, PEOPLE, pooledEvidence } from '../../src/routing/choose/evidence.ts'
import { numbersOf, openState } from '../../src/routing/model/packed-state.ts'
import type { Policy } from '../../src/routing/policy.ts'
import { edgeId } from '../../src/store/history.ts'
import type { RewardRecord } from '../../src/store/records/codec.ts'
import { type InteractionSummary, MAX_EDGES, type Store, StoreError } from '../../src/store/store.ts'
import { CHEAP, DEAR, MIDDLE, POOL, TINY_2, TINY_4, tinyPolicy } from '../routing/support.ts'
import { expectClose } from '../support/close.ts'
import fc from '../support/properties.ts'
import {
  interaction,
  learnerOn,
  meansFor,
  openTestStore,
  quantise,
  reward,
  tinyReading,
  withOverrides,
} from './support.ts'

let store: Store
let policy: Policy
let learner: Learner
let states: UserStates

beforeEach(async () => {
  store = openTestStore()
  policy = await tinyPolicy()
  ;({ learner, states } = learnerOn(store))
})
afterEach(async () => {
  states.close()
  await store.close()
})

const best = (means: Record<string, number>) => Object.entries(means).sort(([, a], [, b]) => b - a)[0]?.[0]
/** The tiny model's state is made of the sums, number by number. */
const beliefOf = async (user = 'ann') => {
  const stored = await store.loadUser('acme', user)
  return numbersOf(openState(stored?.state ?? new Uint8Array(0), policy.router.cold) ?? new Float32Array(0))
}

const cheapAnswer = (id: string, of: Partial<InteractionSummary> = {}) =>
  interaction(id, { candidate: CHEAP.name, completionTokens: 40, costUsd: 0.00002, ...of })
const dearAnswer = (id: string, of: Partial<InteractionSummary> = {}) =>
  interaction(id, { candidate: DEAR.name, completionTokens: 900, costUsd: 0.054, ...of })

/** A history of rewards on answers of different kinds. */
function history(n: number, of: Partial<InteractionSummary> = {}): [RewardRecord, InteractionSummary][] {
  return Array.from({ length: n }, (_, i) => {
    const about = interaction(`h${i}`, {
      candidate: POOL[i % POOL.length]?.name as string,
      completionTokens: 50 * (i + 1),
      costUsd: 0.001 * (i + 1),
      reading: tinyReading(`question ${i}`),
      ...of,
    })
    return [reward(about, Math.cos(i), { binary: i % 2 === 0 }), about]
  })
}

async function learnAll(all: [RewardRecord, InteractionSummary][], by = learner, under = policy): Promise<void> {
  for (const [given, about] of all) await by.apply(under, given, about)
}

describe('feedback', () => {
  it('moves the user who gave it within ten ratings, either way, and nobody else', async () => {
    const before = await meansFor(policy, states, 'third')
    for (let i = 0; i < 5; i++) {
      for (const [user, sign] of [
        ['thrifty', 1],
        ['lavish', -1],
      ] as const) {
        const [cheap, dear] = [cheapAnswer(`${user}-c${i}`, { user }), dearAnswer(`${user}-d${i}`, { user })]
        expect(await learner.apply(policy, reward(cheap, sign), cheap)).toBe('learned')
        expect(await learner.apply(policy, reward(dear, -sign), dear)).toBe('learned')
      }
    }
    expect(best(await meansFor(policy, states, 'thrifty'))).toBe('cheap')
    expect(best(await meansFor(policy, states, 'lavish'))).toBe('dear')
    expect(await meansFor(policy, states, 'third')).toEqual(before)
    // Tenants are strangers to each other, also where their users share an id.
    expect(await meansFor(policy, states, 'thrifty', 'other')).toEqual(before)
  })

  it('is there for the very next request, and for a process that starts later', async () => {
    const about = dearAnswer('d')
    const before = await meansFor(policy, states, 'ann')
    await learner.apply(policy, reward(about, -1), about)
    const after = await meansFor(policy, states, 'ann')
    expect(after.dear).toBeLessThan(before.dear as number)
    const later = learnerOn(store)
    expect(await meansFor(policy, later.states, 'ann')).toEqual(after)
    later.states.close()
  })

  it('of a loop of hints is learned at a person’s pace; what they say in so many words always is', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    try {
      const hint = (i: number, user = 'ann') => {
        const about = cheapAnswer(`${user}-loop-${i}`, { user })
        return learner.apply(policy, reward(about, -1, { kind: 'regeneration', weight: 0.1 }), about)
      }
      const outcomes: string[] = []
      for (let i = 0; i < 70; i++) outcomes.push(await hint(i))
      expect(outcomes.filter((outcome) => outcome === 'learned')).toHaveLength(60)
      expect(new Set(outcomes.slice(60))).toEqual(new Set(['paced']))
      const about = cheapAnswer('said')
      expect(await learner.apply(policy, reward(about, -1), about)).toBe('learned')
      expect(await hint(0, 'bob')).toBe('learned')
      vi.advanceTimersByTime(60_000)
      expect(await hint(99)).toBe('learned')
    } finally {
      vi.useRealTimers()
    }
  })

  it('counts the same in any order', async () => {
    const all = history(8)
    await learnAll(all)
    const expected = await beliefOf()
    let runs = 0
    await fc.assert(
      fc.asyncProperty(fc.shuffledSubarray(all, { minLength: all.length }), async (shuffled) => {
        const user = `shuffled-${runs++}`
        await learnAll(
          shuffled.map(([given, about]) => [
            { ...given, user },
            { ...about, user },
          ]),
        )
        expectClose(await beliefOf(user), expected)
      }),
      { numRuns: 10 },
    )
  })

  it('is lost by nobody when many rewards of one user come at once, in two processes', async () => {
    const all = history(24)
    await learnAll(all.map(([given, about]) => [given, { ...about, user: 'calm' }]))
    const other = learnerOn(store)
    await Promise.all(all.map(([given, about], i) => (i % 2 ? learner : other.learner).apply(policy, given, about)))
    expect((await store.loadUser('acme', 'ann'))?.rewards).toBe(24)
    expectClose(await beliefOf(), await beliefOf('calm'))
    other.states.close()
  })

  it('can be given again, as after a lost reply, and counts once', async () => {
    const all = history(5)
    await learnAll(all)
    const once = await beliefOf()
    await learnAll(all)
    expectClose(await beliefOf(), once)
    expect((await store.loadUser('acme', 'ann'))?.rewards).toBe(5)
  })

  it('says that there is nothing to learn from where nothing of the question was kept', async () => {
    const about = interaction('blind', { reading: null })
    expect(await learner.apply(policy, reward(about, 1), about)).toBe('no_vector')
    expect(await store.loadUser('acme', 'ann')).toBeNull()
  })

  it('on an answer that is on its way counts with the predicted length and cost', async () => {
    const about = dearAnswer('d', { ended: false, completionTokens: 0, costUsd: 0 })
    await learner.apply(policy, reward(about, 1), about)
    expect(await store.loadEdges('acme', 'ann')).toMatchObject([{ completionTokens: -1, costUsd: -1 }])
  })

  it('that comes while the store is away is learned when it is back, in order, and under the policy of then', async () => {
    let away = true
    const next = await tinyPolicy(TINY_2)
    const flaky = withOverrides(store, {
      commitUser: (...args) => (away ? Promise.reject(new StoreError('away')) : store.commitUser(...args)),
    })
    const { learner: patient, states: seen } = learnerOn(flaky, undefined, { policyFor: () => next, retryEveryMs: 5 })
    const [first, second] = [dearAnswer('d1'), dearAnswer('d2')]
    await expect(patient.apply(policy, reward(first, -1), first)).rejects.toThrow(StoreError)
    await expect(patient.apply(policy, reward(second, -1), second)).rejects.toThrow(StoreError)
    await expect(patient.apply(policy, reward(first, 1), first)).rejects.toThrow(StoreError)
    expect(await store.loadUser('acme', 'ann')).toBeNull()
    away = false
    await expect.poll(() => store.loadUser('acme', 'ann')).toMatchObject({ rewards: 2, policy: 'tiny-2' })
    await expect.poll(async () => (await store.loadEdges('acme', 'ann')).map(({ seq }) => seq)).toEqual([2, 3])
    expect(await store.loadEdges('acme', 'ann')).toMatchObject([
      { id: edgeId('d2', 'rating'), reward: -1 },
      { id: edgeId('d1', 'rating'), reward: 1 },
    ])
    patient.close()
    seen.close()
  })

  it('that waits for the store is dropped with an erased user', async () => {
    let away = true
    const flaky = withOverrides(store, {
      commitUser: (...args) => (away ? Promise.reject(new StoreError('away')) : store.commitUser(...args)),
    })
    const { learner: patient, states: seen } = learnerOn(flaky, undefined, { retryEveryMs: 5 })
    const [about, other] = [dearAnswer('d'), dearAnswer('e', { user: 'bob' })]
    await expect(patient.apply(policy, reward(about, -1), about)).rejects.toThrow(StoreError)
    await expect(patient.apply(policy, reward(other, -1), other)).rejects.toThrow(StoreError)
    await patient.forgetUser('acme', 'ann')
    away = false
    // In order: whoever came first would have been learned by then.
    await expect.poll(() => store.loadUser('acme', 'bob')).toMatchObject({ rewards: 1 })
    expect(await store.loadUser('acme', 'ann')).toBeNull()
    patient.close()
    seen.close()
  })
})

describe.each([
  ['without forgetting', 'tiny-1'],
  ['with forgetting', 'tiny-2'],
])('a rating that is replaced, %s', (_, version) => {
  it('is as if it had never been given', async () => {
    const under = version === 'tiny-1' ? policy : await tinyPolicy(TINY_2)
    const all = history(12)
    const [changed, about] = all[4] as [RewardRecord, InteractionSummary]
    const later = reward(about, -0.3, { binary: false })
    await learnAll([...all, [later, about]], learner, under)

    const never = all.filter(([given]) => given !== changed).map(([given, a]) => [given, { ...a, user: 'never' }])
    await learnAll(
      [...never, [later, { ...about, user: 'never' }]] as [RewardRecord, InteractionSummary][],
      learner,
      under,
    )
    expectClose(await beliefOf(), await beliefOf('never'))
    expect((await store.loadUser('acme', 'ann'))?.rewards).toBe(12)
    expect(await store.loadEdges('acme', 'ann')).toHaveLength(12)
  })

  it('does not come back when the older one arrives late', async () => {
    const under = version === 'tiny-1' ? policy : await tinyPolicy(TINY_2)
    const about = dearAnswer('d')
    const [older, newer] = [reward(about, -1), reward(about, 1)]
    await learner.apply(under, newer, about)
    const expected = await beliefOf()
    expect(await learner.apply(under, older, about)).toBe('outdated')
    expect(await beliefOf()).toEqual(expected)
  })
})

describe('a long history', () => {
  it(`keeps the last ${MAX_EDGES} rewards, and takes back one of them though older ones are gone`, async () => {
    const all = history(MAX_EDGES + 20)
    await learnAll(all)
    expect(await store.loadEdges('acme', 'ann')).toHaveLength(MAX_EDGES)
    const [given, about] = all.at(-3) as [RewardRecord, InteractionSummary]
    const before = await beliefOf()
    await learner.apply(policy, { ...given, value: -given.value, ts: given.ts + 10_000 }, about)
    await learner.apply(policy, { ...given, ts: given.ts + 20_000 }, about)
    // There and back: what is older than the kept edges is still in the sums.
    const after = await beliefOf()
    expectClose(after, before, 1e-3)
  })
})

describe('another artifact', () => {
  it('reads a user from their kept edges, as if it had always served them', async () => {
    const next = await tinyPolicy(TINY_2)
    await learnAll(history(9))
    const seen = await meansFor(next, states, 'ann')
    await learnAll(
      history(9).map(([given, about]) => [given, { ...about, user: 'native' }]),
      learner,
      next,
    )
    const native = await meansFor(next, states, 'native')
    const named = (means: Record<string, number>) => POOL.map(({ name }) => means[name] as number)
    expectClose(named(seen), named(native))
    // Reading changes nothing; the next reward does.
    expect((await store.loadUser('acme', 'ann'))?.policy).toBe('tiny-1')
    const about = dearAnswer('d')
    await learner.apply(next, reward(about, 1), about)
    expect((await store.loadUser('acme', 'ann'))?.policy).toBe('tiny-2')
  })

  it('leaves out what it can’t read: another reader’s readings, candidates that are gone, unknown kinds', async () => {
    await learnAll(history(4))
    const expected = await beliefOf()
    for (const of of [{ reader: 'older' }, { candidate: 'gone' }, { reading: quantise(new Float32Array(3)) }]) {
      const about = dearAnswer(`odd-${Object.keys(of)}`, of)
      expect(await learner.apply(policy, reward(about, -1), about)).toBe('kept')
    }
    expectClose(await beliefOf(), expected)
    const next = await tinyPolicy(TINY_2)
    await meansFor(next, states, 'ann')
    expect(await store.loadEdges('acme', 'ann')).toHaveLength(7)
  })
})

describe('a preferred model', () => {
  const give = async (rating: Parameters<typeof ratingRewards>[0], ts: number, about = interaction('i')) => {
    for (const given of ratingRewards(rating, about, ts)) await learner.apply(policy, given, about)
  }

  it('moves towards the preferred one and away from the one that answered', async () => {
    const before = await meansFor(policy, states, 'ann')
    await give({ preferred_model: 'dear' }, 1)
    const after = await meansFor(policy, states, 'ann')
    const gained = (name: string) => (after[name] as number) - (before[name] as number)
    expect(gained('dear')).toBeGreaterThan(gained('middle'))
    expect(await store.loadEdges('acme', 'ann')).toMatchObject([
      { id: edgeId('i', 'preference'), candidate: 'middle', reward: -1, weight: 0.5 },
      {
        id: edgeId('i', 'preference:other'),
        candidate: 'dear',
        reward: 1,
        weight: 0.5,
        completionTokens: -1,
        costUsd: -1,
      },
    ])
  })

  it('that is another one later replaces the first', async () => {
    await give({ preferred_model: 'dear' }, 1)
    await give({ preferred_model: 'cheap' }, 2)
    await give({ preferred_model: 'cheap' }, 1, interaction('i', { user: 'never' }))
    expectClose(await beliefOf(), await beliefOf('never'))
  })

  it('is taken back by a later rating without one', async () => {
    await give({ rating: 'down', preferred_model: 'dear' }, 1)
    await give({ rating: 'up' }, 2)
    await give({ rating: 'up' }, 1, interaction('i', { user: 'never' }))
    expectClose(await beliefOf(), await beliefOf('never'))
  })

  it('that is the one that answered is praise', async () => {
    const before = await meansFor(policy, states, 'ann')
    await give({ preferred_model: MIDDLE.name }, 1)
    expect((await meansFor(policy, states, 'ann')).middle).toBeGreaterThan(before.middle as number)
  })
})

describe('two processes that take turns', () => {
  it('never work on an old history, also when the user was erased in between', async () => {
    const other = learnerOn(store)
    const all = history(9)
    for (const [i, [given, about]] of all.entries()) await (i % 2 ? other.learner : learner).apply(policy, given, about)
    await learnAll(all.map(([given, about]) => [given, { ...about, user: 'calm' }]))
    expectClose(await beliefOf(), await beliefOf('calm'))

    await learner.forgetUser('acme', 'ann')
    // Of what they asked before, nothing is learned any more.
    const [[given, about]] = all as [(typeof all)[number]]
    expect(await other.learner.apply(policy, given, about)).toBe('erased')
    expect(await store.loadUser('acme', 'ann')).toBeNull()
    const again = history(5, { candidate: 'dear', ts: Date.now() + 1_000 })
    for (const [i, [given, about]] of again.entries())
      await (i % 2 ? other.learner : learner).apply(policy, given, about)
    await learnAll(again.map(([given, about]) => [given, { ...about, user: 'back' }]))
    expectClose(await beliefOf(), await beliefOf('back'))
    expect(await store.loadEdges('acme', 'ann')).toHaveLength(5)
    other.states.close()
  })
})

describe('a hint', () => {
  it('moves the belief a little, and is not counted as knowing the user', async () => {
    const before = await meansFor(policy, states, 'ann')
    const about = dearAnswer('d')
    await learner.apply(policy, reward(about, 1, { kind: 'continuation', weight: 0.1 }), about)
    const hinted = await meansFor(policy, states, 'ann')
    expect(hinted.dear).toBeGreaterThan(before.dear as number)
    expect(await states.get(policy, 'acme', 'ann')).toMatchObject({ rewards: 0 })
    await learner.apply(policy, reward(about, 1), about)
    expect((await meansFor(policy, states, 'ann')).dear).toBeGreaterThan(hinted.dear as number)
    expect(await states.get(policy, 'acme', 'ann')).toMatchObject({ rewards: 1 })
  })
})

const VOUCHED = { vouched: true }

describe('users that a key makes up', () => {
  it('are begun at a pace, and those who are known or vouched for go on', async () => {
    const { learner: slow, states: others } = learnerOn(store, undefined, { newUsersPerMinute: 3 })
    const say = (user: string, of: Partial<InteractionSummary> = {}) => {
      const about = cheapAnswer(`${user}-${Math.random()}`, { user, key: 'k', ...of })
      return slow.apply(policy, reward(about, 1), about)
    }
    vi.useFakeTimers({ toFake: ['performance'] })
    try {
      const outcomes: string[] = []
      for (let i = 0; i < 5; i++) outcomes.push(await say(`new-${i}`))
      expect(outcomes).toEqual(['learned', 'learned', 'learned', 'paced', 'paced'])
      expect(await store.loadUser('acme', 'new-4')).toBeNull()
      expect(await slow.setPreferences(policy, 'acme', { user: 'new-5', key: 'k', vouched: false }, {})).toBe(false)
      expect([await say('new-0'), await say('signed', VOUCHED), await say('of-another-key', { key: 'l' })]).toEqual(
        Array(3).fill('learned'),
      )
      vi.advanceTimersByTime(60_000)
      expect(await say('new-4')).toBe('learned')
    } finally {
      vi.useRealTimers()
      others.close()
    }
  })
})

describe('what users tell of an LLM', () => {
  const evidence = async (quorum: number) =>
    pooledEvidence(
      await store.loadEvidence('acme', evidenceKey('tiny-1')),
      { quorum, keyWeight: 8, halfLifeDays: 90 },
      1_000,
    )

  it('is added to the tenant’s evidence, once, and changes with a replaced rating', async () => {
    const about = dearAnswer('d', VOUCHED)
    await learner.apply(policy, reward(about, 1, { binary: false }), about)
    const first = (await evidence(1)).get('dear') as Float32Array
    expect(first[1]).toBeGreaterThan(0)
    await learner.apply(policy, reward(about, -1, { binary: false }), about)
    const second = (await evidence(1)).get('dear') as Float32Array
    expectClose(second, Float32Array.of(first[0] as number, -(first[1] as number)))
    expect((await store.loadEvidence('other', evidenceKey('tiny-1'))).size).toBe(0)
  })

  it('tells nothing to others before enough users have spoken', async () => {
    for (let i = 0; i < 30; i++) {
      const about = dearAnswer(`loud-${i}`, { user: 'loud', ...VOUCHED })
      await learner.apply(policy, reward(about, 1, { binary: false }), about)
    }
    expect((await evidence(2)).size).toBe(0)
    const oneUser = (await evidence(1)).get('dear')?.[0] as number
    for (const user of ['b', 'c', 'd', 'e', 'f']) {
      const about = dearAnswer(`by-${user}`, { user, ...VOUCHED })
      await learner.apply(policy, reward(about, 1, { binary: false }), about)
    }
    // The tiny model's first number is the count of ratings: thirty of one user weigh as much as four of four.
    expectClose(oneUser / 4, 1 + 1 / 2 + 1 / 3 + 1 / 4 + sumOfInverses(5, 30))
    expectClose((await evidence(2)).get('dear')?.[0], oneUser + 5 * 4)
  })

  it('is told once they have been here for a while, then all of it, and each word once', async () => {
    const hearing = { minAnswers: 3, minAgeMs: 100, halfLifeDays: 90 }
    const { learner: slow, states: others } = learnerOn(store, undefined, { hearing })
    const standings: Standing[] = []
    const rate = (id: string, ts: number) => {
      const about = dearAnswer(id, VOUCHED)
      return slow.apply(policy, reward(about, 1, { binary: false, ts }), about, async (one) => void standings.push(one))
    }
    // Enough answers, not long enough ago; long enough ago, and not enough answers.
    for (const [i, ts] of [1_000, 1_010, 1_020].entries()) await rate(`a${i}`, ts)
    await rate('a0', 1_090)
    expect((await evidence(1)).size).toBe(0)
    expect(standings).toEqual(Array(3).fill({ isHeard: false, ratings: 0 }))
    for (const [i, ts] of [1_000, 9_000].entries()) {
      const about = dearAnswer(`few-${i}`, { user: 'carl', ...VOUCHED })
      await slow.apply(policy, reward(about, 1, { binary: false, ts }), about)
      await slow.apply(policy, reward(about, 1, { binary: false, ts: ts + 500 }), about)
    }
    expect((await evidence(1)).size).toBe(0)
    await rate('a3', 1_100)
    const whole = (await evidence(1)).get('dear')?.[0] as number
    const atOnce = learnerOn(store)
    for (const [i, ts] of [1_000, 1_010, 1_020, 1_100].entries()) {
      const about = dearAnswer(`b${i}`, { user: 'bob', ...VOUCHED })
      await atOnce.learner.apply(policy, reward(about, 1, { binary: false, ts }), about)
    }
    expectClose(whole, 4 * (1 + 1 / 2 + 1 / 3 + 1 / 4))
    await rate('a4', 1_110)
    const rows = [...(await store.loadEvidence('acme', evidenceKey('tiny-1'))).values()]
    expectClose(
      rows.map((row) => row.at(-4) ?? 0).reduce((a, b) => a + b),
      2 * (1 + 1 / 2 + 1 / 3 + 1 / 4) + 1 / 5,
    )
    // Two users, once each.
    expect(rows.map((row) => row.at(-3) ?? 0).reduce((a, b) => a + b)).toBe(2)
    await rate('a9', 1_120)
    expect(standings.slice(3)).toEqual([
      { isHeard: false, ratings: 0 },
      { isHeard: true, ratings: 0 },
      { isHeard: true, ratings: 1 },
    ])
    atOnce.states.close()
    others.close()
  })

  it('is not made louder by who is erased and comes back', async () => {
    const users = async () => {
      const rows = await store.loadEvidence('acme', evidenceKey('tiny-1'))
      return [...rows.values()].reduce((sum, row) => sum + (row.at(-3) as number), 0)
    }
    for (const day of [1, 2, 3]) {
      const about = dearAnswer(`of-day-${day}`, { ...VOUCHED, ts: Date.now() + 1_000 * day })
      expect(await learner.apply(policy, reward(about, 1, { binary: false }), about)).toBe('learned')
      expect(await users()).toBe(1)
      await learner.forgetUser('acme', 'ann')
    }
    // Of anybody else it is as before, and so it is once the erasure is forgotten.
    const [other, back] = [dearAnswer('other', { user: 'bob', ...VOUCHED }), dearAnswer('back', VOUCHED)]
    await learner.apply(policy, reward(other, 1, { binary: false }), other)
    expect(await users()).toBe(2)
    store = withOverrides(store, { wasErased: async () => false })
    const { learner: later, states: others } = learnerOn(store)
    const after = { ...back, ts: Date.now() + 9_000 }
    await later.apply(policy, reward(after, 1, { binary: false }), after)
    expect(await users()).toBe(3)
    others.close()
  })

  it('is told the same whether what was said alike is read again or was kept', async () => {
    // Of an artifact by which they tell of their tenant, too.
    policy = await tinyPolicy(TINY_4)
    const rows = async (at: Store) => [...(await at.loadEvidence('acme', evidenceKey('tiny-4')))].sort()
    const others = openTestStore()
    const kept = learnerOn(others)
    for (let i = 0; i < 8; i++) {
      const about = dearAnswer(`mixed-${i}`, i % 3 === 0 ? {} : VOUCHED)
      // Each by a process of its own, which has nothing in memory; and all by one.
      const fresh = learnerOn(store)
      for (const one of [fresh.learner, kept.learner]) {
        await one.apply(policy, reward(about, i % 2 ? 1 : -1, { binary: false, ts: 10 + i }), about)
      }
      fresh.states.close()
    }
    // Said anew of an answer that was rated before.
    const again = dearAnswer('mixed-1', VOUCHED)
    const fresh = learnerOn(store)
    for (const one of [fresh.learner, kept.learner]) {
      await one.apply(policy, reward(again, -1, { binary: false, ts: 50 }), again)
    }
    fresh.states.close()
    kept.states.close()
    const [anew, remembered] = await Promise.all([rows(store), rows(others)])
    expect(anew.filter(([name]) => name.startsWith(PEOPLE))).toHaveLength(2)
    expect(remembered.map(([name]) => name)).toEqual(anew.map(([name]) => name))
    for (const [i, [, row]] of anew.entries()) {
      // The last is the time at which it was brought.
      for (const [j, value] of [...row.slice(0, -1)].entries())
        expectClose(remembered[i]?.[1][j] as number, value, 1e-4)
    }
    await others.close()
  })

  it('is not made louder by who is dropped and comes back, as long as the log has what they said', async () => {
    const { learner: brief, states: others } = learnerOn(store, undefined, { userDays: () => 7 })
    const users = async () => {
      const rows = await store.loadEvidence('acme', evidenceKey('tiny-1'))
      return [...rows.values()].reduce((sum, row) => sum + (row.at(-3) as number), 0)
    }
    const DAY = 86_400_000
    const says = async (id: string, user: string, daysAgo: number) => {
      const ts = Date.now() - daysAgo * DAY
      const about = dearAnswer(id, { user, ...VOUCHED, ts })
      const word = reward(about, 1, { binary: false, ts })
      expect(await brief.apply(policy, word, about)).toBe('learned')
      await store.appendRewards([word])
    }
    await says('one', 'ann', 40)
    await says('two', 'ann', 39)
    expect(await users()).toBeCloseTo(1, 1)
    for (const daysAgo of [30, 20, 10]) {
      await store.dropIdleUsers('acme', Date.now() + DAY, '')
      expect(await store.loadUser('acme', 'ann')).toBeNull()
      await says(`back-${daysAgo}`, 'ann', daysAgo)
      expect((await store.loadUser('acme', 'ann'))?.rewards).toBe(1)
    }
    expect(await users()).toBeLessThan(1.05)
    // Of anybody else it is as before.
    await says('other', 'bob', 3)
    expect(await users()).toBeGreaterThan(1.5)
    others.close()
  })

  it('is not made louder by saying so much that what was said first is gone', async () => {
    const about = (i: number, of = dearAnswer) => of(`long-${i}`, VOUCHED)
    const [first] = edgesOf(reward(about(0), 1, { binary: false }), about(0))
    const edges = Array.from({ length: MAX_EDGES }, (_, i) => {
      const [edge] = edgesOf(reward(about(i, cheapAnswer), 1, { binary: false }), about(i, cheapAnswer))
      return { ...(edge as NonNullable<typeof first>), seq: 3 * MAX_EDGES + 1 + i }
    })
    const user = { policy: 'tiny-1', rewards: 9, preferences: {}, updatedAt: 1, since: 1, heardAt: 1 }
    const older = new Float32Array(0)
    await store.commitUser('acme', 'ann', { ...user, revision: 1, state: new Uint8Array(0), older }, edges)
    const standings: Standing[] = []
    const onFirst = async (one: Standing) => void standings.push(one)
    for (const i of [1, 2]) {
      const again = about(1_000 + i)
      await learner.apply(policy, reward(again, 1, { binary: false, ts: Date.now() }), again, onFirst)
    }
    const rows = await store.loadEvidence('acme', evidenceKey('tiny-1'))
    const dear = [...rows].find(([name]) => name.startsWith('dear#'))?.[1]
    const [weight, users] = [dear?.at(-4), dear?.at(-3)]
    const [fourth, next] = [MAX_EDGES / (4 * MAX_EDGES + 1), MAX_EDGES / (4 * MAX_EDGES + 2)]
    expect(users).toBeCloseTo(fourth, 5)
    expect(weight).toBeCloseTo(fourth + next / 2, 5)
    expect(standings.map(({ ratings }) => ratings)).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY])
  })

  describe('under a name for which somebody answers', () => {
    const tellings = async () => {
      const rows = await store.loadEvidence('acme', evidenceKey('tiny-1'))
      return [...rows]
        .map(([name, row]) => [name.replace(/[0-9]+$/, ''), row.at(-4) as number, row.at(-3) as number])
        .sort()
    }
    const hearing = { minAnswers: 3, minAgeMs: 1_000, halfLifeDays: 1e9 }
    const say = async (by: Learner, id: string, ts: number, of: Partial<InteractionSummary>) => {
      const about = of.vouched ? cheapAnswer(id, of) : dearAnswer(id, of)
      await by.apply(policy, reward(about, 1, { binary: false, ts }), about)
    }

    it('what a key says is not told as theirs, however long ago', async () => {
      const { learner: slow, states: others } = learnerOn(store, undefined, { hearing })
      for (let i = 0; i < 6; i++) await say(slow, `named-${i}`, 1_000 + i, { key: 'k' })
      await say(slow, 'own-0', 5_000, VOUCHED)
      expect(await tellings()).toEqual([])
      // Nor are they heard by it, nor is what they said theirs who has the key.
      await say(slow, 'named-6', 6_000, { key: 'k' })
      await say(slow, 'own-1', 5_500, VOUCHED)
      expect(await tellings()).toEqual([])
      await say(slow, 'own-2', 6_100, VOUCHED)
      expect(await tellings()).toEqual([['cheap#u', expect.closeTo(1 + 1 / 2 + 1 / 3, 5), 1]])
      others.close()
    })

    it('what a key says first takes nothing from their word', async () => {
      for (let i = 0; i < 6; i++) {
        const about = cheapAnswer(`named-${i}`, { key: 'k' })
        await learner.apply(policy, reward(about, -1, { binary: false, ts: 1_000 + i }), about)
      }
      await say(learner, 'own-0', 5_000, VOUCHED)
      expect((await tellings()).at(-1)).toEqual(['cheap#u', 1, 1])
      const standings: Standing[] = []
      const about = cheapAnswer('own-1', VOUCHED)
      await learner.apply(policy, reward(about, 1, { ts: 6_000 }), about, async (one) => void standings.push(one))
      expect(standings).toEqual([{ isHeard: true, ratings: 1 }])
    })
  })

  it('is told once of the first rating of an answer, however many come at once, here and elsewhere', async () => {
    const other = learnerOn(store)
    const about = dearAnswer('at-once')
    let first = 0
    const onFirst = async () => void first++
    await Promise.all(
      [1, -1, 1, -1].map((value, i) => {
        const given = reward(about, value as 1 | -1, { ts: 1_000 + i })
        return (i % 2 ? learner : other.learner).apply(policy, given, about, onFirst)
      }),
    )
    expect(first).toBe(1)
    await learner.apply(policy, reward(about, 1, { ts: 2_000 }), about, onFirst)
    expect(first).toBe(1)
    other.states.close()
  })

  it('is told of who rates a candidate for the first time, whether they count yet or not', async () => {
    const first: [string, string, number][] = []
    const { learner: slow, states: others } = learnerOn(store, undefined, {
      hearing: { minAnswers: 9, minAgeMs: 1e9, halfLifeDays: 90 },
      onFirstWord: (...word) => first.push(word),
    })
    for (const about of [dearAnswer('a'), dearAnswer('a'), dearAnswer('b'), cheapAnswer('c')]) {
      await slow.apply(policy, reward(about, -1), about)
    }
    const judged = interaction('j')
    await slow.apply(policy, reward(judged, 1, { kind: 'judge', binary: false }), judged)
    expect(first).toEqual([
      ['acme', 'dear', -1],
      ['acme', 'cheap', -1],
    ])
    others.close()
  })

  it('counts at once where it is a judge’s word', async () => {
    const about = dearAnswer('d')
    await learner.apply(policy, reward(about, 1, { kind: 'judge', binary: false }), about)
    expect((await evidence(5)).get('dear')?.[1]).toBeGreaterThan(0)
  })
})

const sumOfInverses = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => 1 / (from + i)).reduce((sum, x) => sum + x, 0)

describe('erasing a user', () => {
  it('leaves a new user, in this process and in others', async () => {
    const fresh = await meansFor(policy, states, 'ann')
    await learnAll(history(5))
    const other = learnerOn(store)
    expect(await meansFor(policy, other.states, 'ann')).not.toEqual(fresh)
    expect(await learner.forgetUser('acme', 'ann')).toBeGreaterThan(0)
    expect(await store.loadEdges('acme', 'ann')).toEqual([])
    expect(await meansFor(policy, states, 'ann')).toEqual(fresh)
    await expect.poll(() => meansFor(policy, other.states, 'ann'), { timeout: 5_000 }).toEqual(fresh)
    other.states.close()
  })

  it('waits for what is being learned of them', async () => {
    const learning = history(6).map(([given, about]) => learner.apply(policy, given, about))
    await learner.forgetUser('acme', 'ann')
    await Promise.all(learning)
    expect(await store.loadUser('acme', 'ann')).toBeNull()
  })
})

const ANN = { user: 'ann', key: 'k', vouched: false }

describe('stated preferences', () => {
  it('are kept beside the belief', async () => {
    await learner.setPreferences(policy, 'acme', ANN, { cost_weight: 0.7 })
    expect(await states.get(policy, 'acme', 'ann')).toMatchObject({
      state: null,
      rewards: 0,
      preferences: { cost_weight: 0.7 },
    })
    await learnAll(history(3))
    await learner.setPreferences(policy, 'acme', ANN, { cost_weight: 0.2 })
    const profile = await states.get(policy, 'acme', 'ann')
    expect(profile).toMatchObject({ rewards: 3, preferences: { cost_weight: 0.2 } })
    expect(profile.state).toHaveLength(8)
  })
})
