import { setImmediate } from 'node:timers/promises'
import type { Span } from './chat.ts'

/** Bytes of a JSON object, and where the values of its fields lie. */
export interface Serialised {
  raw: Buffer
  spans: Map<string, Span>
}

/** Shorter strings are quoted wherever they stand: a body has a bounded number of them. */
const LONG = 256
/** Characters that are quoted in one turn of the event loop: a millisecond or two. */
const A_TURN = 1024 * 1024
/** As many more characters a string takes, however short. */
const A_STRING = 512
const CHECKED_EVERY = 64
/** A longer text of many small pieces takes long to put together; of a longer string only the length is hashed. */
const MOST_TEXT = 16 * 1024

/**
 * Long strings, and lists, as JSON has them, of one request: what is converted for one candidate after another has the
 * same ones, and quoting twenty megabytes takes up to a hundred milliseconds.
 */
export class Quoted {
  readonly #texts = new Map<string, Buffer | string>()
  readonly #lists = new Map<unknown, Buffer>()

  /** Of a string, or of the very same list. */
  of(value: unknown): Buffer | string | undefined {
    if (typeof value !== 'string') return this.#lists.get(value)
    return value.length < LONG ? undefined : this.#texts.get(value)
  }

  /** Quotes all long strings in an object, and the lists in its fields, a piece in each turn of the event loop. */
  async prepare(object: object): Promise<void> {
    await this.#prepareTexts(object)
    for (const list of Object.values(object)) if (Array.isArray(list)) await this.#prepareList(list)
  }

  async #prepareList(list: readonly unknown[]): Promise<void> {
    const writer = new Writer(this)
    let written = 0
    for (const [i, value] of list.entries()) {
      writer.text(i === 0 ? '[' : ',')
      writer.value(value)
      if (i % CHECKED_EVERY > 0 || writer.length - written < A_TURN) continue
      written = writer.length
      await setImmediate()
    }
    writer.text(list.length === 0 ? '[]' : ']')
    this.#lists.set(list, writer.bytes())
  }

  async #prepareTexts(value: object): Promise<void> {
    let left = A_TURN
    for (const text of longStringsOf(value)) {
      if (left <= 0) {
        left = A_TURN
        await setImmediate()
      }
      left -= A_STRING + Math.min(text.length, MOST_TEXT)
      if (this.#texts.has(text)) continue
      if (text.length < MOST_TEXT) {
        this.#texts.set(text, JSON.stringify(text))
        left -= text.length
        continue
      }
      const pieces: Buffer[] = []
      for (let from = 0; from < text.length; ) {
        if (left <= 0) {
          left = A_TURN
          await setImmediate()
        }
        const to = endOf(text, from + Math.min(left, A_TURN))
        const quoted = JSON.stringify(text.slice(from, to))
        pieces.push(Buffer.from(quoted.slice(1, -1)))
        left -= to - from
        from = to
      }
      this.#texts.set(text, Buffer.concat([QUOTE, ...pieces, QUOTE]))
    }
  }
}

/** What is long in an object, quoted. Others have their turn before and after: the rest of the work is long, too. */
export async function quotedIn(value: object): Promise<Quoted> {
  const quoted = new Quoted()
  await setImmediate()
  await quoted.prepare(value)
  await setImmediate()
  return quoted
}

/** Quoting less at once takes a few milliseconds. */
const LARGE_BYTES = 1024 * 1024

/** An object's JSON. @param about how many bytes it has, or had in another format */
export async function jsonOf(object: Readonly<Record<string, unknown>>, about: number): Promise<Buffer> {
  return about > LARGE_BYTES ? serialised(object, await quotedIn(object)).raw : Buffer.from(JSON.stringify(object))
}

const QUOTE = Buffer.from('"')

/** Not between the halves of a surrogate pair, which would be escaped. */
function endOf(text: string, at: number): number {
  if (at >= text.length) return text.length
  const code = text.charCodeAt(at - 1)
  return code >= 0xd800 && code <= 0xdbff ? at + 1 : at
}

function* longStringsOf(value: unknown): Generator<string> {
  if (typeof value === 'string') {
    if (value.length >= LONG) yield value
  } else if (Array.isArray(value)) for (const one of value) yield* longStringsOf(one)
  else if (typeof value === 'object' && value !== null) {
    for (const key in value) yield* longStringsOf(value[key as never])
  }
}

/**
 * A plain object as JSON, as `JSON.stringify` writes it; its bytes need not be parsed again to find the fields.
 *
 * @param quoted what is known of its strings
 */
export function serialised(object: Readonly<Record<string, unknown>>, quoted?: Quoted): Serialised {
  const writer = new Writer(quoted)
  const spans = new Map<string, Span>()
  writer.text('{')
  for (const [field, value] of Object.entries(object)) {
    if (value === undefined) continue
    writer.text(`${spans.size > 0 ? ',' : ''}${JSON.stringify(field)}:`)
    const start = writer.length
    writer.value(value)
    spans.set(field, { start, end: writer.length })
  }
  writer.text('}')
  return { raw: writer.bytes(), spans }
}

class Writer {
  readonly #quoted: Quoted | undefined
  readonly #pieces: Buffer[] = []
  #length = 0
  #text = ''

  constructor(quoted: Quoted | undefined) {
    this.#quoted = quoted
  }

  text(text: string): void {
    this.#text += text
  }

  /** Of JSON alone; undefined is null here, as in lists. */
  value(value: unknown): void {
    const known = this.#quoted?.of(value)
    if (known !== undefined) this.#put(known)
    else if (!this.#holdsKnown(value)) this.#text += JSON.stringify(value) ?? 'null'
    else if (Array.isArray(value)) this.#list(value)
    else this.#object(value as Record<string, unknown>)
    if (this.#text.length > MOST_TEXT) this.#flush()
  }

  /** Bytes so far. */
  get length(): number {
    this.#flush()
    return this.#length
  }

  bytes(): Buffer {
    this.#flush()
    return Buffer.concat(this.#pieces, this.#length)
  }

  #holdsKnown(value: unknown): boolean {
    if (!this.#quoted || typeof value === 'number') return false
    if (this.#quoted.of(value) !== undefined) return true
    if (Array.isArray(value)) return value.some((one) => this.#holdsKnown(one))
    return typeof value === 'object' && value !== null && this.#holdsKnown(Object.values(value))
  }

  #put(known: Buffer | string): void {
    if (typeof known === 'string') {
      this.#text += known
      return
    }
    this.#flush()
    this.#pieces.push(known)
    this.#length += known.length
  }

  #list(list: readonly unknown[]): void {
    this.#text += '['
    for (let i = 0; i < list.length; i++) {
      if (i > 0) this.#text += ','
      this.value(list[i])
    }
    this.#text += ']'
  }

  #object(object: Record<string, unknown>): void {
    let before = '{'
    for (const key of Object.keys(object)) {
      if (object[key] === undefined) continue
      this.#text += `${before}${JSON.stringify(key)}:`
      before = ','
      this.value(object[key])
    }
    this.#text += before === '{' ? '{}' : '}'
  }

  #flush(): void {
    if (this.#text === '') return
    const bytes = Buffer.from(this.#text)
    this.#text = ''
    this.#pieces.push(bytes)
    this.#length += bytes.length
  }
}
