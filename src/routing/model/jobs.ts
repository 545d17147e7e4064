import type { Tensor } from '../../runtime/onnxruntime.ts'
import type { ArtifactCheck } from '../artifact/error.ts'
import type { GraphName } from '../artifact/manifest.ts'
import type { ArtifactFiles } from '../artifact/types.ts'
import type { BeliefJob, Believed } from './believe.ts'

/** By which a thread knows that it is this one. */
export const MODEL_THREAD = 'persona-router/model'

/** Graphs that learning runs. */
export const LEARNING_GRAPHS = ['llm', 'edge', 'user'] as const satisfies readonly GraphName[]
export type LearningGraph = (typeof LEARNING_GRAPHS)[number]

/** A tensor as it travels between threads. */
export interface SentTensor {
  type: 'float32' | 'int64'
  data: Float32Array | BigInt64Array
  dims: readonly number[]
}
export type SentTensors = Record<string, SentTensor>

/** Jobs of the model thread. `key` names an artifact in it. */
export type Job =
  | { op: 'load'; key: number; directory: string; publicKey: string | null }
  | { op: 'open'; key: number; files: ArtifactFiles }
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

/** Of so many numbers. */
export const sizeOf = (dims: readonly number[]): number => dims.reduce((product, size) => product * size, 1)

export const send = (tensors: Record<string, Tensor>): SentTensors =>
  Object.fromEntries(
    Object.entries(tensors).map(([name, { type, data, dims }]) => [name, { type, data, dims } as SentTensor]),
  )
