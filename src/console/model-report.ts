import type { InteractionRecord } from '../store/records/codec.ts'
import { eachCandidate } from '../store/records/scored-candidates.ts'
import type { Store } from '../store/store.ts'

/** How often one model answered, what was predicted of it, and what came. */
export interface ModelReport {
  requests: number
  /** Of all requests. */
  share: number
  ratings: number
  /** Mean of the ratings of its answers, -1 to 1; and what was expected of just these answers. Null without any. */
  reward: number | null
  expected_reward: number | null
  /** Dollars of its answers, and what was predicted of them. */
  cost_usd: number
  predicted_cost_usd: number
  /** Ratings by expected reward: points of a calibration plot, lowest first. */
  calibration: { expected: number; reward: number; ratings: number }[]
  /** Who would have answered without it, in these requests: the best of the others, by name. */
  successors: Record<string, number>
}

const BINS = 5

interface Sums {
  requests: number
  rated: { expected: number; reward: number }[]
  cost: number
  predicted: number
  successors: Map<string, number>
}

/**
 * Predictions beside what came, of each model that answered, from the log. Explicit requests count for nothing but
 * requests: nothing was predicted.
 */
export async function reportModels(
  store: Pick<Store, 'readInteractions' | 'readRewards'>,
  filter: { tenant: string; since: number },
): Promise<Record<string, ModelReport>> {
  const ratings = new Map<string, number>()
  for await (const batch of store.readRewards(filter)) {
    for (const { kind, interaction, value } of batch) if (kind === 'rating') ratings.set(interaction, value)
  }
  const models = new Map<string, Sums>()
  let total = 0
  for await (const batch of store.readInteractions(filter)) {
    for (const record of batch) {
      total++
      add(models, record, ratings.get(record.id))
    }
  }
  return Object.fromEntries(
    [...models].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, sums]) => [name, reportOf(sums, total)]),
  )
}

function add(models: Map<string, Sums>, record: InteractionRecord, rating: number | undefined): void {
  const { chosen, costUsd } = record
  const sums: Sums = models.get(chosen) ?? { requests: 0, rated: [], cost: 0, predicted: 0, successors: new Map() }
  models.set(chosen, sums)
  sums.requests++
  sums.cost += costUsd
  const scored = eachCandidate(record.candidates)
  const own = scored.find(({ name }) => name === chosen)
  if (!own || record.reason === 'explicit') return
  sums.predicted += own.predictedCostUsd
  if (rating !== undefined && own.mean !== null) sums.rated.push({ expected: own.mean, reward: rating })
  const next = scored
    .filter(({ name, mean }) => name !== chosen && mean !== null)
    .sort((a, b) => (b.mean ?? 0) - (a.mean ?? 0))[0]
  if (next) sums.successors.set(next.name, (sums.successors.get(next.name) ?? 0) + 1)
}

function reportOf({ requests, rated, cost, predicted, successors }: Sums, total: number): ModelReport {
  return {
    requests,
    share: requests / Math.max(1, total),
    ratings: rated.length,
    reward: meanOf(rated.map(({ reward }) => reward)),
    expected_reward: meanOf(rated.map(({ expected }) => expected)),
    cost_usd: cost,
    predicted_cost_usd: predicted,
    calibration: calibrationOf(rated),
    successors: Object.fromEntries([...successors].sort(([, a], [, b]) => b - a)),
  }
}

/** Equally many ratings in each bin. */
function calibrationOf(rated: Sums['rated']): ModelReport['calibration'] {
  const sorted = rated.toSorted((a, b) => a.expected - b.expected)
  const size = Math.max(1, Math.ceil(sorted.length / BINS))
  return Array.from({ length: Math.ceil(sorted.length / size) }, (_, bin) => {
    const own = sorted.slice(bin * size, (bin + 1) * size)
    return {
      expected: meanOf(own.map(({ expected }) => expected)) ?? 0,
      reward: meanOf(own.map(({ reward }) => reward)) ?? 0,
      ratings: own.length,
    }
  })
}

const meanOf = (values: number[]) =>
  values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
