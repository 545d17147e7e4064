import { expect, it } from 'vitest'
import { reportModels } from '../../src/console/model-report.ts'
import type { InteractionRecord, RewardRecord } from '../../src/store/records/codec.ts'
import { scoredCandidates } from '../../src/store/records/scored-candidates.ts'
import { expectClose } from '../support/close.ts'

const scored = (cheap: number, dear: number) =>
  scoredCandidates(
    [
      { candidate: { name: 'cheap' }, mean: cheap, std: 0.1, costUsd: 0.001 },
      { candidate: { name: 'dear' }, mean: dear, std: 0.1, costUsd: 0.01 },
    ] as never,
    [0.5, 0.5],
    true,
  )

const rows = [
  {
    id: 'a',
    user: 'ann',
    chosen: 'cheap',
    reason: 'personal',
    costUsd: 0.002,
    candidates: scored(0.4, 0.2),
    arm: 'route',
  },
  {
    id: 'b',
    user: 'ben',
    chosen: 'cheap',
    reason: 'personal',
    costUsd: 0.004,
    candidates: scored(0.6, 0.2),
    arm: 'holdout',
  },
  { id: 'c', user: 'ann', chosen: 'dear', reason: 'explore', costUsd: 0.02, candidates: scored(0.4, 0.3) },
  { id: 'd', user: 'ann', chosen: 'dear', reason: 'explicit', costUsd: 0.05, candidates: scored(0.4, 0.3) },
].map((row) => ({
  ...row,
  status: 200,
  usage: { completionTokens: 100 },
  predicted: { quality: 0.8, completion_tokens: 120 },
})) as unknown as InteractionRecord[]

const rewards = [
  { interaction: 'a', kind: 'rating', value: -0.5 },
  { interaction: 'b', kind: 'rating', value: 0.5 },
  { interaction: 'c', kind: 'judge', value: 0.5 },
  // Of two answers the better one: no mark of either.
  { interaction: 'b', kind: 'judge', value: 1, preferredModel: 'cheap' },
].map((row) => ({ preferredModel: null, ...row })) as RewardRecord[]

const store = {
  async *readInteractions() {
    yield rows.slice(0, 2)
    yield rows.slice(2)
  },
  async *readRewards() {
    yield rewards
  },
}

it('sets what was predicted beside what came, by model', async () => {
  const { cheap, dear } = await reportModels(store, { tenant: 't', since: 0 })
  expect(cheap).toMatchObject({ requests: 2, share: 0.5, ratings: 2, reward: 0 })
  expect(cheap?.by_arm).toEqual({
    route: { requests: 1, ratings: 1, reward: -0.5 },
    holdout: { requests: 1, ratings: 1, reward: 0.5 },
  })
  expectClose(cheap?.expected_reward ?? 0, 0.5, 1e-6)
  expectClose(cheap?.cost_usd ?? 0, 0.006, 1e-6)
  expectClose(cheap?.predicted_cost_usd ?? 0, 0.002, 1e-6)
  expect(cheap?.calibration.reward.map(({ real }) => real)).toEqual([-0.5, 0.5])
  expect(cheap?.calibration.tokens.at(-1)).toEqual({ predicted: 120, real: 100, answers: 1 })
  expect(cheap?.calibration.quality).toEqual([])
  // One was asked for by name: it is counted, and says nothing of predictions. A judge's word is no rating.
  expect(dear).toMatchObject({ requests: 2, ratings: 0, reward: null, expected_reward: null })
  expect(dear?.calibration.quality).toEqual([{ predicted: 0.8, real: 0.75, answers: 1 }])
  expectClose(dear?.predicted_cost_usd ?? 0, 0.01, 1e-6)
})

it('counts an answer in place of whom the user stated as stated', async () => {
  const [one] = rows as [InteractionRecord]
  const failed = { ...one, reason: 'fallback' as const, arm: 'stated' as const }
  const of = {
    ...store,
    readInteractions: async function* () {
      yield [failed]
    },
  }
  expect(Object.keys((await reportModels(of, { tenant: 't', since: 0 })).cheap?.by_arm ?? {})).toEqual(['stated'])
})

it('says who would answer without a model, at what cost, and who would be refused', async () => {
  const { cheap, dear } = await reportModels(store, { tenant: 't', since: 0 })
  expect(cheap?.removal).toMatchObject({ refused: 0, unanswered: 0 })
  const [successor] = cheap?.removal.successors ?? []
  expect(successor).toMatchObject({ model: 'dear', requests: 2, users: 2 })
  expectClose(successor?.cost_usd ?? 0, 0.018, 1e-6)
  expectClose(successor?.expected_reward ?? 0, -0.3, 1e-6)
  expect(dear?.removal).toMatchObject({ refused: 1, successors: [{ model: 'cheap', requests: 1, users: 1 }] })
})
