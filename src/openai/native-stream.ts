import { createParser } from 'eventsource-parser'
import type { Usage } from '../candidates/usage.ts'
import { parseJson } from './error.ts'
import { isObject } from './is-object.ts'
import { MAX_EVENT_BYTES } from './sse-observer.ts'
import type { StreamObserver } from './stream-observer.ts'

const [CR, LF] = [0x0d, 0x0a]
/** Half an event larger than this is passed on as it comes: nothing can be inserted behind it then. */
const MAX_HELD_BYTES = 64 * 1024

/**
 * Reads along in a stream of named events, in a format that its provider speaks itself. The bytes go on as they are, a
 * whole event at a time: what is told after a break never lands in half of one.
 */
export abstract class NativeStream implements StreamObserver {
  id: string | null = null
  finishReason: string | null = null
  done = false
  error: unknown = null
  torn = false
  speaks = false
  oversize = false
  events = 0
  outputBytes = 0
  outputEvents = 0
  abstract readonly usage: Usage | null

  readonly #decoder = new TextDecoder()
  readonly #parser = createParser({
    maxBufferSize: MAX_EVENT_BYTES,
    onEvent: ({ data }) => this.#read(data),
    onError: ({ type }) => {
      this.oversize ||= type === 'max-buffer-size-exceeded'
    },
  })
  readonly #ends = new EventEnds()
  #held: Buffer[] = []
  #heldBytes = 0
  /** The current event is too large to be held: its first bytes have been passed on. */
  #isPassing = false
  #isRead = false

  protected abstract take(event: Record<string, unknown>): void

  isComplete(): boolean {
    return this.done
  }

  push(bytes: Uint8Array): Buffer | null {
    this.#parser.feed(this.#decoder.decode(bytes, { stream: true }))
    const chunk = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const end = this.#ends.lastIn(chunk)
    if (end > 0) this.#isPassing = false
    const ready = end === 0 ? [] : [...this.#held, end === chunk.length ? chunk : chunk.subarray(0, end)]
    if (end > 0) this.#hold(null)
    if (end < chunk.length) {
      const rest = chunk.subarray(end)
      if (this.#isPassing) ready.push(rest)
      else this.#hold(rest)
    }
    if (this.#heldBytes > MAX_HELD_BYTES) {
      ready.push(...this.#held)
      this.#hold(null)
      this.#isPassing = true
    }
    const [first] = ready
    return ready.length > 1 ? Buffer.concat(ready) : (first ?? null)
  }

  /** An event without its last blank line is read, too, and returned with one. */
  end(): Buffer | null {
    this.#isRead = false
    this.#parser.feed('\n\n')
    const held = this.#held
    this.#hold(null)
    if (this.#isRead) return Buffer.concat([...held, Buffer.from(this.#ends.missing)])
    this.torn = this.#isPassing
    return null
  }

  /** Counts what a model has said. */
  protected measure(text: unknown): void {
    if (typeof text !== 'string' || text === '') return
    this.outputBytes += Buffer.byteLength(text)
    this.outputEvents++
  }

  #read(data: string): void {
    const event = parseJson(Buffer.from(data))
    if (!isObject(event)) return
    this.#isRead = true
    this.take(event)
  }

  #hold(bytes: Buffer | null): void {
    this.#held = bytes ? [...this.#held, bytes] : []
    this.#heldBytes = bytes ? this.#heldBytes + bytes.length : 0
  }
}

/** Finds where events end: at a blank line, of CRLF, LF or CR, split anywhere (WHATWG HTML, 9.2.6). */
class EventEnds {
  #isLineEmpty = true
  #isAfterCr = false
  /** The CR that came last ended an event: an LF after it belongs to that. */
  #isEndCr = false

  /** What the last event lacks to be ended; after a bare CR one LF would only be its other half. */
  get missing(): string {
    return this.#isLineEmpty && !this.#isAfterCr ? '\n' : '\n\n'
  }

  /** The offset behind the last event that ends in a chunk; 0 where none does. */
  lastIn(chunk: Buffer): number {
    let end = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]
      if (byte === LF && this.#isAfterCr) {
        this.#isAfterCr = false
        if (this.#isEndCr) end = at + 1
        continue
      }
      this.#isAfterCr = byte === CR
      this.#isEndCr = false
      if (byte !== LF && byte !== CR) {
        this.#isLineEmpty = false
        continue
      }
      if (this.#isLineEmpty) {
        end = at + 1
        this.#isEndCr = byte === CR
      }
      this.#isLineEmpty = true
    }
    return end
  }
}
