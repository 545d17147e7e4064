import type { GraphRouter } from './model/graph-router.ts'

/** What a policy needs of an embedder: queries and cards must be read by the one that the artifact was trained with. */
export interface PolicyEmbedder {
  readonly version: string
  readonly dim: number
  embed(text: string): Float32Array | Promise<Float32Array>
  close?(): Promise<void>
}

/**
 * One artifact, ready to serve: its router and its embedder belong together. A request takes one at its start and keeps
 * it.
 */
export interface Policy {
  /** The artifact's. */
  readonly version: string
  readonly router: GraphRouter
  readonly embedder: PolicyEmbedder
}
