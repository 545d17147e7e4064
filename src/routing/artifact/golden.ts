import { z } from 'zod'
import type { Embedder } from '../../embedding/embedder.ts'
import { Tensor } from '../../runtime/onnxruntime.ts'
import { ArtifactError } from './error.ts'
import { GRAPHS, type GraphName, type Manifest, OPTIONAL_OUTPUTS, SIGNATURES } from './manifest.ts'
import type { Golden, GoldenTensor, Graph } from './types.ts'

/** Of an output's largest number: what another machine rounds otherwise grows with that. */
const TOLERANCE = 1e-4
/** An output without a larger number is a zero that rounding left, such as what the silent tell of their tenant. */
const NOTHING = 1e-3

const tensorSchema = z.object({
  shape: z.array(z.number().int().nonnegative()),
  dtype: z.enum(['float32', 'int64']),
  data: z.base64(),
})
const caseSchema = z.object({
  inputs: z.record(z.string(), tensorSchema),
  outputs: z.record(z.string(), tensorSchema),
})
const goldenSchema = z.object({
  graphs: z.record(z.enum(GRAPHS), z.array(caseSchema).min(1)),
  embed: z.array(z.object({ text: z.string(), vector: z.base64() })),
})

/** @throws ArtifactError */
export function parseGolden(json: unknown): Golden {
  const parsed = goldenSchema.safeParse(json)
  if (parsed.success) return parsed.data
  throw new ArtifactError('golden', `golden.json: ${z.prettifyError(parsed.error)}`)
}

/**
 * Runs a graph's golden cases: this machine must give the numbers that training saw.
 *
 * @throws ArtifactError with the graph, the output, the case and the largest error
 */
export async function checkGolden(name: GraphName, graph: Graph, golden: Golden): Promise<void> {
  for (const [number, { inputs, outputs }] of golden.graphs[name].entries()) {
    const feeds = Object.fromEntries(Object.entries(inputs).map(([input, value]) => [input, tensorOf(value)]))
    const found = await graph.run(feeds).catch((error: Error) => {
      throw new ArtifactError('golden', `${name}.onnx fails on case ${number}: ${error.message}`, error)
    })
    for (const output of Object.keys(SIGNATURES[name].outputs)) {
      const expected = outputs[output]
      if (!expected && OPTIONAL_OUTPUTS.has(output)) continue
      if (!expected) throw new ArtifactError('golden', `${name}.onnx: case ${number} lacks the output ${output}`)
      const error = tensorError(found[output] as Tensor, tensorOf(expected))
      if (!(error <= TOLERANCE)) {
        throw new ArtifactError(
          'golden',
          `${name}.onnx: ${output} of case ${number} is off by ${error.toPrecision(2)} (at most ${TOLERANCE})`,
        )
      }
    }
  }
}

/**
 * The embedder must be the one of training, and read texts as it did.
 *
 * @throws ArtifactError
 */
export async function checkEmbedder(embedder: Embedder, trained: Manifest['embedder'], golden: Golden): Promise<void> {
  const { kind, version, dim } = trained
  if (embedder.dim !== dim || embedder.version !== version) {
    const found = `${embedder.version} with ${embedder.dim} numbers`
    throw new ArtifactError('embedder', `it was trained with ${version} (${dim} numbers), and the embedder is ${found}`)
  }
  // Other kinds run elsewhere and need not give the same bits.
  if (kind !== 'static') return
  for (const [number, { text, vector }] of golden.embed.entries()) {
    const error = largestError(await embedder.embed(text), floatsOf(vector))
    if (!(error <= TOLERANCE)) {
      throw new ArtifactError(
        'embedder',
        `golden text ${number} is off by ${error.toPrecision(2)} (at most ${TOLERANCE})`,
      )
    }
  }
}

function tensorOf({ shape, dtype, data }: GoldenTensor): Tensor {
  const bytes = Uint8Array.from(Buffer.from(data, 'base64'))
  const count = shape.reduce((product, size) => product * size, 1)
  if (bytes.length !== count * (dtype === 'int64' ? 8 : 4)) {
    throw new ArtifactError(
      'golden',
      `golden.json: ${bytes.length} bytes for a ${dtype} of shape [${shape.join(', ')}]`,
    )
  }
  return dtype === 'int64'
    ? new Tensor('int64', new BigInt64Array(bytes.buffer), shape)
    : new Tensor('float32', new Float32Array(bytes.buffer), shape)
}

const floatsOf = (base64: string) => new Float32Array(Uint8Array.from(Buffer.from(base64, 'base64')).buffer)

const tensorError = (found: Tensor, expected: Tensor) =>
  found.dims.join() === expected.dims.join()
    ? largestError(found.data as Float32Array, expected.data as Float32Array)
    : Number.POSITIVE_INFINITY

/** As a share of the largest number expected. Infinite where lengths differ, NaN where a value is. */
function largestError(found: Float32Array, expected: Float32Array): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY
  let [error, scale] = [0, 0]
  for (let i = 0; i < found.length; i++) {
    error = Math.max(error, Math.abs(found[i]! - expected[i]!))
    scale = Math.max(scale, Math.abs(expected[i]!))
  }
  return error / Math.max(scale || 1, NOTHING)
}
