import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { userHash } from '../../src/runtime/keys.ts'
import { edgeId } from '../../src/store/history.ts'
import {
  ErasedError,
  type InteractionSummary,
  type Invalidation,
  type KeyRecord,
  MAX_COMPLETIONS,
  MAX_EDGES,
  type Store,
} from '../../src/store/store.ts'
import { dayOf } from '../../src/store/usage.ts'
import { all, anEdge, anInteraction, aReward, aUser, NO_CANDIDATES } from '../store/records.ts'
import { until } from '../support/redis.ts'
import { limitsContract } from './limits.ts'
import { responsesContract } from './responses.ts'
import { usageContract } from './usage.ts'

export interface StoreUnderTest {
  /** Opens the same data again: another replica, or the same process later. */
  open: () => Promise<Store>
  discard: () => Promise<void>
}

/**
 * What every store must do. `start` is called once; each test uses tenants of its own.
 *
 * @param withLimits false: without what has nothing to do with users and the log
 */
export function storeContract(name: string, start: () => Promise<StoreUnderTest>, withLimits = true): void {
  describe(`store contract: ${name}`, () => {
    let subject: StoreUnderTest
    let store: Store
    const tenant = () => `t-${randomUUID().slice(0, 8)}`

    beforeAll(async () => {
      subject = await start()
      store = await subject.open()
    })
    afterAll(async () => {
      await store?.close()
      await subject?.discard()
    })

    const aKey = (overrides: Partial<KeyRecord> = {}): KeyRecord => ({
      id: randomUUID(),
      tenant: 'acme',
      name: 'ci',
      hash: randomUUID().replaceAll('-', '').repeat(2),
      prefix: 'pr-abcde',
      createdAt: Date.now(),
      expiresAt: null,
      revokedAt: null,
      models: null,
      user: null,
      scopes: null,
      ...overrides,
    })

    describe('keys', () => {
      test('are found by their hash, as they were', async () => {
        const key = aKey({ tenant: tenant(), expiresAt: Date.now() + 1000, models: ['gpt-5', 'default'] })
        const other = aKey({ tenant: key.tenant, models: [], createdAt: key.createdAt + 1 })
        await store.createKey(key)
        await store.createKey(other)
        expect(await store.findKey(key.hash)).toEqual(key)
        expect(await store.findKey(other.hash)).toEqual(other)
        expect(await store.findKey('0'.repeat(64))).toBeNull()
        expect(await store.listKeys(key.tenant)).toEqual([key, other])
        expect(await store.listKeys()).toEqual(expect.arrayContaining([key, other]))
        expect(await store.listKeys(tenant())).toEqual([])
      })

      test('stay revoked since the first time', async () => {
        const key = aKey({ tenant: tenant() })
        await store.createKey(key)
        expect(await store.revokeKey(key.id, 1_700_000_000_000)).toBe(true)
        expect(await store.revokeKey(key.id, 1_800_000_000_000)).toBe(true)
        expect(await store.findKey(key.hash)).toEqual({ ...key, revokedAt: 1_700_000_000_000 })
        expect((await store.listKeys(key.tenant))[0]?.revokedAt).toBe(1_700_000_000_000)
        expect(await store.revokeKey(randomUUID(), Date.now())).toBe(false)
      })

      test('are not replaced by another with the same id or hash', async () => {
        const key = aKey({ tenant: tenant() })
        await store.createKey(key)
        await expect(store.createKey(aKey({ id: key.id }))).rejects.toThrow()
        await expect(store.createKey(aKey({ hash: key.hash }))).rejects.toThrow()
        expect(await store.findKey(key.hash)).toEqual(key)
      })
    })

    describe('users', () => {
      test('come back bit for bit', async () => {
        const [t, user] = [tenant(), 'Zoë}:{ü 🦉']
        const written = aUser({ older: Float32Array.of(0, -0, 1e-40, Number.MAX_VALUE, Number.NaN, 0.1) })
        expect(await store.loadUser(t, user)).toBeNull()
        expect(await store.loadEdges(t, user)).toEqual([])
        expect(await store.commitUser(t, user, written, [])).toBe(true)
        const read = await store.loadUser(t, user)
        expect(read).toEqual(written)
        const { older: _, ...state } = written
        expect(await store.loadUserState(t, user)).toEqual(state)
        expect(Object.is(read?.older[1], -0)).toBe(true)
        expect(await store.loadUser(tenant(), user)).toBeNull()
        expect(await store.loadUserState(tenant(), user)).toBeNull()
      })

      test('are committed only on top of the revision that was read', async () => {
        const t = tenant()
        expect(await store.commitUser(t, 'u', aUser({ revision: 2 }))).toBe(false)
        expect(await store.commitUser(t, 'u', aUser({ revision: 1 }))).toBe(true)
        expect(await store.commitUser(t, 'u', aUser({ revision: 1 }), [anEdge()])).toBe(false)
        expect(await store.commitUser(t, 'u', aUser({ revision: 2, rewards: 7 }))).toBe(true)
        expect((await store.loadUser(t, 'u'))?.rewards).toBe(7)
        expect(await store.loadEdges(t, 'u')).toEqual([])
      })

      test('keep belief and edges where something else of them is written', async () => {
        const t = tenant()
        const written = aUser()
        const edges = [anEdge()]
        await store.commitUser(t, 'u', written, edges)
        const other = { ...written, revision: 2, policy: 'other', preferences: { cost_weight: 1 }, updatedAt: 9 }
        expect(await store.commitUser(t, 'u', { ...other, state: new Uint8Array(0), older: new Float32Array(0) })).toBe(
          true,
        )
        expect(await store.loadUser(t, 'u')).toEqual({ ...other, policy: written.policy })
        expect(await store.loadEdges(t, 'u')).toEqual(edges)
        const stated = aUser({ since: 0, heardAt: 0, rewards: 0 })
        await store.commitUser(t, 'stated', stated)
        const { older: _, ...rest } = stated
        expect(await store.loadUserState(t, 'stated')).toEqual({ ...rest, policy: '', state: new Uint8Array(0) })
        expect(await store.loadEdges(t, 'stated')).toEqual([])
      })

      test('lose no update when many commit at once', async () => {
        const t = tenant()
        const rivals = await Promise.all([subject.open(), subject.open()])
        const addOne = async (on: Store, id: string) => {
          for (;;) {
            const known = await on.loadUser(t, 'u')
            const revision = (known?.revision ?? 0) + 1
            const next = aUser({ revision, rewards: (known?.rewards ?? 0) + 1 })
            const edges = [...(await on.loadEdges(t, 'u')), anEdge({ id, seq: revision })]
            if (await on.commitUser(t, 'u', next, edges)) return
          }
        }
        await Promise.all(Array.from({ length: 20 }, (_, i) => addOne(rivals[i % 2]!, edgeId(`i-${i}`, 'rating'))))
        await Promise.all(rivals.map((rival) => rival.close()))
        expect((await store.loadUser(t, 'u'))?.rewards).toBe(20)
        expect(new Set((await store.loadEdges(t, 'u')).map(({ id }) => id)).size).toBe(20)
      })

      test('keep their edges as they were, in order, however many and odd', async () => {
        const t = tenant()
        const edges = Array.from({ length: MAX_EDGES }, (_, i) =>
          anEdge({
            id: edgeId(`i-${i}`, i % 3 ? 'rating' : 'preference:other'),
            seq: 3 * i + 1,
            ts: Date.now() - 1e9 * (i % 5),
            candidate: ['', 'Zoë/ü 🦉', 'gpt-5-mini'][i % 3] as string,
            kind: i % 2 ? 'thumb' : 'rating',
            reading: i % 7 ? { int8: Int8Array.of(0, 0, -128, i % 128, 0), scale: 0.25 } : null,
            vector: i % 11 ? null : { embedder: `e-${i % 2}`, of: { sealed: Buffer.from(`x${i}`).toString('base64') } },
            reward: [1, -1, 0, Math.fround(0.3)][i % 4] as number,
            weight: [1, 0.5, 0, Math.fround(0.1)][(i >> 2) % 4] as number,
            promptTokens: i * 1_000_003,
            completionTokens: i % 5 ? i : -1,
            costUsd: i % 4 ? Math.fround(i / 1e6) : -1,
          }),
        )
        expect(await store.commitUser(t, 'u', aUser(), edges)).toBe(true)
        expect(await store.loadEdges(t, 'u')).toEqual(edges)
        expect(await store.commitUser(t, 'u', aUser({ revision: 2 }), edges.slice(5))).toBe(true)
        expect(await store.loadEdges(t, 'u')).toEqual(edges.slice(5))
      })
    })

    describe('the log', () => {
      test('lets go of rows that were read, and of nothing else', async () => {
        const t = tenant()
        const rows = Array.from({ length: 150 }, (_, i) =>
          anInteraction({ tenant: t, user: `u-${i % 3}`, ts: 1_000 + i, completionId: i < 2 ? 'same' : `c-${t}-${i}` }),
        )
        const rewards = rows.map(({ id, user, ts }) => aReward({ tenant: t, user, interaction: id, ts: ts + 1 }))
        await store.appendInteractions(rows)
        await store.appendRewards(rewards)
        const old = (await all(store.readInteractions({ tenant: t }))).filter(({ ts }) => ts !== 1_001 && ts < 1_140)
        const oldRewards = (await all(store.readRewards({ tenant: t }))).filter(({ ts }) => ts < 1_141)
        await store.dropInteractions(old)
        await store.dropRewards(oldRewards)
        // Again, as after a failure.
        await store.dropInteractions(old)
        await store.dropRewards(oldRewards)
        const left = [rows[1]!, ...rows.slice(140)]
        expect(await all(store.readInteractions({ tenant: t }))).toEqual(left)
        expect(await all(store.readInteractions({ tenant: t, user: 'u-1' }))).toEqual(
          left.filter(({ user }) => user === 'u-1'),
        )
        expect((await all(store.readRewards({ tenant: t }))).map(({ ts }) => ts)).toEqual(
          rewards.slice(140).map(({ ts }) => ts),
        )
        expect(await store.findInteraction(t, rows[0]!.id)).toBeNull()
        expect(await store.findInteraction(t, rows[1]!.id)).toMatchObject({ id: rows[1]!.id })
        expect((await store.findCompletions(t, 'same')).map(({ interaction }) => interaction)).toEqual([rows[1]!.id])
        await store.eraseUser(t, 'u-2')
        expect((await all(store.readInteractions({ tenant: t }))).some(({ user }) => user === 'u-2')).toBe(false)
      })

      test('tells who was erased', async () => {
        const [t, gone] = [tenant(), tenant()]
        const before = Date.now()
        await store.appendInteractions([anInteraction({ tenant: gone })])
        await store.eraseUser(t, 'u:1')
        await store.eraseTenant(gone)
        const was = (of: string, user: string) => store.wasErased(of, user)
        expect([await was(t, 'u:1'), await was(t, 'u:2'), await was(gone, 'u:1')]).toEqual([true, false, false])
        const noted = (await store.listErasures()).filter((erasure) => [t, gone].includes(erasure.tenant))
        expect(noted.sort((a, b) => a.at - b.at || (a.userHash > b.userHash ? -1 : 1))).toEqual([
          { tenant: t, userHash: userHash('u:1'), at: expect.any(Number) },
          { tenant: gone, userHash: '', at: expect.any(Number) },
        ])
        for (const { at } of noted) expect(at).toBeGreaterThanOrEqual(before - 1_000)
        expect(await store.listErasures(t)).toEqual(noted.filter((erasure) => erasure.tenant === t))
      })

      test('keeps every interaction once, field by field', async () => {
        const t = tenant()
        const rows = [
          anInteraction({ tenant: t, ts: 1_000 }),
          anInteraction({
            tenant: t,
            ts: 2_000,
            embedding: null,
            conversation: null,
            completionId: null,
            ttftMs: null,
          }),
          anInteraction({
            tenant: t,
            ts: 3_000,
            text: 'Grüße, 🦉 "quoted"\n',
            textExpiresAt: Date.now() + 3_600_000,
            shadow: { policy: 'next', candidates: NO_CANDIDATES },
            attempts: [{ candidate: 'a', provider: 'p', status: null, error: 'timeout', ms: 5 }],
          }),
        ]
        await store.appendInteractions(rows.slice(0, 2))
        await store.appendInteractions(rows)
        await store.appendInteractions([{ ...rows[0]!, costUsd: 99 }])
        expect(await all(store.readInteractions({ tenant: t }))).toEqual(rows)
      })

      test('is read by tenant and time, in batches', async () => {
        const [a, b] = [tenant(), tenant()]
        const start = Date.now()
        const rows = Array.from({ length: 1_200 }, (_, i) => anInteraction({ tenant: i % 3 ? a : b, ts: start + i }))
        await store.appendInteractions(rows)
        const read = []
        for await (const batch of store.readInteractions({ tenant: a })) read.push(batch)
        expect(read.length).toBeGreaterThan(1)
        expect(read.flat().map(({ id }) => id)).toEqual(rows.filter((row) => row.tenant === a).map(({ id }) => id))
        const some = await all(store.readInteractions({ tenant: b, since: start + 300, until: start + 600 }))
        expect(some.map(({ ts }) => ts - start)).toEqual(Array.from({ length: 101 }, (_, i) => 300 + 3 * i))
        const everyone = await all(store.readInteractions({ since: start, until: start + 1_199 }))
        expect(everyone.map(({ id }) => id)).toEqual(expect.arrayContaining(rows.map(({ id }) => id)))
      })

      test("is read by user: nobody else's rows", async () => {
        const [t, other] = [tenant(), tenant()]
        const rows = Array.from({ length: 600 }, (_, i) =>
          anInteraction({ tenant: i % 5 ? t : other, user: `user-${i % 2}`, ts: 1_000 + i }),
        )
        await store.appendInteractions(rows)
        const mine = rows.filter((row) => row.tenant === t && row.user === 'user-1')
        const read = await all(store.readInteractions({ tenant: t, user: 'user-1' }))
        expect(read.map(({ id }) => id)).toEqual(mine.map(({ id }) => id))
        expect(
          await all(store.readInteractions({ tenant: t, user: 'user-1', since: 1_200, until: 1_210 })),
        ).toHaveLength(mine.filter(({ ts }) => ts >= 1_200 && ts <= 1_210).length)
        const rewards = ['user-0', 'user-1'].map((user) => aReward({ tenant: t, user, ts: 1_000 }))
        await store.appendRewards(rewards)
        expect(await all(store.readRewards({ tenant: t, user: 'user-1' }))).toEqual([rewards[1]])
        expect(await all(store.readRewards({ tenant: t, user: 'nobody' }))).toEqual([])
      })

      test.each([{}, { user: 'user-1' }])('a reader ends, though as much comes as it reads: %o', async (of) => {
        const t = tenant()
        const [ids, rated] = [[] as string[], [] as string[]]
        const add = async () => {
          const id = randomUUID()
          await store.appendInteractions([anInteraction({ tenant: t, id, user: 'user-1' })])
          await store.appendRewards([aReward({ tenant: t, interaction: id, user: 'user-1' })])
          return id
        }
        const there = [await add(), await add(), await add()]
        for await (const rows of store.readInteractions({ tenant: t, ...of })) {
          ids.push(...rows.map(({ id }) => id))
          await add()
          if (ids.length > 50) break
        }
        const ratedBefore = await all(store.readRewards({ tenant: t, ...of }))
        for await (const rows of store.readRewards({ tenant: t, ...of })) {
          rated.push(...rows.map(({ interaction }) => interaction))
          await add()
          if (rated.length > 50) break
        }
        expect(ids).toEqual(there)
        expect(rated).toEqual(ratedBefore.map(({ interaction }) => interaction))
      })

      test('keeps every reward once, changed minds included', async () => {
        const t = tenant()
        const first = aReward({ tenant: t, ts: 1_000, value: 1, comment: 'good', preferredModel: 'gpt-5' })
        const changed = { ...first, ts: 2_000, value: -1 }
        const implicit = { ...first, ts: 2_000, kind: 'regeneration' as const }
        await store.appendRewards([first, changed])
        await store.appendRewards([first, changed, implicit])
        expect(await all(store.readRewards({ tenant: t }))).toEqual([first, changed, implicit])
        expect(await all(store.readRewards({ tenant: t, since: 1_001 }))).toEqual([changed, implicit])
      })

      test('finds an answer on its way, then as it ended, within its tenant only', async () => {
        const t = tenant()
        const row = anInteraction({ tenant: t })
        const open: InteractionSummary = {
          id: row.id,
          tenant: t,
          user: row.user,
          conversation: null,
          candidate: 'candidate-1',
          reading: { int8: Int8Array.of(-128, 0, 127), scale: 0.5 },
          reader: 'reader-1',
          vector: { embedder: 'static-1', of: { sealed: 'c2VhbGVk' } },
          promptTokens: 3,
          completionTokens: -1,
          costUsd: 0,
          ts: row.ts,
          ended: false,
        }
        await store.openInteractions([open])
        expect(await store.findInteraction(t, row.id)).toEqual(open)
        expect(await store.findCompletions(t, row.completionId!)).toEqual([])
        await store.openInteractions([{ ...open, completionId: row.completionId }])
        const ref = { interaction: row.id, user: userHash(row.user), ts: row.ts }
        expect(await store.findCompletions(t, row.completionId!)).toEqual([ref])
        await store.appendInteractions([row])
        await store.openInteractions([{ ...open, completionId: row.completionId }])
        expect(await store.findCompletions(t, row.completionId!)).toEqual([ref])
        const ended = await store.findInteraction(t, row.id)
        expect(ended).toEqual({
          id: row.id,
          tenant: t,
          user: row.user,
          conversation: row.conversation,
          candidate: row.chosen,
          reading: { int8: Int8Array.from({ length: 30 }, (_, i) => i), scale: 0.01 },
          reader: 'reader-1',
          vector: null,
          promptTokens: 120,
          completionTokens: 340,
          costUsd: row.costUsd,
          ts: row.ts,
          ended: true,
        })
        expect(await store.findInteraction(t, row.completionId!)).toBeNull()
        expect(await store.findInteraction(tenant(), row.id)).toBeNull()
        expect(await store.findCompletions(tenant(), row.completionId!)).toEqual([])
        expect(await store.findInteraction(t, randomUUID())).toBeNull()
      })

      test('knows all answers that a provider gave the same id, the newest first; one goes, the others stay', async () => {
        const t = tenant()
        const named = (user: string, ts: number) => anInteraction({ tenant: t, user, ts, completionId: 'chatcmpl-7' })
        const rows = ['ann', 'bob', 'ann', 'b ob\nx', 'bob'].map((user, i) => named(user, Date.now() - 1_000 + i))
        await store.appendInteractions(rows.slice(0, 2))
        await store.appendInteractions(rows.slice(2))
        await store.appendInteractions(rows)
        const refs = (some: typeof rows) =>
          some.map(({ id, user, ts }) => ({ interaction: id, user: userHash(user), ts })).reverse()
        expect(await store.findCompletions(t, 'chatcmpl-7')).toEqual(refs(rows))
        await store.eraseUser(t, 'bob')
        expect(await store.findCompletions(t, 'chatcmpl-7')).toEqual(refs(rows.filter(({ user }) => user !== 'bob')))
        await store.appendInteractions(Array.from({ length: 40 }, () => named('new', Date.now())))
        const most = await store.findCompletions(t, 'chatcmpl-7')
        expect(most).toHaveLength(MAX_COMPLETIONS)
        expect(new Set(most.map(({ user }) => user))).toEqual(new Set([userHash('new')]))
      })
    })

    test('conversations are remembered for their time', async () => {
      const t = tenant()
      const state = {
        candidate: 'candidate-1',
        interaction: randomUUID(),
        user: 'u',
        lastUserHash: 'abc',
        vector: 'c2VhbGVk',
        messages: 3,
        promptTokens: 40,
        ts: Date.now(),
      }
      expect(await store.saveConversation(t, 'c', state, 60)).toBeNull()
      await store.saveConversation(t, 'brief', { ...state, vector: null }, 0.05)
      expect(await store.loadConversation(t, 'c')).toEqual(state)
      expect(await store.loadConversation(tenant(), 'c')).toBeNull()
      expect(await store.saveConversation(t, 'c', { ...state, messages: 5 }, 60)).toEqual(state)
      expect((await store.loadConversation(t, 'c'))?.messages).toBe(5)
      await until(async () => (await store.loadConversation(t, 'brief')) === null)
    })

    test('evidence adds up, whoever adds', async () => {
      const t = tenant()
      const other = await subject.open()
      expect(await store.loadEvidence(t, 'p1')).toEqual(new Map())
      await Promise.all(
        Array.from({ length: 40 }, (_, i) =>
          (i % 2 ? store : other).addEvidence(t, 'p1', 'a/b:c', Float32Array.of(1, -0.5, i)),
        ),
      )
      await store.addEvidence(t, 'p1', 'other', Float32Array.of(1))
      await store.addEvidence(t, 'p2', 'a/b:c', Float32Array.of(7))
      expect(await other.loadEvidence(t, 'p1')).toEqual(
        new Map([
          ['a/b:c', Float32Array.of(40, -20, 780)],
          ['other', Float32Array.of(1)],
        ]),
      )
      await expect(store.addEvidence(t, 'p1', 'other', Float32Array.of(1, 2))).rejects.toThrow()
      await other.close()
    })

    test('evidence fades up to the day of what is added, in whichever order it comes; and is dropped', async () => {
      const t = tenant()
      const add = (value: number, day: number, of = 'a') =>
        store.addEvidence(t, 'p', of, Float32Array.of(value, 1, day), 10)
      await add(8, 100)
      await add(1, 110)
      expect((await store.loadEvidence(t, 'p')).get('a')).toEqual(Float32Array.of(5, 1.5, 110))
      await add(1, 110)
      // What comes late has faded itself; the day stays.
      await add(8, 100)
      expect((await store.loadEvidence(t, 'p')).get('a')).toEqual(Float32Array.of(10, 3, 110))
      await add(1, 1, 'b')
      await add(1, 1, 'c')
      await store.addEvidence(t, 'q', 'a', Float32Array.of(1))
      expect(await store.dropEvidence(t, 'p', ['b', 'never'])).toBe(1)
      expect([...(await store.loadEvidence(t, 'p')).keys()].toSorted()).toEqual(['a', 'c'])
      expect(await store.dropEvidence(t, 'p')).toBe(2)
      expect(await store.dropEvidence(t, 'p')).toBe(0)
      expect((await store.loadEvidence(t, 'q')).size).toBe(1)
    })

    describe('erasing a user', () => {
      test('leaves nothing of them, and all of the others', async () => {
        const t = tenant()
        const of = (user: string) => ({
          rows: Array.from({ length: 150 }, () => anInteraction({ tenant: t, user, text: 'a question' })),
          user,
        })
        const [gone, stays] = [of('gone'), of('stays')]
        for (const { user, rows } of [gone, stays]) {
          await store.commitUser(t, user, aUser(), [anEdge()])
          await store.commitUser(t, user, aUser({ revision: 2 }), [anEdge(), anEdge({ seq: 2 })])
          await store.appendInteractions(rows)
          await store.appendRewards(rows.slice(0, 3).map(({ id }) => aReward({ tenant: t, user, interaction: id })))
          await store.saveConversation(t, `c-${user}`, conversationOf(user), 60)
        }
        expect(await store.eraseUser(t, 'gone')).toBe(1 + 2 + 150 + 3 + 1)
        expect(await store.loadUser(t, 'gone')).toBeNull()
        expect(await store.loadEdges(t, 'gone')).toEqual([])
        expect(await store.loadConversation(t, 'c-gone')).toBeNull()
        expect(await store.findInteraction(t, gone.rows[0]!.id)).toBeNull()
        expect(await store.findCompletions(t, gone.rows[0]!.completionId!)).toEqual([])
        expect(await store.findCompletions(t, stays.rows[0]!.completionId!)).toHaveLength(1)
        const left = await all(store.readInteractions({ tenant: t }))
        expect(left).toEqual(stays.rows)
        const rewards = await all(store.readRewards({ tenant: t }))
        expect(rewards.map(({ user }) => user)).toEqual(['stays', 'stays', 'stays'])
        expect((await store.loadUser(t, 'stays'))?.revision).toBe(2)
        expect(await store.loadConversation(t, 'c-stays')).not.toBeNull()
        expect(await store.eraseUser(t, 'gone')).toBe(0)
      })

      test('holds for older records that arrive later, not for newer ones', async () => {
        const t = tenant()
        const before = anInteraction({ tenant: t, user: 'u', ts: Date.now() - 1_000 })
        await store.openInteractions([{ ...summary(before), ended: false }])
        expect(await store.eraseUser(t, 'u')).toBe(1)
        await store.openInteractions([{ ...summary(before), ended: false }])
        expect(await store.findInteraction(t, before.id)).toBeNull()
        await store.appendInteractions([before])
        await store.appendRewards([aReward({ tenant: t, user: 'u', interaction: before.id, ts: before.ts })])
        expect(await store.findInteraction(t, before.id)).toBeNull()
        const after = anInteraction({ tenant: t, user: 'u', ts: Date.now() + 1_000 })
        await store.appendInteractions([after])
        expect(await all(store.readInteractions({ tenant: t }))).toEqual([after])
        expect(await all(store.readRewards({ tenant: t }))).toEqual([])
      })
    })

    describe('the mark of an erasure', () => {
      /** All that is written for a user of a request that began at `ts`. */
      async function writeAll(t: string, user: string, ts: number): Promise<void> {
        const row = anInteraction({ tenant: t, user, ts })
        const claim = { tenant: t, user, key: `k-${row.id}`, bodyHash: 'b', token: row.id, ttlMs: 60_000, askedAt: ts }
        const refuses = async (work: Promise<unknown>) => {
          try {
            await work
          } catch (error) {
            expect(error).toBeInstanceOf(ErasedError)
          }
        }
        await store.openInteractions([summary(row)])
        await refuses(store.commitUser(t, user, aUser(), [anEdge()], ts))
        await refuses(store.salt(t, user, Buffer.from('salt'), ts))
        await store.appendInteractions([row])
        await store.appendRewards([
          aReward({ tenant: t, user, interaction: row.id, ts: Date.now() + 9_000, askedAt: ts }),
        ])
        await store.saveConversation(t, `c-${user}`, { ...conversationOf(user), ts }, 60)
        expect(await store.idempotency.claim(claim)).toEqual({ state: 'claimed' })
        await store.idempotency.complete(t, claim.key, claim.token, Buffer.from('answer'), {
          keepMs: 60_000,
          maxBytes: 1e6,
        })
        const response = { id: `resp-${row.id}`, ts, chain: [], items: [], body: Buffer.from('sealed') }
        await store.responses.save(t, user, response, { ttlMs: 60_000, maxBytes: 1e6 })
      }
      const kept = async (t: string, user: string) => ({
        user: (await store.loadUser(t, user)) !== null,
        edges: (await store.loadEdges(t, user)).length,
        interactions: (await all(store.readInteractions({ tenant: t, user }))).length,
        rewards: (await all(store.readRewards({ tenant: t, user }))).length,
        conversation: (await store.loadConversation(t, `c-${user}`)) !== null,
        responses: (await all(store.responses.list(t, user))).length,
      })
      const everything = { user: true, edges: 1, interactions: 1, rewards: 1, conversation: true, responses: 1 }
      const nothing = { user: false, edges: 0, interactions: 0, rewards: 0, conversation: false, responses: 0 }

      test.each(['user', 'tenant'] as const)('of a %s is looked at by all that writes for a user', async (what) => {
        const t = tenant()
        await writeAll(t, 'ann', Date.now())
        await writeAll(t, 'bob', Date.now())
        expect(await kept(t, 'ann')).toEqual(everything)
        await store.createKey(aKey({ tenant: t }))
        expect(await (what === 'user' ? store.eraseUser(t, 'ann') : store.eraseTenant(t))).toBeGreaterThan(5)
        expect(await kept(t, 'ann')).toEqual(nothing)
        // Of requests that were on their way.
        await writeAll(t, 'ann', Date.now() - 5_000)
        expect(await kept(t, 'ann')).toEqual(nothing)
        expect(await kept(t, 'bob')).toEqual(what === 'user' ? everything : nothing)
        expect(await store.listKeys(t)).toHaveLength(what === 'user' ? 1 : 0)
        // Who comes again is a new user.
        await writeAll(t, 'ann', Date.now() + 5_000)
        expect(await kept(t, 'ann')).toEqual(everything)
      })
    })

    test('an erasure that was elsewhere takes what is older, in slices, and leaves what is newer', async () => {
      const t = tenant()
      const mark = Date.now() - 20_000
      const [older, newer] = [mark - 5_000, mark + 5_000]
      const write = async (user: string, ts: number, rows: number) => {
        const records = Array.from({ length: rows }, () => anInteraction({ tenant: t, user, ts }))
        await store.appendInteractions(records)
        await store.openInteractions([{ ...summary(anInteraction({ id: `o-${user}-${ts}`, tenant: t, user, ts })) }])
        await store.appendRewards(
          // Rated after the erasure, or before: what counts is when it was asked.
          records.map(({ id }) => aReward({ tenant: t, user, interaction: id, ts: newer + 1, askedAt: ts })),
        )
        const options = { ttlMs: 60_000, maxBytes: 1e6 }
        for (let i = 0; i < rows; i++) {
          await store.saveConversation(t, `c-${user}-${ts}-${i}`, { ...conversationOf(user), ts }, 60)
          const response = { id: `r-${ts}-${i}`, ts, chain: [], items: [], body: Buffer.from('sealed') }
          await store.responses.save(t, user, response, options)
        }
        return records
      }
      const edges = (...times: number[]) =>
        times.map((ts, i) => anEdge({ id: edgeId(`i-${ts}`, 'rating'), seq: i + 1, ts }))
      const salts = Object.fromEntries(['ann', 'bob', 'cy'].map((user) => [user, Buffer.from(`salt of ${user}`)]))
      for (const [user, salt] of Object.entries(salts)) await store.salt(t, user, salt)
      await store.commitUser(t, 'ann', aUser({ since: older, rewards: 2 }), edges(older, newer))
      await store.commitUser(t, 'bob', aUser({ since: older, updatedAt: newer }), edges(older))
      await store.commitUser(t, 'cy', aUser({ since: newer, updatedAt: newer }), edges(newer))
      const known = await store.loadUser(t, 'cy')
      await write('ann', older, 70)
      const kept = await write('ann', newer, 70)
      await write('ann', older + 1, 70)
      await write('bob', older, 3)

      for (const user of Object.keys(salts)) for (const _ of [1, 2]) await store.eraseUser(t, user, mark)
      expect(await store.loadUser(t, 'ann')).toMatchObject({ rewards: 1, since: newer, policy: '', preferences: {} })
      expect((await store.loadEdges(t, 'ann')).map(({ ts }) => ts)).toEqual([newer])
      expect(await all(store.readInteractions({ tenant: t, user: 'ann' }))).toEqual(kept)
      const rated = await all(store.readRewards({ tenant: t, user: 'ann' }))
      expect(rated.map(({ interaction }) => interaction)).toEqual(kept.map(({ id }) => id))
      expect(await store.findInteraction(t, `o-ann-${older}`)).toBeNull()
      expect(await store.findInteraction(t, `o-ann-${newer}`)).not.toBeNull()
      const responses = (await all(store.responses.list(t, 'ann'))).flat()
      expect(responses.sort()).toEqual(kept.map((_, i) => `r-${newer}-${i}`).sort())
      for (let i = 0; i < 70; i++) {
        expect(await store.loadConversation(t, `c-ann-${older}-${i}`)).toBeNull()
        expect(await store.loadConversation(t, `c-ann-${newer}-${i}`)).not.toBeNull()
      }
      expect(await store.loadUser(t, 'bob')).toBeNull()
      expect(await all(store.readInteractions({ tenant: t, user: 'bob' }))).toEqual([])
      expect(await store.loadUser(t, 'cy')).toEqual(known)
      // Of what is left the seals open; what comes is held against the time of the erasure.
      for (const [user, salt] of Object.entries(salts)) {
        const other = Buffer.from('another')
        expect(await store.salt(t, user, other, newer)).toEqual(user === 'bob' ? other : salt)
        await expect(store.salt(t, user, other, older)).rejects.toThrow(ErasedError)
      }
    })

    test('a user is found again under another id, with all that was known of them', async () => {
      const t = tenant()
      const row = anInteraction({ tenant: t, user: 'old' })
      await store.commitUser(t, 'old', aUser({ rewards: 7 }), [anEdge()])
      await store.appendInteractions([row])
      const salt = await store.salt(t, 'old', Buffer.from('first'))
      expect(await store.moveUser(t, 'old', 'new')).toBe(true)
      expect(await store.loadUser(t, 'old')).toBeNull()
      expect(await store.loadUser(t, 'new')).toMatchObject({ rewards: 7 })
      expect(await store.loadEdges(t, 'new')).toHaveLength(1)
      expect(await store.salt(t, 'new', Buffer.from('second'))).toEqual(salt)
      expect(await all(store.readInteractions({ tenant: t, user: 'new' }))).toMatchObject([{ id: row.id }])
      expect(await store.moveUser(t, 'old', 'new')).toBe(false)
      await store.commitUser(t, 'other', aUser())
      expect(await store.moveUser(t, 'other', 'new')).toBe(false)
      expect(await store.loadUser(t, 'new')).toMatchObject({ rewards: 7 })
    })

    test('who has got another id is remembered by both, over several, and until they are erased', async () => {
      const t = tenant()
      const moves = async () =>
        (await all(store.listMoves())).filter((move) => move.tenant === t).map(({ from, to }) => `${from}>${to}`)
      const first = anInteraction({ tenant: t, user: 'a' })
      await store.appendInteractions([first])
      await store.appendRewards([aReward({ tenant: t, user: 'a', interaction: first.id })])
      await store.moveUser(t, 'nobody', 'somebody')
      expect(await moves()).toEqual([])
      await store.moveUser(t, 'a', 'b')
      await store.appendInteractions([anInteraction({ tenant: t, user: 'b' })])
      await store.moveUser(t, 'b', 'c')
      expect((await moves()).sort()).toEqual(['a>c', 'b>c'])
      expect((await all(store.listMoves(t))).map(({ from }) => from).sort()).toEqual(['a', 'b'])
      expect(await all(store.listMoves(`${t}-`))).toEqual([])
      expect(await store.presentIds(t, ['a', 'b', 'c', 'nobody'])).toEqual(
        new Map([
          ['a', 'c'],
          ['b', 'c'],
        ]),
      )
      expect((await store.formerIds(t, 'c')).sort()).toEqual(['a', 'b'])
      // Whoever reads the log finds one user.
      const users = async () => [
        ...(await all(store.readInteractions({ tenant: t }))).map(({ user }) => user),
        ...(await all(store.readRewards({ tenant: t }))).map(({ user }) => user),
      ]
      expect(await users()).toEqual(['c', 'c', 'c'])
      // Back to a former one, as where a secret is taken back.
      await store.moveUser(t, 'c', 'a')
      expect((await moves()).sort()).toEqual(['b>a', 'c>a'])
      expect(await users()).toEqual(['a', 'a', 'a'])
      await store.eraseUser(t, 'a')
      expect(await moves()).toEqual([])
      expect(await store.formerIds(t, 'a')).toEqual([])
    })

    test('what a user has used goes along with their new id: limits of every window, and the sums of days', async () => {
      const t = tenant()
      const limits = (['minute', 'day', 'month'] as const).flatMap((window) =>
        (['requests', 'tokens', 'nanoUsd'] as const).map((what) => ({ scope: 'user:old', what, window, max: 1e6 })),
      )
      const ofNew = limits.map((limit) => ({ ...limit, scope: 'user:new' }))
      const take = (id: string, of: typeof limits) =>
        store.limits.reserve({
          ...{ tenant: t, id, limits: of, ttlMs: 60_000 },
          amounts: { requests: 1, tokens: 20, nanoUsd: 300 },
        })
      const used = async () => (await store.limits.look(t, ofNew)).map((state) => state.used)
      await take('a', limits)
      await take('b', ofNew)
      const ts = Date.now()
      const usage = { promptTokens: 5, completionTokens: 7, cachedTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 }
      const rows = [ts, ts - 86_400_000].map((at) => anInteraction({ tenant: t, user: 'old', ts: at, usage }))
      await store.appendInteractions([...rows, anInteraction({ tenant: t, user: 'new', ts, usage })])
      await store.moveUser(t, 'old', 'new')
      // A minute may have begun meanwhile, in which the one before counts by a part.
      const [requests, tokens, nanoUsd, ...rest] = await used()
      expect(requests).toBeGreaterThan(0)
      expect(tokens).toBeGreaterThan(0)
      expect(nanoUsd).toBeGreaterThan(0)
      expect(rest).toEqual([2, 40, 600, 2, 40, 600])
      const [from, to] = [dayOf(ts - 86_400_000), dayOf(ts)]
      const sums = async (id: string) =>
        (await store.usage.read(t, { scope: 'user', id, from, to })).map((row) => [
          row.day,
          row.requests,
          row.promptTokens,
        ])
      expect(await sums('new')).toEqual([
        [from, 1, 5],
        [to, 2, 10],
      ])
      expect(await sums('old')).toEqual([])
      // Once: whoever is not known yet is looked for again with the next request.
      await store.moveUser(t, 'old', 'new')
      expect((await used()).slice(3)).toEqual([2, 40, 600, 2, 40, 600])
    })

    test('a long log moves in slices, into one that has begun under the new id', async () => {
      const t = tenant()
      const rows = Array.from({ length: 700 }, () => anInteraction({ tenant: t, user: 'old' }))
      const own = anInteraction({ tenant: t, user: 'new' })
      await store.appendInteractions([...rows, own])
      await store.appendRewards(rows.slice(0, 5).map(({ id }) => aReward({ tenant: t, user: 'old', interaction: id })))
      await store.commitUser(t, 'old', aUser({ rewards: 7 }))
      expect(await store.moveUser(t, 'old', 'new')).toBe(true)
      const ids = (await all(store.readInteractions({ tenant: t, user: 'new' }))).map(({ id }) => id)
      expect(ids.sort()).toEqual([...rows, own].map(({ id }) => id).sort())
      expect(await all(store.readInteractions({ tenant: t, user: 'old' }))).toEqual([])
      expect(await all(store.readRewards({ tenant: t, user: 'new' }))).toHaveLength(5)
      expect(await store.loadUser(t, 'new')).toMatchObject({ rewards: 7 })
    })

    test.each(['old', 'new', 'the tenant'])('nothing moves to another id once %s was erased', async (who) => {
      const t = tenant()
      if (who === 'the tenant') await store.eraseTenant(t)
      else await store.eraseUser(t, who)
      // Of a replica that does not know of it yet, or of one that goes on with the move.
      const later = Date.now() + 60_000
      await store.commitUser(t, 'old', aUser({ rewards: 7 }), [anEdge()], later)
      await store.appendInteractions([anInteraction({ tenant: t, user: 'old', ts: later })])
      expect(await store.moveUser(t, 'old', 'new')).toBe(false)
      expect(await store.loadUser(t, 'new')).toBeNull()
      expect(await all(store.readInteractions({ tenant: t, user: 'new' }))).toEqual([])
      expect(await store.loadUser(t, 'old')).toMatchObject({ rewards: 7 })
      const day = dayOf(later)
      expect(await store.usage.read(t, { scope: 'user', id: 'new', from: day, to: day })).toEqual([])
    })

    test('users who have not been here for long are dropped in slices, and those who have stay', async () => {
      const t = tenant()
      const users = Array.from({ length: 120 }, (_, i) => `u-${i}`)
      for (const [i, user] of users.entries()) {
        await store.commitUser(t, user, aUser({ updatedAt: i % 2 ? 1_000 : 5_000 }), [anEdge()])
      }
      await store.touchUser(t, 'u-1')
      await store.touchUser(t, 'nobody')
      let [dropped, from, slices] = [0, '', 0]
      do {
        const slice = await store.dropIdleUsers(t, 2_000, from)
        dropped += slice.dropped
        from = slice.next
        slices++
      } while (from !== '' && slices < 100)
      expect(dropped).toBe(59)
      expect(await store.loadUser(t, 'u-1')).not.toBeNull()
      expect(await store.loadUser(t, 'u-2')).not.toBeNull()
      expect(await store.loadUser(t, 'u-3')).toBeNull()
      expect(await store.loadEdges(t, 'u-3')).toEqual([])
      expect(await store.loadUser(t, 'nobody')).toBeNull()
    })

    test('tells this and other processes what changed', async () => {
      const t = tenant()
      const other = await subject.open()
      const [here, there]: [Invalidation[], Invalidation[]] = [[], []]
      const stopHere = store.subscribe((change) => here.push(change))
      other.subscribe((change) => there.push(change))
      const key = aKey({ tenant: t })
      let revision = 0
      const got = (seen: Invalidation[], change: object) =>
        seen.some((one) => JSON.stringify(one) === JSON.stringify(change))
      // A replica that has just been opened may still be on its way to be told.
      await until(async () => {
        await store.commitUser(t, 'u', aUser({ revision: ++revision }))
        return there.some((one) => one.kind === 'user' && one.tenant === t && one.user === 'u')
      })
      await store.createKey(key)
      await store.revokeKey(key.id, Date.now())
      await store.addEvidence(t, 'arms:own', 'c', Float32Array.of(1))
      await store.addEvidence(t, 'p', 'c', Float32Array.of(1))
      await store.eraseUser(t, 'erased')
      for (const seen of [here, there]) {
        await until(
          () => seen.filter(({ kind, ...rest }) => kind === 'keys' && got([rest as never], { tenant: t })).length === 2,
        )
        await until(() => got(seen, { kind: 'evidence', tenant: t }))
        await until(() => got(seen, { kind: 'user', tenant: t, user: 'erased' }))
        // Sums that no request is served from are not told of.
        expect(seen.filter((one) => one.kind === 'evidence' && one.tenant === t)).toHaveLength(1)
      }
      stopHere()
      const count = here.length
      await store.commitUser(t, 'u', aUser({ revision: ++revision }))
      await other.revokeKey(key.id, Date.now())
      await until(() => there.filter(({ kind }) => kind === 'keys').length === 3)
      expect(here.length).toBe(count)
      await other.close()
    })

    test('answers a ping, and refuses with StoreError once closed', async () => {
      const other = await subject.open()
      await other.ping()
      await other.close()
      await expect(other.ping()).rejects.toMatchObject({ name: 'StoreError' })
      await expect(other.loadUser('t', 'u')).rejects.toMatchObject({ name: 'StoreError' })
      await other.close()
    })

    test('has one secret for all replicas, whoever asks first', async () => {
      const replicas = await Promise.all([subject.open(), subject.open(), subject.open()])
      const secrets = await Promise.all(replicas.map((replica, i) => replica.sharedSecret(`proposed-${i}`)))
      expect(secrets[0]).toMatch(/^proposed-[012]$/)
      expect(new Set(secrets).size).toBe(1)
      await Promise.all(replicas.map((replica) => replica.close()))
      expect(await store.sharedSecret('too late')).toBe(secrets[0])
      expect(await store.sharedSecret(null)).toBe(secrets[0])
      expect(await store.secretFingerprint('first', [])).toBe('first')
      expect(await store.secretFingerprint('second', ['another'])).toBe('first')
      expect(await store.secretFingerprint('second', ['another', 'first'])).toBe('second')
      expect(await store.secretFingerprint('first', [])).toBe('second')
    })

    test('keeps what deployments refused, by tenant, until it expires, and tells the other replicas', async () => {
      const [t, other] = [tenant(), tenant()]
      const later = Date.now() + 60_000
      const rows = [
        { deployment: 'openai/gpt-5', field: 'max_tokens>=16000', expiresAt: later },
        { deployment: 'openai/gpt-5', field: 'temperature=0.2', expiresAt: later },
        { deployment: 'openai/gpt-5', field: 'top_p\nof a client: x', expiresAt: later },
      ]
      const second = await subject.open()
      const heard: Invalidation[] = []
      const stop = second.subscribe((change) => heard.push(change))
      await store.noteRefusals(t, rows)
      await store.noteRefusals(t, [{ deployment: 'groq/llama', field: 'n', expiresAt: Date.now() - 1 }])
      expect(await second.listRefusals(t)).toEqual(rows)
      expect(await store.listRefusals(other)).toEqual([])
      await store.noteRefusals(t, [{ ...rows[0]!, expiresAt: later + 1 }])
      expect((await store.listRefusals(t))[0]?.expiresAt).toBe(later + 1)
      await until(() => heard.some(({ kind }) => kind === 'refusals' || kind === 'all'))
      heard.length = 0
      expect(await second.forgetRefusals(t, { deployment: 'groq/none' })).toBe(0)
      expect(await store.forgetRefusals(t, { deployment: 'openai/gpt-5', field: 'temperature=0.2' })).toBe(1)
      expect(await store.forgetRefusals(t, { field: 'top_p' })).toBe(0)
      expect(await store.forgetRefusals(t, { field: 'top_p\nof a client: x' })).toBe(1)
      expect(await second.listRefusals(t)).toMatchObject([{ field: 'max_tokens>=16000' }])
      expect(await store.forgetRefusals(t, {})).toBeGreaterThan(0)
      expect(await second.listRefusals(t)).toEqual([])
      await until(() => heard.some(({ kind }) => kind === 'refusals' || kind === 'all'))
      stop()
      await second.close()
    })

    test('keeps the mode that a tenant was switched to, and tells the others', async () => {
      const [t, other] = [tenant(), tenant()]
      const second = await subject.open()
      const heard: Invalidation[] = []
      const stop = second.subscribe((change) => heard.push(change))
      expect(await store.loadMode(t)).toBeNull()
      await store.saveMode(t, 'observe')
      expect(await second.loadMode(t)).toBe('observe')
      expect(await store.loadMode(other)).toBeNull()
      // A replica that has just been opened may still be on its way to be told.
      await until(async () => {
        await store.saveMode(t, 'observe')
        return heard.some((change) => change.kind === 'all' || (change.kind === 'mode' && change.tenant === t))
      })
      await second.saveMode(t, 'assist')
      expect(await store.loadMode(t)).toBe('assist')
      await store.saveMode(t, null)
      expect(await second.loadMode(t)).toBeNull()
      stop()
      await second.close()
    })

    describe.runIf(withLimits)('limits', () =>
      limitsContract(
        () => store,
        () => subject.open(),
      ),
    )

    describe.runIf(withLimits)('usage', () => usageContract(() => store))

    describe.runIf(withLimits)('responses', () =>
      responsesContract(
        () => store,
        () => subject.open(),
      ),
    )

    test('is there again when it is opened again', async () => {
      const t = tenant()
      const [first, row] = [await subject.open(), anInteraction({ tenant: t })]
      await first.appendInteractions([row])
      await first.commitUser(t, 'u', aUser(), [anEdge()])
      await first.close()
      const second = await subject.open()
      expect(await all(second.readInteractions({ tenant: t }))).toEqual([row])
      expect(await second.loadUser(t, 'u')).toMatchObject({ revision: 1 })
      await second.close()
    })
  })
}

const conversationOf = (user: string) => ({
  candidate: 'candidate-1',
  interaction: randomUUID(),
  user,
  lastUserHash: 'abc',
  vector: null,
  messages: 1,
  promptTokens: 1,
  ts: 1,
})

const summary = ({
  id,
  tenant,
  user,
  ts,
}: {
  id: string
  tenant: string
  user: string
  ts: number
}): InteractionSummary => ({
  id,
  tenant,
  user,
  conversation: null,
  candidate: 'candidate-1',
  reading: null,
  reader: '',
  vector: null,
  promptTokens: 0,
  completionTokens: 0,
  costUsd: 0,
  ts,
  ended: false,
})
