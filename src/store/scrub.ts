import { base64Of, int8FromBase64 } from './bytes.ts'
import type { StoredInteraction } from './records/codec.ts'
import type { KeptVector, ReadVectors, StoredEdge } from './store.ts'

/** How a row that holds a vector in clear reads, as JSON. */
export const CLEAR = '"embedding":{"int8":'

/** A row of the log, without its vector. */
export async function scrubRows(rows: readonly string[], read: ReadVectors): Promise<string[]> {
  const documents = rows.map((json) => JSON.parse(json) as StoredInteraction)
  const readings = await read(
    documents.map(({ tenant, embedder, embedding }) => {
      const { int8, scale } = embedding as { int8: string; scale: number }
      return { tenant, vector: { embedder, of: { plain: { int8: int8FromBase64(int8), scale } } } }
    }),
  )
  return documents.map((document, i) => {
    const found = readings[i]
    const reading = found ? { int8: base64Of(found.reading.int8), scale: found.reading.scale } : null
    return JSON.stringify({ ...document, embedding: null, reading, reader: found?.reader ?? '' })
  })
}

export const isClear = ({ vector }: StoredEdge): boolean => vector !== null && 'plain' in vector.of

/** Edges without their vectors. */
export async function scrubEdges(
  tenant: string,
  edges: readonly StoredEdge[],
  read: ReadVectors,
): Promise<StoredEdge[]> {
  const readings = await read(edges.map(({ vector }) => ({ tenant, vector: vector as KeptVector })))
  return edges.map((edge, i) => ({ ...edge, vector: null, reading: null, reader: '', ...readings[i] }))
}
