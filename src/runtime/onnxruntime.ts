/** ONNX Runtime with its telemetry off: the only file that may load `onnxruntime-node`. */
import './no-telemetry.ts'

export { InferenceSession, Tensor } from 'onnxruntime-node'
