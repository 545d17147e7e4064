import type { Conversion } from './conversion.ts'
import { parseJson } from './error.ts'
import { isObject } from './is-object.ts'
import type { PlainFacts } from './stream-observer.ts'
import { parseUsage } from './usage.ts'

/** What a client has asked for. */
export interface AskedEmbeddings {
  /** How many inputs are to have a vector. */
  inputs: number
  format: 'float' | 'base64'
  /** Numbers of a vector; null where that is the model's. */
  dimensions: number | null
}

/** What is to be known of an answer. */
export interface EmbeddingsFacts {
  /** Null where some input has no vector: nobody could tell which. */
  facts: PlainFacts | null
  /** Its vectors stand in the order of the inputs, each with its place. */
  isInPlace: boolean
  /** Of vectors that have another length than was asked for, that length; null: they have the right one. */
  otherLength: number | null
}

export function readEmbeddings(
  json: unknown,
  { inputs, dimensions }: Pick<AskedEmbeddings, 'inputs' | 'dimensions'>,
): EmbeddingsFacts {
  const isInPlace = isObject(json) && Array.isArray(json.data) && json.data.every((row, at) => row?.index === at)
  const facts = factsOf(json, inputs)
  return { facts, isInPlace, otherLength: facts && dimensions !== null ? otherLengthIn(json, dimensions) : null }
}

const FLOAT_BYTES = 4
/** Also as half floats, bytes or bits, which some servers tell under fields of their own (`output_dtype`). */
const fits = (length: number, dimensions: number, sizes: readonly number[]) =>
  sizes.some((size) => length === Math.ceil(dimensions * size))

/** What is no list of numbers (sparse, a vector for each token) has no such length. */
function otherLengthIn(json: unknown, dimensions: number): number | null {
  for (const { embedding } of (json as { data: { embedding: unknown }[] }).data) {
    if (typeof embedding === 'string') {
      const bytes = Buffer.byteLength(embedding, 'base64')
      if (!fits(bytes, dimensions, [FLOAT_BYTES, 2, 1, 1 / 8])) return bytes / FLOAT_BYTES
    } else if (Array.isArray(embedding) && typeof embedding[0] === 'number') {
      if (!fits(embedding.length, dimensions, [1, 1 / 8])) return embedding.length
    }
  }
  return null
}

function factsOf(json: unknown, inputs: number): PlainFacts | null {
  if (!isObject(json) || !Array.isArray(json.data) || json.data.length !== inputs) return null
  if (!json.data.every((item) => isObject(item) && isVector(item.embedding))) return null
  return { usage: parseUsage(json.usage), finishReason: 'stop', completionId: null, outputChars: 0 }
}

/** An object: sparse ones, or several kinds at once. */
const isVector = (embedding: unknown) =>
  Array.isArray(embedding) || typeof embedding === 'string'
    ? embedding.length > 0
    : isObject(embedding) && Object.keys(embedding).length > 0

/**
 * Some servers know one format alone; the official SDKs ask for base64 and take nothing else for it. Others tell
 * vectors in an order of their own, or without their places: clients read them one by one.
 *
 * @param json the same, where it has been parsed
 */
export function asAsked(body: Buffer, format: AskedEmbeddings['format'], isInPlace: boolean, json?: unknown): Buffer {
  const isOtherFormat = isOther(body, format)
  if (isInPlace && !isOtherFormat) return body
  const parsed = json ?? parseJson(body)
  if (!isObject(parsed) || !Array.isArray(parsed.data)) return body
  const rows = inPlace(parsed.data.filter(isObject))
  const data = isOtherFormat ? rows.map((row) => ({ ...row, embedding: converted(row.embedding) })) : rows
  return Buffer.from(JSON.stringify({ ...parsed, data }))
}

/** An answer read, and its bytes as they were asked for. */
export const embeddingsAnswer: Conversion<AskedEmbeddings, Pick<EmbeddingsFacts, 'facts' | 'otherLength'>> = {
  module: import.meta.url,
  name: 'embeddingsAnswer',
  run(raw, asked) {
    const json = parseJson(raw)
    const { facts, isInPlace, otherLength } = readEmbeddings(json, asked)
    return { body: facts ? asAsked(raw, asked.format, isInPlace, json) : raw, told: { facts, otherLength } }
  },
}

type Row = Record<string, unknown>

/** By their places, or, where those are missing or make no sense, as they came. */
function inPlace(rows: Row[]): Row[] {
  const isPlaced = new Set(rows.map(({ index }) => index)).size === rows.length
  const sorted = isPlaced && rows.every(({ index }) => Number.isInteger(index)) ? rows.toSorted(byIndex) : rows
  return sorted.map((row, index) => ({ ...row, index }))
}

const byIndex = (a: Row, b: Row) => Number(a.index) - Number(b.index)

const FIRST = /"embedding"\s*:\s*(["[])/
const HEAD_BYTES = 4_096

const isOther = (body: Buffer, format: AskedEmbeddings['format']) => {
  const mark = FIRST.exec(body.toString('latin1', 0, HEAD_BYTES))?.[1]
  return mark !== undefined && (mark === '"') !== (format === 'base64')
}

/** Little-endian float32 in base64, or numbers: each becomes the other. What is of another kind has one form alone. */
function converted(embedding: unknown): unknown {
  if (Array.isArray(embedding) && embedding.every((value) => typeof value === 'number'))
    return Buffer.from(Float32Array.from(embedding).buffer).toString('base64')
  if (typeof embedding !== 'string') return embedding
  const bytes = Buffer.from(embedding, 'base64')
  return Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(4 * index))
}
