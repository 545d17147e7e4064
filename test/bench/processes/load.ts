/**
 * The load generator: so many connections, each with one request in flight, over bare TCP so that it costs little. A
 * message is an `Order`, the answer a `Report`. `hold` opens streams and keeps them open until the next order;
 * `perSecond` begins requests when they are due.
 */
import { connect, type Socket } from 'node:net'
import { NUMBER, type Order, type Report, type Told } from '../harness/orders.ts'
import { quantiles } from '../harness/quantiles.ts'

const END_OF_CHUNKS = Buffer.from('0\r\n\r\n')
const held: Socket[] = []

process.on('message', (order: Order) => {
  const work = order.hold ? hold(order) : order.perSecond ? offer(order, order.perSecond) : drive(order)
  work.then(
    (report) => process.send?.(report),
    (error: Error) => process.send?.({ error: error.message }),
  )
})
process.once('disconnect', () => process.exit(0))

interface Prepared {
  bytes: Buffer
  numberAt: number
}

/**
 * One request a user; `numbered` makes each of them another question, hence another conversation, where there is a
 * number in it.
 */
function requestsOf({ port, headers, body, users, firstUser = 0 }: Order): Prepared[] {
  const bytes = Buffer.from(body)
  return Array.from({ length: users }, (_, i) => {
    const lines = Object.entries({ ...headers, 'x-user-id': `user-${firstUser + i}`, 'content-length': bytes.length })
    const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    const request = `POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n${head}\r\n`
    const all = Buffer.concat([Buffer.from(request), bytes])
    return { bytes: all, numberAt: all.indexOf(NUMBER) }
  })
}

let asked = 0

/**
 * Bytes are changed in place: a request is written out before its connection asks again, and users outnumber
 * connections.
 */
function numbered({ bytes, numberAt }: Prepared): Buffer {
  if (numberAt >= 0) bytes.write(String(++asked).padStart(NUMBER.length, '0'), numberAt, 'latin1')
  return bytes
}

async function drive(order: Order): Promise<Report> {
  for (const socket of held.splice(0)) socket.destroy()
  const requests = requestsOf(order)
  const latencies: number[] = []
  const firstBytes: number[] = []
  let errors = 0
  let next = Math.floor(Math.random() * requests.length)
  const startedAt = performance.now()
  const until = startedAt + order.seconds * 1e3
  await Promise.all(
    Array.from({ length: order.inFlight }, async () => {
      const client = await Client.open(order.port)
      while (performance.now() < until) {
        const from = performance.now()
        const { status, firstByteAt } = await client.ask(numbered(requests[next++ % requests.length]!))
        if (status !== 200) {
          errors++
          if (errors > 20) break
          continue
        }
        latencies.push(performance.now() - from)
        firstBytes.push(firstByteAt - from)
      }
      client.close()
    }),
  )
  return {
    requests: latencies.length,
    errors,
    seconds: (performance.now() - startedAt) / 1e3,
    latencyMs: quantiles(latencies),
    firstByteMs: quantiles(firstBytes),
  }
}

/** An open loop: a gateway that is slow for a moment gets no fewer requests, and each waits from when it was due. */
async function offer(order: Order, perSecond: number): Promise<Report> {
  const requests = requestsOf(order)
  const free = await Promise.all(Array.from({ length: order.inFlight }, () => Client.open(order.port)))
  const clients = [...free]
  const waiting: ((client: Client) => void)[] = []
  const firstBytes: number[] = []
  const told: Told[] = []
  const running = new Set<Promise<void>>()
  let errors = 0

  /** On one of its connections: more of them would wait for the kernel, not for the gateway. */
  async function ask(request: Prepared, due: number): Promise<void> {
    // Each in turn: a connection on which nothing is asked for long is closed by the gateway.
    const client = free.shift() ?? (await new Promise<Client>((freed) => waiting.push(freed)))
    const { status, firstByteAt, head } = await client.ask(numbered(request))
    const next = waiting.shift()
    if (next) next(client)
    else free.push(client)
    if (status !== 200) {
      errors++
      return
    }
    const ms = performance.now() - due
    firstBytes.push(firstByteAt - due)
    told.push({ id: headerOf(head, 'x-request-id'), policy: headerOf(head, 'x-router-policy'), ms })
  }

  const startedAt = performance.now()
  const total = Math.round(order.seconds * perSecond)
  for (let i = 0; i < total; ) {
    const dueBy = Math.min(total, Math.floor(((performance.now() - startedAt) / 1e3) * perSecond) + 1)
    for (; i < dueBy; i++) {
      const one = ask(requests[i % requests.length]!, startedAt + (i / perSecond) * 1e3).catch(() => {
        errors++
      })
      running.add(one)
      void one.finally(() => running.delete(one))
    }
    await new Promise((done) => setTimeout(done, 1))
  }
  await Promise.all(running)
  const seconds = (performance.now() - startedAt) / 1e3
  for (const client of clients) client.close()
  return {
    requests: told.length,
    errors,
    seconds,
    latencyMs: quantiles(told.map(({ ms }) => ms)),
    firstByteMs: quantiles(firstBytes),
    told,
  }
}

const headerOf = (head: string, name: string) => new RegExp(`^${name}: *(.*)$`, 'im').exec(head)?.[1]?.trim() ?? ''

/** Opens streams, some at a time, and resolves when each has said something. */
async function hold(order: Order): Promise<Report> {
  const requests = requestsOf(order)
  const startedAt = performance.now()
  let errors = 0
  let opened = 0
  const open = async () => {
    while (opened < order.inFlight) {
      const request = numbered(requests[opened++ % requests.length]!)
      const socket = connect({ port: order.port, host: '127.0.0.1', noDelay: true })
      socket.on('error', () => {})
      held.push(socket)
      await new Promise<void>((done) => {
        let seen = ''
        socket.once('connect', () => socket.write(Buffer.from(request)))
        socket.on('data', (data) => {
          seen += seen.length < 4_096 ? data.toString('latin1') : ''
          if (seen.includes('data: ')) done()
          else if (!seen.startsWith('HTTP/1.1 200')) {
            errors++
            done()
          }
        })
        socket.once('close', () => {
          errors++
          done()
        })
      })
    }
  }
  await Promise.all(Array.from({ length: 64 }, open))
  const none = quantiles([])
  return {
    requests: order.inFlight - errors,
    errors,
    seconds: (performance.now() - startedAt) / 1e3,
    latencyMs: none,
    firstByteMs: none,
  }
}

interface Answer {
  status: number
  firstByteAt: number
  /** Status line and headers. */
  head: string
}

/** One keep-alive connection; reads just enough of an answer to know where it ends (RFC 9112, 6). */
class Client {
  readonly #socket: Socket
  #waiting: PromiseWithResolvers<Answer> | null = null
  #status = 0
  #firstByteAt = 0
  #head: Buffer | null = null
  #headText = ''
  /** Bytes of the body still to come; null = in chunks. */
  #left: number | null = 0
  #tail: Buffer = Buffer.alloc(0)

  static async open(port: number): Promise<Client> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await new Promise<void>((done, fail) => socket.once('connect', done).once('error', fail))
    return new Client(socket)
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (data) => this.#read(data))
    socket.on('error', () => {})
    socket.on('close', () => this.#end(0))
  }

  /** Status 0: the connection was closed. */
  ask(request: Buffer): Promise<Answer> {
    const waiting = Promise.withResolvers<Answer>()
    this.#waiting = waiting
    this.#status = 0
    this.#head = null
    this.#firstByteAt = 0
    if (this.#socket.destroyed) this.#end(0)
    else this.#socket.write(request)
    return waiting.promise
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(data: Buffer): void {
    if (this.#status === 0) {
      const bytes = this.#head ? Buffer.concat([this.#head, data]) : data
      const end = bytes.indexOf('\r\n\r\n')
      if (end < 0) {
        this.#head = bytes
        return
      }
      const head = bytes.toString('latin1', 0, end)
      this.#headText = head
      this.#status = Number(head.slice(9, 12))
      const length = /content-length: *(\d+)/i.exec(head)?.[1]
      this.#left = length === undefined ? null : Number(length)
      this.#tail = Buffer.alloc(0)
      this.#firstByteAt = performance.now()
      data = bytes.subarray(end + 4)
    }
    if (this.#left !== null) {
      this.#left -= data.length
      if (this.#left <= 0) this.#end(this.#status)
      return
    }
    this.#tail = data.length >= END_OF_CHUNKS.length ? data : Buffer.concat([this.#tail, data])
    if (this.#tail.subarray(-END_OF_CHUNKS.length).equals(END_OF_CHUNKS)) this.#end(this.#status)
  }

  #end(status: number): void {
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.resolve({ status, firstByteAt: this.#firstByteAt, head: this.#headText })
  }
}
