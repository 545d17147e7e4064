import { isAscii, isUtf8 } from 'node:buffer'
import { invalidRequest } from '../errors.ts'
import type { Span } from './chat.ts'
import { refuseLookAlikes } from './field-names.ts'
import { stringEnd } from './string-end.ts'

const MAX_DEPTH = 64
/** Values in one body; parsing and validating so many takes about 25 ms at worst, in which nobody else is served. */
export const MAX_VALUES = 32_768

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d]
const isSpace = (byte: number) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

export interface RawBody {
  json: Record<string, unknown>
  /** Top-level field -> where its value lies. */
  spans: Map<string, Span>
}

const ahead = new WeakMap<Uint8Array, RawBody>()

/** Notes what another thread has made of a body. */
export function noteParsed(raw: Buffer, parsed: RawBody): void {
  ahead.set(raw, parsed)
}

/**
 * Parses a JSON object (RFC 8259) and finds its top-level values' bytes. Depth and width are bounded before JSON.parse
 * builds anything. Repeated top-level keys and look-alikes of known fields are refused: parsers differ in which one
 * they take, so the value we authorise might not be the value a provider reads.
 *
 * @throws GatewayError 400
 */
export function parseRawBody(raw: Buffer): RawBody {
  const parsed = ahead.get(raw)
  if (parsed) return parsed
  if (!isUtf8(raw)) throw invalidRequest('The request body is not valid UTF-8.')
  // A character a byte: offsets are the body's own, and strings are searched faster than buffers.
  const bytes = raw.toString('latin1')
  const spans = findTopLevelSpans(bytes)
  let json: unknown
  try {
    json = JSON.parse(isAscii(raw) ? bytes : raw.toString('utf8'))
  } catch {
    throw invalidRequest('We could not parse the JSON body of your request.')
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw invalidRequest('The request body must be a JSON object.')
  }
  refuseLookAlikes(json as Record<string, unknown>)
  return { json: json as Record<string, unknown>, spans }
}

function findTopLevelSpans(bytes: string): Map<string, Span> {
  const spans = new Map<string, Span>()
  let depth = 0
  let values = 0
  let key: string | null = null
  let valueStart = -1
  let valueEnd = -1
  const endValue = () => {
    if (key === null || valueStart < 0) return
    if (spans.has(key)) throw invalidRequest(`Duplicate field '${printable(key)}' in the request body.`, printable(key))
    spans.set(key, { start: valueStart, end: valueEnd })
    key = null
    valueStart = -1
  }
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes.charCodeAt(i)
    if (isSpace(byte)) continue
    if (depth === 1 && key !== null && valueStart < 0 && byte !== COLON) valueStart = i
    switch (byte) {
      case QUOTE: {
        const end = stringEnd(bytes, i + 1)
        if (depth === 1 && key === null) key = decodeKey(bytes.slice(i, end + 1))
        i = end
        break
      }
      case OPEN_BRACE:
      case OPEN_BRACKET:
        if (++depth > MAX_DEPTH) throw invalidRequest(`The request body is nested more than ${MAX_DEPTH} levels deep.`)
        break
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        if (--depth === 0) endValue()
        break
      case COMMA:
        if (++values > MAX_VALUES) throw invalidRequest(`The request body holds more than ${MAX_VALUES} values.`)
        if (depth === 1) endValue()
        break
    }
    if (depth >= 1) valueEnd = i + 1
  }
  return spans
}

const PLAIN_KEY = /^"[ !#-[\]-~]*"$/
/**
 * V8 copies a shorter part of a string; a longer one holds on to the whole, here to a body for as long as its answer
 * takes.
 */
const MIN_SLICED = 13

/** @param quoted Latin-1 of a JSON string, with its quotes */
function decodeKey(quoted: string): string {
  if (quoted.length - 2 < MIN_SLICED && PLAIN_KEY.test(quoted)) return quoted.slice(1, -1)
  try {
    return JSON.parse(Buffer.from(quoted, 'latin1').toString('utf8')) as string
  } catch {
    throw invalidRequest('We could not parse the JSON body of your request.')
  }
}

const printable = (key: string) => key.slice(0, 64).replace(/[^\x20-\x7e]/g, '?')
