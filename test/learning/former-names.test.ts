import { describe, expect, test } from 'vitest'
import { type Config, configSchema } from '../../src/config/schema.ts'
import { withFormerNames } from '../../src/learning/former-names.ts'
import { openStore } from '../../src/store/index.ts'
import { eachCandidate } from '../../src/store/records/scored-candidates.ts'
import { dayOf } from '../../src/store/usage.ts'
import { all, anEdge, anInteraction, aReward, aUser } from '../store/records.ts'

const configOf = (formerly: string[]): Config =>
  configSchema.parse({
    candidates: [
      { name: 'dear2', provider: 'up', formerly },
      { name: 'cheap', provider: 'up' },
    ],
  })

/** A store in which everything is about `dear`, and the same as read once it is called `dear2`. */
async function renamed() {
  const store = await openStore({ kind: 'sqlite', path: ':memory:', retention_days: 90 })
  let config = configOf([])
  return { store, read: withFormerNames(store, () => config), rename: () => (config = configOf(['dear'])) }
}

describe('once a candidate has another name', () => {
  test('edges, conversations, answers, ratings and sums of usage are those of the new one', async () => {
    const { store, read, rename } = await renamed()
    const gain = { baseline: 'dear', policy: 'p', group: 'new', weight: 1, least: 1, largest: 1 } as const
    const { candidates } = anInteraction()
    const record = anInteraction({
      ...{
        id: 'i',
        chosen: 'dear',
        gain,
        candidates: { ...candidates, names: [...candidates.names].fill('dear', 0, 1) },
      },
      attempts: [{ candidate: 'dear', provider: 'up', status: 200, error: null, ms: 1 }],
    })
    await store.appendInteractions([record, anInteraction({ chosen: 'dear2', ts: record.ts })])
    await store.appendRewards([aReward({ interaction: 'i', preferredModel: 'dear', kind: 'preference' })])
    await store.commitUser('acme', 'u-1', aUser(), [anEdge({ candidate: 'dear' })])
    const turn = { candidate: 'dear', interaction: 'i', user: 'u-1', lastUserHash: '', vector: null, messages: 1 }
    await store.saveConversation('acme', 'c', { ...turn, promptTokens: 1, ts: 1 }, 60)

    const seen = async () => {
      const [first] = (await all(read.readInteractions({}))).filter(({ id }) => id === 'i')
      const today = dayOf(record.ts)
      return [
        first?.chosen,
        first?.attempts[0]?.candidate,
        first?.gain?.baseline,
        first && eachCandidate(first.candidates)[0]?.name,
        (await all(read.readRewards({})))[0]?.preferredModel,
        (await read.findInteraction('acme', 'i'))?.candidate,
        (await read.findInteraction('acme', 'i'))?.gain?.baseline,
        (await read.loadEdges('acme', 'u-1'))[0]?.candidate,
        (await read.loadConversation('acme', 'c'))?.candidate,
        ...(await read.usage.read('acme', { scope: 'tenant', from: today, to: today })).map(
          ({ model, requests }) => `${requests} ${model}`,
        ),
      ]
    }
    expect(await seen()).toEqual([...Array(9).fill('dear'), '1 dear', '1 dear2'])
    rename()
    expect(await seen()).toEqual([...Array(9).fill('dear2'), '2 dear2'])
    await store.close()
  })

  test('what was said of it is added to what is said of the new one, and dropped with it', async () => {
    const { store, read, rename } = await renamed()
    const day = 20_000
    await store.addEvidence('acme', 'voices:p', 'dear#u1', Float32Array.of(4, 1, day), 10)
    await store.addEvidence('acme', 'voices:p', 'dear#u2', Float32Array.of(1, 1, day), 10)
    await store.addEvidence('acme', 'voices:p', 'dear2#u1', Float32Array.of(10, 2, day + 10), 10)
    await store.addEvidence('acme', 'ghost', 'cheap\ndear', Float32Array.of(1))
    await store.addEvidence('acme', 'certificate:p:dear', 'new#u1', Float32Array.of(3, 3))
    await store.addEvidence('acme', 'certificate:p:dear2', 'new#u1', Float32Array.of(1, 1))
    rename()
    const voices = await read.loadEvidence('acme', 'voices:p')
    // By configuration what was said counts half after 90 days.
    const kept = 4 * 0.5 ** (10 / 90)
    expect([...voices.keys()]).toEqual(['dear#u1', 'dear#u2'].map((name) => name.replace('dear', 'dear2')))
    expect(voices.get('dear2#u1')?.[0]).toBeCloseTo(10 + kept, 5)
    expect(voices.get('dear2#u1')?.[2]).toBe(day + 10)
    expect([...(await read.loadEvidence('acme', 'ghost')).keys()]).toEqual(['cheap\ndear2'])
    expect((await read.loadEvidence('acme', 'certificate:p:dear2')).get('new#u1')).toEqual(Float32Array.of(4, 4))
    expect(await read.dropEvidence('acme', 'voices:p', ['dear2#u1'])).toBe(2)
    expect([...(await store.loadEvidence('acme', 'voices:p')).keys()]).toEqual(['dear#u2'])
    await store.close()
  })

  test('its answers are as long, and what users told of their tenant stays', async () => {
    const { store, read, rename } = await renamed()
    await store.addEvidence('acme', 'lengths:p', 'dear', Float32Array.of(4, 1, 20_000), 90)
    await store.addEvidence('acme', 'lengths:p', 'dear2', Float32Array.of(10, 2, 20_090), 90)
    await store.addEvidence('acme', 'voices:p', '*people#u1', Float32Array.of(3, 1, 20_000), 90)
    rename()
    expect(await read.loadEvidence('acme', 'lengths:p')).toEqual(new Map([['dear2', Float32Array.of(12, 2.5, 20_090)]]))
    expect(await read.loadEvidence('acme', 'voices:p')).toEqual(
      new Map([['*people#u1', Float32Array.of(3, 1, 20_000)]]),
    )
    await store.close()
  })
})
