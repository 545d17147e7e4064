import { base64Of, int8FromBase64 } from './bytes.ts'
import type { ConversationState, InteractionSummary, StoredEdge } from './store.ts'

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

const asBytes = (int8: Int8Array) => new Uint8Array(int8.buffer, int8.byteOffset, int8.byteLength)

/** `InteractionSummary` or `ConversationState` as JSON, the embedding in base64. */
export function encodeState(state: InteractionSummary | ConversationState): string {
  return JSON.stringify({ ...state, embedding: packEmbedding(state.embedding) })
}

export function decodeState<T extends InteractionSummary | ConversationState>(json: string): T {
  const state = JSON.parse(json)
  return { ...state, embedding: unpackEmbedding(state.embedding) }
}
