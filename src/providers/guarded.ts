import type { Api } from '../candidates/candidate.ts'
import { UnsupportedRequest } from '../errors.ts'
import type { ChatBody, ChatRequest, NativeRequest, Span } from '../openai/chat.ts'
import { type Guards, isHarmless } from './guards.ts'

/**
 * The request without guarded fields; they are told in `dropped`. Where it has none, the very request.
 *
 * @param strict nothing may be left off
 * @throws UnsupportedRequest
 */
export function withoutGuarded(request: ChatRequest, guards: Guards, candidate: string, strict: boolean): ChatRequest {
  const { native } = request
  if (native) {
    const found = guardedIn(native.spans, guards, (span) => valueAt(native.raw, span), OWN[native.api])
    const { headers, left } = guardedHeaders(native.headers, guards)
    if (found.length + left.length === 0) return request
    refuseIf(strict, [...found, ...left], candidate)
    const bytes = found.length > 0 ? cut(native, found) : native
    return {
      ...request,
      native: { ...native, ...bytes, headers },
      dropped: merged(request.dropped, [...found, ...left]),
    }
  }
  const { body } = request
  const found = guardedIn(request.spans, guards, (_, field) => body[field])
  if (found.length === 0) return request
  refuseIf(strict, found, candidate)
  const left = { ...body }
  for (const field of found) delete left[field]
  return { ...request, ...cut(request, found), body: left as ChatBody, dropped: merged(request.dropped, found) }
}

/**
 * What a format has of its own, and is ruled in another way: responses are kept where `responses.store` lets them, and
 * what these say of an answer's length is reserved.
 */
const OWN: Readonly<Partial<Record<Api, readonly string[]>>> = {
  responses: ['store', 'max_output_tokens'],
  completions: ['best_of'],
}

function guardedIn(
  spans: ReadonlyMap<string, Span>,
  guards: Guards,
  read: (span: Span, field: string) => unknown,
  except: readonly string[] = [],
): string[] {
  const found: string[] = []
  for (const [field, span] of spans) {
    if (!Object.hasOwn(guards, field) || except.includes(field)) continue
    if (!isHarmless(guards, field, read(span, field))) found.push(field)
  }
  return found
}

/** Headers of a format, each a list; the values that are left out are named with their header. */
function guardedHeaders(headers: NativeRequest['headers'], guards: Guards) {
  const kept: Record<string, string> = {}
  const left: string[] = []
  for (const [name, list] of Object.entries(headers ?? {})) {
    const values = list.split(',').map((value) => value.trim())
    const harmless = values.filter((value) => isHarmless(guards, name, value))
    if (harmless.length > 0) kept[name] = harmless.join(',')
    left.push(...values.filter((value) => !harmless.includes(value)).map((value) => `${name}=${shown(value)}`))
  }
  return { headers: kept, left }
}

/** In a header of ours. */
const shown = (value: string) => value.slice(0, 64).replace(/[^\w.-]/g, '?')

function refuseIf(strict: boolean, fields: readonly string[], candidate: string): void {
  if (!strict) return
  const names = fields.join(', ')
  throw new UnsupportedRequest(`${candidate}: ${names} is not open to clients here.`, fields[0] as string)
}

const valueAt = (raw: Uint8Array, { start, end }: Span): unknown =>
  JSON.parse(Buffer.from(raw.buffer, raw.byteOffset + start, end - start).toString('utf8'))

const merged = (dropped: readonly string[] | undefined, more: readonly string[]) => [
  ...new Set([...(dropped ?? []), ...more]),
]

interface Bytes {
  raw: Uint8Array
  spans: ReadonlyMap<string, Span>
}

/** The other fields, each value the client's own bytes. */
function cut({ raw, spans }: Bytes, fields: readonly string[]): Bytes {
  const pieces: Uint8Array[] = []
  const kept = new Map<string, Span>()
  let length = 0
  for (const [field, span] of spans) {
    if (fields.includes(field)) continue
    const name = Buffer.from(`${length === 0 ? '{' : ','}${JSON.stringify(field)}:`)
    const start = length + name.length
    length = start + span.end - span.start
    kept.set(field, { start, end: length })
    pieces.push(name, raw.subarray(span.start, span.end))
  }
  pieces.push(Buffer.from(length === 0 ? '{}' : '}'))
  return { raw: Buffer.concat(pieces), spans: kept }
}
