/** ONNX Runtime with its telemetry off: the only file that may load `onnxruntime-node`. */
import { createRequire } from 'node:module'
import type * as Runtime from 'onnxruntime-node'
import './no-telemetry.ts'

// Not imported: a bundle (`scripts/build.mjs`) runs imports of packages before all else.
const runtime: typeof Runtime = createRequire(import.meta.url)('onnxruntime-node')

export const { InferenceSession, Tensor } = runtime
export type InferenceSession = Runtime.InferenceSession
export type SessionOptions = Runtime.InferenceSession.SessionOptions
export type ValueMetadata = Runtime.InferenceSession.ValueMetadata
export type Tensor = Runtime.Tensor
