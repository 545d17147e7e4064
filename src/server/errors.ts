import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { GatewayError } from '../errors.ts'
import type { Logger } from '../observability/logger.ts'
import type { Metrics } from '../observability/metrics.ts'
import { errorBody, type OpenAIError } from '../openai/error.ts'
import { StoreError } from '../store/store.ts'

// See `http-server.ts`.
const { STATUS_CODES } = process.getBuiltinModule('node:http')

export interface ErrorDeps {
  metrics: Metrics
  log: Logger
}

/** An error as the client gets it. */
export interface ErrorReply {
  status: number
  headers: Record<string, string>
  body: string
}

/** Body of an error, as the clients of a route parse it: `errorBody` for OpenAI's. */
export type ErrorShape = (error: OpenAIError) => string

/**
 * Renders an error for a client, counts it, and logs its cause where it has one. Errors that are not for the client
 * become a plain 500.
 */
export function report(
  { metrics, log }: ErrorDeps,
  error: unknown,
  requestId: string = newRequestId(),
  shape: ErrorShape = errorBody,
): ErrorReply {
  const known = asGatewayError(error)
  const { status, code, message, cause } = known
  metrics.rejected.inc({ status, code: code ?? 'none' })
  if (status === 500) log.error({ err: cause ?? error, request: requestId }, 'internal error')
  else if (cause !== undefined) log.warn({ err: cause, request: requestId, status, code }, message)
  return renderError(known, requestId, shape)
}

const newRequestId = () => `req_${randomUUID()}`

export function renderError(error: GatewayError, requestId: string, shape: ErrorShape = errorBody): ErrorReply {
  const { status, retryAfterS, shouldRetry, headers } = error
  return {
    status,
    headers: {
      'content-type': 'application/json',
      'x-request-id': requestId,
      ...(retryAfterS !== undefined && { 'retry-after': String(Math.ceil(retryAfterS)) }),
      ...(shouldRetry !== undefined && { 'x-should-retry': String(shouldRetry) }),
      ...headers,
    },
    body: shape(error),
  }
}

function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  return error instanceof StoreError ? storeAway(error) : internalError(error)
}

const storeAway = (cause: StoreError) =>
  new GatewayError('The gateway cannot reach its store right now.', {
    status: 503,
    type: 'api_error',
    code: 'store_unavailable',
    retryAfterS: 1,
    cause,
  })

const internalError = (cause: unknown) =>
  new GatewayError('The gateway had an internal error while processing your request.', {
    status: 500,
    type: 'api_error',
    code: 'internal_error',
    cause,
  })

export const errorResponse = ({ status, headers, body }: ErrorReply) => new Response(body, { status, headers })

/**
 * Ends a response with an error; one that has begun can only be cut off.
 *
 * @param incoming of a client that may still be sending its body
 */
export function sendError(outgoing: ServerResponse, reply: ErrorReply, incoming?: IncomingMessage): void {
  const { status, headers, body } = reply
  if (outgoing.destroyed) return
  if (outgoing.headersSent) {
    outgoing.destroy()
    return
  }
  const isUnread = incoming !== undefined && !incoming.complete
  outgoing.writeHead(status, {
    ...headers,
    'content-length': Buffer.byteLength(body),
    // Rather another connection than all of a large body that nobody reads.
    ...(isUnread && isLarge(incoming) && { connection: 'close' }),
  })
  if (!isUnread) outgoing.end(body)
  else endLingering(incoming, outgoing, body)
}

const LARGE_BYTES = 1024 * 1024

const isLarge = ({ headers }: IncomingMessage) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > LARGE_BYTES

const LINGER_MS = 2_000
const LINGER_BYTES = 32 * 1024 * 1024

/**
 * Answers a client that is still sending. Closing on it would reset the connection, and it would see that instead of
 * the answer (RFC 9112, 9.6): its bytes are read and dropped for a while.
 */
function endLingering(incoming: IncomingMessage, outgoing: ServerResponse, body: string): void {
  let left = LINGER_BYTES
  const end = () => {
    clearTimeout(timer)
    incoming.pause()
    outgoing.end()
  }
  const timer = setTimeout(end, LINGER_MS)
  outgoing.write(body)
  incoming.once('end', end).once('close', end)
  incoming.on('data', (chunk: Buffer) => {
    left -= chunk.length
    if (left < 0) end()
  })
  incoming.resume()
}

/** Ends a connection with an error where there is no response yet: its request could not be parsed. */
export function endSocket(socket: Socket, { status, headers, body }: ErrorReply): void {
  const all = { ...headers, 'content-length': Buffer.byteLength(body), connection: 'close' }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`)
}
