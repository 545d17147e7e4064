import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface SeenRequest {
  method: string
  path: string
  headers: Record<string, string>
  body: Buffer
  /** Which connection it came over, counted from 0. */
  connection: number
}

/** One exchange as a script sees it: bytes may be sent in any way, or not at all. */
export class Exchange {
  readonly request: SeenRequest
  readonly socket: Socket

  constructor(request: SeenRequest, socket: Socket) {
    this.request = request
    this.socket = socket
  }

  /** Resolves when the other side has closed the connection. */
  get closed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.socket.closed) resolve()
      else this.socket.once('close', () => resolve())
    })
  }

  get json(): Record<string, unknown> {
    return JSON.parse(this.request.body.toString('utf8'))
  }

  /** Status line and headers; without a content-length the body is sent in chunks (RFC 9112, 7.1). */
  head(status: number, headers: Record<string, string> = {}): void {
    this.socket.write(
      [
        `HTTP/1.1 ${status} Scripted`,
        ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
        '',
        '',
      ].join('\r\n'),
    )
  }

  raw(bytes: string | Buffer): void {
    this.socket.write(bytes)
  }

  chunk(bytes: string | Buffer): void {
    const data = Buffer.from(bytes as string)
    if (data.length === 0) return
    this.socket.write(Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`), data, Buffer.from('\r\n')]))
  }

  end(): void {
    this.socket.write('0\r\n\r\n')
  }

  /** A whole answer. */
  reply(status: number, body: unknown, headers: Record<string, string> = {}): void {
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
    this.head(status, { 'content-type': 'application/json', ...headers, 'content-length': String(bytes.length) })
    this.socket.write(bytes)
  }

  /** The head of an event stream. */
  stream(headers: Record<string, string> = {}): void {
    this.head(200, { 'content-type': 'text/event-stream', ...headers, 'transfer-encoding': 'chunked' })
  }

  /** One event with a JSON object. */
  event(data: unknown): void {
    this.chunk(`data: ${JSON.stringify(data)}\n\n`)
  }

  /** RST instead of FIN. */
  reset(): void {
    this.socket.resetAndDestroy()
  }

  close(): void {
    this.socket.end()
  }

  sleep(ms: number): Promise<void> {
    return sleep(ms)
  }

  /** Does something again and again until the other side closes. */
  async every(ms: number, action: () => void): Promise<void> {
    const timer = setInterval(action, ms)
    action()
    await this.closed
    clearInterval(timer)
  }
}

export type Script = (exchange: Exchange) => void | Promise<void>

export interface Upstream {
  /** `http://127.0.0.1:<port>` */
  origin: string
  port: number
  requests: SeenRequest[]
  /** Connections accepted so far. */
  connections: number
  /** Connections that are open now. */
  readonly open: number
  /** Exchanges whose script is still running: it ends when the other side closes, where it waits for that. */
  busy: number
  /** Answers from now on: scripts in turn, the last one for ever. */
  play(...scripts: Script[]): void
  /** Closes every connection that is idle now. */
  closeIdle(): void
  close(): Promise<void>
}

/**
 * A provider over real TCP that does what a test says: any status, header, split of bytes, delay, stall, reset or
 * close.
 */
export async function startUpstream(...scripts: Script[]): Promise<Upstream> {
  let queue = scripts
  const sockets = new Map<Socket, { busy: boolean }>()
  const upstream: Upstream = {
    origin: '',
    port: 0,
    requests: [],
    connections: 0,
    get open() {
      return sockets.size
    },
    busy: 0,
    play: (...next) => {
      queue = next
    },
    closeIdle: () => {
      for (const [socket, { busy }] of sockets) if (!busy) socket.end()
    },
    close: async () => {
      for (const socket of sockets.keys()) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
  const server: Server = createServer((socket) => {
    const connection = upstream.connections++
    const state = { busy: false }
    sockets.set(socket, state)
    socket.setNoDelay(true)
    // Each exchange of a connection listens for its end.
    socket.setMaxListeners(0)
    socket.on('error', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
    })
    let buffered: Buffer = Buffer.alloc(0)
    let working = Promise.resolve()
    socket.on('data', (data) => {
      buffered = Buffer.concat([buffered, data])
      for (let parsed = readRequest(buffered); parsed; parsed = readRequest(buffered)) {
        buffered = parsed.rest
        const request: SeenRequest = { ...parsed.request, connection }
        upstream.requests.push(request)
        const script = queue.length > 1 ? queue.shift() : queue[0]
        working = working.then(async () => {
          state.busy = true
          upstream.busy++
          await script?.(new Exchange(request, socket))
          upstream.busy--
          state.busy = false
        })
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (typeof address === 'object' && address) {
    upstream.port = address.port
    upstream.origin = `http://127.0.0.1:${address.port}`
  }
  return upstream
}

function readRequest(bytes: Buffer): { request: Omit<SeenRequest, 'connection'>; rest: Buffer } | null {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) return null
  const [start = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
  const [method = '', path = ''] = start.split(' ')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim()
  }
  const length = Number(headers['content-length'] ?? 0)
  const bodyStart = end + 4
  if (bytes.length < bodyStart + length) return null
  return {
    request: { method, path, headers, body: bytes.subarray(bodyStart, bodyStart + length) },
    rest: bytes.subarray(bodyStart + length),
  }
}

/** Chat completion bodies as OpenAI sends them. */
export const completionBody = (content = 'Hello there.', extra: Record<string, unknown> = {}) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1_750_000_000,
  model: 'model-1',
  choices: [
    { index: 0, message: { role: 'assistant', content, refusal: null }, logprobs: null, finish_reason: 'stop' },
  ],
  usage: { prompt_tokens: 11, completion_tokens: 3, total_tokens: 14, prompt_tokens_details: { cached_tokens: 4 } },
  ...extra,
})

const head = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1_750_000_000, model: 'model-1' }

export const chunkOf = (delta: Record<string, unknown>, finish_reason: string | null = null) => ({
  ...head,
  choices: [{ index: 0, delta, logprobs: null, finish_reason }],
  usage: null,
})

export const usageChunk = { ...head, choices: [], usage: { prompt_tokens: 11, completion_tokens: 3, total_tokens: 14 } }

/** A whole stream as OpenAI sends it, usage included. */
export const streamEvents = (words: readonly string[] = ['Hello', ' there', '.']) => [
  chunkOf({ role: 'assistant', content: '', refusal: null }),
  ...words.map((content) => chunkOf({ content })),
  chunkOf({}, 'stop'),
  usageChunk,
]

export const replyStream =
  (events: readonly unknown[] = streamEvents()): Script =>
  (exchange) => {
    exchange.stream()
    for (const event of events) exchange.event(event)
    exchange.chunk('data: [DONE]\n\n')
    exchange.end()
  }

export const replyPlain =
  (status = 200, body: unknown = completionBody(), headers: Record<string, string> = {}): Script =>
  (exchange) =>
    exchange.reply(status, body, headers)
