import { join } from 'node:path'
import type { EmbedderConfig } from '../config.ts'
import type { Embedder } from './embedder.ts'
import { StaticEmbedder } from './static-embedder.ts'

/** The configured embedder; `static` is the one that the artifact carries. */
export async function openEmbedder(config: EmbedderConfig, artifact: { directory: string }): Promise<Embedder> {
  if (config === 'static') return StaticEmbedder.load(join(artifact.directory, 'embedder'))
  throw new Error('not built yet')
}
