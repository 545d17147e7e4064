import type { IncomingMessage, ServerResponse } from 'node:http'
import { GatewayError } from '../errors.ts'
import type { Services } from '../parts.ts'
import type { RequestContext } from '../pipeline/context.ts'
import type { Endpoint } from '../pipeline/endpoint.ts'
import { renderError } from './error-handler.ts'

/** The one place where an error of a chat completion becomes an answer. */
export function sendError(
  { metrics, log }: Services,
  { incoming, outgoing, requestId }: RequestContext,
  error: unknown,
  endpoint?: Pick<Endpoint, 'errorBody'>,
): void {
  const { status, headers, body } = renderError(error, requestId, endpoint?.errorBody)
  metrics.rejected.inc({ status, code: (error instanceof GatewayError && error.code) || 'none' })
  if (!(error instanceof GatewayError)) log.error({ err: error, request: requestId }, 'internal error')
  if (outgoing.destroyed) return
  if (outgoing.headersSent) {
    outgoing.destroy()
    return
  }
  outgoing.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) })
  if (incoming.complete) outgoing.end(body)
  else endLingering(incoming, outgoing, body)
}

const LINGER_MS = 2_000
const LINGER_BYTES = 32 * 1024 * 1024

/**
 * Answers a client that is still sending. Closing on it would reset the connection, and it would see that instead of
 * the answer (RFC 9112, 9.6): what it sends is read and dropped, for a while.
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
