import type { RouterConfig } from '../../config/schema.ts'
import { type Device, type Graph, openGraphOn } from '../model/sessions.ts'
import { modelThread, remoteGraph } from '../model/thread.ts'
import type { Golden } from './golden.ts'
import type { Dims, GraphName, Manifest } from './manifest.ts'

export { type ArtifactCheck, ArtifactError } from './error.ts'

/** A trained router model that has passed every check: graphs, manifest, and evidence on LLMs of the training data. */
export interface Artifact {
  readonly directory: string
  readonly version: string
  readonly manifest: Manifest
  readonly dims: Dims
  /** Where `score` runs. */
  readonly device: Device
  /** Why not CUDA, where that was asked for or tried; else null. */
  readonly deviceNote: string | null
  /**
   * `score` runs in this thread, for requests; the others in the model thread, for rewards. They take one row at a
   * time, where launching hundreds of small kernels on a GPU would cost more than it saves.
   */
  readonly sessions: Readonly<Record<GraphName, Graph>>
  /** Lower-cased name or alias of an LLM -> its evidence, [V]. */
  readonly population: ReadonlyMap<string, Float32Array>
  readonly golden: Golden
  /** Lets go of what the model thread holds of it. */
  release(): void
}

/**
 * Reads and checks a directory without touching anything that serves: manifest, hashes, graphs, signatures, population,
 * golden vectors. All but the scoring graph is read and checked in the model thread, so that requests go on meanwhile.
 *
 * @throws ArtifactError
 */
export async function loadArtifact(directory: string, device: RouterConfig['device'] = 'cpu'): Promise<Artifact> {
  const { key, files } = await modelThread.load(directory)
  const { manifest, graphs, golden, population } = files
  try {
    const score = await openGraphOn(device, 'score', graphs.score, manifest.dims, golden)
    return {
      directory,
      version: manifest.version,
      manifest,
      dims: manifest.dims,
      device: score.device,
      deviceNote: score.note,
      sessions: {
        score: score.session as Graph,
        llm: remoteGraph(key, files, 'llm'),
        edge: remoteGraph(key, files, 'edge'),
        user: remoteGraph(key, files, 'user'),
      },
      population,
      golden,
      release: () => modelThread.release(key),
    }
  } catch (error) {
    modelThread.release(key)
    throw error
  }
}
