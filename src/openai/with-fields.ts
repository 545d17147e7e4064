import type { Span } from './chat.ts'

interface Bytes {
  raw: Uint8Array
  spans: ReadonlyMap<string, Span>
}

/**
 * The request with some of its top-level fields replaced or added (JSON text) or left out (null); the other values are
 * the client's bytes.
 */
export function withFields({ raw, spans }: Bytes, changes: Readonly<Record<string, string | null>>): Bytes {
  const isSame = Object.entries(changes).every(([field, value]) => value === null && !spans.has(field))
  if (isSame) return { raw, spans }
  const members = new Map<string, Uint8Array>()
  for (const [field, { start, end }] of spans) members.set(field, raw.subarray(start, end))
  for (const [field, value] of Object.entries(changes)) {
    if (value === null) members.delete(field)
    else members.set(field, Buffer.from(value))
  }
  const pieces: Uint8Array[] = []
  const found = new Map<string, Span>()
  let length = 0
  for (const [field, value] of members) {
    const name = Buffer.from(`${length > 0 ? ',' : '{'}${JSON.stringify(field)}:`)
    pieces.push(name, value)
    const start = length + name.length
    length = start + value.length
    found.set(field, { start, end: length })
  }
  pieces.push(Buffer.from(length > 0 ? '}' : '{}'))
  return { raw: Buffer.concat(pieces), spans: found }
}
