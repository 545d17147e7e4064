import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface RawAnswer {
  status: number
  headers: Record<string, string>
  body: string
}

/** A connection on which anything may be sent: what no HTTP client would. */
export class RawConnection {
  readonly socket: Socket
  /** Resolves when the other side has closed. */
  readonly closed: Promise<void>
  /** All that has come back. */
  received = ''
  /** Bytes that the kernel took from us. */
  sent = 0
  #isClosed = false

  constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('data', (data) => {
      this.received += data.toString('latin1')
    })
    this.closed = new Promise((resolve) =>
      socket.once('close', () => {
        this.#isClosed = true
        resolve()
      }),
    )
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  send(bytes: string | Buffer): boolean {
    if (this.#isClosed) return false
    this.sent += Buffer.byteLength(bytes)
    return this.socket.write(bytes)
  }

  /** Waits until the kernel takes more, or the other side has closed. */
  async drained(): Promise<void> {
    await Promise.race([new Promise<void>((resolve) => this.socket.once('drain', resolve)), this.closed])
  }

  /** Status lines seen so far. */
  get answers(): number {
    return this.received.match(/HTTP\/1\.1 \d{3} /g)?.length ?? 0
  }

  /** The first answer, once all of its body is there. */
  async answer(withinMs = 10_000): Promise<RawAnswer> {
    const until = performance.now() + withinMs
    for (;;) {
      const answer = parseAnswer(this.received)
      if (answer) return answer
      if (this.#isClosed || performance.now() > until) {
        throw new Error(`No whole answer (${this.#isClosed ? 'closed' : 'in time'}): ${this.received.slice(0, 500)}`)
      }
      await Promise.race([sleep(10), this.closed])
    }
  }

  destroy(): void {
    this.socket.destroy()
  }
}

export async function openRaw(url: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  return new RawConnection(socket)
}

/** Sends bytes on a connection of their own and reads the first answer. */
export async function rawRequest(
  url: string,
  bytes: string | Buffer,
): Promise<RawAnswer & { connection: RawConnection }> {
  const connection = await openRaw(url)
  connection.send(bytes)
  return { ...(await connection.answer()), connection }
}

/** A POST to chat completions as text; headers as they are given, in their order, repeated ones too. */
export function postText(headers: readonly string[], body: string | Buffer, path = '/v1/chat/completions'): Buffer {
  return Buffer.concat([
    Buffer.from([`POST ${path} HTTP/1.1`, ...headers, '', ''].join('\r\n'), 'latin1'),
    Buffer.from(body as string),
  ])
}

function parseAnswer(text: string): RawAnswer | null {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return null
  const [start = '', ...lines] = text.slice(0, end).split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    }),
  )
  const length = Number(headers['content-length'] ?? 0)
  const body = text.slice(end + 4, end + 4 + length)
  return body.length < length ? null : { status: Number(start.split(' ')[1]), headers, body }
}
