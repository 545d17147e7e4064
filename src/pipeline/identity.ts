import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { invalidRequest } from '../errors.ts'
import { KEY_HEADERS } from './authenticate.ts'

const MAX_USER_BYTES = 256

/**
 * Whose request this is: the first of the configured headers that is there, then the body's `safety_identifier`, then
 * `user`, else nobody.
 *
 * @throws GatewayError 400 when the id is longer than 256 bytes
 */
export function userOf(
  request: IncomingMessage,
  headers: readonly string[],
  body?: { safety_identifier?: unknown; user?: unknown },
): string | null {
  for (const name of headers) {
    const value = headerText(request, name)
    if (value) return checked(value, name)
  }
  for (const field of ['safety_identifier', 'user'] as const) {
    const value = body?.[field]
    if (typeof value === 'string' && value !== '') return checked(value, field)
  }
  return null
}

function checked(user: string, param: string): string {
  if (Buffer.byteLength(user) > MAX_USER_BYTES) {
    throw invalidRequest(`Invalid '${param}': at most ${MAX_USER_BYTES} bytes.`, param)
  }
  return user
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
const ASCII = /^[\x00-\x7f]*$/

/** A header's value; Node gives bytes as Latin-1, clients send UTF-8. */
export function headerText(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name]
  if (typeof value !== 'string') return undefined
  if (ASCII.test(value)) return value
  const bytes = Buffer.from(value, 'latin1')
  return isUtf8(bytes) ? bytes.toString('utf8') : value
}

const KEY_NAMES: ReadonlySet<string> = new Set(KEY_HEADERS)

/**
 * Headers that decide who asks, or where to, must be there once: proxies and servers differ in which of two they
 * believe.
 *
 * @throws GatewayError 400
 */
export function refuseRepeatedHeaders(request: IncomingMessage, identityHeaders: readonly string[]): void {
  const raw = request.rawHeaders
  let seen = ''
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase()
    if (name !== 'host' && !KEY_NAMES.has(name) && !identityHeaders.includes(name)) continue
    const mark = `|${name}|`
    if (seen.includes(mark)) throw invalidRequest(`The header '${name}' is there twice.`, name)
    seen += mark
  }
}
