import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Config } from '../config/schema.ts'

const METHODS = 'GET, POST, PUT, PATCH, DELETE'
/** Field names (RFC 9110, 5.1) with commas between them. */
const HEADER_NAMES = /^[!#$%&'*+\-.^_`|~0-9A-Za-z, ]{1,4096}$/

/** The gateway's own headers that a page may read; others are allowed by the standard. */
const EXPOSED = [
  'x-request-id',
  'request-id',
  ...`model provider reason policy cost-usd saved-usd dropped feedback-url max-tokens limits budget-remaining-usd`
    .split(' ')
    .map((name) => `x-router-${name}`),
  ...['limit', 'remaining', 'reset'].flatMap((what) =>
    ['requests', 'tokens'].map((unit) => `x-ratelimit-${what}-${unit}`),
  ),
  'retry-after',
  'x-should-retry',
  'idempotency-replayed',
].join(', ')

/**
 * Lets pages of the configured origins call `/v1` (CORS, WHATWG Fetch 3.3): headers that the answer will have, and the
 * answer to a preflight, which has no key. Credentials are never allowed: keys come in headers, not in cookies.
 *
 * @returns whether the request has been answered
 */
export function answerCors(
  request: IncomingMessage,
  response: ServerResponse,
  { origins, max_age_s }: Config['cors'],
): boolean {
  const { method, url = '', headers } = request
  if (origins.length === 0 || !url.startsWith('/v1/')) return false
  // A cached answer for one origin must not serve another, nor requests without one.
  response.setHeader('vary', 'Origin')
  const origin = headers.origin
  if (origin === undefined) return false
  const allowed = origins.includes(origin) ? origin : origins.includes('*') ? '*' : null
  if (allowed === null) return false
  response.setHeader('access-control-allow-origin', allowed)
  if (method !== 'OPTIONS' || headers['access-control-request-method'] === undefined) {
    response.setHeader('access-control-expose-headers', EXPOSED)
    return false
  }
  const asked = headers['access-control-request-headers']
  response.writeHead(204, {
    'access-control-allow-methods': METHODS,
    ...(asked !== undefined && HEADER_NAMES.test(asked) && { 'access-control-allow-headers': asked }),
    // A page from the internet asks for a gateway on this machine (WICG Private Network Access).
    ...(headers['access-control-request-private-network'] === 'true' && {
      'access-control-allow-private-network': 'true',
    }),
    'access-control-max-age': String(max_age_s),
    vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
  })
  response.end()
  return true
}
