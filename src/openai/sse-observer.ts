import type { Usage } from '../accounting/usage.ts'
import { parseUsage } from './usage.ts'

const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const COLON = 0x3a
const OPEN_BRACE = 0x7b
const QUOTE = 0x22
const BACKSLASH = 0x5c

/** An event larger than this is not what a model says. */
export const MAX_EVENT_BYTES = 16 * 1024 * 1024
/** Of larger events (images) only the passing-on matters. */
const MAX_OBSERVED_BYTES = 1024 * 1024
/** A usage chunk is far smaller; bytes of an event that may be one are held back until it ends. */
const MAX_HELD_BYTES = 64 * 1024

const DATA = Buffer.from('data')
const EVENT = Buffer.from('event')
const DONE = Buffer.from('[DONE]')
const USAGE = Buffer.from('"usage"')
const FINISH = Buffer.from('"finish_reason"')
const ERROR = Buffer.from('"error"')
const TEXTS = ['"content"', '"reasoning_content"', '"reasoning"', '"refusal"', '"arguments"'].map((key) =>
  Buffer.from(key),
)

export interface SseObserverOptions {
  /** Take out the event that holds usage and no choice: the client did not ask for it. */
  dropUsage: boolean
}

/**
 * Reads along in a stream of chat completion chunks without changing a byte of it, but for the usage event that may be taken out.
 * Lines end in CRLF, LF or CR and may be split anywhere (WHATWG HTML, 9.2.6). JSON is parsed only where something is to be learned:
 * the events up to the first that says something, and those with a usage object, a finish reason or an error.
 */
export class SseObserver {
  /** The provider's id of the completion. */
  id: string | null = null
  usage: Usage | null = null
  finishReason: string | null = null
  /** `[DONE]` came. */
  done = false
  /** The error object of an error event. */
  error: unknown = null
  /** Some event carried more than a role: text, a tool call, an end. */
  speaks = false
  /** An event was larger than `MAX_EVENT_BYTES`. */
  oversize = false
  /** Events with data, so far; grows when something other than a comment came. */
  events = 0
  /** UTF-8 bytes of text, reasoning and tool arguments, as they stand in JSON. */
  outputBytes = 0
  outputEvents = 0

  readonly #dropUsage: boolean
  readonly #finished = new Set<number>()

  #line: Buffer[] = []
  #data: Buffer | null = null
  #eventName: string | null = null
  #eventBytes = 0
  /** The current event has a field; comments before it are not part of it. */
  #hasField = false
  #skipLf = false
  #dropLf = false
  /** Bytes of the current event from earlier chunks, while it may have to be taken out. */
  #held: Buffer[] = []
  #heldBytes = 0
  /** The current event is too large to be held: its first bytes have been passed on. */
  #passing = false

  constructor({ dropUsage }: SseObserverOptions) {
    this.#dropUsage = dropUsage
  }

  /** Whether the answer is whole: nothing more has to come. */
  isComplete(choices: number): boolean {
    return this.done || this.#finished.size >= choices
  }

  /** Takes the next bytes; returns those to pass on, the very same chunk wherever possible, or null for none. */
  push(bytes: Uint8Array): Buffer | null {
    const chunk = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const length = chunk.length
    const parts: Buffer[] = []
    let from = 0
    let at = 0
    if (this.#skipLf && length > 0) {
      if (chunk[0] === LF) at = 1
      if (at === 1 && this.#dropLf) from = 1
      this.#skipLf = false
      this.#dropLf = false
    }
    // The LF of a CRLF that was split belongs to the bytes before it.
    let eventStart = this.#heldBytes > 0 ? 0 : at
    let cr = chunk.indexOf(CR, at)
    while (at < length) {
      const lf = chunk.indexOf(LF, at)
      if (cr >= 0 && cr < at) cr = chunk.indexOf(CR, at)
      const end = cr >= 0 && (lf < 0 || cr < lf) ? cr : lf
      if (end < 0) break
      let next = end + 1
      if (end === cr) {
        if (next === length) this.#skipLf = true
        else if (chunk[next] === LF) next++
      }
      this.#eventBytes += next - at
      const line = this.#line.length > 0 ? this.#joinLine(chunk.subarray(at, end)) : chunk.subarray(at, end)
      at = next
      const boundary = this.#readLine(line)
      if (boundary === 'none') continue
      if (boundary === 'drop' && !this.#passing) {
        if (this.#heldBytes === 0 && eventStart > from) parts.push(chunk.subarray(from, eventStart))
        from = next
        this.#dropLf = this.#skipLf
        this.#clearHeld()
      } else if (this.#heldBytes > 0) {
        parts.push(...this.#held)
        this.#clearHeld()
      }
      this.#passing = false
      this.#eventBytes = 0
      eventStart = next
    }
    if (at < length) this.#keepLine(chunk.subarray(at))
    this.oversize ||= this.#eventBytes > MAX_EVENT_BYTES
    if (!this.#dropUsage) return chunk
    if (eventStart < length && !this.#passing) {
      if (eventStart > from) parts.push(chunk.subarray(from, eventStart))
      from = length
      this.#hold(chunk.subarray(eventStart))
      if (this.#heldBytes > MAX_HELD_BYTES) {
        parts.push(...this.#held)
        this.#clearHeld()
        this.#passing = true
      }
    }
    if (from === 0 && parts.length === 0) return chunk
    if (from < length) parts.push(chunk.subarray(from))
    return parts.length > 1 ? Buffer.concat(parts) : (parts[0] ?? null)
  }

  /** The stream has ended; returns what was held back. An event without its last blank line is read, too. */
  end(): Buffer | null {
    const line = this.#line.length > 0 ? this.#joinLine(Buffer.alloc(0)) : null
    if (line) this.#readLine(line)
    const drop = this.#data !== null && this.#dispatch()
    const held = drop || this.#heldBytes === 0 ? null : Buffer.concat(this.#held)
    this.#clearHeld()
    return held
  }

  #readLine(line: Buffer): 'none' | 'end' | 'drop' {
    if (line.length === 0) return this.#dispatch() ? 'drop' : 'end'
    if (line[0] === COLON) return this.#hasField ? 'none' : 'end'
    this.#hasField = true
    const data = fieldValue(line, DATA)
    if (data) {
      if (this.#data === null) this.#data = data
      else if (this.#data.length < MAX_OBSERVED_BYTES) this.#data = Buffer.concat([this.#data, NEWLINE, data])
    } else {
      const name = fieldValue(line, EVENT)
      if (name) this.#eventName = name.toString('latin1', 0, 64)
    }
    return 'none'
  }

  /** Ends the current event; true = to be taken out. */
  #dispatch(): boolean {
    const data = this.#data
    const isError = this.#eventName === 'error'
    this.#data = null
    this.#eventName = null
    this.#hasField = false
    return data !== null && this.#observe(data, isError)
  }

  #observe(data: Buffer, isError: boolean): boolean {
    if (data.length <= DONE.length + 1 && data.indexOf(DONE) === 0) {
      this.done = true
      return false
    }
    this.events++
    this.#measure(data)
    const hasUsage = holds(data, USAGE, OPEN_BRACE)
    if (this.speaks && !hasUsage && !isError && !holds(data, FINISH, QUOTE) && data.indexOf(ERROR) < 0) return false
    const chunk = parse(data)
    if (isError) this.error ??= chunk?.error ?? chunk ?? {}
    if (!chunk) return false
    if (chunk.error) this.error ??= chunk.error
    if (this.id === null && typeof chunk.id === 'string') this.id = chunk.id
    const choices: unknown[] = Array.isArray(chunk.choices) ? chunk.choices : []
    for (const choice of choices) this.#readChoice(choice)
    if (!hasUsage) return false
    const usage = parseUsage(chunk.usage)
    if (usage) this.usage = usage
    return this.#dropUsage && usage !== null && choices.length === 0 && !chunk.error
  }

  #readChoice(choice: unknown): void {
    if (!isObject(choice)) return
    if (typeof choice.finish_reason === 'string') {
      this.finishReason ??= choice.finish_reason
      this.#finished.add(typeof choice.index === 'number' ? choice.index : 0)
      this.speaks = true
    }
    const delta = isObject(choice.delta) ? choice.delta : {}
    for (const key in delta) {
      const value = delta[key]
      if (key !== 'role' && value !== null && value !== '' && !(Array.isArray(value) && value.length === 0))
        this.speaks = true
    }
    if (typeof choice.text === 'string' && choice.text !== '') this.speaks = true
  }

  #measure(data: Buffer): void {
    let bytes = 0
    for (const key of TEXTS) {
      const at = data.indexOf(key)
      if (at >= 0) bytes += stringLength(data, at + key.length)
    }
    if (bytes === 0) return
    this.outputBytes += bytes
    this.outputEvents++
  }

  #keepLine(part: Buffer): void {
    this.#eventBytes += part.length
    if (this.#eventBytes <= MAX_OBSERVED_BYTES) this.#line.push(part)
  }

  #joinLine(last: Buffer): Buffer {
    const line = Buffer.concat([...this.#line, last])
    this.#line = []
    return line
  }

  #hold(part: Buffer): void {
    this.#held.push(part)
    this.#heldBytes += part.length
  }

  #clearHeld(): void {
    this.#held = []
    this.#heldBytes = 0
  }
}

const NEWLINE = Buffer.from('\n')

/** `name: value` and `name:value`; null for another field. */
function fieldValue(line: Buffer, name: Buffer): Buffer | null {
  if (line.length < name.length) return null
  for (let i = 0; i < name.length; i++) if (line[i] !== name[i]) return null
  if (line.length === name.length) return line.subarray(name.length)
  if (line[name.length] !== COLON) return null
  return line.subarray(name.length + (line[name.length + 1] === SPACE ? 2 : 1))
}

/** Whether `key` is there with a value that begins with `first`. Inside a JSON string the key's quotes are escaped, so it is never found there. */
function holds(data: Buffer, key: Buffer, first: number): boolean {
  for (let at = data.indexOf(key); at >= 0; at = data.indexOf(key, at + key.length)) {
    if (data[valueStart(data, at + key.length)] === first) return true
  }
  return false
}

function valueStart(data: Buffer, at: number): number {
  let i = at
  while (data[i] === SPACE || data[i] === COLON || data[i] === LF) i++
  return i
}

function stringLength(data: Buffer, at: number): number {
  const start = valueStart(data, at)
  if (data[start] !== QUOTE) return 0
  let end = data.indexOf(QUOTE, start + 1)
  while (end > 0 && isEscaped(data, end)) end = data.indexOf(QUOTE, end + 1)
  return end < 0 ? data.length - start - 1 : end - start - 1
}

function isEscaped(data: Buffer, quote: number): boolean {
  let backslashes = 0
  while (data[quote - 1 - backslashes] === BACKSLASH) backslashes++
  return backslashes % 2 === 1
}

function parse(data: Buffer): Record<string, unknown> | null {
  try {
    const json: unknown = JSON.parse(data.toString('utf8'))
    return isObject(json) ? json : null
  } catch {
    return null
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
