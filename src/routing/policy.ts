import type { Candidate } from '../candidates/candidate.ts'
import type { RouterConfig } from '../config/schema.ts'
import type { Embedder } from '../embedding/embedder.ts'
import { FAVOURITE_ONLY } from './choose/safe-caution.ts'
import type { CautionQuery, GraphRouter } from './model/graph-router.ts'

/**
 * One artifact, ready to serve: its router and its embedder belong together. A request takes one at its start and keeps
 * it.
 */
export interface Policy {
  /** The artifact's. */
  readonly version: string
  readonly router: GraphRouter
  /** The one that the artifact was trained with: queries and cards must be read by no other. */
  readonly embedder: Embedder
}

/**
 * The configured caution, or what `router.risk` makes of it for this user. Never fails: where it can't be told
 * in time, the baseline answers, or everybody's favourite.
 */
export async function cautionFor(
  { router }: Policy,
  { caution, risk }: Pick<RouterConfig, 'caution' | 'risk'>,
  user: CautionQuery,
  candidates: readonly Candidate[],
): Promise<number> {
  if (risk === undefined) return caution
  return router.cautionOf(user, candidates, { caution, risk }).catch(() => FAVOURITE_ONLY)
}
