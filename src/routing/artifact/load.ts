import type { RouterConfig } from '../../config/schema.ts'
import { openGraphOn } from '../model/sessions.ts'
import { modelThread, remoteGraph } from '../model/thread.ts'
import type { Artifact } from './types.ts'

/**
 * Reads and checks a directory without touching anything that serves: manifest, hashes, graphs, signatures, population,
 * golden vectors. All but the scoring graph is read and checked in the model thread, so that requests go on meanwhile.
 *
 * @param publicKey as for `readArtifact`
 * @throws ArtifactError
 */
export async function loadArtifact(
  directory: string,
  device: RouterConfig['device'] = 'cpu',
  publicKey: string | null = null,
): Promise<Artifact> {
  const { key, files } = await modelThread.load(directory, publicKey)
  const { manifest, graphs, golden, population, tasks } = files
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
        score: score.graph,
        llm: remoteGraph(key, files, 'llm'),
        edge: remoteGraph(key, files, 'edge'),
        user: remoteGraph(key, files, 'user'),
      },
      believe: (job) => modelThread.believe(key, files, job),
      population,
      tasks,
      golden,
      release: () => modelThread.release(key),
    }
  } catch (error) {
    modelThread.release(key)
    throw error
  }
}
