import type { QuantisedVector } from '../runtime/quantise.ts'
import { wellFormedJson } from '../runtime/well-formed.ts'
import { base64Of, int8FromBase64 } from './bytes.ts'
import { edgeId } from './history.ts'
import type { ConversationState, InteractionSummary, StoredEdge } from './store.ts'

const HEADER_BYTES = 2

/**
 * An edge as earlier versions kept each by itself: length of the JSON part (uint16, little-endian), JSON of all but the
 * reading, the reading's int8. Still earlier ones had the query's vector in its place. Now all of a user's lie in one
 * block (`history.ts`).
 */
export function encodeEdge(edge: StoredEdge): Buffer {
  const { reading, interaction: _, ...rest } = edge
  const json = JSON.stringify({ ...rest, id: earlierId(edge), scale: reading?.scale ?? 0 })
  const int8 = reading?.int8 ?? NO_BYTES
  const jsonBytes = Buffer.byteLength(json)
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + jsonBytes + int8.length)
  bytes.writeUInt16LE(jsonBytes, 0)
  bytes.write(json, HEADER_BYTES)
  bytes.set(new Uint8Array(int8.buffer, int8.byteOffset, int8.byteLength), HEADER_BYTES + jsonBytes)
  return bytes
}

const NO_BYTES = new Int8Array(0)

/** `<interaction>:<kind>` */
export const earlierId = ({ id, interaction }: Pick<StoredEdge, 'id' | 'interaction'>): string =>
  interaction === undefined ? id : `${interaction}${id.slice(id.indexOf(':'))}`

/** The id is the one that they have today. */
export function decodeEdge(value: Uint8Array): StoredEdge {
  const edge = decodeOldEdge(value)
  const colon = edge.id.indexOf(':')
  const interaction = edge.id.slice(0, colon)
  return { ...edge, id: edgeId(interaction, edge.id.slice(colon + 1)), interaction }
}

/** With the id that it had. */
export function decodeOldEdge(value: Uint8Array): StoredEdge {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  const end = HEADER_BYTES + bytes.readUInt16LE(0)
  const { scale, embedder, ...rest } = JSON.parse(bytes.toString('utf8', HEADER_BYTES, end)) as Omit<
    StoredEdge,
    'reading'
  > & { scale: number; embedder?: string }
  const int8 = new Int8Array(bytes.subarray(end))
  if (embedder !== undefined) {
    return { ...rest, reading: null, reader: '', vector: { embedder, of: { plain: { int8, scale } } } }
  }
  return { ...rest, reading: int8.length > 0 ? { int8, scale } : null }
}

const pack = (vector: QuantisedVector | null) => vector && { int8: base64Of(vector.int8), scale: vector.scale }

const unpack = (packed: ReturnType<typeof pack>): QuantisedVector | null =>
  packed && { int8: int8FromBase64(packed.int8), scale: packed.scale }

/** As JSON, the reading in base64. */
export const encodeSummary = (summary: InteractionSummary): string =>
  wellFormedJson({ ...summary, reading: pack(summary.reading) })

/** Of an earlier version, which kept the vector, nothing of the query is left. */
export function decodeSummary(json: string): InteractionSummary {
  const { reading, reader, vector, ...rest } = JSON.parse(json)
  return { ...rest, reading: unpack(reading ?? null), reader: reader ?? '', vector: vector ?? null }
}

export const decodeConversation = (json: string): ConversationState => {
  const { embedding: _, vector, ...rest } = JSON.parse(json)
  return { ...rest, vector: vector ?? null }
}
