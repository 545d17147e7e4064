import { setTimeout as sleep } from 'node:timers/promises'
import { discard, type RunningGateway, startGateway } from '../../support/gateway.ts'
import { openRaw, type RawConnection } from '../../support/raw-http.ts'
import { replyPlain, replyStream, startUpstream, type Upstream } from '../../support/upstream.ts'
import { readAnswers, readRequests } from './http-messages.ts'
import { mutate } from './targets.ts'

const HEADERS_TIMEOUT_MS = 1_000
const BODY_TIMEOUT_MS = 1_000
/** Both time limits, how often Node looks (1 s), and a busy machine. */
const IN_TIME_MS = 20_000
const LINGER_MS = 4
/** Of the inputs after which the client does not say that it is done: only a time limit ends those. */
const PATIENT = 0.01
/** Stands for another user in each run, so that it is known whose request a provider got. */
const MARK = '@@MARK@@'

/**
 * A gateway that is sent bytes. Whatever they are: it stays up; each request has one whole answer, none of it a 5xx;
 * the connection ends in time; and a provider gets no request but those that a strict reader (RFC 9112) finds before
 * the first thing that two readers might read differently.
 */
export class HttpTarget {
  readonly #gateway: RunningGateway
  readonly #upstream: Upstream
  /** Of each conversation that strict reading finds: how often it may still be forwarded. */
  readonly #allowed = new Map<string, number>()
  #checked = 0
  #runs = 0
  /** Requests that a provider got. */
  forwarded = 0

  constructor(gateway: RunningGateway, upstream: Upstream) {
    this.#gateway = gateway
    this.#upstream = upstream
  }

  static async start(): Promise<HttpTarget> {
    const upstream = await startUpstream((exchange) => (exchange.json.stream ? replyStream() : replyPlain())(exchange))
    const gateway = await startGateway({
      server: { headers_timeout_ms: HEADERS_TIMEOUT_MS, body_timeout_ms: BODY_TIMEOUT_MS },
      providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
      candidates: [{ name: 'one', provider: 'up', price: { input: 1, output: 2 } }],
      retries: { max_attempts: 1 },
    })
    return new HttpTarget(gateway, upstream)
  }

  async stop(): Promise<void> {
    await discard(this.#gateway)
    await this.#upstream.close()
  }

  /** @throws Error that says which rule was broken */
  async run(input: Buffer, random: () => number): Promise<void> {
    const mark = String(this.#runs++).padStart(MARK.length, '0')
    const bytes = Buffer.from(input.toString('latin1').replaceAll(MARK, mark), 'latin1')
    const requests = readRequests(bytes)
    for (const { conversation } of requests) {
      if (conversation) this.#allowed.set(conversation, (this.#allowed.get(conversation) ?? 0) + 1)
    }
    const connection = await openRaw(this.#gateway.url)
    for (let at = 0; at < bytes.length; ) {
      const next = random() < 0.5 ? bytes.length : at + 1 + Math.floor(random() * 200)
      connection.send(bytes.subarray(at, next))
      at = next
      // Now and then in packets of their own.
      if (random() < 0.1) await sleep(1)
    }
    const isPatient = random() < PATIENT && !requests.isWhole
    if (!(await this.#isAnswered(connection, requests.length))) throw new Error('Not answered in time')
    if (!isPatient) {
      // Time for what ought not to be served, too. To Node a client that says no more has left.
      await sleep(LINGER_MS)
      connection.socket.end()
    }
    if (!(await within(connection.closed))) throw new Error('Not closed in time')
    const { exitCode, signalCode } = this.#gateway.process
    if (exitCode !== null || signalCode !== null) throw new Error(`The gateway ended: ${this.#gateway.stderr()}`)
    const statuses = readAnswers(Buffer.from(connection.received, 'latin1'), requests)
    if (statuses.length > requests.length + 1) {
      throw new Error(`${statuses.length} answers to ${requests.length} requests: ${statuses}`)
    }
    const bad = statuses.filter((status) => status >= 500)
    if (bad.length > 0) throw new Error(`Answered with ${bad}`)
    this.#checkForwarded()
  }

  async #isAnswered(connection: RawConnection, count: number): Promise<boolean> {
    const until = performance.now() + IN_TIME_MS
    while (connection.answers < count && !connection.isClosed && performance.now() < until) await sleep(1)
    return connection.answers >= count || connection.isClosed
  }

  #checkForwarded(): void {
    for (const { body } of this.#upstream.requests.slice(this.#checked)) {
      this.forwarded++
      const conversation = JSON.stringify(JSON.parse(body.toString()).messages)
      const left = this.#allowed.get(conversation) ?? 0
      if (left === 0) throw new Error(`Forwarded, though nobody asked it: ${conversation}`)
      this.#allowed.set(conversation, left - 1)
    }
    this.#checked = this.#upstream.requests.length
  }
}

const within = (promise: Promise<unknown>) =>
  Promise.race([promise.then(() => true), sleep(IN_TIME_MS, false, { ref: false })])

const HOSTILE_LINES = [
  'transfer-encoding: chunked',
  'Transfer-Encoding: xchunked',
  'transfer-encoding : chunked',
  'transfer-encoding: chunked, identity',
  'transfer-encoding: identity',
  'transfer-encoding:\x0bchunked',
  'content-length: 0',
  'content-length: 7',
  'content-length: +7',
  'content-length: 0x7',
  'content-length: 7, 7',
  'content-length: 99999999999999999999',
  'content-length:',
  ' folded',
  '\tcontent-length: 3',
  'connection: close',
  'connection: keep-alive, content-length',
  'connection: upgrade\r\nupgrade: h2c',
  'expect: 100-continue',
  'expect: nonsense',
  'trailer: content-length',
  'host: other.example',
  'authorization: Bearer no',
  'x: a\0b',
  ': nameless',
  'no colon',
]
const CHUNK_SIZES = [
  '0',
  '1',
  '5',
  'f',
  'ffffffff',
  'ffffffffffffffff',
  '-1',
  '+5',
  '0x5',
  ' 5',
  '5 ',
  '5;a=b',
  '5;\n',
  '',
]
const LINE_ENDS = ['\n', '\r', '\r\r\n', '\n\r\n', '\r\n\r\n', '\r\n ', '']

/**
 * Bytes changed as `mutate` does, and what makes requests hard to read: lines, line ends, lengths, chunks, one request
 * after another.
 */
export function mutateHttp(inputs: readonly Buffer[], random: () => number): Buffer {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)]!
  let text = pick(inputs).toString('latin1')
  const atLine = (change: (lines: string[], at: number) => void) => {
    const lines = text.split('\r\n')
    change(lines, Math.floor(random() * lines.length))
    text = lines.join('\r\n')
  }
  const changes = [
    () => {
      text = mutate([Buffer.from(text, 'latin1'), ...inputs], random).toString('latin1')
    },
    () => atLine((lines, at) => lines.splice(at, 0, pick(HOSTILE_LINES))),
    () => atLine((lines, at) => lines.splice(1 + (at % 6), 0, pick(HOSTILE_LINES))),
    () => atLine((lines, at) => lines.splice(at, 1)),
    () => atLine((lines, at) => lines.splice(at, 0, lines[at]!)),
    () => atLine((lines, at) => lines.splice(at, 2, `${lines[at]}${pick(LINE_ENDS)}${lines[at + 1] ?? ''}`)),
    () =>
      atLine((lines) => {
        const sizes = lines.flatMap((line, i) => (/^[0-9a-f]+$/i.test(line) ? [i] : []))
        if (sizes.length > 0) lines[pick(sizes)] = pick(CHUNK_SIZES)
      }),
    () => {
      text = text.replace(/content-length: \d+/i, () => `content-length: ${Math.floor(random() * 300)}`)
    },
    () => {
      text += pick(inputs).toString('latin1')
    },
    () => {
      text = text.slice(0, Math.floor(random() * text.length))
    },
  ]
  for (let i = 1 + Math.floor(random() ** 2 * 3); i > 0; i--) pick(changes)()
  return Buffer.from(text, 'latin1')
}
