import { readFileSync } from 'node:fs'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer, Server as TlsServer } from 'node:https'
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import type { Config } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import { useAddress } from '../pipeline/address.ts'
import { inStep } from '../runtime/cohort.ts'
import { readTls } from '../runtime/tls.ts'
import { answerCors } from './cors.ts'
import { type ErrorDeps, endSocket, errorResponse, report, sendError } from './errors.ts'
import { Pace } from './pace.ts'

// An ES module's import of `node:http` loads Node's whole fetch, WebSocket among it: 70 ms and 6 MB at every start.
const { createServer } = process.getBuiltinModule('node:http')
const { getRequestListener, RequestError } = createRequire(import.meta.url)(
  '@hono/node-server',
) as typeof import('@hono/node-server')

/** Bytes of all headers together; more is answered with 431. */
const MAX_HEADER_BYTES = 16 * 1024
const MAX_HEADERS = 100
/**
 * Requests of one connection that are in work at once: a client may send the next before it has the answer, and those
 * beyond wait.
 */
const MAX_PIPELINED = 32
/** How often Node looks for connections that are over their time. */
const CHECK_CONNECTIONS_MS = 1_000

/**
 * Connections that have had their last request. Either it can be read in two ways, so that the next bytes may belong to
 * it; or it asked for another protocol, where Node drops the rest of the packet, so that the next bytes may begin in
 * the middle of a request.
 */
const served = new WeakSet<Socket>()

interface Pipeline {
  inWork: number
  waiting: (() => void)[]
  isHeld: boolean
}

const pipelines = new WeakMap<Socket, Pipeline>()

/** Answers a request on Node's own response; resolves with false where it leaves the request untouched. */
export type Shortcut = (request: IncomingMessage, response: ServerResponse) => Promise<boolean>

export interface HttpServerOptions {
  fetch: Parameters<typeof getRequestListener>[0]
  /** Asked before `fetch`. */
  shortcut: Shortcut
  config: Config['server']
  /** Origins whose pages may call; asked for at each request. */
  cors(): Config['cors']
  /** A client that takes nothing of the end of an answer for this long is cut off; asked for at each answer. */
  writeIdleMs(): number
  errors: ErrorDeps
}

/**
 * An HTTP server in front of `fetch` that is hard to hold up: bounded headers, times and connections, answers in the
 * API's shape to broken requests.
 */
export function createHttpServer({ fetch, shortcut, config, cors, writeIdleMs, errors }: HttpServerOptions): Server {
  const options = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: config.headers_timeout_ms,
    // Node's own limit of a whole request; bodies have a nearer one in api/body.ts.
    requestTimeout:
      config.headers_timeout_ms +
      config.body_timeout_ms +
      Math.ceil((config.max_body_bytes / config.body_min_bytes_per_s) * 1_000),
    connectionsCheckingInterval: CHECK_CONNECTIONS_MS,
    keepAliveTimeout: 65_000,
    noDelay: true,
    // Node's own answer has no body; `refuse` gives it one.
    requireHostHeader: false,
  }
  const answer = getRequestListener(fetch, { errorHandler: (error) => refuse(errors, error) })
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    useAddress(request)
    if (answerCors(request, response, cors())) return
    if (!(await shortcut(request, response))) await answer(request, response)
  }
  const pace = new Pace()
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request
    if (served.has(socket)) return
    pace.watch(request)
    response.once('prefinish', () => boundEnd(response, socket, writeIdleMs()))
    const isInvalid = isAmbiguous(request)
    if (isInvalid || isLast(request)) {
      served.add(socket)
      response.shouldKeepAlive = false
    }
    if (isInvalid) sendError(response, report(errors, invalidHttp()))
    else inTurn(socket, response, () => void serve(request, response).catch(() => response.destroy()))
  }
  const server = config.tls
    ? createTlsServer({ ...options, ...tlsOptions(config.tls, config.headers_timeout_ms) }, listener)
    : createServer(options, listener)
  server.maxConnections = mostConnections(config)
  // One more than allowed, so that authentication can tell too many from just enough.
  server.maxHeadersCount = MAX_HEADERS + 1
  server.on('clientError', (error, socket: ClientSocket) => answerClientError(errors, error, socket))
  // A client that waits for a word is told to send its body when it is to be read (api/body.ts), or gets its refusal.
  server.on('checkContinue', (request, response) => void server.emit('request', request, response))
  // Other expectations need not be met (RFC 9110, 10.1.1); Node's own refusal would have no body, and pass by the rules
  // above.
  server.on('checkExpectation', (request, response) => void server.emit('request', request, response))
  return server
}

/**
 * Connections of clients: the rest of the files that this process may have open is for providers, the store and the
 * disk. Without one, who is connected could not be answered.
 */
export const mostConnections = ({ max_connections }: Config['server']): number =>
  Math.min(max_connections, Math.floor(openFiles() / 2))

/** How many this process may have; unbounded where the system does not say. */
function openFiles(): number {
  try {
    const most = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
    return most === undefined ? Number.POSITIVE_INFINITY : Number(most)
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

type TlsConfig = NonNullable<Config['server']['tls']>

/** HTTP/1.1 alone: what keeps requests from being read in two ways is made for it. */
const tlsOptions = (files: TlsConfig, handshakeTimeout: number) => ({
  ...readTls(files),
  ALPNProtocols: ['http/1.1'],
  handshakeTimeout,
})

/** Takes a renewed certificate in; connections that are open keep the one that they began with. */
export function useCertificate(server: Server, { tls }: Config['server']): void {
  if (tls && server instanceof TlsServer) server.setSecureContext(readTls(tls))
}

/**
 * Bounds the end of an answer: all of it is written, and no handler waits for it any more. A client that sends many
 * requests and reads no answer would keep its connection, and in memory what the kernel has no room for.
 */
function boundEnd(response: ServerResponse, socket: Socket, ms: number): void {
  if (socket.writableLength === 0) return
  // Node restarts this timer whenever the client takes something.
  socket.setTimeout(ms)
  // Prepended: Node's own listener then sets the time that a connection has between two requests.
  response.prependOnceListener('finish', () => socket.setTimeout(0))
}

/** Serves a request when fewer than so many of its connection are in work; until then no more of it is read. */
function inTurn(socket: Socket, response: ServerResponse, serve: () => void): void {
  let pipeline = pipelines.get(socket)
  if (!pipeline) {
    pipeline = { inWork: 0, waiting: [], isHeld: false }
    pipelines.set(socket, pipeline)
  }
  const { waiting } = pipeline
  const begin = () => {
    pipeline.inWork++
    response.once('close', () => {
      pipeline.inWork--
      if (socket.destroyed) waiting.length = 0
      waiting.shift()?.()
      if (waiting.length > 0 || !pipeline.isHeld) return
      pipeline.isHeld = false
      socket.resume()
    })
    inStep(serve)
  }
  if (pipeline.inWork < MAX_PIPELINED) begin()
  else {
    waiting.push(begin)
    pipeline.isHeld = true
    socket.pause()
  }
}

/**
 * Requests that Node serves and other servers read differently: a request line without a version (HTTP/0.9), 2.0,
 * chunks under 1.0, which did not have them, and bodies with a further transfer coding.
 */
function isAmbiguous({ httpVersion, headers }: IncomingMessage): boolean {
  const coding = headers['transfer-encoding']
  if (httpVersion !== '1.1') return httpVersion !== '1.0' || coding !== undefined
  return coding !== undefined && coding.toLowerCase() !== 'chunked'
}

/** Under HTTP/1.0, Node keeps a connection for which both `close` and `keep-alive` are asked. */
const isLast = ({ httpVersion, headers }: IncomingMessage) =>
  headers.upgrade !== undefined || (httpVersion === '1.0' && /\bclose\b/i.test(headers.connection ?? ''))

/** A request that parses, but of which no URL can be made: a bad or missing host, a bad target. */
const refuse = (errors: ErrorDeps, error: unknown): Response =>
  errorResponse(report(errors, error instanceof RequestError ? invalidHttp({ connection: 'close' }) : error))

const invalidHttp = (headers: Record<string, string> = {}) =>
  new GatewayError('The request is not valid HTTP.', { status: 400, type: 'invalid_request_error', headers })

const CLIENT_ERRORS: Record<string, { status: number; message: string }> = {
  HPE_HEADER_OVERFLOW: { status: 431, message: 'The request headers are too large.' },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, message: 'The request took too long to arrive.' },
}

/** A socket with two fields of Node's: the answer in work, and the parser of the request. */
type ClientSocket = Socket & {
  _httpMessage?: ServerResponse | null
  parser?: { incoming: IncomingMessage | null } | null
}

function answerClientError(errors: ErrorDeps, error: NodeJS.ErrnoException, socket: ClientSocket): void {
  const { _httpMessage: answer, parser } = socket
  const request = parser?.incoming
  if (socket.writable && error.code !== 'ECONNRESET' && answer && request?.complete) {
    // The broken bytes came after a request that is still being answered: that answer is the last one.
    endAfter(answer, socket)
    return
  }
  // Once an answer has begun, or was given before the broken body, there is nothing left to say.
  const isAnswered = answer ? answer.headersSent : request?.complete === false
  if (!socket.writable || error.code === 'ECONNRESET' || isAnswered) {
    socket.destroy()
    return
  }
  const known = CLIENT_ERRORS[error.code ?? '']
  const told = known
    ? new GatewayError(known.message, { status: known.status, type: 'invalid_request_error' })
    : invalidHttp()
  endSocket(socket, report(errors, told))
}

const lastAnswers = new WeakSet<ServerResponse>()

function endAfter(answer: ServerResponse, socket: Socket): void {
  // Further bytes, further errors.
  if (lastAnswers.has(answer)) return
  lastAnswers.add(answer)
  answer.shouldKeepAlive = false
  answer.once('finish', () => socket.end())
}

/** From now on each answer says that it is the last on its connection, so that clients go elsewhere. */
export function closeAfterAnswers(server: Server): void {
  server.prependListener('request', (_, response: ServerResponse) => {
    response.shouldKeepAlive = false
  })
}

/**
 * Stops taking connections, lets answers in work end until the deadline, then cuts what is left. Resolves when nothing
 * is open any more.
 */
export async function drainServer(server: Server, deadlineMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  const sweep = setInterval(() => server.closeIdleConnections(), 100)
  const cut = setTimeout(() => server.closeAllConnections(), deadlineMs)
  await closed
  clearInterval(sweep)
  clearTimeout(cut)
}
