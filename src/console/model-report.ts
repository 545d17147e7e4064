import { restAfter } from '../runtime/rest.ts'
import type { InteractionRecord, RewardRecord } from '../store/records/codec.ts'
import { isSettled } from '../store/records/records.ts'
import { eachCandidate } from '../store/records/scored-candidates.ts'
import type { Store } from '../store/store.ts'

/** Points of a plot of what came over what was predicted, the lowest first. */
export type Calibration = { predicted: number; real: number; answers: number }[]

/** How often one model answered, what was predicted of it, and what came. */
export interface ModelReport {
  requests: number
  /** Of all requests. */
  share: number
  ratings: number
  /** Mean of the ratings of its answers, -1 to 1; and what was expected of just these answers. Null without any. */
  reward: number | null
  expected_reward: number | null
  /** The same by who chose: `route`, `baseline`, `holdout`; `explicit`: the client named it. */
  by_arm: Record<string, { requests: number; ratings: number; reward: number | null }>
  /** Dollars of its answers, and what was predicted of them. */
  cost_usd: number
  predicted_cost_usd: number
  calibration: {
    /** Ratings. */
    reward: Calibration
    /** Of answers that a judge marked: 0 to 1. */
    quality: Calibration
    tokens: Calibration
    cost_usd: Calibration
  }
  removal: Removal
}

/** What if the model were not there: of the requests that it answered. */
export interface Removal {
  /** That asked for it by name: they would be refused. */
  refused: number
  /** Who would have answered the others: the next best by expected reward, the most frequent first. */
  successors: { model: string; requests: number; users: number; cost_usd: number; expected_reward: number }[]
  /** For which nobody else fitted. */
  unanswered: number
}

const BINS = 8

type Pairs = { predicted: number; real: number }[]

interface Successor {
  requests: number
  users: Set<string>
  /** What it would cost more, and be expected to be worth more, in all. */
  cost: number
  reward: number
}

const newSums = () => ({
  requests: 0,
  arms: new Map<string, { requests: number; rewards: number[] }>(),
  rewards: [] as Pairs,
  qualities: [] as Pairs,
  tokens: [] as Pairs,
  costs: [] as Pairs,
  cost: 0,
  refused: 0,
  unanswered: 0,
  successors: new Map<string, Successor>(),
})
type Sums = ReturnType<typeof newSums>

/** Most answers are the same to a plot: so many of the latest are enough. */
const MOST_PAIRS = 20_000

/**
 * Predictions beside what came, of each model that answered, from the log. Explicit requests count for nothing but
 * requests: nothing was predicted.
 */
export async function reportModels(
  store: Pick<Store, 'readInteractions' | 'readRewards'>,
  filter: { tenant: string; since: number },
): Promise<Record<string, ModelReport>> {
  const ratings = new Map<string, number>()
  const marks = new Map<string, number>()
  for await (const batch of store.readRewards(filter)) {
    for (const reward of batch) {
      if (reward.kind === 'rating') ratings.set(reward.interaction, reward.value)
      if (isMark(reward)) marks.set(reward.interaction, (reward.value + 1) / 2)
    }
  }
  const models = new Map<string, Sums>()
  let total = 0
  for await (const batch of store.readInteractions(filter)) {
    for (const record of batch) {
      total++
      const sums = models.get(record.chosen) ?? newSums()
      models.set(record.chosen, sums)
      add(sums, record, ratings.get(record.id), marks.get(record.id))
    }
  }
  const reports: Record<string, ModelReport> = {}
  for (const [name, sums] of [...models].sort(([a], [b]) => (a < b ? -1 : 1))) {
    reports[name] = await reportOf(sums, total)
  }
  return reports
}

/** A comparison of two answers says nothing of how good one is. */
const isMark = ({ kind, preferredModel }: RewardRecord) => kind === 'judge' && preferredModel === null

function add(sums: Sums, record: InteractionRecord, rating: number | undefined, mark: number | undefined): void {
  const { chosen, costUsd, reason, user, predicted, usage } = record
  sums.requests++
  sums.cost += costUsd
  const isNamed = reason === 'explicit'
  const arm = record.arm ?? (isSettled(record) ? reason : 'route')
  const ofArm = sums.arms.get(arm) ?? { requests: 0, rewards: [] }
  sums.arms.set(arm, ofArm)
  ofArm.requests++
  if (rating !== undefined) ofArm.rewards.push(rating)
  if (isNamed) {
    sums.refused++
    return
  }
  const scored = eachCandidate(record.candidates)
  const own = scored.find(({ name }) => name === chosen)
  if (!own) return
  keep(sums.costs, own.predictedCostUsd, costUsd)
  if (rating !== undefined && own.mean !== null) keep(sums.rewards, own.mean, rating)
  if (predicted && record.status < 400) keep(sums.tokens, predicted.completion_tokens, usage.completionTokens)
  if (predicted && mark !== undefined) keep(sums.qualities, predicted.quality, mark)
  const next = scored
    .filter(({ name, mean }) => name !== chosen && mean !== null)
    .sort((a, b) => (b.mean ?? 0) - (a.mean ?? 0))[0]
  if (!next) {
    sums.unanswered++
    return
  }
  const successor = sums.successors.get(next.name) ?? { requests: 0, users: new Set<string>(), cost: 0, reward: 0 }
  sums.successors.set(next.name, successor)
  successor.requests++
  successor.users.add(user)
  successor.cost += next.predictedCostUsd - own.predictedCostUsd
  successor.reward += (next.mean ?? 0) - (own.mean ?? 0)
}

function keep(pairs: Pairs, predicted: number, real: number): void {
  if (pairs.length === MOST_PAIRS) pairs.shift()
  pairs.push({ predicted, real })
}

async function reportOf(sums: Sums, total: number): Promise<ModelReport> {
  const { requests, rewards } = sums
  const arms = [...sums.arms].map(([arm, own]) => [
    arm,
    { requests: own.requests, ratings: own.rewards.length, reward: meanOf(own.rewards) },
  ])
  const successors = [...sums.successors]
    .sort(([, a], [, b]) => b.requests - a.requests)
    .map(([model, { users, cost, reward, ...own }]) => ({
      model,
      requests: own.requests,
      users: users.size,
      cost_usd: cost,
      expected_reward: reward / own.requests,
    }))
  return {
    requests,
    share: requests / Math.max(1, total),
    ratings: rewards.length,
    reward: meanOf(rewards.map(({ real }) => real)),
    expected_reward: meanOf(rewards.map(({ predicted }) => predicted)),
    by_arm: Object.fromEntries(arms),
    cost_usd: sums.cost,
    predicted_cost_usd: sums.costs.reduce((sum, { predicted }) => sum + predicted, 0),
    calibration: {
      reward: await calibrationOf(rewards),
      quality: await calibrationOf(sums.qualities),
      tokens: await calibrationOf(sums.tokens),
      cost_usd: await calibrationOf(sums.costs),
    },
    removal: { refused: sums.refused, successors, unanswered: sums.unanswered },
  }
}

/** Equally many answers in each bin. */
async function calibrationOf(pairs: Pairs): Promise<Calibration> {
  const from = performance.now()
  const sorted = pairs.toSorted((a, b) => a.predicted - b.predicted)
  const size = Math.max(1, Math.ceil(sorted.length / BINS))
  const bins = Array.from({ length: Math.ceil(sorted.length / size) }, (_, bin) => {
    const own = sorted.slice(bin * size, (bin + 1) * size)
    return {
      predicted: meanOf(own.map(({ predicted }) => predicted)) ?? 0,
      real: meanOf(own.map(({ real }) => real)) ?? 0,
      answers: own.length,
    }
  })
  if (pairs.length > 0) await restAfter(performance.now() - from)
  return bins
}

const meanOf = (values: readonly number[]) =>
  values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
