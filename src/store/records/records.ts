import type { Usage } from '../../candidates/usage.ts'

/** How a selection came about: `x-router-reason`, before its detail. */
export type Reason = 'personal' | 'cold_start' | 'sticky' | 'explicit' | 'explore' | 'fallback'

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

/** Who chose: the router, or the baseline, for a while or for good (a user who is held out). */
export type Arm = 'route' | 'baseline' | 'holdout'

/** One try at one provider. */
export interface Attempt {
  candidate: string
  provider: string
  /** HTTP status, null when none came. */
  status: number | null
  /** Kind of error, null when it worked. */
  error: string | null
  ms: number
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

/** One row a request, written after the answer ends, however it ends. */
export interface InteractionRecord {
  id: string
  /** Unix milliseconds. */
  ts: number
  tenant: string
  /** As stored: an HMAC unless the tenant asked for plain ids. */
  user: string
  conversation: string | null
  /** The query vector as used: int8 values in base64, times `scale`; null where none was computed. */
  embedding: { int8: string; scale: number } | null
  embedder: string
  /** Only if the tenant opted in. Kept apart from the log row, so that it can go earlier. */
  text: string | null
  /** Unix milliseconds at which `text` is deleted; with the row where left out. */
  textExpiresAt?: number
  candidates: ScoredCandidates
  /** Artifact version. */
  policy: string
  /** Who answered at last (the first choice where nobody did). */
  chosen: string
  reason: Reason
  attempts: Attempt[]
  usage: Usage
  usageEstimated: boolean
  costUsd: number
  ttftMs: number | null
  totalMs: number
  overheadUs: number
  /** `stop`, `length`, `tool_calls`, …; `error` or `aborted` where the answer did not end by itself. */
  finishReason: string
  /** HTTP status that the client saw. */
  status: number
  stream: boolean
  tools: boolean
  modalities: string[]
  /** The provider's id of the completion, by which feedback may name it. */
  completionId: string | null
  /** Who chose: the router, or the baseline (for a while, or for good: a user who is held out). */
  arm?: Arm
  /** Id of the key that the request came with. */
  key?: string
  /** Name of the API that the client spoke: `chat`, `responses`, `messages`, … */
  endpoint?: string
  /** Dollars that the baseline would have cost for the same tokens; null where there is none. */
  baselineUsd?: number | null
  /** What a rating tells of the router's gain; null where it tells nothing. */
  gain?: GainNote | null
  /** Scores of a shadow policy, where one runs. */
  shadow?: { policy: string; candidates: ScoredCandidates }
}

export const REWARD_KINDS = ['rating', 'preference', 'regeneration', 'edit', 'continuation', 'abort', 'judge'] as const
export type RewardKind = (typeof REWARD_KINDS)[number]

/** What somebody or something thought of an answer; a row of its own, joined by `interaction`. */
export interface RewardRecord {
  interaction: string
  tenant: string
  user: string
  kind: RewardKind
  /** -1 … 1. */
  value: number
  /** Factor on the kind's precision. */
  weight: number
  /** A thumb is a yes or no, a number is a measurement: the model treats them differently. */
  binary: boolean
  ts: number
  preferredModel: string | null
  comment: string | null
}
