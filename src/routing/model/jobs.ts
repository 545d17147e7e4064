import type { Tensor } from '../../runtime/onnxruntime.ts'
import type { ArtifactCheck } from '../artifact/error.ts'
import type { GraphName } from '../artifact/manifest.ts'
import type { ArtifactFiles } from '../artifact/types.ts'
import type { BeliefJob, Believed, SentTensor, SentTensors } from './belief-job.ts'

/** By which a thread knows that it is this one. */
export const MODEL_THREAD = 'persona-router/model'

/** Graphs that learning runs. */
export const LEARNING_GRAPHS = ['llm', 'edge', 'user'] as const satisfies readonly GraphName[]
export type LearningGraph = (typeof LEARNING_GRAPHS)[number]

/** Jobs of the model thread. `key` names an artifact in it. */
export type Job =
  | { op: 'load'; key: number; directory: string; publicKey: string | null }
  /** `files`: absent where the thread has just loaded them. */
  | { op: 'open'; key: number; files?: ArtifactFiles }
  | { op: 'run'; key: number; graph: LearningGraph; feeds: SentTensors }
  | { op: 'believe'; key: number; job: BeliefJob }
  | { op: 'release'; key: number }

/** Results by operation. */
export interface Results {
  load: ArtifactFiles
  open: null
  run: SentTensors
  believe: Believed
  release: null
}

export type Answer =
  | { id: number; result: Results[keyof Results] }
  | { id: number; error: string; check: ArtifactCheck | null }

export const send = (tensors: Record<string, Tensor>): SentTensors =>
  Object.fromEntries(
    Object.entries(tensors).map(([name, { type, data, dims }]) => [name, { type, data, dims } as SentTensor]),
  )
