import type { IncomingMessage } from 'node:http'
import { GatewayError, invalidRequest } from '../errors.ts'
import { LARGE_BYTES, parseThread } from '../openai/parse-thread.ts'
import type { RequestContext } from '../pipeline/context.ts'
import { inStep } from '../runtime/cohort.ts'
import { FairTimer } from '../runtime/fair-timer.ts'
import { KeyedQueue } from '../runtime/keyed-queue.ts'
import { inSlices, SLICE_BYTES } from '../runtime/slices.ts'

/** A request whose body is still to come. */
export type BodySource = Pick<RequestContext, 'incoming' | 'outgoing' | 'snapshot' | 'held'>

/**
 * Reads a request's body, and says so to a client that waits for that (RFC 9110, 10.1.1). Its bytes are held for as
 * long as the request lasts.
 *
 * @throws GatewayError 413 as soon as the declared or the received size is over `maxBytes`; 408 when it is too slow;
 * 400 when it breaks off; 429 or 503 where the tenant, or all together, hold too much in memory
 */
export function readBody(source: BodySource, maxBytes = source.snapshot.config.server.max_body_bytes): Promise<Buffer> {
  try {
    beginBody(source, maxBytes, { isHeld: true })
  } catch (error) {
    return Promise.reject(error)
  }
  return receive(source, maxBytes)
}

/** Reads a body that `parseRawBody` is to read: a large one has been parsed then. @throws GatewayError as both */
export async function readJsonBody(context: BodySource & Pick<RequestContext, 'caller'>): Promise<Buffer> {
  const raw = await readBody(context)
  return raw.length > LARGE_BYTES ? parseThread.parse(raw as Buffer<ArrayBuffer>, context.caller.tenant) : raw
}

/** @throws GatewayError what can be told from the head alone */
export function beginBody(source: BodySource, maxBytes: number, { isHeld }: { isHeld: boolean }): void {
  const { incoming, outgoing } = source
  const refused = refusalOf(source, maxBytes, isHeld)
  if (refused) throw refused
  // Behind another answer, Node would put it into the middle of this one.
  if (isWaiting(incoming) && outgoing.socket) outgoing.writeContinue()
}

const MAX_SMALL_BYTES = 64 * 1024

/** Reads a body of a few fields, such as a rating or preferences. @throws GatewayError as `readBody` */
export const readSmallBody = (source: BodySource): Promise<Buffer> => readBody(source, MAX_SMALL_BYTES)

/** As Node tells such requests. */
const isWaiting = ({ httpVersion, headers }: IncomingMessage) =>
  httpVersion === '1.1' && /(?:^|\W)100-continue(?:$|\W)/i.test(headers.expect ?? '')

function refusalOf({ incoming, held }: BodySource, maxBytes: number, isHeld: boolean): GatewayError | null {
  const declared = Number(incoming.headers['content-length'] ?? 0)
  if (declared > maxBytes) return tooLarge(maxBytes)
  const encoding = incoming.headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity') return unsupportedEncoding()
  if (incoming.destroyed) return brokenOff()
  return isHeld ? held.refuses(declared) : null
}

function receive({ incoming, snapshot, held }: BodySource, maxBytes: number): Promise<Buffer> {
  const { body_timeout_ms: timeoutMs, body_min_bytes_per_s: minBytesPerS } = snapshot.config.server
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const started = performance.now()
    const timer = new FairTimer(timeoutMs, () => fail(bodyTimeout()))
    const done = () => {
      timer.clear()
      held.read()
      incoming.off('data', onData).off('end', onEnd).off('error', onBreak).off('close', onBreak)
    }
    const fail = (error: GatewayError) => {
      done()
      held.release()
      incoming.pause()
      reject(error)
    }
    const onData = (chunk: Buffer) => {
      size += chunk.length
      if (size > maxBytes) return fail(tooLarge(maxBytes))
      const refused = held.take(chunk.length)
      if (refused) return fail(refused)
      // A steady upload may take as long as its size takes; one byte now and then may not.
      if (performance.now() - started > timeoutMs + (size / minBytesPerS) * 1_000) return fail(bodyTimeout())
      chunks.push(chunk)
      timer.refresh()
    }
    const onEnd = () => {
      done()
      if (size > SLICE_BYTES) resolve(joined(chunks, size))
      else inStep(() => resolve(Buffer.concat(chunks, size)))
    }
    const onBreak = () => fail(brokenOff())
    held.begin(fail)
    incoming.on('data', onData).on('end', onEnd).on('error', onBreak).on('close', onBreak)
  })
}

/** For a while, a body that is being copied takes twice its size: one at a time. */
const copies = new KeyedQueue()

/** A large body in memory of its own. */
const joined = (chunks: Buffer[], size: number): Promise<Buffer> =>
  copies.run('one', async () => {
    const whole = Buffer.allocUnsafeSlow(size)
    let at = 0
    for await (const slice of inSlices(chunks)) {
      whole.set(slice, at)
      at += slice.length
    }
    return whole
  })

const unsupportedEncoding = () =>
  new GatewayError(`Unsupported content encoding.`, {
    status: 415,
    type: 'invalid_request_error',
    param: 'content-encoding',
  })

export const brokenOff = () => invalidRequest('The request body broke off.')

export const tooLarge = (maxBytes: number) =>
  new GatewayError(`The request body is over ${maxBytes} bytes.`, {
    status: 413,
    type: 'invalid_request_error',
    code: 'request_too_large',
    headers: { connection: 'close' },
  })

export const bodyTimeout = () =>
  new GatewayError('The request body took too long.', {
    status: 408,
    type: 'invalid_request_error',
    shouldRetry: false,
    headers: { connection: 'close' },
  })
