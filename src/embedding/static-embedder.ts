import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { clipText } from './clip-text.ts'
import { EmbedderError, type SyncEmbedder } from './embedder.ts'
import { writeFeatures } from './features.ts'
import { featuresSchema, fileName, maxCharsSchema } from './spec.ts'
import { VectorSum, type VectorTable } from './vector-sum.ts'
import { type TokenizerFile, WordPiece } from './word-piece.ts'

/** `embedder.json`, as `router_model/embedding/spec.py` writes it. */
const specSchema = z.object({
  schema: z.literal('persona-router/embedder/1'),
  kind: z.literal('static'),
  version: z.string().min(1),
  dim: z.number().int().positive(),
  tokenizer: fileName,
  vectors: fileName,
  dtype: z.literal('int8'),
  scale: z.literal('per_column'),
  rows: z.number().int().positive(),
  columns: z.number().int().positive(),
  max_chars: maxCharsSchema,
  features: featuresSchema.nullable(),
})

export type StaticSpec = z.output<typeof specSchema>

/**
 * The mean of the tokens' vectors, length 1 (zeros where no token is known), then the text features. Sums are integers,
 * so they equal Python's; the rest agrees to float32.
 */
export class StaticEmbedder implements SyncEmbedder {
  readonly version: string
  readonly dim: number
  readonly #spec: StaticSpec
  readonly #tokenizer: WordPiece
  readonly #vectors: VectorSum
  readonly #scale: Float32Array

  constructor(spec: StaticSpec, tokenizer: WordPiece, table: VectorTable) {
    this.version = spec.version
    this.dim = spec.dim
    this.#spec = spec
    this.#tokenizer = tokenizer
    this.#vectors = new VectorSum(table.rows, spec.columns)
    this.#scale = table.scale
  }

  /** Reads a folder that the Python package wrote. Throws `EmbedderError` (`load`) naming what does not fit. */
  static async load(folder: string): Promise<StaticEmbedder> {
    try {
      const spec = specSchema.parse(JSON.parse(await readFile(join(folder, 'embedder.json'), 'utf8')))
      const file = JSON.parse(await readFile(join(folder, spec.tokenizer), 'utf8')) as TokenizerFile
      const table = readTable(await readFile(join(folder, spec.vectors)), spec)
      checkSpec(spec, file)
      return new StaticEmbedder(spec, new WordPiece(file), table)
    } catch (error) {
      throw new EmbedderError('load', `static embedder in ${folder}: ${(error as Error).message}`, error)
    }
  }

  embed(text: string): Float32Array {
    const clipped = clipText(text, this.#spec.max_chars)
    const out = new Float32Array(this.dim)
    this.#writeMean(this.#vectors.sum(this.#tokenizer.encode(clipped)), out)
    if (this.#spec.features) writeFeatures(clipped, text.length, this.#spec.features, out, this.#spec.columns)
    return out
  }

  #writeMean(sums: Int32Array, out: Float32Array): void {
    const scale = this.#scale
    let squares = 0
    for (let i = 0; i < sums.length; i++) {
      const value = sums[i]! * scale[i]!
      squares += value * value
    }
    if (squares === 0) return
    const factor = 1 / Math.sqrt(squares)
    for (let i = 0; i < sums.length; i++) out[i] = sums[i]! * scale[i]! * factor
  }
}

function readTable(file: Buffer, { rows, columns, vectors }: StaticSpec): VectorTable {
  const expected = 4 * columns + rows * columns
  if (file.length !== expected) throw new Error(`${vectors} has ${file.length} bytes, not ${expected}`)
  const scale = new Float32Array(columns)
  for (let i = 0; i < columns; i++) scale[i] = file.readFloatLE(4 * i)
  if (!scale.every((value) => Number.isFinite(value) && value > 0)) throw new Error(`${vectors} has a bad scale`)
  return { scale, rows: new Int8Array(file.buffer, file.byteOffset + 4 * columns, rows * columns) }
}

function checkSpec(spec: StaticSpec, file: TokenizerFile): void {
  const ids = Object.values(file.model?.vocab ?? {})
  if (ids.length !== spec.rows) throw new Error(`${ids.length} tokens, but ${spec.rows} vectors`)
  if (!ids.every((id) => Number.isInteger(id) && id >= 0 && id < spec.rows))
    throw new Error('a token id is out of range')
  if (spec.dim !== spec.columns + (spec.features?.list.length ?? 0))
    throw new Error(`dim ${spec.dim} is not columns plus features`)
}
