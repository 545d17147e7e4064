import { join } from 'node:path'
import type { EmbedderConfig } from '../config/schema.ts'
import { type Embedder, EmbedderError } from './embedder.ts'
import { MinilmEmbedder } from './minilm-embedder.ts'
import { OpenAIEmbedder } from './openai-embedder.ts'
import { StaticEmbedder } from './static-embedder.ts'

/** The part of an artifact that concerns its embedder. */
export interface ArtifactEmbedder {
  directory: string
  manifest: { embedder: { version: string; dim: number } }
}

/** Threads and pools serve all artifacts: one embedder for one configuration. */
const shared = new WeakMap<object, Promise<Embedder>>()

/**
 * The configured embedder; `static` is the one that the artifact carries. Throws `EmbedderError` (`load`), also where
 * the artifact was trained with another one: its graphs would read noise.
 */
export async function openEmbedder(config: EmbedderConfig, artifact: ArtifactEmbedder): Promise<Embedder> {
  const embedder = config === 'static' ? await openStatic(artifact) : await openShared(config)
  const wanted = artifact.manifest.embedder
  if (embedder.version !== wanted.version || embedder.dim !== wanted.dim) {
    throw new EmbedderError(
      'load',
      `the artifact was trained with ${wanted.version} (${wanted.dim}), not with ${embedder.version} (${embedder.dim})`,
    )
  }
  return embedder
}

const openStatic = ({ directory }: ArtifactEmbedder) => StaticEmbedder.load(join(directory, 'embedder'))

function openShared(config: Exclude<EmbedderConfig, 'static'>): Promise<Embedder> {
  let opening = shared.get(config)
  if (opening === undefined) {
    opening = open(config)
    shared.set(config, opening)
    opening.catch(() => shared.delete(config))
  }
  return opening
}

async function open(config: Exclude<EmbedderConfig, 'static'>): Promise<Embedder> {
  if (config.kind === 'minilm') return MinilmEmbedder.load(config.path)
  return new OpenAIEmbedder({
    baseUrl: config.base_url,
    apiKey: config.api_key,
    model: config.model,
    dim: config.dim,
    timeoutMs: config.timeout_ms,
  })
}
