import type { Tensor } from '../../runtime/onnxruntime.ts'
import type { Tasks } from '../choose/tasks.ts'
import type { BeliefJob, Believed } from '../model/belief-job.ts'
import type { Dims, GraphName, Manifest } from './manifest.ts'

export type Device = 'cpu' | 'cuda'

/** A graph that can be run, here or in another thread. */
export interface Graph {
  /** Where it is in this thread: what it takes. */
  readonly inputNames?: readonly string[]
  run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>>
}

/** A tensor in `golden.json`. */
export interface GoldenTensor {
  shape: number[]
  dtype: 'float32' | 'int64'
  /** Little-endian, in base64. */
  data: string
}

/** `golden.json`: what graphs and embedder gave in training. */
export interface Golden {
  graphs: Record<GraphName, { inputs: Record<string, GoldenTensor>; outputs: Record<string, GoldenTensor> }[]>
  embed: { text: string; vector: string }[]
}

export type GraphBytes = Readonly<Record<GraphName, Uint8Array>>

/** An artifact as it lies on disk: read once, so that what was hashed is what is run. */
export interface ArtifactFiles {
  manifest: Manifest
  graphs: GraphBytes
  golden: Golden
  /** Lower-cased name or alias of an LLM -> its evidence, [V]. */
  population: Map<string, Float32Array>
  /** Null where its embedder tells no kinds of tasks apart. */
  tasks: Tasks | null
}

/** A trained router model that has passed every check: graphs, manifest, and evidence on LLMs of the training data. */
export interface Artifact {
  readonly directory: string
  readonly version: string
  readonly manifest: Manifest
  readonly dims: Dims
  /** Where `score` runs. */
  readonly device: Device
  /** Why CUDA is not used, where it was asked for or tried; else null. */
  readonly deviceNote: string | null
  /**
   * `score` runs in this thread, for requests; the others in the model thread, for rewards. They take one row at a
   * time, where launching hundreds of small kernels on a GPU would cost more than it saves.
   */
  readonly sessions: Readonly<Record<GraphName, Graph>>
  /** Lower-cased name or alias of an LLM -> its evidence, [V]. */
  readonly population: ReadonlyMap<string, Float32Array>
  /** Null where its embedder tells no kinds of tasks apart. */
  readonly tasks: Tasks | null
  readonly golden: Golden
  /** Sums, state and messages of a user's rewards, in the model thread. */
  believe(job: BeliefJob): Promise<Believed>
  /** Releases what the model thread holds of it. */
  release(): void
}
