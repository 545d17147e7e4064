/** Turns text into the query vector that the router scores with. */
export interface Embedder {
  /** Kept beside every vector in the log: vectors of different versions never mix. */
  readonly version: string
  /** Length E of a vector. */
  readonly dim: number
  /**
   * A fresh, finite vector of length `dim`. Synchronous where it takes microseconds, a promise where it does not; so a
   * caller on the hot path awaits only what is a promise. Rejects with `EmbedderError`; then the caller routes without
   * a query.
   */
  embed(text: string): Float32Array | Promise<Float32Array>
  /** Releases threads and sockets. */
  close?(): Promise<void>
}

/** An embedder that never waits. */
export interface SyncEmbedder extends Embedder {
  embed(text: string): Float32Array
}

export type EmbedderFault = 'load' | 'timeout' | 'overload' | 'upstream' | 'closed'

/** Messages hold neither the text nor a key. */
export class EmbedderError extends Error {
  override readonly name = 'EmbedderError'
  readonly reason: EmbedderFault

  constructor(reason: EmbedderFault, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.reason = reason
  }
}
