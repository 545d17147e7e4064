import type { Span } from './chat.ts'
import { parseRawBody } from './raw-body.ts'

/**
 * The request with some of its top-level fields replaced (JSON text) or left out (null); the other values are the
 * client's bytes.
 */
export function withFields(
  { raw, spans }: { raw: Uint8Array; spans: ReadonlyMap<string, Span> },
  changes: Readonly<Record<string, string | null>>,
): { raw: Uint8Array; spans: ReadonlyMap<string, Span> } {
  const isSame = Object.entries(changes).every(([field, value]) => value === null && !spans.has(field))
  if (isSame) return { raw, spans }
  const members = new Map<string, string>()
  for (const [field, { start, end }] of spans)
    members.set(field, Buffer.from(raw.subarray(start, end)).toString('utf8'))
  for (const [field, value] of Object.entries(changes)) {
    if (value === null) members.delete(field)
    else members.set(field, value)
  }
  const bytes = Buffer.from(`{${[...members].map(([field, value]) => `${JSON.stringify(field)}:${value}`).join(',')}}`)
  return { raw: bytes, spans: parseRawBody(bytes).spans }
}
