import { setImmediate } from 'node:timers/promises'
import type { Span } from './chat.ts'

/** Bytes of a JSON object, and where the values of its fields lie. */
export interface Serialised {
  raw: Buffer
  spans: Map<string, Span>
}

/** A shorter string is quoted in some microseconds, wherever it stands. */
const LONG = 16 * 1024
/** Characters that are quoted in one turn of the event loop: a millisecond or two. */
const A_TURN = 1024 * 1024

/**
 * Long strings as JSON has them, of one request: what is converted for one candidate after another has the same ones,
 * and quoting twenty megabytes takes up to a hundred milliseconds.
 */
export class Quoted {
  readonly #known = new Map<string, Buffer>()

  of(text: string): Buffer | undefined {
    return text.length < LONG ? undefined : this.#known.get(text)
  }

  /** Quotes all long strings in a value, a piece in each turn of the event loop. */
  async prepare(value: unknown): Promise<void> {
    const texts = new Set<string>()
    collect(value, texts)
    let left = A_TURN
    for (const text of texts) {
      if (this.#known.has(text)) continue
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
      this.#known.set(text, Buffer.concat([QUOTE, ...pieces, QUOTE]))
    }
  }
}

/** All long strings of a value, quoted. */
export async function quotedIn(value: unknown): Promise<Quoted> {
  const quoted = new Quoted()
  await quoted.prepare(value)
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

function collect(value: unknown, into: Set<string>): void {
  if (typeof value === 'string') {
    if (value.length >= LONG) into.add(value)
  } else if (Array.isArray(value)) for (const one of value) collect(one, into)
  else if (typeof value === 'object' && value !== null) for (const key in value) collect(value[key as never], into)
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
    if (!this.#holdsKnown(value)) this.#text += JSON.stringify(value) ?? 'null'
    else if (typeof value === 'string') this.#string(value)
    else if (Array.isArray(value)) this.#list(value)
    else this.#object(value as Record<string, unknown>)
    // A text of many small pieces takes long to put together.
    if (this.#text.length > LONG) this.#flush()
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
    if (typeof value === 'string') return this.#quoted.of(value) !== undefined
    if (Array.isArray(value)) return value.some((one) => this.#holdsKnown(one))
    return typeof value === 'object' && value !== null && this.#holdsKnown(Object.values(value))
  }

  #string(text: string): void {
    const known = this.#quoted?.of(text) as Buffer
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
