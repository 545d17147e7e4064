import type { Embedder } from '../embedding/embedder.ts'
import type { GraphRouter } from './model/graph-router.ts'

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
