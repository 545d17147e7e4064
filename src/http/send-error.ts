import { GatewayError } from '../errors.ts'
import type { Parts } from '../parts.ts'
import { renderError } from './error-handler.ts'
import type { Exchange } from './exchange.ts'

/** The one place where an error of a chat completion becomes an answer. */
export function sendError({ metrics, log }: Parts, { outgoing, requestId }: Exchange, error: unknown): void {
  const { status, headers, body } = renderError(error, requestId)
  metrics.rejected.inc({ status, code: (error instanceof GatewayError && error.code) || 'none' })
  if (!(error instanceof GatewayError)) log.error({ err: error, request: requestId }, 'internal error')
  if (outgoing.destroyed) return
  if (outgoing.headersSent) {
    outgoing.destroy()
    return
  }
  outgoing.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) })
  outgoing.end(body)
}
