import type { Candidate } from '../candidates/candidate.ts'
import type { Start } from './artifact/manifest.ts'
import type { Speaker } from './choose/evidence.ts'
import type { UserStateVector } from './model/packed-state.ts'

export interface RouteQuery {
  tenant: string
  /** On whose behalf: what was measured for them alone counts, too. */
  speaker?: Speaker
  /** The query's embedding, [E]. */
  embedding: Float32Array
  /** How much it looks like agents' work, 0..1 (`toolShare`); undefined = not at all. */
  tools?: number
  /** Tokens. */
  promptTokens: number
  /** The user's state under this router's version, or null: cold start. */
  state: UserStateVector | null
  /** 0..1 replaces the learned trade-off; undefined = learned. */
  costWeight?: number
  /** Which of the people that training knows this tenant's users are like before they say anything; undefined: all. */
  taste?: Start
  /**
   * Candidate that doubts are counted from, as who answers where nothing is known of a user: the tenant's baseline.
   * Undefined, or not among the candidates: everybody's favourite, whom the average new user would have liked most.
   */
  baseline?: string
  /**
   * Time on `performance.now()`'s clock after which a score is useless; undefined = the router's own deadline from now.
   */
  deadline?: number
}

export interface CandidateScore {
  readonly candidate: Candidate
  /** Expected reward, and its standard deviation from what is not known of the user. */
  readonly mean: number
  readonly std: number
  /** Standard deviation of the difference to the baseline or favourite; 0 where nothing is learned of the user. */
  readonly apart?: number
  /** Named parts that add up to `mean`. */
  readonly parts: Readonly<Record<string, number>>
  /** Predicted probability of a good answer. */
  readonly quality: number
  readonly completionTokens: number
  readonly costUsd: number
  /** What the graph read in the query, the same for all its candidates, [Q]; none where no graph ranked. */
  readonly reading?: Float32Array | null
}

/** Scores candidates for a user's query. */
export interface Router {
  /** Artifact version, or the name of a fallback. */
  readonly version: string
  /** `cuda` or `cpu`; null where no graph is run. */
  readonly device: string | null
  /**
   * Scores every candidate of the tenant, in the order given. Throws `RouterError` for NaN, timeouts, or a broken
   * session.
   */
  score(query: RouteQuery, candidates: readonly Candidate[]): Promise<CandidateScore[]>
}

export class RouterError extends Error {
  override readonly name = 'RouterError'
  readonly reason: 'not_finite' | 'all_equal' | 'timeout' | 'session'

  constructor(reason: RouterError['reason'], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.reason = reason
  }
}
