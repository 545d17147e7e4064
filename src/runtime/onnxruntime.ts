import { createRequire } from 'node:module'
import type * as Runtime from 'onnxruntime-node'

/** ONNX Runtime with its telemetry off: the only file that may load `onnxruntime-node`. */

// It keeps a device id and a queue of events under $HOME/.cache/Microsoft and looks up Microsoft's collector unless
// this is set before its library loads. Assigned, not defaulted: nothing that the gateway runs may report on it.
process.env.ORT_DISABLE_TELEMETRY = '1'
// Not imported: a bundle (`scripts/build.mjs`) runs imports of packages before all else.
const runtime: typeof Runtime = createRequire(import.meta.url)('onnxruntime-node')

export const { InferenceSession, Tensor } = runtime
export type InferenceSession = Runtime.InferenceSession
export type SessionOptions = Runtime.InferenceSession.SessionOptions
export type ValueMetadata = Runtime.InferenceSession.ValueMetadata
export type Tensor = Runtime.Tensor
