/** A tensor as it travels between threads. */
export interface SentTensor {
  type: 'float32' | 'int64'
  data: Float32Array | BigInt64Array
  dims: readonly number[]
}
export type SentTensors = Record<string, SentTensor>

/** Of so many numbers. */
export const sizeOf = (dims: readonly number[]): number => dims.reduce((product, size) => product * size, 1)

/** What is to be believed of a user: their sums as they were, and rewards that they don't hold yet. */
export interface BeliefJob {
  /** Of `edge.onnx`, a row a reward, oldest first. */
  rewards: SentTensors
  /** So many of them are no part of the sums (any more), but what each says is asked for. */
  gone: number
  /** The block of each, and that of the newest reward of all, whether it could be read or not. */
  blocks: readonly number[]
  newest: number
  /** As they were when the newest reward was of block `from`; null: empty. */
  sums: Float32Array | null
  from: number
  /** What users of the same tenant told of it, [Y]; absent: nothing. */
  tenant?: Float32Array
  /** What the last reward says of its LLM is asked for, too. */
  asksLast: boolean
}

export interface Believed {
  /** [H], without zeros at the end. */
  sums: Float32Array
  /** [S] */
  state: Float32Array
  /** What they tell of their tenant, [Y]. */
  told: Float32Array
  /** The state as it is kept. */
  packed: Uint8Array
  /** What the last reward says of its LLM, [V]; null where it is not asked for, or a message is no finite number. */
  last: Float32Array | null
  /** What the first ones say of their user, those that are gone; null where that is no finite number. */
  gone: (Float32Array | null)[]
}
