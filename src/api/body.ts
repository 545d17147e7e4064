import type { IncomingMessage } from 'node:http'
import { GatewayError, invalidRequest } from '../errors.ts'
import type { RequestContext } from '../pipeline/context.ts'
import { FairTimer } from '../runtime/fair-timer.ts'

/** A client on a slow line still sends this much. */
const MIN_BYTES_PER_S = 4_096

/**
 * Reads a request's body up to a size.
 *
 * @param timeoutMs between two pieces, and what a whole body is given on top of its size's share at `minBytesPerS`
 * @throws GatewayError 413 as soon as the declared or the received size is over `maxBytes`; 408 when it is too slow;
 * 400 when it breaks off
 */
export function readBody(
  request: IncomingMessage,
  maxBytes: number,
  timeoutMs: number,
  minBytesPerS = MIN_BYTES_PER_S,
): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) return Promise.reject(tooLarge(maxBytes))
  const encoding = request.headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity') {
    return Promise.reject(
      new GatewayError(`Unsupported content encoding.`, {
        status: 415,
        type: 'invalid_request_error',
        param: 'content-encoding',
      }),
    )
  }
  if (request.destroyed) return Promise.reject(brokenOff())
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const started = performance.now()
    const timer = new FairTimer(timeoutMs, () => fail(bodyTimeout()))
    const done = () => {
      timer.clear()
      request.off('data', onData).off('end', onEnd).off('error', onBreak).off('close', onBreak)
    }
    const fail = (error: GatewayError) => {
      done()
      request.pause()
      reject(error)
    }
    const onData = (chunk: Buffer) => {
      size += chunk.length
      if (size > maxBytes) return fail(tooLarge(maxBytes))
      // A steady upload may take as long as its size takes; one byte now and then may not.
      if (performance.now() - started > timeoutMs + (size / minBytesPerS) * 1_000) return fail(bodyTimeout())
      chunks.push(chunk)
      timer.refresh()
    }
    const onEnd = () => {
      done()
      resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, size))
    }
    const onBreak = () => fail(brokenOff())
    request.on('data', onData).on('end', onEnd).on('error', onBreak).on('close', onBreak)
  })
}

const MAX_SMALL_BYTES = 64 * 1024

/** Reads a body of a few fields, such as a rating or preferences. @throws GatewayError as `readBody` */
export const readSmallBody = ({ incoming, snapshot }: Pick<RequestContext, 'incoming' | 'snapshot'>): Promise<Buffer> =>
  readBody(incoming, MAX_SMALL_BYTES, snapshot.config.server.body_timeout_ms)

const brokenOff = () => invalidRequest('The request body broke off.')

const tooLarge = (maxBytes: number) =>
  new GatewayError(`The request body is over ${maxBytes} bytes.`, {
    status: 413,
    type: 'invalid_request_error',
    code: 'request_too_large',
    headers: { connection: 'close' },
  })

const bodyTimeout = () =>
  new GatewayError('The request body took too long.', {
    status: 408,
    type: 'invalid_request_error',
    shouldRetry: false,
    headers: { connection: 'close' },
  })
