import { describe, expect, it } from 'vitest'
import { Lengths, type LengthsOptions } from '../../src/learning/lengths.ts'
import { loadArtifact } from '../../src/routing/artifact/load.ts'
import { evidenceName, type Speaker, voiceOf } from '../../src/routing/choose/evidence.ts'
import { lengthEvidence, lengthKey, lengthRow } from '../../src/routing/choose/length-evidence.ts'
import { GraphRouter } from '../../src/routing/model/graph-router.ts'
import type { Policy } from '../../src/routing/policy.ts'
import { quantise } from '../../src/runtime/quantise.ts'
import { base64Of } from '../../src/store/bytes.ts'
import type { InteractionRecord } from '../../src/store/records/codec.ts'
import type { Store } from '../../src/store/store.ts'
import { candidate, silent } from '../routing/support.ts'
import { anInteraction } from '../store/records.ts'
import { openTestStore, withOverrides } from './support.ts'

const SHORT = candidate('short', { description: 'An open-weights chat model.' })
const LONG = candidate('long', { description: 'A chat model that thinks.' })
const POOL = [SHORT, LONG]
const DAYS = 90
const RULES = { quorum: 5, keyWeight: 8, halfLifeDays: DAYS }
/** Whose answers they are where nothing else is said. */
const KEY = { user: 'ann', key: 'a', vouched: false }
const EMBEDDING = new Float32Array(256).fill(1 / 16)
const CHAT = { body: {}, embedding: EMBEDDING, tools: 0 }

/** A gateway's policy as it comes, whose evidence is the store's. */
async function policyOn(store: Store): Promise<Policy> {
  const artifact = await loadArtifact('router-model/artifacts/current')
  const embed = (text: string) =>
    Float32Array.from({ length: artifact.dims.E }, (_, i) => Math.sin(i * (text.length + 1)) / 12)
  const router = await GraphRouter.open({
    artifact,
    embed,
    loadEvidence: async (tenant) =>
      lengthEvidence(await store.loadEvidence(tenant, lengthKey(artifact.version)), RULES, Date.now()),
    candidatesOf: () => POOL,
    deadlineMs: 10_000,
    log: silent,
  })
  return { version: artifact.version, router, embedder: { version: 'x', dim: artifact.dims.E, embed } }
}

async function scoresOf({ router, embedder }: Policy, tenant: string, speaker: Speaker = KEY, text = 'a question') {
  const embedding = await embedder.embed(text)
  const scores = await router.score({ tenant, speaker, embedding, promptTokens: 20, state: router.cold }, POOL)
  return new Map(scores.map((score) => [score.candidate.name, score]))
}

async function answers(policy: Policy, n: number, tokens: (i: number) => number, of: Partial<InteractionRecord> = {}) {
  const made: InteractionRecord[] = []
  for (let i = 0; i < n; i++) {
    const scores = await scoresOf(policy, 'acme', KEY, 'x'.repeat(i + 1))
    const reading = quantise(scores.get('long')?.reading as Float32Array)
    made.push({
      id: `answer-${i}`,
      ts: Date.now(),
      tenant: 'acme',
      ...KEY,
      chosen: 'long',
      reading: reading && { int8: base64Of(reading.int8), scale: reading.scale },
      reader: policy.router.artifact.manifest.reader ?? '',
      embedder: '',
      embedding: null,
      usage: { promptTokens: 20, completionTokens: tokens(i) },
      usageEstimated: false,
      finishReason: 'stop',
      status: 200,
      ...of,
    } as unknown as InteractionRecord)
  }
  return made
}

const lengthsOn = (store: Store, policy: Policy, options: Partial<LengthsOptions> = {}) =>
  new Lengths({
    store,
    find: (name) => POOL.find((one) => one.name === name),
    versions: () => [policy.version],
    halfLifeDays: DAYS,
    log: silent,
    ...options,
  })

/** Every row, as `addEvidence` was given it. */
function noting(rows: Map<string, Float32Array>): Store {
  return withOverrides(openTestStore(), {
    addEvidence: async (_tenant, _key, name, row) => {
      rows.set(name, row)
    },
  })
}
const answersIn = (row: Float32Array | undefined) => row?.at(-4)

describe('lengths', () => {
  it.each([
    ['long', 4_000],
    ['short', 20],
  ])('twenty answers that nobody rated make %s ones expected, and nothing else', async (_, tokens) => {
    const store = openTestStore()
    const policy = await policyOn(store)
    const lengths = lengthsOn(store, policy)
    const before = await scoresOf(policy, 'acme')
    for (const record of await answers(policy, 20, (i) => tokens * (1 + 0.02 * (i % 5))))
      lengths.note(policy, record, CHAT)
    await lengths.close()
    await policy.router.llms.refresh('acme')
    const after = await scoresOf(policy, 'acme')
    const ratio = (scores: typeof after) => (scores.get('long')?.completionTokens ?? 0) / tokens
    expect(Math.abs(Math.log(ratio(before)))).toBeGreaterThan(Math.log(2))
    expect(Math.abs(Math.log(ratio(after)))).toBeLessThan(Math.log(1.75))
    expect(after.get('long')?.quality).toBeCloseTo(before.get('long')?.quality ?? 0, 4)
    expect(after.get('short')?.completionTokens).toBeCloseTo(before.get('short')?.completionTokens ?? 0, 3)
    // Another tenant's answers are another matter.
    expect((await scoresOf(policy, 'other')).get('long')?.completionTokens).toBe(before.get('long')?.completionTokens)
  })

  it.each([0, 1])('an answer as long as requests with so many tools get is nothing to learn: %s', async (tools) => {
    const rows = new Map<string, Float32Array>()
    const store = noting(rows)
    const policy = await policyOn(store)
    const query = { embedding: EMBEDDING, promptTokens: 20, tools }
    const scores = await policy.router.score({ tenant: 'acme', ...query, state: policy.router.cold }, [LONG])
    const expected = scores[0]?.completionTokens ?? Number.NaN
    const [words] = await policy.router.tokensByCard('acme', [{ ...query, tools: 0, candidate: LONG }])
    expect(Math.abs(expected / (words ?? 0) - 1) > 0.02).toBe(tools > 0)
    const lengths = lengthsOn(store, policy)
    for (const record of await answers(policy, 1, () => expected)) lengths.note(policy, record, { ...CHAT, tools })
    await lengths.close()
    const row = [...rows.values()][0]
    expect(answersIn(row)).toBe(1)
    expect(row?.at(-2)).toBeCloseTo(0, 4)
  })

  it('learns nothing of answers that were cut off, failed, estimated, not routed or not one answer of a chat', async () => {
    let added = 0
    const store = withOverrides(openTestStore(), {
      addEvidence: async () => {
        added++
      },
    })
    const policy = await policyOn(store)
    const lengths = lengthsOn(store, policy)
    const odd = [
      { finishReason: 'length' },
      { finishReason: 'aborted' },
      { usageEstimated: true },
      { reading: null },
      { chosen: 'gone' },
    ] as Partial<InteractionRecord>[]
    for (const of of odd)
      for (const record of await answers(policy, 1, () => 50, of)) lengths.note(policy, record, CHAT)
    for (const record of await answers(policy, 1, () => 50)) lengths.note(null, record, CHAT)
    // The tokens of eight answers, and of a text that was gone on with.
    for (const asked of [
      { ...CHAT, body: { n: 8 } },
      { ...CHAT, format: 'completions' },
      { ...CHAT, embedding: null },
    ])
      for (const record of await answers(policy, 1, () => 50)) lengths.note(policy, record, asked)
    await lengths.flush()
    expect(added).toBe(0)
    for (const record of await answers(policy, 1, () => 50, { finishReason: 'tool_calls' }))
      lengths.note(policy, record, CHAT)
    await lengths.close()
    expect(added).toBe(1)
  })

  it('takes many answers at once, and goes on after the store was away', async () => {
    const rows = new Map<string, Float32Array>()
    let away = true
    const noted = noting(rows)
    const store = withOverrides(noted, {
      addEvidence: (...of) => (away ? Promise.reject(new Error('away')) : noted.addEvidence(...of)),
    })
    const policy = await policyOn(store)
    const lengths = lengthsOn(store, policy)
    const [record] = (await answers(policy, 1, () => 300)) as [InteractionRecord]
    const many = (n: number) => {
      for (let i = 0; i < n; i++) lengths.note(policy, { ...record, id: `${i}`, key: `key-${i % 100}` }, CHAT)
    }
    many(3)
    await lengths.flush()
    away = false
    many(500)
    await lengths.flush()
    const counts = [...rows.values()].map((row) => answersIn(row) ?? 0)
    expect(counts.reduce((a, b) => a + b)).toBe(64)
    // Sixteen voices of keys, each with its turn.
    expect(counts.length).toBe(16)
    expect(Math.min(...counts)).toBeGreaterThan(1)
  })

  it.each([0, 0.9])(
    'a reader of the sum finds how many times as long as by the card alone answers were, tools: %s',
    async (tools) => {
      const store = openTestStore()
      const policy = await policyOn(store)
      const lengths = lengthsOn(store, policy)
      const apart = async () => {
        const row = (await store.loadEvidence('acme', lengthKey(policy.version))).get(
          evidenceName('long', voiceOf(KEY)),
        )
        return (row?.at(-2) ?? 0) / (answersIn(row) ?? 0)
      }
      const [record] = (await answers(policy, 1, () => 1)) as [InteractionRecord]
      const embedding = await policy.embedder.embed('x')
      const question = { tenant: 'acme', speaker: KEY, embedding, promptTokens: 20, state: policy.router.cold }
      const scores = await Promise.all(
        [0, tools].map((share) => policy.router.score({ ...question, tools: share }, POOL)),
      )
      const [bare, expected] = scores.map((all) => all.find((one) => one.candidate === LONG)?.completionTokens ?? 0)
      expect(bare === expected).toBe(tools === 0)
      const usage = { ...record.usage, completionTokens: 8 * expected! }
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 5; i++)
          lengths.note(policy, { ...record, id: `${round}-${i}`, usage }, { ...CHAT, embedding, tools })
        await lengths.flush()
        await policy.router.llms.refresh('acme')
        // What has been learned meanwhile changes nothing in it.
        expect(await apart()).toBeCloseTo(Math.log(8), 3)
      }
      lengths.note(policy, { ...record, usage: { ...usage, completionTokens: 1e12 } }, { ...CHAT, embedding, tools })
      await lengths.close()
      expect(await apart()).toBeLessThan(Math.log(16))
    },
  )

  describe('one person is one voice', () => {
    const many = (n: number, of: (i: number) => Partial<InteractionRecord>) =>
      Array.from({ length: n }, (_, i) => of(i))

    it.each<[string, Speaker, (i: number) => Partial<InteractionRecord>]>([
      ['whom a key is bound to', { user: 'ann', key: 'a', vouched: true }, () => ({})],
      ['of many names on a key that vouches for none', KEY, (i) => ({ user: `made-up-${i}` })],
      ['without a name, whoever vouches', { user: 'anonymous', key: 'a', vouched: true }, () => ({})],
      ['on many keys that are bound to them', { user: 'ann', key: '', vouched: true }, (i) => ({ key: `key-${i}` })],
    ])('a thousand answers of one %s are one sum, of which few are read', async (_, speaker, of) => {
      const rows = new Map<string, Float32Array>()
      const store = noting(rows)
      const policy = await policyOn(store)
      const lengths = lengthsOn(store, policy, { random: () => 0.999 })
      const [record] = (await answers(policy, 1, () => 300)) as [InteractionRecord]
      for (const [i, one] of many(1_000, of).entries()) {
        lengths.note(policy, { ...record, ...speaker, ...one, id: `${i}` }, CHAT)
      }
      await lengths.close()
      expect([...rows].map(([name, row]) => [name, answersIn(row)])).toEqual([
        [evidenceName('long', voiceOf(speaker)), 16],
      ])
    })

    it('who asks later on a day has their share of what is read of a voice', async () => {
      const rows = new Map<string, Float32Array>()
      const store = noting(rows)
      const policy = await policyOn(store)
      let now = Date.now()
      const lengths = lengthsOn(store, policy, { random: () => 0.5, now: () => now })
      const [record] = (await answers(policy, 1, () => 300)) as [InteractionRecord]
      const countOf = async (n: number) => {
        for (let i = 0; i < n; i++) lengths.note(policy, { ...record, id: `${i}` }, CHAT)
        await lengths.flush()
        return [...rows.values()].map(answersIn)
      }
      expect(await countOf(16)).toEqual([16])
      // Chances of 16 in 17 to 16 in 46, against a half.
      expect(await countOf(30)).toEqual([15])
      now += 86_400_000
      expect(await countOf(16)).toEqual([16])
    })

    it('where too many wait, a quiet voice is read beside loud ones', async () => {
      const rows = new Map<string, Float32Array>()
      const store = noting(rows)
      const policy = await policyOn(store)
      const lengths = lengthsOn(store, policy)
      const [record] = (await answers(policy, 1, () => 300)) as [InteractionRecord]
      for (let i = 0; i < 16 * 30; i++) lengths.note(policy, { ...record, id: `${i}`, key: `key-${i % 30}` }, CHAT)
      for (let i = 0; i < 2; i++) {
        lengths.note(policy, { ...record, id: `quiet-${i}`, chosen: 'short', user: 'bob', vouched: true }, CHAT)
      }
      await lengths.close()
      expect(answersIn(rows.get(evidenceName('short', voiceOf({ user: 'bob', key: '', vouched: true }))))).toBe(2)
    })

    it('what one makes a model write moves nobody else, by whatever replica, until three agree', async () => {
      const store = openTestStore()
      const replicas = [await policyOn(store), await policyOn(store)] as const
      const [policy] = replicas
      const users = ['ann', 'bob', 'cleo', 'dan'].map((user) => ({ user, key: 'a', vouched: true }))
      expect(new Set(users.map(voiceOf)).size).toBe(4)
      const expectedBy = async (speaker: Speaker) => {
        const found = []
        for (const replica of replicas) {
          await replica.router.llms.refresh('acme')
          found.push((await scoresOf(replica, 'acme', speaker)).get('long')?.completionTokens ?? 0)
        }
        // What was measured fades with time, and the two were asked one after the other.
        expect(found[1]! / found[0]!).toBeCloseTo(1, 4)
        return found[0] as number
      }
      const [attacker, bob, cleo, stranger] = users as [Speaker, Speaker, Speaker, Speaker]
      const card = await expectedBy(stranger)
      const lengths = lengthsOn(store, policy, { random: () => 0 })
      const answer = async (speaker: Speaker, n: number, tokens: number) => {
        for (const record of await answers(policy, n, () => tokens, speaker)) lengths.note(policy, record, CHAT)
        await lengths.flush()
      }
      for (let day = 0; day < 5; day++) await answer(attacker, 16, 30_000)
      expect(await expectedBy(stranger)).toBe(card)
      expect(await expectedBy(attacker)).toBeGreaterThan(10 * card)
      // Two who use it as it is, of whom one is new: they outvote whoever has most answers.
      await answer(bob, 8, card)
      await answer(cleo, 3, card)
      expect(await expectedBy(stranger)).toBe(card)
      await answer(cleo, 2, card)
      for (const speaker of users) {
        const expected = await expectedBy(speaker)
        expect(Math.abs(Math.log(expected / card))).toBeLessThan(Math.log(1.5))
      }
      // What several say is told to everybody, too.
      for (const speaker of [bob, cleo]) await answer(speaker, 16, 12 * card)
      await answer(stranger, 16, 12 * card)
      expect(await expectedBy({ ...KEY, key: 'new' })).toBeGreaterThan(4 * card)
    })

    it('goes with who is erased, but not what others measured', async () => {
      const store = openTestStore()
      const policy = await policyOn(store)
      const lengths = lengthsOn(store, policy)
      const of = { user: 'ann', key: 'a', vouched: true }
      const bob = { ...of, user: 'bob' }
      const note = async (speaker: Speaker) => {
        for (const record of await answers(policy, 3, () => 300, speaker)) lengths.note(policy, record, CHAT)
      }
      const names = async () => [...(await store.loadEvidence('acme', lengthKey(policy.version))).keys()].toSorted()
      for (const speaker of [of, bob, KEY]) await note(speaker)
      await lengths.flush()
      const [anns, bobs, keys] = [of, bob, KEY].map((speaker) => evidenceName('long', voiceOf(speaker)))
      expect(await names()).toEqual([anns, bobs, keys].toSorted())
      for (const speaker of [of, bob]) await note(speaker)
      // Whoever has a key can name users of whom nobody knows, and erase them.
      await lengths.forget('acme', 'ann')
      expect(await names()).toEqual([anns, bobs, keys].toSorted())
      await store.appendInteractions([anInteraction({ tenant: 'acme', user: 'ann', vouched: true })])
      for (const speaker of [of, bob]) await note(speaker)
      await lengths.forget('acme', 'ann')
      expect(await names()).toEqual([bobs, keys].toSorted())
      await lengths.flush()
      expect(await names()).toEqual([bobs, keys].toSorted())
    })
  })

  describe('sums', () => {
    const now = Date.now()
    const of = (voices: Record<string, [answers: number, apart: number, at?: number]>, rules = RULES) => {
      const rows = Object.entries(voices).map(
        ([voice, [answers, apart, at = now]]) =>
          [evidenceName('long', voice), lengthRow([answers, answers * apart], answers, answers * apart, at)] as const,
      )
      return lengthEvidence(new Map(rows), rules, now)
    }
    const mean = (sum: Float32Array | undefined) => (sum ? (sum[1] ?? 0) / (sum[0] ?? 1) : undefined)

    it('count as of a hundred answers at most, and fade', () => {
      expect(of({ k1: [10, 2] }).get('long#k1')?.[1]).toBeCloseTo(20, 2)
      expect(of({ k1: [100_000, 2] }).get('long#k1')?.[0]).toBeCloseTo(100, 2)
      expect(of({ k1: [10, 2, now - DAYS * 86_400_000] }).get('long#k1')?.[1]).toBeCloseTo(10, 1)
      const all = Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`u${i}`, [1e5, 1] as [number, number]]))
      expect(of(all).get('long')?.[0]).toBeCloseTo(100, 2)
    })

    it('are told to others once three vouched for, or six keys, or as many as the quorum asks, have four answers', () => {
      expect([...of({ u1: [4, 0], u2: [400, 0], u3: [3, 0] }).keys()]).toEqual(['long#u1', 'long#u2', 'long#u3'])
      expect([...of({ u1: [4, 0], u2: [400, 0], u3: [4, 0] }).keys()]).toEqual(['long'])
      const keys = (n: number) =>
        Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, [9, 0] as [number, number]]))
      expect(of(keys(5)).has('long')).toBe(false)
      expect([...of(keys(6)).keys()]).toEqual(['long'])
      expect([...of({ u1: [4, 0] }, { ...RULES, quorum: 1 }).keys()]).toEqual(['long'])
    })

    it('of who is far from the others count less, however many answers they had', () => {
      expect(mean(of({ u1: [9, 0], u2: [9, 0.2], u3: [9, 0.4] }).get('long'))).toBeCloseTo(0.2, 5)
      const attacked = mean(of({ u1: [9, 0], u2: [9, 0.2], u3: [10_000, 5] }).get('long')) ?? 0
      expect(attacked).toBeLessThan(0.5)
      expect(attacked).toBeGreaterThan(0.1)
      // The worst is to be just within what honest voices differ by.
      const worst = Array.from({ length: 60 }, (_, i) =>
        mean(of({ u1: [9, 0], u2: [9, 0.2], u3: [1e4, i / 10] }).get('long')),
      )
      expect(Math.max(...worst.map((value) => value ?? 0))).toBeLessThan(0.8)
    })

    it('that earlier releases kept, of all voices together, are nobody’s and count nothing', () => {
      expect(lengthEvidence(new Map([['long', lengthRow([9, 9], 9, 9, now)]]), RULES, now).size).toBe(0)
    })
  })
})
