import { describe, expect, it } from 'vitest'
import { TradeOffs } from '../../src/learning/trade-offs.ts'
import type { InteractionRecord } from '../../src/store/records/codec.ts'
import { scoredCandidates } from '../../src/store/records/scored-candidates.ts'

/** Two models: one dear and good, one cheap. The router draws each with the given probability. */
const CHEAP = { candidate: { name: 'cheap' }, mean: 0.3, std: 0.1, costUsd: 0.001 }
const DEAR = { candidate: { name: 'dear' }, mean: 0.5, std: 0.1, costUsd: 0.02 }
/** What they really are worth. */
const TRUTH = { cheap: { reward: 0.2, cost: 0.002 }, dear: { reward: 0.6, cost: 0.03 } }

function log(requests: number, share: number, random: () => number): TradeOffs {
  const curve = new TradeOffs()
  for (let i = 0; i < requests; i++) {
    const chosen = random() < share ? 'dear' : 'cheap'
    const record = {
      chosen,
      reason: 'explore',
      status: 200,
      costUsd: TRUTH[chosen].cost,
      candidates: scoredCandidates([CHEAP, DEAR] as never, [1 - share, share], true),
    } as InteractionRecord
    curve.add(record, TRUTH[chosen].reward + (random() - 0.5) * 0.2)
  }
  return curve
}

/** Mulberry32: the same numbers in each run. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

describe('trade-offs', () => {
  it('finds what each model is worth, however seldom it was drawn', async () => {
    for (const share of [0.1, 0.5, 0.9]) {
      const points = await log(4_000, share, seeded(7)).points()
      const frugal = points[0]
      const lavish = points.at(-1)
      expect(frugal?.cost_usd).toBeCloseTo(TRUTH.cheap.cost, 6)
      expect(lavish?.cost_usd).toBeCloseTo(TRUTH.dear.cost, 6)
      for (const [point, { reward }] of [
        [frugal, TRUTH.cheap],
        [lavish, TRUTH.dear],
      ] as const) {
        const [low, high] = point?.reward_interval ?? [1, -1]
        expect(low).toBeLessThan(reward)
        expect(high).toBeGreaterThan(reward)
        expect(high - low).toBeLessThan(0.05)
      }
      // Dearer and better, cheaper and worse: neither is beaten.
      expect(points.every(({ efficient }) => efficient)).toBe(true)
    }
  })

  it('says nothing of what was never tried', async () => {
    const points = await log(500, 0, seeded(3)).points()
    const lavish = points.find(({ reward_per_usd }) => reward_per_usd === 0)
    expect(lavish).toMatchObject({ reward: null, reward_interval: null, effective_ratings: 0 })
  })

  it('leaves out what was asked for by name, failed, or was ranked without a model', async () => {
    const curve = new TradeOffs()
    const candidates = scoredCandidates([CHEAP, DEAR] as never, [0.5, 0.5], true)
    const ranked = scoredCandidates([CHEAP, DEAR] as never, [1, 0], false)
    const record = { chosen: 'cheap', reason: 'explore', status: 200, costUsd: 1, candidates }
    for (const odd of [{ reason: 'explicit' }, { status: 500 }, { candidates: ranked }, { chosen: 'none' }]) {
      curve.add({ ...record, ...odd } as InteractionRecord, 1)
    }
    expect(await curve.points()).toEqual([])
  })
})
