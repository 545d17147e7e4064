import { Tensor } from 'onnxruntime-node'
import { z } from 'zod'
import { type Artifact, ArtifactError } from './artifact.ts'
import { GRAPHS, SIGNATURES } from './manifest.ts'
import type { PolicyEmbedder } from './policy.ts'
import type { Sessions } from './sessions.ts'

/** Absolute or relative, whichever is larger. */
const TOLERANCE = 1e-4

const tensorSchema = z.object({
  shape: z.array(z.number().int().nonnegative()),
  dtype: z.enum(['float32', 'int64']),
  data: z.base64(),
})
const caseSchema = z.object({
  inputs: z.record(z.string(), tensorSchema),
  outputs: z.record(z.string(), tensorSchema),
})
const textSchema = z.object({ text: z.string(), vector: z.base64() })
const goldenSchema = z.object({
  graphs: z.record(z.enum(GRAPHS), z.array(caseSchema).min(1)),
  embed: z.array(textSchema),
})

/** A text and the vector that the embedder must give for it. */
export interface GoldenText {
  text: string
  vector: Float32Array
}

/**
 * Runs every golden case: this machine must give the numbers that training saw.
 *
 * @returns the golden texts, for the embedder
 * @throws ArtifactError with the graph, the output, the case and the largest error
 */
export async function checkGolden(sessions: Sessions, data: Buffer): Promise<GoldenText[]> {
  const parsed = goldenSchema.safeParse(json(data))
  if (!parsed.success) throw new ArtifactError('golden', `golden.json: ${z.prettifyError(parsed.error)}`)
  for (const graph of GRAPHS) {
    for (const [number, { inputs, outputs }] of parsed.data.graphs[graph].entries()) {
      const feeds = Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, tensorOf(value)]))
      const found = await sessions[graph].run(feeds).catch((error: Error) => {
        throw new ArtifactError('golden', `${graph}.onnx fails on case ${number}: ${error.message}`, error)
      })
      for (const name of Object.keys(SIGNATURES[graph].outputs)) {
        const expected = outputs[name]
        if (!expected) throw new ArtifactError('golden', `${graph}.onnx: case ${number} lacks the output ${name}`)
        const error = tensorError(found[name] as Tensor, tensorOf(expected))
        if (!(error <= TOLERANCE)) {
          throw new ArtifactError(
            'golden',
            `${graph}.onnx: ${name} of case ${number} is off by ${error.toPrecision(2)} (at most ${TOLERANCE})`,
          )
        }
      }
    }
  }
  return parsed.data.embed.map(({ text, vector }) => ({ text, vector: floatsOf(vector) }))
}

/**
 * The embedder must read texts as the one in training did.
 *
 * @throws ArtifactError
 */
export async function checkEmbedder(embedder: PolicyEmbedder, { manifest, goldenTexts }: Artifact): Promise<void> {
  const { kind, version, dim } = manifest.embedder
  if (embedder.dim !== dim || embedder.version !== version) {
    const found = `${embedder.version} with ${embedder.dim} numbers`
    throw new ArtifactError('embedder', `it was trained with ${version} (${dim} numbers), and the embedder is ${found}`)
  }
  // Others may be far away, and need not give the same bits.
  if (kind !== 'static') return
  for (const [number, { text, vector }] of goldenTexts.entries()) {
    const error = largestError(await embedder.embed(text), vector)
    if (!(error <= TOLERANCE)) {
      throw new ArtifactError(
        'embedder',
        `golden text ${number} is off by ${error.toPrecision(2)} (at most ${TOLERANCE})`,
      )
    }
  }
}

function json(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString())
  } catch (error) {
    throw new ArtifactError('golden', 'golden.json is not JSON', error)
  }
}

function tensorOf({ shape, dtype, data }: z.output<typeof tensorSchema>): Tensor {
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

/** Infinite where lengths differ, NaN where a value is. */
function largestError(found: Float32Array, expected: Float32Array): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY
  let largest = 0
  for (let i = 0; i < found.length; i++) {
    const error = Math.abs(found[i]! - expected[i]!) / Math.max(1, Math.abs(expected[i]!))
    if (!(error <= largest)) largest = error
    if (Number.isNaN(error)) return Number.NaN
  }
  return largest
}
