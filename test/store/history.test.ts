import { describe, expect, test } from 'vitest'
import { decodeHistory, edgeId, encodeHistory } from '../../src/store/history.ts'
import type { StoredEdge } from '../../src/store/store.ts'
import { decodeEdge, encodeEdge } from '../../src/store/stored-values.ts'
import { beliefOf, countOf, edgesIn, encodeMemory, mergeEdges } from '../../src/store/user-rows.ts'
import fc from '../support/properties.ts'
import { anEdge } from './records.ts'

const float32 = fc.float({ noNaN: true, noDefaultInfinity: true, min: -1, max: 1 })
const edge: fc.Arbitrary<StoredEdge> = fc.record({
  id: fc.tuple(fc.string(), fc.constantFrom('rating', 'preference:other')).map(([id, said]) => edgeId(id, said)),
  seq: fc.nat(1e9),
  ts: fc.integer({ min: 0, max: 4e12 }),
  candidate: fc.string(),
  reading: fc.option(fc.record({ int8: fc.int8Array({ maxLength: 70 }), scale: float32 })),
  reader: fc.constantFrom('', 'a', 'b'),
  vector: fc.option(
    fc.record({
      embedder: fc.string(),
      of: fc.record({ sealed: fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b).toString('base64')) }),
    }),
  ),
  reward: float32.map((value) => value + 0),
  kind: fc.constantFrom('rating', 'thumb', 'a kind of later'),
  weight: float32.map(Math.abs),
  promptTokens: fc.nat(2 ** 31 - 1),
  completionTokens: fc.oneof(fc.constant(-1), fc.nat(1e6)),
  costUsd: fc.oneof(fc.constant(-1), float32.map(Math.abs)),
  vouched: fc.boolean(),
})

describe('a history', () => {
  test('comes back as it was', () => {
    fc.assert(
      fc.property(fc.array(edge, { maxLength: 20 }), (edges) => {
        const bytes = encodeHistory(edges)
        expect(decodeHistory(bytes)).toEqual(edges.map((one) => ({ ...one, reward: one.reward + 0 })))
      }),
    )
    expect(decodeHistory(new Uint8Array(0))).toEqual([])
    const earlier = anEdge()
    expect(decodeHistory(encodeHistory([earlier]))).toEqual([earlier])
    expect('vouched' in earlier).toBe(false)
  })

  test('lies beside the belief while it is small', () => {
    const belief = { policy: 'p', state: Uint8Array.of(1, 2, 3), since: 5, heardAt: 1_764_000_000_000 }
    for (const [count, isInline] of [
      [0, true],
      [3, true],
      [300, false],
    ] as const) {
      const edges = Array.from({ length: count }, (_, seq) => anEdge({ seq }))
      const memory = encodeMemory(belief, edges)
      expect(memory.history.length === 0).toBe(isInline)
      expect(countOf(memory.belief)).toBe(count)
      expect(edgesIn(memory.belief, memory.history)).toEqual(edges)
      const nothing = { policy: '', state: new Uint8Array(0), since: 0, heardAt: 0 }
      expect(beliefOf(memory.belief, nothing)).toEqual(belief)
      const told = Float32Array.of(0.5, -2, 0)
      const withTold = encodeMemory({ ...belief, told }, edges)
      expect(beliefOf(withTold.belief, nothing)).toEqual({ ...belief, told })
      expect(edgesIn(withTold.belief, withTold.history)).toEqual(edges)
      // What an earlier version wrote since counts, and what they told is made anew.
      expect(beliefOf(withTold.belief, { ...nothing, policy: 'p' })).toEqual({ ...belief, state: new Uint8Array(0) })
    }
    expect(countOf(new Uint8Array(0))).toBe(0)
    expect(edgesIn(null, null)).toEqual([])
  })

  test('that is cut off or of a later version is refused', () => {
    const bytes = encodeHistory([anEdge(), anEdge()])
    for (let end = 1; end < bytes.length; end++) expect(() => decodeHistory(bytes.subarray(0, end))).toThrow(RangeError)
    bytes[2] = 9
    expect(() => decodeHistory(bytes)).toThrow(/another version/)
  })

  test('holds no vector in clear', () => {
    const plain = { int8: Int8Array.from({ length: 64 }, (_, i) => i + 1), scale: 1 }
    const bytes = encodeHistory([anEdge({ vector: { embedder: 'e', of: { plain } } })])
    expect(bytes.includes(Buffer.from(plain.int8.buffer).subarray(8, 24))).toBe(false)
    expect(decodeHistory(bytes)[0]?.vector).toBeNull()
  })

  test('takes in what an earlier version wrote, the later word about an answer first', () => {
    const earlier = (interaction: string, of: Partial<StoredEdge>) =>
      decodeEdge(encodeEdge(anEdge({ id: `${interaction}:rating`, ...of })))
    expect(earlier('req_1', {})).toMatchObject({ id: edgeId('req_1', 'rating'), interaction: 'req_1' })
    const kept = ['req_1', 'req_2'].map((id, i) => anEdge({ id: edgeId(id, 'rating'), seq: 7 + i, ts: 100, reward: 1 }))
    const since = [
      earlier('req_3', { seq: 2, ts: 130 }),
      earlier('req_1', { seq: 1, ts: 120, reward: -1 }),
      earlier('req_2', { seq: 3, ts: 90, reward: -1 }),
    ]
    const merged = mergeEdges(kept, since)
    expect(merged.map(({ id, seq, reward }) => [id, seq, reward])).toEqual([
      [edgeId('req_2', 'rating'), 8, 1],
      [edgeId('req_1', 'rating'), 9, -1],
      [edgeId('req_3', 'rating'), 10, -0.25],
    ])
    expect(mergeEdges([], since).map(({ seq }) => seq)).toEqual([1, 2, 3])
  })
})
