import type { RouterConfig } from '../../config/schema.ts'
import { hasCudaLibraries } from '../../runtime/cuda.ts'
import { InferenceSession, type Tensor } from '../../runtime/onnxruntime.ts'
import { ArtifactError } from '../artifact/error.ts'
import { checkGolden, type Golden } from '../artifact/golden.ts'
import { type Dims, type GraphName, OPTIONAL, SIGNATURES, sizeOf } from '../artifact/manifest.ts'

export type Device = 'cpu' | 'cuda'

/** A graph that can be run, here or in another thread. */
export interface Graph {
  run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>>
}

/** Two cores serve requests, not matrices of a few thousand numbers: one thread a run, no pool that spins. */
const OPTIONS = {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
  logSeverityLevel: 3,
} satisfies InferenceSession.SessionOptions

/**
 * Opens a graph and checks it: signature and golden vectors.
 *
 * @throws ArtifactError
 */
export async function openGraph(
  name: GraphName,
  bytes: Uint8Array,
  dims: Dims,
  golden: Golden,
  device: Device = 'cpu',
): Promise<InferenceSession> {
  const executionProviders = device === 'cuda' ? ['cuda', 'cpu'] : ['cpu']
  const session = await InferenceSession.create(bytes, { ...OPTIONS, executionProviders }).catch((error: Error) => {
    throw new ArtifactError('graph', `${name}.onnx: ${error.message}`, error)
  })
  checkSignature(name, session, dims)
  await checkGolden(name, session as Graph, golden)
  return session
}

/** `openGraph` on CUDA where it can be had, or must be. */
export async function openGraphOn(
  device: RouterConfig['device'],
  ...[name, bytes, dims, golden]: [name: GraphName, bytes: Uint8Array, dims: Dims, golden: Golden]
): Promise<{ session: InferenceSession; device: Device; note: string | null }> {
  if (device === 'cuda') {
    return { session: await openGraph(name, bytes, dims, golden, 'cuda'), device: 'cuda', note: null }
  }
  let note: string | null = null
  if (device === 'auto') {
    if (hasCudaLibraries()) {
      try {
        return { session: await openGraph(name, bytes, dims, golden, 'cuda'), device: 'cuda', note }
      } catch (error) {
        note = `no CUDA, so the CPU: ${(error as Error).message}`
      }
    } else note = 'no CUDA, so the CPU: the CUDA libraries of onnxruntime-node are not installed'
  }
  return { session: await openGraph(name, bytes, dims, golden), device: 'cpu', note }
}

function checkSignature(graph: GraphName, session: InferenceSession, dims: Dims): void {
  const expected = SIGNATURES[graph]
  for (const [side, found, wanted] of [
    ['input', session.inputMetadata, expected.inputs],
    ['output', session.outputMetadata, expected.outputs],
  ] as const) {
    const names = found.map(({ name }) => name)
    const lacking = Object.keys(wanted).filter((name) => !names.includes(name) && !OPTIONAL.has(name))
    if (lacking.length > 0 || !names.every((name) => name in wanted)) {
      const list = Object.keys(wanted).join(', ')
      throw new ArtifactError('signature', `${graph}.onnx has the ${side}s ${names.join(', ')}, not ${list}`)
    }
    for (const value of found) {
      const axes = wanted[value.name] ?? []
      const type = value.name === 'kind' ? 'int64' : 'float32'
      const shape = value.isTensor ? value.shape : []
      const fits =
        value.isTensor &&
        value.type === type &&
        shape.length === axes.length &&
        axes.every((axis, i) => {
          const size = sizeOf(axis, dims)
          // A free axis has a name; an output's fixed one may have a name, too, where shape inference gave up.
          return typeof shape[i] === 'number' ? shape[i] === size : size === null || side === 'output'
        })
      if (fits) continue
      const is = value.isTensor ? `${value.type} [${shape.join(', ')}]` : 'no tensor'
      const wants = `${type} [${axes.map((axis) => sizeOf(axis, dims) ?? axis).join(', ')}]`
      throw new ArtifactError('signature', `${graph}.onnx: ${side} ${value.name} is ${is}, not ${wants}`)
    }
  }
}
