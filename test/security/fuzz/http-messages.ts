/** A request that can be read in one way only. */
export interface ReadRequest {
  method: string
  /** The messages of a chat completion, as JSON; null: it has none. */
  conversation: string | null
}

/** Several spaces, too, as RFC 9112 (3) allows. */
const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) +(\S+) +HTTP\/1\.([01])$/
const HEADER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0\r\n]*?)[ \t]*$/
const CHUNK_SIZE = /^([0-9a-fA-F]{1,8})(?:;[^\r\n]*)?$/

/** Ends reading: what follows might be read differently, or is not all there. */
class Unclear extends Error {}

/** Of a connection, up to the first that RFC 9112 does not let a careful server serve. */
export type ReadRequests = ReadRequest[] & {
  /** The last one ends where the bytes end. */
  isWhole: boolean
  /** What follows them may be taken for a HEAD. */
  isHeadNext: boolean
}

export function readRequests(bytes: Buffer): ReadRequests {
  const reader = new Reader(bytes)
  const requests: ReadRequest[] = []
  let isWhole = false
  let isHeadNext = false
  try {
    for (let isLast = false; !isLast; ) {
      // Each alone, too, to Node: it changes nothing of what follows.
      while (reader.sees('\r') || reader.sees('\n')) reader.take(1)
      isWhole = reader.isAtEnd
      if (isWhole) break
      isHeadNext = reader.sees('HEAD ')
      const [, method = '', , minor] = REQUEST_LINE.exec(reader.line()) ?? unclear()
      const headers = readHeaders(reader)
      const body = readBody(reader, headers, minor === '0')
      isHeadNext = false
      requests.push({ method, conversation: conversationOf(body) })
      const connection = (headers.get('connection')?.join() ?? '')
        .toLowerCase()
        .split(',')
        .map((option) => option.trim())
      isLast =
        connection.includes('close') || (minor === '0' && !connection.includes('keep-alive')) || headers.has('upgrade')
    }
  } catch (error) {
    if (!(error instanceof Unclear)) throw error
  }
  return Object.assign(requests, { isWhole, isHeadNext })
}

/**
 * Statuses of the answers on a connection.
 *
 * @throws Error where they are not whole, or something else lies between them
 */
export function readAnswers(bytes: Buffer, requests: ReadRequests): number[] {
  const reader = new Reader(bytes)
  const statuses: number[] = []
  try {
    while (!reader.isAtEnd) {
      const [, status] = /^HTTP\/1\.1 (\d{3}) [ -~]*$/.exec(reader.line()) ?? unclear()
      const headers = readHeaders(reader)
      if (Number(status) < 200) continue
      const isBodiless =
        statuses.length < requests.length ? isHead(requests[statuses.length]) : requests.isHeadNext && reader.isAtEnd
      if (!isBodiless) readBody(reader, headers, false)
      statuses.push(Number(status))
    }
  } catch (error) {
    if (!(error instanceof Unclear)) throw error
    throw new Error(`Not a whole answer: ${bytes.toString('latin1')}`)
  }
  return statuses
}

const isHead = (request: ReadRequest | undefined) => request?.method === 'HEAD'

type Headers = Map<string, string[]>

function readHeaders(reader: Reader): Headers {
  const headers: Headers = new Map()
  for (let line = reader.line(); line !== ''; line = reader.line()) {
    const [, name = '', value = ''] = HEADER.exec(line) ?? unclear()
    headers.set(name.toLowerCase(), [...(headers.get(name.toLowerCase()) ?? []), value])
  }
  return headers
}

function readBody(reader: Reader, headers: Headers, isOld: boolean): Buffer {
  const lengths = headers.get('content-length')
  const codings = headers.get('transfer-encoding')
  if (codings) {
    if (lengths || isOld || codings.length > 1 || codings[0]?.toLowerCase() !== 'chunked') unclear()
    return readChunks(reader)
  }
  if (!lengths) return Buffer.alloc(0)
  if (lengths.length > 1 || !/^\d{1,9}$/.test(lengths[0]!)) unclear()
  return reader.take(Number(lengths[0]))
}

function readChunks(reader: Reader): Buffer {
  const chunks: Buffer[] = []
  for (;;) {
    const [, size = ''] = CHUNK_SIZE.exec(reader.line()) ?? unclear()
    if (Number.parseInt(size, 16) === 0) break
    chunks.push(reader.take(Number.parseInt(size, 16)))
    if (reader.line() !== '') unclear()
  }
  // Trailers have the form of headers.
  readHeaders(reader)
  return Buffer.concat(chunks)
}

function conversationOf(body: Buffer): string | null {
  try {
    const { messages } = JSON.parse(body.toString())
    return messages === undefined ? null : JSON.stringify(messages)
  } catch {
    return null
  }
}

function unclear(): never {
  throw new Unclear()
}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  sees(text: string): boolean {
    return this.#bytes.toString('latin1', this.#at, this.#at + text.length) === text
  }

  /** Up to CR LF; neither of both alone may be in it. */
  line(): string {
    const end = this.#bytes.indexOf('\r\n', this.#at)
    if (end < 0) unclear()
    const line = this.#bytes.toString('latin1', this.#at, end)
    if (/[\r\n]/.test(line)) unclear()
    this.#at = end + 2
    return line
  }

  take(length: number): Buffer {
    if (this.#at + length > this.#bytes.length) unclear()
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}
