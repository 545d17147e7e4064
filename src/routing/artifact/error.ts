export type ArtifactCheck =
  | 'manifest'
  | 'file'
  | 'hash'
  | 'graph'
  | 'signature'
  | 'population'
  | 'golden'
  | 'embedder'
  | 'signed'
  | 'tasks'

/** An artifact that failed a check and must not be served. */
export class ArtifactError extends Error {
  override readonly name = 'ArtifactError'
  readonly check: ArtifactCheck

  constructor(check: ArtifactCheck, message: string, cause?: unknown) {
    super(`${check}: ${message}`, cause === undefined ? undefined : { cause })
    this.check = check
  }
}
