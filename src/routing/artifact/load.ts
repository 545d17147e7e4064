import type { RouterConfig } from '../../config/schema.ts'
import type { BeliefJob } from '../model/belief-job.ts'
import { remoteGraph } from '../model/remote-graph.ts'
import { openGraphOn } from '../model/sessions.ts'
import { modelThread } from '../model/thread.ts'
import type { Artifact } from './types.ts'

/** An artifact whose manifest and files are sound, and which may be used once `checked` has resolved. */
export interface OpenedArtifact {
  artifact: Artifact
  /** Rejects with an ArtifactError; the artifact has been released then. */
  checked: Promise<unknown>
}

/**
 * Reads and checks a directory without touching anything that serves: manifest, hashes, graphs, signatures, population,
 * golden vectors. All but the scoring graph is read and checked in the model thread, so that requests go on meanwhile.
 *
 * @param publicKey as for `readArtifact`
 * @internal tests wait for all of it
 * @throws ArtifactError
 */
export async function loadArtifact(
  ...of: [directory: string, device?: RouterConfig['device'], publicKey?: string | null]
): Promise<Artifact> {
  const { artifact, checked } = await openArtifact(...of)
  await checked
  return artifact
}

/** As `loadArtifact`, but what the model thread checks is not waited for: there is more to open meanwhile. */
export async function openArtifact(
  directory: string,
  device: RouterConfig['device'] = 'cpu',
  publicKey: string | null = null,
): Promise<OpenedArtifact> {
  const { key, files, opened } = await modelThread.load(directory, publicKey)
  const { manifest, graphs, golden, population, tasks } = files
  const release = () => modelThread.release(key)
  const checked = opened.catch((error) => {
    release()
    throw error
  })
  checked.catch(() => {})
  try {
    const score = await openGraphOn(device, 'score', graphs.score, manifest.dims, golden)
    const artifact = {
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
      believe: (job: BeliefJob) => modelThread.believe(key, files, job),
      population,
      tasks,
      golden,
      release,
    }
    return { artifact, checked }
  } catch (error) {
    // What the thread has found is told first.
    await checked
    release()
    throw error
  }
}
