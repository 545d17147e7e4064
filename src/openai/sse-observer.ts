import type { Usage } from '../candidates/usage.ts'
import { saysError } from './error.ts'
import { BROKE, endOf, isFailure } from './finish-reason.ts'
import { isBlank } from './is-blank.ts'
import { isObject } from './is-object.ts'
import { type Asked, Mend } from './mend.ts'
import { DONE_FRAME, frame } from './sse.ts'
import type { StreamObserver } from './stream-observer.ts'
import { stringEnd } from './string-end.ts'
import { parseUsage } from './usage.ts'

const LF = 0x0a

/** An event larger than this is not what a model says. */
export const MAX_EVENT_BYTES = 16 * 1024 * 1024
/** Of larger events (images) only the passing-on matters. */
const MAX_OBSERVED_BYTES = 1024 * 1024
/** A usage chunk is far smaller; bytes of an event that may be one are held back until it ends. */
const MAX_HELD_BYTES = 64 * 1024

// One compiled expression over the whole event costs 0.3 us, a search for each key 0.3 us a key, JSON.parse 1.4 us.
// Inside a JSON string quotes are escaped, so text that looks like these keys never matches.
const NEWS =
  /"(?:usage|error|function_call)"\s*:\s*\{|"(?:finish_reason|error)"\s*:\s*"|"(?:tool_calls|content)"\s*:\s*\[\s*\{/
// Some servers cut between the halves of a surrogate pair (\ud83d). In the expression above this would cost each event
// half as much again; escapes are rare, and a search for a single text is cheap.
const HALF = /\\u[dD][89a-fA-F]/
const isNews = (data: string) => NEWS.test(data) || (data.includes('\\u') && HALF.test(data))
const HEAD = /^\{\s*"id"\s*:\s*"[^"\\]*"/
const TEXT = /"(?:content|reasoning_content|reasoning|refusal|arguments)"\s*:\s*"/g

export interface SseObserverOptions extends Asked {
  /** Take out the event that holds usage and no choice: the client did not ask for it. */
  dropUsage: boolean
}

/**
 * Reads along in a stream of chat completion chunks without changing a byte of it, but for the usage event that may be
 * taken out, and what no SDK could read. Lines end in CRLF, LF or CR and may be split anywhere (WHATWG HTML, 9.2.6).
 * JSON is parsed only where something is to be learned: the events up to the first that says something, and those with
 * a usage object, a finish reason, tool calls or an error.
 */
export class SseObserver implements StreamObserver {
  /** The provider's id of the completion. */
  id: string | null = null
  usage: Usage | null = null
  finishReason: string | null = null
  /** `[DONE]` came. */
  done = false
  /** The error object of an error event. */
  error: unknown = null
  /** The error came in a shape on which the official SDKs do not raise: it was taken out, and is to be told anew. */
  errorUntold = false
  /** The stream ended inside an event whose first bytes have been passed on: nothing can be added behind them. */
  torn = false
  /** Some event carried more than a role: text, a tool call, an end that tells why there is none. */
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
  readonly #mend: Mend
  /** What goes out in place of the event that was just taken out. */
  #instead: Buffer | null = null
  /** How the data of each event begins, up to the answer's id: as its first event has it; null where unknown. */
  #head: string | null = null

  // Lines are read as Latin-1, a character a byte: offsets are the chunk's own, split UTF-8 is no matter, and strings
  // search faster than buffers.
  #line = ''
  #data: string | null = null
  #eventName: string | null = null
  #eventBytes = 0
  /** The current event has a field; comments before it are not part of it. */
  #hasField = false
  /** Some event had an id: from then on the official SDK for Python takes each blank line for the end of an event. */
  #hasIds = false
  #skipLf = false
  #dropLf = false
  /** Bytes of the current event from earlier chunks: half an event is never passed on while it can be helped. */
  #held: Buffer[] = []
  #heldBytes = 0
  /** The current event is too large to be held: its first bytes have been passed on. */
  #passing = false

  constructor({ dropUsage, ...asked }: SseObserverOptions) {
    this.#dropUsage = dropUsage
    this.#mend = new Mend(asked)
  }

  /** Whether the answer is whole: nothing more has to come. */
  isComplete(choices: number): boolean {
    return this.done || this.#finished.size + this.#mend.ended >= choices
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
    const text = chunk.toString('latin1')
    let cr = text.indexOf('\r', at)
    while (at < length) {
      const lf = text.indexOf('\n', at)
      if (cr >= 0 && cr < at) cr = text.indexOf('\r', at)
      const end = cr >= 0 && (lf < 0 || cr < lf) ? cr : lf
      if (end < 0) break
      let next = end + 1
      if (end === cr) {
        if (next === length) this.#skipLf = true
        else if (chunk[next] === LF) next++
      }
      this.#eventBytes += next - at
      const line = this.#line + text.slice(at, end)
      this.#line = ''
      at = next
      const boundary = this.#readLine(line)
      if (boundary === 'none') continue
      if (boundary === 'drop' && !this.#passing) {
        if (this.#heldBytes === 0 && eventStart > from) parts.push(chunk.subarray(from, eventStart))
        from = next
        this.#dropLf = this.#skipLf
        this.#clearHeld()
        if (this.#instead) parts.push(this.#instead)
      } else if (this.#heldBytes > 0) {
        parts.push(...this.#held)
        this.#clearHeld()
      }
      this.#passing = false
      this.#instead = null
      this.#eventBytes = 0
      eventStart = next
    }
    if (at < length) this.#keepLine(text.slice(at))
    this.oversize ||= this.#eventBytes > MAX_EVENT_BYTES
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

  /**
   * The stream has ended. An event that lacks only its last line ends is read, too, and returned with them; half an
   * event is dropped, so that what is sent next stands by itself. What waited for more comes last.
   */
  end(): Buffer | null {
    const last = this.#endEvent()
    const rest = this.torn || this.done || this.error !== null ? null : this.#rest('end')
    return last && rest ? Buffer.concat([last, rest]) : (last ?? rest)
  }

  #endEvent(): Buffer | null {
    const isMidLine = this.#line !== ''
    const last = isMidLine ? this.#readLine(this.#line) : 'none'
    this.#line = ''
    if (last === 'drop' && !this.#passing) {
      this.#clearHeld()
      return this.#instead
    }
    const isWhole = this.#data !== null && (this.#data.startsWith('[DONE]') || parse(this.#data) !== null)
    // After a bare CR one LF would only be its other half.
    const ends = Buffer.from(isMidLine || this.#skipLf ? '\n\n' : '\n')
    const held = [...this.#held, ends]
    const wasPassing = this.#passing
    this.#clearHeld()
    if (!isWhole) {
      this.torn = wasPassing
      this.#data = null
    }
    const isDropped = this.#dispatch() && !wasPassing
    this.#passing = false
    if (!isWhole) return null
    return isDropped ? this.#instead : Buffer.concat(held)
  }

  #readLine(line: string): 'none' | 'end' | 'drop' {
    if (line === '') return this.#dispatch() ? 'drop' : 'end'
    if (line.startsWith(':')) return this.#hasField ? 'none' : 'end'
    this.#hasField = true
    const data = fieldValue(line, 'data')
    if (data !== null) {
      if (this.#data === null) this.#data = data
      else if (this.#data.length < MAX_OBSERVED_BYTES) this.#data += `\n${data}`
    } else if (line.startsWith('{') || line.startsWith('[')) {
      return this.#data === null ? this.#readBare(line) : 'none'
    } else {
      this.#eventName = fieldValue(line, 'event') ?? this.#eventName
      this.#hasIds ||= fieldValue(line, 'id') !== null
    }
    return 'none'
  }

  /** A line of JSON without `data:`, an event by itself: SDKs would not see it. */
  #readBare(line: string): 'none' | 'drop' {
    const json = parse(line)
    const outer = Array.isArray(json) ? json[0] : json
    if (!isObject(outer)) return 'none'
    const isChunk = Array.isArray(outer.choices)
    if (!isChunk && !saysError(outer.error)) return isEmpty(outer) ? this.#endBare() : 'none'
    if (saysError(outer.error)) return this.#failAt(outer.error) ? this.#endBare() : 'none'
    if (!this.#observe(line, false)) this.#instead = frame(outer)
    return this.#endBare()
  }

  #endBare(): 'drop' {
    this.#eventName = null
    this.#hasField = false
    return 'drop'
  }

  /** Ends the current event; true = to be taken out. */
  #dispatch(): boolean {
    const data = this.#data
    const isError = this.#eventName === 'error'
    const hasField = this.#hasField
    this.#data = null
    this.#eventName = null
    this.#hasField = false
    // Without data it is no event, but the SDK for Python takes it for one, and for JSON.
    if (data === null) return hasField || this.#hasIds
    return this.#observe(data, isError)
  }

  #observe(data: string, isError: boolean): boolean {
    if (data.startsWith('[DONE]')) {
      const rest = this.done ? null : this.#rest('done')
      this.done = true
      if (rest) this.#instead = Buffer.concat([rest, DONE_FRAME])
      return rest !== null
    }
    if (this.done) {
      this.usage = parseUsage(parse(data)?.usage) ?? this.usage
      return false
    }
    if (!data.startsWith('{"') && !/^\s*\{\s*"/.test(data)) return this.#observeOther(data, isError)
    this.events++
    this.#measure(data)
    const isKnown = this.#head === null || data.startsWith(this.#head)
    if (this.speaks && isKnown && !isError && !isNews(data) && !this.#mend.sees(data)) return false
    const chunk = parse(data)
    const says = chunk !== null && saysError(chunk.error)
    if (isError || says) return this.#fail(says ? chunk.error : (chunk ?? {}), !says)
    if (!chunk) return false
    const isRenamed = this.#rename(chunk, data)
    const choices: unknown[] = Array.isArray(chunk.choices) ? chunk.choices : []
    const mended = this.#mend.mended(chunk) ?? (isRenamed ? chunk : null)
    if (mended) this.#instead = frame(mended)
    this.#readChoices(mended && Array.isArray(mended.choices) ? mended.choices : choices)
    const usage = parseUsage(chunk.usage)
    if (usage) this.usage = usage
    if (choices.length > 0) return this.errorUntold || mended !== null
    const isDropped = this.#dropUsage && usage !== null && holdsUsageAlone(chunk)
    const rest = this.#passing ? null : this.#rest('behind')
    const own = !isDropped && (rest || isRenamed) ? frame(chunk) : null
    this.#instead = rest && own ? Buffer.concat([rest, own]) : (rest ?? own)
    return isDropped || this.#instead !== null
  }

  /** An answer has one id, that of its first event: some servers give each event its own. @returns whether it had */
  #rename(chunk: Record<string, unknown>, data: string): boolean {
    const { id } = chunk
    if (typeof id !== 'string' || id === '') return false
    if (this.id === null) {
      this.id = id
      this.#head = HEAD.exec(data)?.[0] ?? null
    }
    if (id === this.id) return false
    chunk.id = this.id
    return true
  }

  /** What waited for more of the answer, where no more comes. */
  #rest(at: 'done' | 'end' | 'behind'): Buffer | null {
    const chunk = this.#mend.rest(at)
    if (chunk) this.#readChoices(chunk.choices as unknown[])
    return chunk && frame(chunk)
  }

  /** Data that is no chunk, which no SDK reads: a heartbeat, or an error in words. */
  #observeOther(data: string, isError: boolean): boolean {
    const json: unknown = parse(data)
    const outer = Array.isArray(json) ? json[0] : json
    const [, words] = /^\s*error\b[:\s]*(.*)/is.exec(isError ? `error: ${data}` : data) ?? []
    if (isObject(outer) && saysError(outer.error)) return this.#failAt(outer.error)
    return words === undefined || this.#failAt({ message: /\w/.test(words) ? words.trim() : BROKE })
  }

  #failAt(error: unknown): boolean {
    this.events++
    return this.#fail(error, true)
  }

  /** @returns whether the event is to be taken out */
  #fail(error: unknown, untold: boolean): boolean {
    if (this.error !== null) return false
    this.error = error
    this.errorUntold = untold
    return untold
  }

  #readChoices(choices: readonly unknown[]): void {
    for (const [position, choice] of choices.entries()) this.#readChoice(choice, position)
  }

  #readChoice(choice: unknown, position: number): void {
    if (!isObject(choice)) return
    const end = endOf(choice.finish_reason)
    if (isFailure(end)) this.#fail(saysError(choice.error) ? choice.error : { message: BROKE, code: end }, true)
    else if (end !== null) {
      this.finishReason ??= end
      this.#finished.add(typeof choice.index === 'number' ? choice.index : position)
      // That it has come to its end is no answer by itself; that it was cut, or filtered, is one.
      if (end !== 'stop') this.speaks = true
    }
    const delta = isObject(choice.delta) ? choice.delta : {}
    for (const key in delta) {
      const value = delta[key]
      if (key !== 'role' && !isBlank(value)) this.speaks = true
    }
    if (typeof choice.text === 'string' && choice.text !== '') this.speaks = true
  }

  #measure(data: string): void {
    let bytes = 0
    TEXT.lastIndex = 0
    while (TEXT.test(data)) {
      const end = stringEnd(data, TEXT.lastIndex)
      bytes += end - TEXT.lastIndex
      TEXT.lastIndex = end
    }
    if (bytes === 0) return
    this.outputBytes += bytes
    this.outputEvents++
  }

  #keepLine(part: string): void {
    this.#eventBytes += part.length
    if (this.#eventBytes <= MAX_OBSERVED_BYTES) this.#line += part
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

const isEmpty = (value: unknown) =>
  value === null ||
  value === undefined ||
  value === '' ||
  value === false ||
  (typeof value === 'object' && Object.keys(value).length === 0)

/** Fields that a usage event repeats of the others. What else it holds (citations, say) is the client's. */
const REPEATED = new Set([
  'id',
  'object',
  'created',
  'model',
  'choices',
  'usage',
  // How fast llama.cpp was: beside the usage that we asked for.
  'timings',
  'system_fingerprint',
  'service_tier',
  'provider',
  'obfuscation',
])

function holdsUsageAlone(chunk: Record<string, unknown>): boolean {
  for (const key in chunk) if (!REPEATED.has(key) && !isEmpty(chunk[key])) return false
  return true
}

/** `name: value` and `name:value`; null for another field. */
function fieldValue(line: string, name: string): string | null {
  if (!line.startsWith(name)) return null
  if (line.length === name.length) return ''
  if (line[name.length] !== ':') return null
  return line.slice(name.length + (line[name.length + 1] === ' ' ? 2 : 1))
}

function parse(latin1: string): Record<string, unknown> | null {
  try {
    const json: unknown = JSON.parse(Buffer.from(latin1, 'latin1').toString('utf8'))
    return isObject(json) ? json : null
  } catch {
    return null
  }
}
