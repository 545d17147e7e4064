import type { Socket } from 'node:net'
import { pipeline, Readable } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw, createZstdDecompress } from 'node:zlib'
import type { buildConnector, Dispatcher } from 'undici'
import { openDispatcher } from '../../runtime/dispatcher.ts'
import type { TlsMaterial } from '../../runtime/tls.ts'
import type { ProviderAnswer } from '../provider.ts'
import { UpstreamError } from '../provider.ts'

export interface HttpClientOptions {
  /** Scheme, host and port; taken from the configuration alone. */
  origin: string
  connectTimeoutMs: number
  maxConnections: number
  /** Address of a proxy, credentials included; none where null or left out. */
  proxy?: string | null
  tls?: TlsMaterial
  /** Offer HTTP/2 where the server speaks TLS. */
  http2?: boolean
}

export interface HttpRequest {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  path: string
  headers: Record<string, string>
  /** One piece or several, one after the other; or pieces as they come, with their whole length where it is known. */
  body?: Buffer | readonly Buffer[] | (AsyncIterable<Buffer> & { readonly length: number | null })
  signal: AbortSignal
  /**
   * Our key: asterisks in the answer, should the provider repeat it ("incorrect API key: …"). One that is cut in two by
   * a packet's end is not seen.
   */
  secret?: string | undefined
}

/** What is shorter is no key, and may well be a part of an answer. */
const MIN_SECRET_CHARS = 12

/** Bytes of an answer that wait for a slow reader before the socket is paused. */
const HIGH_WATER = 64 * 1024

/** RFC 9110, 7.6.1, and what no longer holds once the body is decoded or re-framed. */
const DROPPED = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'content-encoding',
  'set-cookie',
  'alt-svc',
  'strict-transport-security',
])

/**
 * Keep-alive connections to one provider, on an undici pool: `fetch` costs four times as much per request. Redirects
 * are not followed and no timer runs here but the connect timeout; the caller's signal ends the rest.
 */
export class HttpClient {
  readonly #origin: string
  readonly #open: (connections: number) => Dispatcher
  readonly #pool: Dispatcher
  #closing: Promise<void> | null = null

  constructor({ origin, connectTimeoutMs, maxConnections, ...options }: HttpClientOptions) {
    const { proxy = null, tls = {}, http2 = false } = options
    this.#origin = origin
    this.#open = (connections) =>
      openDispatcher({ origin, connectTimeoutMs, connections, proxy, tls, http2, connect: markReuse })
    this.#pool = this.#open(maxConnections)
  }

  /**
   * Sends one request; a connection that was kept alive and breaks before any byte of the answer says nothing about the
   * server, so there is one more try, on a fresh connection.
   *
   * @throws UpstreamError
   */
  async send(request: HttpRequest): Promise<ProviderAnswer> {
    // What has been sent of a stream can't be sent again.
    if (this.#closing || isStream(request.body)) return this.#sendFresh(request)
    try {
      return await exchange(this.#pool, this.#origin, request)
    } catch (error) {
      if (error instanceof UpstreamError && error.fault === 'reset' && wasReused(error.cause))
        return this.#sendFresh(request)
      throw error
    }
  }

  /**
   * Resolves when the last request has ended. A request that comes later all the same (it began before a reload) gets a
   * connection of its own.
   */
  close(): Promise<void> {
    this.#closing ??= this.#pool.close()
    return this.#closing
  }

  async #sendFresh(request: HttpRequest): Promise<ProviderAnswer> {
    const client = this.#open(1)
    const answer = exchange(client, this.#origin, request)
    // Graceful: the connection goes when the answer has ended.
    client.close().catch(() => {})
    return await answer
  }
}

async function exchange(dispatcher: Dispatcher, origin: string, request: HttpRequest): Promise<ProviderAnswer> {
  const { signal, secret = '' } = request
  if (signal.aborted) throw abortError(signal)
  const answer = new UpstreamCall(signal, secret.length < MIN_SECRET_CHARS ? null : Buffer.from(secret))
  dispatcher.dispatch(
    {
      origin,
      method: request.method,
      path: request.path,
      ...payloadOf(request),
    },
    answer,
  )
  const { status, headers } = await answer.started
  const encoding = headers['content-encoding']
  return { status, headers: endToEnd(headers), body: encoding ? decode(answer, String(encoding)) : answer }
}

const isStream = (body: HttpRequest['body']) => body !== undefined && Symbol.asyncIterator in body

/** undici does not know the length of several pieces. */
function payloadOf({ headers, body }: HttpRequest): Pick<Dispatcher.DispatchOptions, 'headers' | 'body'> {
  if (body && Symbol.asyncIterator in body) {
    const length = body.length === null ? {} : { 'content-length': String(body.length) }
    return { headers: { ...headers, ...length }, body: body as unknown as Readable }
  }
  if (!Array.isArray(body)) return body ? { headers, body: body as Buffer } : { headers }
  if (body.length === 1) return { headers, body: body[0] }
  const length = body.reduce((sum, piece) => sum + piece.length, 0)
  return { headers: { ...headers, 'content-length': String(length) }, body: body as unknown as Readable }
}

/** In place and of the same length. The search costs about 0.2 us a chunk. */
function blot(chunk: Buffer, secret: Buffer): void {
  for (let at = chunk.indexOf(secret); at >= 0; at = chunk.indexOf(secret, at)) chunk.fill('*', at, at + secret.length)
}

type ResponseHeaders = Record<string, string | string[] | undefined>

/**
 * One request and its answer: an undici handler that is read as an async iterable. undici's own `request()` puts a Node
 * stream in between, which costs 2 to 3 us a chunk; here a chunk that is awaited goes straight to the reader.
 */
class UpstreamCall implements Dispatcher.DispatchHandler, AsyncIterableIterator<Uint8Array> {
  readonly started: Promise<{ status: number; headers: ResponseHeaders }>
  readonly #signal: AbortSignal
  readonly #start = Promise.withResolvers<{ status: number; headers: ResponseHeaders }>()
  readonly #onAbort: () => void
  #controller: Dispatcher.DispatchController | null = null
  #queue: Uint8Array[] = []
  #queued = 0
  #reader: PromiseWithResolvers<IteratorResult<Uint8Array>> | null = null
  #ended = false
  #error: UpstreamError | null = null
  readonly #secret: Buffer | null

  constructor(signal: AbortSignal, secret: Buffer | null) {
    this.started = this.#start.promise
    this.#signal = signal
    this.#secret = secret
    this.#onAbort = () => this.#fail(abortError(signal))
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#error) controller.abort(this.#error)
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: ResponseHeaders): void {
    if (status >= 200) this.#start.resolve({ status, headers })
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#secret) blot(chunk, this.#secret)
    if (this.#reader) {
      this.#reader.resolve({ value: chunk, done: false })
      this.#reader = null
      return
    }
    this.#queue.push(chunk)
    this.#queued += chunk.length
    if (this.#queued > HIGH_WATER) controller.pause()
  }

  onResponseEnd(): void {
    this.#ended = true
    this.#release()
    this.#reader?.resolve({ value: undefined, done: true })
    this.#reader = null
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#fail(error instanceof UpstreamError ? error : upstreamError(error))
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = this.#queue.shift()
    if (chunk) {
      this.#queued -= chunk.length
      if (this.#queued <= HIGH_WATER && this.#controller?.paused) this.#controller.resume()
      return Promise.resolve({ value: chunk, done: false })
    }
    if (this.#error) return Promise.reject(this.#error)
    if (this.#ended) return Promise.resolve({ value: undefined, done: true })
    this.#reader = Promise.withResolvers()
    return this.#reader.promise
  }

  /** The reader has had enough: the connection is closed unless the answer had ended. */
  return(): Promise<IteratorResult<Uint8Array>> {
    this.#queue = []
    if (!this.#ended) this.#fail(new UpstreamError('aborted', 'the answer was not read to its end'))
    return Promise.resolve({ value: undefined, done: true })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #fail(error: UpstreamError): void {
    if (this.#ended || this.#error) return
    this.#error = error
    this.#release()
    // What came before an abort is of no use; what came before a reset is.
    if (error.fault === 'aborted' || error.fault === 'timeout') this.#queue = []
    this.#start.reject(error)
    this.#reader?.reject(error)
    this.#reader = null
    this.#controller?.abort(error)
  }

  #release(): void {
    this.#signal.removeEventListener('abort', this.#onAbort)
  }
}

function abortError(signal: AbortSignal): UpstreamError {
  return signal.reason instanceof UpstreamError
    ? signal.reason
    : new UpstreamError('aborted', 'the request was aborted', signal.reason)
}

const CONNECT_CODES = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
])
/** The only headers that have a deadline here are those of a proxy's answer to `CONNECT`. */
const PROXY_CODES = new Set(['UND_ERR_PRX_TLS', 'UND_ERR_PRX_CONN', 'UND_ERR_HEADERS_TIMEOUT'])
const RESET_CODES = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'UND_ERR_CLOSED', 'UND_ERR_DESTROYED'])

/** Messages name the kind alone: undici's hold addresses. */
function upstreamError(error: Error & { code?: string }): UpstreamError {
  const code = error.code ?? ''
  const proxyStatus = /^Proxy (?:response|Authentication Required) \((\d+)\)/.exec(error.message)?.[1]
  if (proxyStatus !== undefined) return new UpstreamError('connect', `the proxy refused (${proxyStatus})`, error)
  if (PROXY_CODES.has(code)) return new UpstreamError('connect', 'the proxy could not be used', error)
  if (CONNECT_CODES.has(code)) return new UpstreamError('connect', 'the provider could not be reached', error)
  if (RESET_CODES.has(code)) return new UpstreamError('reset', 'the provider closed the connection', error)
  if (/CERT|TLS|SSL|SIGNATURE/.test(code)) {
    return new UpstreamError('connect', "the provider's certificate was not accepted", error)
  }
  return new UpstreamError('protocol', 'the provider answered with something that is not HTTP', error)
}

const reusedSockets = new WeakSet<Error>()

/** Socket errors arrive without their socket, so each one notes whether answers had come over it before. */
function markReuse(connect: buildConnector.connector): buildConnector.connector {
  return (options, callback) =>
    connect(options, (...result) => {
      const socket: Socket | null = result[1]
      socket?.prependListener('error', (error) => {
        if (socket.bytesRead > 0) reusedSockets.add(error)
      })
      callback(...result)
    })
}

function wasReused(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { socket } = error as { socket?: { bytesRead?: number } }
  return reusedSockets.has(error) || (socket?.bytesRead ?? 0) > 0
}

function endToEnd(headers: ResponseHeaders): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || DROPPED.has(name)) continue
    kept[name] = typeof value === 'string' ? value : value.join(', ')
  }
  return kept
}

/**
 * We ask for `identity`; a provider that compresses all the same is decoded (RFC 9110, 8.4.1), its last coding first. A
 * label without the coding behind it, or of no coding that we know, is no reason to fail: the bytes tell.
 */
async function* decode(body: AsyncIterableIterator<Uint8Array>, encodings: string): AsyncGenerator<Uint8Array> {
  const first = await body.next()
  if (first.done) return
  let stream = Readable.from(startingWith(first.value, body), { objectMode: false, highWaterMark: HIGH_WATER })
  const codings = encodings.toLowerCase().split(',').reverse()
  for (const [index, coding] of codings.entries()) {
    const decoder = decoderOf(coding.trim(), index === 0 ? first.value : null)
    if (decoder) stream = pipeline(stream, decoder, () => {}) as unknown as Readable
  }
  try {
    yield* stream as AsyncIterable<Uint8Array>
  } catch (error) {
    throw error instanceof UpstreamError
      ? error
      : new UpstreamError('protocol', 'the provider sent a body that can not be decoded', error)
  }
}

async function* startingWith(first: Uint8Array, rest: AsyncIterableIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield first
  yield* rest
}

/** @param first the body's first bytes, where they are this coding's own */
function decoderOf(coding: string, first: Uint8Array | null) {
  const [a = 0, b = 0] = first ?? []
  switch (coding) {
    case 'gzip':
    case 'x-gzip':
      return first === null || (a === 0x1f && (b === 0x8b || first.length === 1)) ? createGunzip() : null
    case 'deflate':
      if (first === null || isZlib(a, b, first.length)) return createInflate()
      return isText(first) ? null : createInflateRaw()
    case 'br':
      return createBrotliDecompress()
    case 'zstd':
      return createZstdDecompress()
    default:
      return null
  }
}

/** RFC 1950 has two bytes of header; many servers send the bare RFC 1951 under this name. */
const isZlib = (a: number, b: number, length: number) => (a & 0x0f) === 8 && (length === 1 || ((a << 8) | b) % 31 === 0)

/** The body of an answer that was not compressed at all. */
const isText = (first: Uint8Array) => /^\s*(?:[{[<:]|data:|event:)/.test(latin1(first))

const latin1 = (bytes: Uint8Array) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(64, bytes.length)).toString('latin1')
