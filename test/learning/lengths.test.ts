import { describe, expect, it } from 'vitest'
import { Lengths } from '../../src/learning/lengths.ts'
import { loadArtifact } from '../../src/routing/artifact/load.ts'
import { lengthEvidence, lengthKey, lengthRow } from '../../src/routing/choose/length-evidence.ts'
import { GraphRouter } from '../../src/routing/model/graph-router.ts'
import type { Policy } from '../../src/routing/policy.ts'
import { quantise } from '../../src/runtime/quantise.ts'
import { base64Of } from '../../src/store/bytes.ts'
import type { InteractionRecord } from '../../src/store/records/codec.ts'
import type { Store } from '../../src/store/store.ts'
import { candidate, silent } from '../routing/support.ts'
import { openTestStore, withOverrides } from './support.ts'

const SHORT = candidate('short', { description: 'An open-weights chat model.' })
const LONG = candidate('long', { description: 'A chat model that thinks.' })
const POOL = [SHORT, LONG]
const DAYS = 90
const CHAT = { body: {} }

/** A gateway's policy as it comes, whose evidence is the store's. */
async function policyOn(store: Store): Promise<Policy> {
  const artifact = await loadArtifact('router-model/artifacts/current')
  const embed = (text: string) =>
    Float32Array.from({ length: artifact.dims.E }, (_, i) => Math.sin(i * (text.length + 1)) / 12)
  const router = await GraphRouter.open({
    artifact,
    embed,
    loadEvidence: async (tenant) =>
      lengthEvidence(await store.loadEvidence(tenant, lengthKey(artifact.version)), DAYS, Date.now()),
    candidatesOf: () => POOL,
    deadlineMs: 10_000,
    log: silent,
  })
  return { version: artifact.version, router, embedder: { version: 'x', dim: artifact.dims.E, embed } }
}

async function scoresOf({ router, embedder }: Policy, tenant: string, text = 'a question') {
  const embedding = await embedder.embed(text)
  const scores = await router.score({ tenant, embedding, promptTokens: 20, state: router.cold }, POOL)
  return new Map(scores.map((score) => [score.candidate.name, score]))
}

async function answers(policy: Policy, n: number, tokens: (i: number) => number, of: Partial<InteractionRecord> = {}) {
  const made: InteractionRecord[] = []
  for (let i = 0; i < n; i++) {
    const scores = await scoresOf(policy, 'acme', 'x'.repeat(i + 1))
    const reading = quantise(scores.get('long')?.reading as Float32Array)
    made.push({
      id: `answer-${i}`,
      ts: Date.now(),
      tenant: 'acme',
      user: 'ann',
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

const lengthsOn = (store: Pick<Store, 'addEvidence'>) =>
  new Lengths({ store, find: (name) => POOL.find((one) => one.name === name), halfLifeDays: DAYS, log: silent })

describe('lengths', () => {
  it.each([
    ['long', 4_000],
    ['short', 20],
  ])('twenty answers that nobody rated make %s ones expected, and nothing else', async (_, tokens) => {
    const store = openTestStore()
    const policy = await policyOn(store)
    const lengths = lengthsOn(store)
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

  it('learns nothing of answers that were cut off, failed, estimated, not routed or not one answer of a chat', async () => {
    let added = 0
    const store = withOverrides(openTestStore(), {
      addEvidence: async () => {
        added++
      },
    })
    const policy = await policyOn(store)
    const lengths = lengthsOn(store)
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
    for (const asked of [{ body: { n: 8 } }, { format: 'completions', body: {} }])
      for (const record of await answers(policy, 1, () => 50)) lengths.note(policy, record, asked)
    await lengths.flush()
    expect(added).toBe(0)
    for (const record of await answers(policy, 1, () => 50, { finishReason: 'tool_calls' }))
      lengths.note(policy, record, CHAT)
    await lengths.close()
    expect(added).toBe(1)
  })

  it('takes many answers at once, and goes on after the store was away', async () => {
    const rows: Float32Array[] = []
    let away = true
    const store = withOverrides(openTestStore(), {
      addEvidence: async (_tenant, _key, _name, row) => {
        if (away) throw new Error('away')
        rows.push(row)
      },
    })
    const policy = await policyOn(store)
    const lengths = lengthsOn(store)
    const [record] = await answers(policy, 1, () => 300)
    const many = (n: number) => {
      for (let i = 0; i < n; i++) {
        lengths.note(policy, { ...(record as InteractionRecord), id: `${i}`, key: `key-${i % 100}` }, CHAT)
      }
    }
    many(3)
    await lengths.flush()
    away = false
    many(500)
    await lengths.flush()
    const V = policy.router.artifact.dims.V
    expect(rows.map((row) => row[V])).toEqual([64])
  })

  describe('one person is one voice', () => {
    /** How many answers counted, in all, of each of several crowds of answers noted one after the other. */
    async function countedOf(crowds: Partial<InteractionRecord>[][], now: (crowd: number) => number = Date.now) {
      const store = openTestStore()
      const policy = await policyOn(store)
      const { V } = policy.router.artifact.dims
      const [record] = (await answers(policy, 1, () => 300)) as [InteractionRecord]
      let crowd = 0
      const options = { store, find: (name: string) => POOL.find((one) => one.name === name), halfLifeDays: 1e6 }
      const lengths = new Lengths({ ...options, log: silent, now: () => now(crowd) })
      const counted: number[] = []
      for (const of of crowds) {
        for (const [i, one] of of.entries()) lengths.note(policy, { ...record, id: `${crowd}-${i}`, ...one }, CHAT)
        await lengths.flush()
        const row = (await store.loadEvidence('acme', lengthKey(policy.version))).get('long')
        counted.push(Math.round(row?.[V] ?? 0))
        crowd++
      }
      await lengths.close()
      return counted
    }
    const many = (n: number, of: (i: number) => Partial<InteractionRecord>) =>
      Array.from({ length: n }, (_, i) => of(i))

    it.each<[string, (i: number) => Partial<InteractionRecord>]>([
      ['whom a key is bound to', () => ({ user: 'ann', key: 'a', vouched: true })],
      ['of many names on a key that vouches for none', (i) => ({ user: `made-up-${i}`, key: 'a' })],
      ['without a name, whoever vouches', () => ({ user: 'anonymous', key: 'a', vouched: true })],
      ['on many keys that are bound to them', (i) => ({ user: 'ann', key: `key-${i}`, vouched: true })],
    ])('a thousand answers of one %s count as sixteen', async (_, of) => {
      expect(await countedOf([many(1_000, of), many(1_000, of)])).toEqual([16, 16])
    })

    it('several voices add up, and each may say more on another day', async () => {
      const crowds = ['ann', 'bob', 'cleo'].map((user) => many(100, () => ({ user, vouched: true })))
      expect(await countedOf(crowds)).toEqual([16, 32, 48])
      const same = [1, 2].map(() => many(100, () => ({ key: 'a' })))
      expect(await countedOf(same, (crowd) => Date.now() + crowd * 86_400_000)).toEqual([16, 32])
    })

    it('where too many wait, a quiet voice is read beside loud ones', async () => {
      const rows = new Map<string, number>()
      const store = withOverrides(openTestStore(), {
        addEvidence: async (_tenant, _key, name, row) => {
          rows.set(name, row.at(-4) as number)
        },
      })
      const policy = await policyOn(store)
      const lengths = lengthsOn(store)
      const [record] = (await answers(policy, 1, () => 300)) as [InteractionRecord]
      for (let i = 0; i < 16 * 30; i++) lengths.note(policy, { ...record, id: `${i}`, key: `key-${i % 30}` }, CHAT)
      for (let i = 0; i < 2; i++) {
        lengths.note(policy, { ...record, id: `quiet-${i}`, chosen: 'short', user: 'bob', vouched: true }, CHAT)
      }
      await lengths.close()
      expect(rows.get('short')).toBe(2)
      expect(rows.get('long')).toBe(62)
    })
  })

  it('sums count as of a hundred answers at most, and fade', () => {
    const now = Date.now()
    const of = (answers: number, at: number) => {
      const rows = new Map([['long', lengthRow([answers, 2 * answers], answers, at)]])
      return lengthEvidence(rows, DAYS, now).get('long') as Float32Array
    }
    expect(of(10, now)[1]).toBeCloseTo(20, 2)
    expect(of(100_000, now)[0]).toBeCloseTo(100, 2)
    expect(of(10, now - DAYS * 86_400_000)[1]).toBeCloseTo(10, 1)
  })
})
