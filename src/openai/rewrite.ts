import type { Candidate } from '../candidates/candidate.ts'
import type { FieldRule } from '../candidates/dialect.ts'
import type { ChatRequest, Span } from './chat.ts'
import { parseRawBody } from './raw-body.ts'
import { defaultsFor } from './with-defaults.ts'

export interface RewriteOptions {
  /** Ask for the usage chunk of a streamed answer where the client did not. */
  askUsage: boolean
  /** Fields that the server refuses. */
  omit?: ReadonlySet<string>
  /** Field -> what the server calls it. */
  rename?: ReadonlyMap<string, string>
}

interface Splice extends Span {
  text: string
}

/**
 * The bytes to send to a candidate: `model` replaced, the candidate's defaults added where the request lacks them, and
 * usage asked for. Every other byte is the client's own: spliced, never serialised again, so numbers beyond 2^53 and
 * fields we do not know survive. Fields that the server refuses are left out first; the values of all others are the
 * client's bytes then, too.
 *
 * @returns the pieces, one after the other; where they are small, a single one
 */
export function rewrite(
  given: ChatRequest,
  candidate: Pick<Candidate, 'model' | 'defaults' | 'dialect'>,
  options: RewriteOptions,
): Buffer[] {
  const request = adapt(given, options)
  const { askUsage } = options
  const { raw, spans } = request
  const splices: Splice[] = []
  let inserted = ''
  const set = (field: string, text: string) => {
    const span = spans.get(field)
    if (span) splices.push({ ...span, text })
    else inserted += `${JSON.stringify(field)}:${text},`
  }
  set('model', JSON.stringify(candidate.model))
  if (askUsage && request.stream && !request.wantsUsage) {
    const span = spans.get('stream_options')
    if (span && request.body.stream_options) splices.push(includeUsage(raw, span))
    else set('stream_options', '{"include_usage":true}')
  }
  const { defaults, dialect } = candidate
  if (defaults) {
    const said = Object.fromEntries([...spans.keys()].map((field) => [field, saidOf(request, field)]))
    const renamed = (field: string) => options.rename?.get(field) ?? newName(dialect?.fields[field])
    for (const [field, value] of Object.entries(defaultsFor(said, defaults, renamed))) {
      if (field !== 'model') set(field, JSON.stringify(value))
    }
  }
  if (inserted !== '') {
    const afterBrace = raw.indexOf(0x7b) + 1
    splices.push({ start: afterBrace, end: afterBrace, text: inserted })
  }
  return splice(raw, splices)
}

/** Under its new name a renamed field has the client's own value. */
const saidOf = ({ body, raw, spans }: ChatRequest, field: string): unknown => {
  if (Object.hasOwn(body, field)) return body[field]
  const span = spans.get(field)
  return span && JSON.parse(view(raw, span.start, span.end).toString('utf8'))
}

const newName = (rule: FieldRule | undefined) => (typeof rule === 'object' ? rule.rename : undefined)

/** The bytes of a request in another format, with another `model`. */
export function replaceModel(raw: Uint8Array, spans: ReadonlyMap<string, Span>, model: string): Buffer[] {
  const at = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).indexOf(0x7b) + 1
  const span = spans.get('model')
  const text = JSON.stringify(model)
  return splice(raw, [
    span ? { ...span, text } : { start: at, end: at, text: `"model":${text}${spans.size > 0 ? ',' : ''}` },
  ])
}

/** Sets `include_usage` inside the client's own `stream_options` object. */
function includeUsage(raw: Uint8Array, { start, end }: Span): Splice {
  const bytes = Buffer.from(raw.buffer, raw.byteOffset + start, end - start)
  const { json, spans } = parseRawBody(bytes)
  const span = spans.get('include_usage')
  if (span) return { start: start + span.start, end: start + span.end, text: 'true' }
  const comma = Object.keys(json).length > 0 ? ',' : ''
  return { start: start + 1, end: start + 1, text: `"include_usage":true${comma}` }
}

/** The request without the fields to omit, and with the others under the server's names. */
function adapt(request: ChatRequest, { omit, rename }: RewriteOptions): ChatRequest {
  const { raw, spans } = request
  const isOdd = (field: string) => omit?.has(field) || rename?.has(field)
  if (![...spans.keys()].some(isOdd)) return request
  const members: string[] = []
  const names = new Set(spans.keys())
  for (const [field, { start, end }] of spans) {
    const name = rename?.get(field) ?? field
    // Of two fields that a server calls the same, one goes: it would take either.
    const isTaken = name !== field && names.has(name)
    if (omit?.has(field) || isTaken) continue
    names.add(name)
    members.push(`${JSON.stringify(name)}:${Buffer.from(raw.subarray(start, end)).toString('utf8')}`)
  }
  const bytes = Buffer.from(`{${members.join(',')}}`)
  return { ...request, raw: bytes, spans: parseRawBody(bytes).spans }
}

/** Beyond, a copy costs more than several writes: above all the new pages that it takes. */
const MAX_COPIED_BYTES = 64 * 1024

function splice(raw: Uint8Array, splices: Splice[]): Buffer[] {
  splices.sort((a, b) => a.start - b.start)
  const parts: Buffer[] = []
  let from = 0
  for (const { start, end, text } of splices) {
    parts.push(view(raw, from, start), Buffer.from(text))
    from = end
  }
  parts.push(view(raw, from, raw.length))
  return raw.length > MAX_COPIED_BYTES ? parts : [Buffer.concat(parts)]
}

const view = (raw: Uint8Array, start: number, end: number) =>
  Buffer.from(raw.buffer, raw.byteOffset + start, end - start)
