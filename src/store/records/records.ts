import type { Usage } from '../../candidates/usage.ts'

/** How a selection came about: `x-router-reason`, before its detail. */
export const REASONS = ['personal', 'cold_start', 'sticky', 'explicit', 'explore', 'fallback', 'stated'] as const
export type Reason = (typeof REASONS)[number]

/**
 * Somebody said which candidate answers: a request that named it, a user who stated it for such tasks (though it failed
 * and another did). So is what a later version gave a reason for that this one does not know.
 */
export const isSettled = ({ reason, arm }: { reason: Reason; arm?: Arm }): boolean =>
  reason === 'explicit' || reason === 'stated' || arm === 'stated' || !REASONS.includes(reason)

/**
 * The candidates of a request and what was thought of each, as a table: it is made for every request and read for few
 * of them (`eachCandidate`). The same in memory and in a store.
 */
export interface ScoredCandidates {
  names: readonly string[]
  /** `mean`, `std` (where the graph ranked), `predicted_cost_usd`, `propensity`. */
  columns: readonly string[]
  /** Little-endian, [columns, names], in base64. */
  float32: string
}

/** A row of that table. */
export interface ScoredCandidate {
  name: string
  /** Expected reward and its standard deviation; null where a fallback router chose. */
  mean: number | null
  std: number | null
  predictedCostUsd: number
  /**
   * Probability with which this candidate was to be chosen, given everything known. They sum to 1, as far as float32
   * can tell.
   */
  propensity: number
}

/** What chose: the router, the baseline, for a while or for good (a user who is held out), or what a user stated. */
export const ARMS = ['route', 'baseline', 'holdout', 'stated'] as const
export type Arm = (typeof ARMS)[number]

/** In memory alone: neither JSON nor rows have it. */
export const KNOWN_USAGE = Symbol('usage')

/** One try at one provider. */
export interface Attempt {
  candidate: string
  provider: string
  /** HTTP status, null when none came. */
  status: number | null
  /** Kind of error, null when it worked. */
  error: string | null
  ms: number
  /** Dollars of each try, where there was more to pay for than the answer: as was counted, else at most. */
  cost_usd?: number
  /** What a try that gave no answer took, where its provider has told. */
  [KNOWN_USAGE]?: Usage
}

/** What a rating of an answer tells of the router's gain over a baseline (`routing/safety/lift.ts`). */
export interface GainNote {
  /** Name of the candidate. */
  baseline: string
  /** Artifact version. */
  policy: string
  /** Of users, by what was known of them. */
  group: 'new' | 'known' | 'regular'
  /** Importance weight of the answer, and the least and the largest that might have been. */
  weight: number
  least: number
  largest: number
}

export const REWARD_KINDS = ['rating', 'preference', 'regeneration', 'edit', 'continuation', 'abort', 'judge'] as const
export type RewardKind = (typeof REWARD_KINDS)[number]
