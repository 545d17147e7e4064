import type { ConversationState, InteractionSummary, StoredEdge } from './store.ts'

/** float32, little-endian, as they lie in memory on every platform that Node runs on. */
export function floatBytes(values: Float32Array): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength)
}

/** Copies: bytes from a database need not be aligned. */
export function floatsOf(bytes: Uint8Array): Float32Array {
  return new Float32Array(new Uint8Array(bytes).buffer)
}

const HEADER_BYTES = 2

/**
 * An edge in about 300 bytes: length of the JSON part (uint16, little-endian), JSON of all but the embedding, the
 * embedding's int8.
 */
export function encodeEdge({ embedding, ...rest }: StoredEdge): Buffer {
  const json = JSON.stringify({ ...rest, scale: embedding.scale })
  const jsonBytes = Buffer.byteLength(json)
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + jsonBytes + embedding.int8.length)
  bytes.writeUInt16LE(jsonBytes, 0)
  bytes.write(json, HEADER_BYTES)
  bytes.set(asBytes(embedding.int8), HEADER_BYTES + jsonBytes)
  return bytes
}

export function decodeEdge(value: Uint8Array): StoredEdge {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  const end = HEADER_BYTES + bytes.readUInt16LE(0)
  const { scale, ...rest } = JSON.parse(bytes.toString('utf8', HEADER_BYTES, end)) as Omit<StoredEdge, 'embedding'> & {
    scale: number
  }
  return { ...rest, embedding: { int8: new Int8Array(bytes.subarray(end)), scale } }
}

type Embedding = { int8: Int8Array; scale: number } | null

const packEmbedding = (embedding: Embedding) => embedding && { int8: base64Of(embedding.int8), scale: embedding.scale }

const unpackEmbedding = (packed: ReturnType<typeof packEmbedding>): Embedding =>
  packed && { int8: int8FromBase64(packed.int8), scale: packed.scale }

export const base64Of = ({ buffer, byteOffset, byteLength }: Int8Array) =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64')

export function int8FromBase64(base64: string): Int8Array {
  return new Int8Array(Buffer.from(base64, 'base64'))
}

const asBytes = (int8: Int8Array) => new Uint8Array(int8.buffer, int8.byteOffset, int8.byteLength)

/** `InteractionSummary` or `ConversationState` as JSON, the embedding in base64. */
export function encodeState(state: InteractionSummary | ConversationState): string {
  return JSON.stringify({ ...state, embedding: packEmbedding(state.embedding) })
}

export function decodeState<T extends InteractionSummary | ConversationState>(json: string): T {
  const state = JSON.parse(json)
  return { ...state, embedding: unpackEmbedding(state.embedding) }
}
