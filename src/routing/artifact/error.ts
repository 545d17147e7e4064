export type ArtifactCheck = 'manifest' | 'file' | 'hash' | 'graph' | 'signature' | 'population' | 'golden' | 'embedder'

/** An artifact that must not be served: which check it failed, and by how much. */
export class ArtifactError extends Error {
  override readonly name = 'ArtifactError'
  readonly check: ArtifactCheck

  constructor(check: ArtifactCheck, message: string, cause?: unknown) {
    super(`${check}: ${message}`, cause === undefined ? undefined : { cause })
    this.check = check
  }
}
