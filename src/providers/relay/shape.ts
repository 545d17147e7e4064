import { parseJson, withoutMark } from '../../openai/error.ts'
import { isObject } from '../../openai/is-object.ts'

export type Shape = 'events' | 'document'

/** The first bytes of JSON and of HTML; no field of an event begins with one (WHATWG HTML, 9.2.6). */
const DOCUMENT = /^[\s]*[{[<"]/
const EVENTS = /^\s*(?::|data:|event:|id:|retry:)/
const PEEKED = 256
const OPEN_BRACE = 0x7b

/** Whether a whole body is an event stream, whatever its label says. */
export const looksLikeEvents = (body: Buffer): boolean =>
  body[0] !== OPEN_BRACE && EVENTS.test(body.toString('latin1', 0, PEEKED))

/** Chunks in lines of their own, without `data:`, as an event stream; null for another body. */
export function linesAsEvents(body: Buffer): Buffer | null {
  const [first = '', ...more] = body.toString('utf8').trim().split(/\r?\n/)
  const chunk = more.length > 0 ? parseJson(Buffer.from(first)) : null
  if (!isObject(chunk) || !Array.isArray(chunk.choices)) return null
  return Buffer.from([first, ...more].map((line) => `data: ${line}\n\n`).join(''))
}

/** The data of the first event in a body that is an event stream; the very same for another one. */
export function firstData(body: Buffer): Buffer {
  if (!looksLikeEvents(body)) return body
  const data = /^data:[ ]?(.*)$/m.exec(body.toString('utf8'))?.[1]
  return data === undefined ? body : Buffer.from(data.trim())
}

/** What a body that is asked to be a stream is, by its first bytes; and the body, without a byte-order mark. */
export async function shapeOf(
  body: AsyncIterable<Uint8Array>,
): Promise<{ shape: Shape; body: AsyncIterable<Uint8Array> }> {
  const rest = body[Symbol.asyncIterator]()
  const first = await rest.next()
  if (first.done) return { shape: 'events', body: startingWith(first, rest) }
  const value = withoutMark(asBuffer(first.value))
  const shape = DOCUMENT.test(value.toString('latin1', 0, PEEKED)) ? 'document' : 'events'
  return { shape, body: startingWith({ value, done: false }, rest) }
}

function startingWith(
  first: IteratorResult<Uint8Array>,
  rest: AsyncIterator<Uint8Array>,
): AsyncIterableIterator<Uint8Array> {
  let isRead = false
  return {
    next: () => {
      if (isRead) return rest.next()
      isRead = true
      return Promise.resolve(first)
    },
    return: async () => (await rest.return?.()) ?? { value: undefined, done: true },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}

const asBuffer = (bytes: Uint8Array) =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
