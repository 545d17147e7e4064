import type { Attributes } from './conventions.ts'

/** A span as it is sent. Ids are hexadecimal, times Unix milliseconds. */
export interface SentSpan {
  traceId: string
  spanId: string
  parentId: string | null
  name: string
  kind: 'server' | 'client'
  start: number
  end: number
  attributes: Attributes
  isError: boolean
}

const KINDS = { server: 2, client: 3 } as const
const STATUS_ERROR = 2
/** Flags of a span (W3C Trace Context, 3.2.2.5). */
const SAMPLED = 1

const SPAN_ATTRIBUTES = 9

const FIRST_BYTES = 2 * 1024 * 1024
const WORD = 2 ** 32
const HALF = 2 ** 16
const HEX = Uint8Array.from({ length: 128 }, (_, code) => Number.parseInt(String.fromCharCode(code), 16) || 0)
/** Of a length that is filled in afterwards: a varint may be longer than it must be. */
const LENGTH_BYTES = 4
/** Values that are sent again and again, with their keys: not encoded twice. */
const KEPT_VALUES = 512

/**
 * Spans in the bytes of an OTLP request, written as they end: a tenth of the CPU of the SDK, which makes objects of
 * each value first (docs/observability.md).
 *
 * Source: https://github.com/open-telemetry/opentelemetry-proto, trace.proto and common.proto; the encoding,
 * https://protobuf.dev/programming-guides/encoding/
 */
export class SpanBatch {
  /** Spans in it. */
  count = 0
  #bytes = Buffer.allocUnsafe(FIRST_BYTES)
  #at = 0
  /** What each body begins with, and where in it the lengths of the two messages stand that hold the spans. */
  readonly #head: Buffer
  readonly #lengths: readonly [number, number]
  readonly #kept = new Map<string, Map<string | boolean, Buffer>>()

  /** @param resource of whose these spans are */
  constructor(resource: Attributes, scope: string) {
    // ResourceSpans, and in it the resource and ScopeSpans, in which the scope comes first.
    const resourceSpans = this.#open(1)
    const ofResource = this.#open(1)
    for (const [key, value] of Object.entries(resource)) this.#encode(1, key, value)
    this.#close(ofResource)
    const scopeSpans = this.#open(2)
    const ofScope = this.#open(1)
    this.#text(1, scope)
    this.#close(ofScope)
    this.#lengths = [resourceSpans, scopeSpans]
    this.#head = Buffer.from(this.#bytes.subarray(0, this.#at))
  }

  get size(): number {
    return this.#at
  }

  add(span: SentSpan): void {
    this.count++
    // ScopeSpans.spans
    const from = this.#open(2)
    this.#hex(1, span.traceId)
    this.#hex(2, span.spanId)
    if (span.parentId !== null) this.#hex(4, span.parentId)
    this.#text(5, span.name)
    this.#varint(6, KINDS[span.kind])
    this.#time(7, span.start)
    this.#time(8, span.end)
    for (const key in span.attributes) this.#attribute(key, span.attributes[key] as Attributes[string])
    if (span.isError) {
      const status = this.#open(15)
      this.#varint(3, STATUS_ERROR)
      this.#close(status)
    }
    this.#room(8)
    this.#tag(16, 5)
    this.#word(SAMPLED)
    this.#close(from)
  }

  /** The body of a request with all spans so far, which leave the batch; null where there are none. */
  take(): Buffer<ArrayBuffer> | null {
    if (this.count === 0) return null
    for (const at of this.#lengths) this.#close(at)
    const taken = Buffer.from(this.#bytes.subarray(0, this.#at))
    this.count = 0
    this.#at = this.#head.length
    return taken
  }

  /** Of a span: KeyValue. */
  #attribute(key: string, value: Attributes[string]): void {
    if ((typeof value !== 'string' && typeof value !== 'boolean') || UNIQUE.has(key)) {
      this.#encode(SPAN_ATTRIBUTES, key, value)
      return
    }
    const values = this.#kept.get(key) ?? new Map<string | boolean, Buffer>()
    this.#kept.set(key, values)
    const kept = values.get(value)
    if (kept) {
      this.#room(kept.length)
      this.#bytes.set(kept, this.#at)
      this.#at += kept.length
      return
    }
    const from = this.#at
    this.#encode(SPAN_ATTRIBUTES, key, value)
    if (values.size < KEPT_VALUES) values.set(value, Buffer.from(this.#bytes.subarray(from, this.#at)))
  }

  #encode(field: number, key: string, value: Attributes[string]): void {
    const from = this.#open(field)
    this.#text(1, key)
    const at = this.#open(2)
    this.#value(value)
    this.#close(at)
    this.#close(from)
  }

  /** AnyValue. */
  #value(value: Attributes[string]): void {
    if (typeof value === 'string') this.#text(1, value)
    else if (typeof value === 'boolean') this.#varint(2, Number(value))
    else if (typeof value !== 'number') {
      const list = this.#open(5)
      for (const item of value) {
        const at = this.#open(1)
        this.#text(1, item)
        this.#close(at)
      }
      this.#close(list)
    } else if (Number.isSafeInteger(value) && value >= 0) this.#varint(3, value)
    else {
      this.#room(12)
      this.#tag(4, 1)
      this.#at = this.#bytes.writeDoubleLE(value, this.#at)
    }
  }

  /** Begins what has a length. @returns where that is to be filled in */
  #open(field: number): number {
    this.#room(LENGTH_BYTES + 4)
    this.#tag(field, 2)
    const at = this.#at
    this.#at += LENGTH_BYTES
    return at
  }

  #close(at: number): void {
    let length = this.#at - at - LENGTH_BYTES
    for (let i = 0; i < LENGTH_BYTES - 1; i++) {
      this.#bytes[at + i] = (length & 0x7f) | 0x80
      length >>>= 7
    }
    this.#bytes[at + LENGTH_BYTES - 1] = length
  }

  #text(field: number, text: string): void {
    this.#room(3 * text.length + LENGTH_BYTES + 4)
    this.#tag(field, 2)
    const at = this.#at
    this.#at += LENGTH_BYTES
    const from = this.#at
    const bytes = this.#bytes
    // A loop is quicker than a call of the runtime for what is this short.
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (code > 0x7f) {
        this.#at = from + bytes.write(text, from, 'utf8')
        break
      }
      bytes[this.#at++] = code
    }
    this.#close(at)
  }

  #hex(field: number, id: string): void {
    this.#room(id.length / 2 + 4)
    this.#tag(field, 2)
    this.#bytes[this.#at++] = id.length / 2
    for (let i = 0; i < id.length; i += 2) {
      this.#bytes[this.#at++] = HEX[id.charCodeAt(i)]! * 16 + HEX[id.charCodeAt(i + 1)]!
    }
  }

  /** Nanoseconds, which a number does not hold: in two halves. */
  #time(field: number, ms: number): void {
    this.#room(12)
    this.#tag(field, 1)
    const whole = Math.floor(ms)
    const upper = Math.floor(whole / HALF) * 1e6
    const lower = (upper % HALF) * HALF + (whole % HALF) * 1e6 + Math.round((ms - whole) * 1e6)
    this.#word(lower % WORD)
    this.#word(Math.floor(upper / HALF) + Math.floor(lower / WORD))
  }

  #word(value: number): void {
    const bytes = this.#bytes
    bytes[this.#at++] = value & 0xff
    bytes[this.#at++] = (value >>> 8) & 0xff
    bytes[this.#at++] = (value >>> 16) & 0xff
    bytes[this.#at++] = value >>> 24
  }

  #varint(field: number, value: number): void {
    this.#room(14)
    this.#tag(field, 0)
    this.#number(value)
  }

  #tag(field: number, wire: number): void {
    this.#number(field * 8 + wire)
  }

  #number(value: number): void {
    let left = value
    while (left > 0x7f) {
      this.#bytes[this.#at++] = (left % 0x80) | 0x80
      left = Math.floor(left / 0x80)
    }
    this.#bytes[this.#at++] = left
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#bytes.length, this.#at + bytes))
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }
}

/** Of one request alone. */
const UNIQUE: ReadonlySet<string> = new Set(['persona_router.request.id', 'gen_ai.response.id'])
