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
  { id: 'a', chosen: 'cheap', reason: 'personal', costUsd: 0.002, candidates: scored(0.4, 0.2) },
  { id: 'b', chosen: 'cheap', reason: 'personal', costUsd: 0.004, candidates: scored(0.6, 0.2) },
  { id: 'c', chosen: 'dear', reason: 'explore', costUsd: 0.02, candidates: scored(0.4, 0.3) },
  { id: 'd', chosen: 'dear', reason: 'explicit', costUsd: 0.05, candidates: scored(0.4, 0.3) },
] as InteractionRecord[]

const rewards = [
  { interaction: 'a', kind: 'rating', value: -0.5 },
  { interaction: 'b', kind: 'rating', value: 0.5 },
  { interaction: 'c', kind: 'judge', value: 1 },
] as RewardRecord[]

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
  expect(cheap).toMatchObject({ requests: 2, share: 0.5, ratings: 2, reward: 0, successors: { dear: 2 } })
  expectClose(cheap?.expected_reward ?? 0, 0.5, 1e-6)
  expectClose(cheap?.cost_usd ?? 0, 0.006, 1e-6)
  expectClose(cheap?.predicted_cost_usd ?? 0, 0.002, 1e-6)
  expect(cheap?.calibration.map(({ reward }) => reward)).toEqual([-0.5, 0.5])
  // One was asked for by name: it is counted, and says nothing of predictions. A judge's word is no rating.
  expect(dear).toMatchObject({ requests: 2, ratings: 0, reward: null, expected_reward: null, successors: { cheap: 1 } })
  expectClose(dear?.predicted_cost_usd ?? 0, 0.01, 1e-6)
})
