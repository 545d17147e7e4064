import type { RouterConfig } from '../../config/schema.ts'
import { hasCudaLibraries } from '../../runtime/cuda.ts'
import { InferenceSession, type SessionOptions, type Tensor, type ValueMetadata } from '../../runtime/onnxruntime.ts'
import { ArtifactError } from '../artifact/error.ts'
import { checkGolden } from '../artifact/golden.ts'
import { type Axis, type Dims, type GraphName, OPTIONAL_OUTPUTS, SIGNATURES, sizeOf } from '../artifact/manifest.ts'
import type { Device, Golden, Graph } from '../artifact/types.ts'

/** One thread a run and no spinning pool: the cores are for requests, the matrices are small. */
const OPTIONS = {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
  logSeverityLevel: 3,
} satisfies SessionOptions

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
): Promise<Graph> {
  const executionProviders = device === 'cuda' ? ['cuda', 'cpu'] : ['cpu']
  const session = await InferenceSession.create(bytes, { ...OPTIONS, executionProviders }).catch((error: Error) => {
    throw new ArtifactError('graph', `${name}.onnx: ${error.message}`, error)
  })
  checkSignature(name, session, dims)
  const graph = fedByName(name, session)
  await checkGolden(name, graph, golden)
  return graph
}

/** `openGraph` on CUDA where it is available (`auto`) or demanded (`cuda`). */
export async function openGraphOn(
  device: RouterConfig['device'],
  ...[name, bytes, dims, golden]: [name: GraphName, bytes: Uint8Array, dims: Dims, golden: Golden]
): Promise<{ graph: Graph; device: Device; note: string | null }> {
  if (device === 'cuda') {
    return { graph: await openGraph(name, bytes, dims, golden, 'cuda'), device: 'cuda', note: null }
  }
  let note: string | null = null
  if (device === 'auto') {
    if (hasCudaLibraries()) {
      try {
        return { graph: await openGraph(name, bytes, dims, golden, 'cuda'), device: 'cuda', note }
      } catch (error) {
        note = `no CUDA, so the CPU: ${(error as Error).message}`
      }
    } else note = 'no CUDA, so the CPU: the CUDA libraries of onnxruntime-node are not installed'
  }
  return { graph: await openGraph(name, bytes, dims, golden), device: 'cpu', note }
}

/** Feeds a graph only the inputs that it takes. */
function fedByName(graph: GraphName, session: InferenceSession): Graph {
  const { inputNames } = session
  if (inputNames.length === Object.keys(SIGNATURES[graph].inputs).length) return session as Graph
  return {
    inputNames,
    run: (feeds) =>
      session.run(Object.fromEntries(inputNames.map((name) => [name, feeds[name] as Tensor]))) as ReturnType<
        Graph['run']
      >,
  }
}

/** Inputs that the gateway can feed, outputs that it reads, and the sizes of both. */
function checkSignature(graph: GraphName, { inputMetadata, outputMetadata }: InferenceSession, dims: Dims): void {
  const { inputs, outputs } = SIGNATURES[graph]
  for (const value of inputMetadata) {
    const axes = inputs[value.name]
    if (!axes) {
      const known = Object.keys(inputs).join(', ')
      throw new ArtifactError('signature', `${graph}.onnx takes ${value.name}; the gateway can give ${known}`)
    }
    checkValue(`${graph}.onnx: input`, value, axes, dims)
  }
  for (const [name, axes] of Object.entries(outputs)) {
    const value = outputMetadata.find((output) => output.name === name)
    if (!value && OPTIONAL_OUTPUTS.has(name)) continue
    if (!value) throw new ArtifactError('signature', `${graph}.onnx gives no ${name}`)
    checkValue(`${graph}.onnx: output`, value, axes, dims)
  }
}

function checkValue(what: string, value: ValueMetadata, axes: readonly Axis[], dims: Dims): void {
  const type = value.name === 'kind' ? 'int64' : 'float32'
  const shape = value.isTensor ? value.shape : []
  const fits =
    value.isTensor &&
    value.type === type &&
    shape.length === axes.length &&
    axes.every((axis, i) => {
      const size = sizeOf(axis, dims)
      // A free axis has a name; an output's fixed one may have a name, too, where shape inference gave up.
      return typeof shape[i] === 'number' ? shape[i] === size : size === null || what.endsWith('output')
    })
  if (fits) return
  const is = value.isTensor ? `${value.type} [${shape.join(', ')}]` : 'no tensor'
  const wants = `${type} [${axes.map((axis) => sizeOf(axis, dims) ?? axis).join(', ')}]`
  throw new ArtifactError('signature', `${what} ${value.name} is ${is}, not ${wants}`)
}
