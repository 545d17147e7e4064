import { randomBytes } from 'node:crypto'
import { isObject } from './is-object.ts'
import { CallNames } from './mend-names.ts'
import { joinHalves } from './mend-text.ts'

type Fields = Record<string, unknown>

interface Made {
  id: string
  index: number
  /** Some of its arguments have been told, or they wait until they can be: JSON within JSON, half a character. */
  isTold: boolean
  quoted: Quoted | null
  half: string
}

/** The beginning of a JSON text within JSON. */
interface Quoted {
  pieces: string[]
  chars: number
  /** A backslash stood last. */
  isEscaped: boolean
}

/** Characters of JSON within JSON that may wait for their end, in one answer; of more, pieces pass as they came. */
export class Room {
  left = 1024 * 1024
}

/** The calls of one choice. */
export class Calls {
  /** Some were. */
  made = false
  readonly #isStream: boolean
  readonly #room: Room
  readonly #names: CallNames
  /** By the place that the server tells. */
  readonly #at = new Map<unknown, Made>()
  /** Functions of whose arguments nothing has been told. */
  readonly #untold = new Set<Made>()
  readonly #halves = new Set<Made>()
  #count = 0
  #last: unknown
  /** It is told in `function_call`. */
  #isLegacy = false

  /** @param names of the tools that can be called, where they are known */
  constructor(isStream: boolean, room: Room, names?: ReadonlySet<string>) {
    this.#isStream = isStream
    this.#room = room
    this.#names = new CallNames(names)
  }

  /** Half a character waits. */
  get isWaiting(): boolean {
    return this.#halves.size > 0
  }

  /** Something is left to be told if nothing more comes. */
  get isOpen(): boolean {
    return this.#untold.size > 0 || this.#halves.size > 0
  }

  /** A `function_call` as one of `tool_calls`; where it is told there, too, it is left out. */
  asToolCalls(said: Fields): Fields {
    const { function_call: called, ...rest } = said
    if (!isObject(called)) return said
    if (callsOf(said).length > 0 || (this.made && !this.#isLegacy)) return rest
    const isNew = !this.#isLegacy
    this.#isLegacy = true
    const call = { ...(this.#isStream && { index: 0 }), ...(isNew && { id: newId(), type: 'function' }) }
    return { ...rest, tool_calls: [{ ...call, function: called }] }
  }

  mended(said: Fields): Fields {
    const told = Array.isArray(said.tool_calls) ? said.tool_calls : []
    const own = told.flatMap((call) => (isObject(call) ? (this.#isStream ? this.#taken(call) : [whole(call)]) : [call]))
    this.made ||= callsOf(said).length > 0
    if (own.length === told.length && own.every((call, at) => call === told[at])) return said
    const { tool_calls: _, ...rest } = said
    return own.length > 0 ? { ...rest, tool_calls: own } : rest
  }

  /** What waits for the rest of its name, told behind what is said: no more of it comes. */
  withHeld(said: Fields): Fields {
    const held = this.#names.rest().map((call) => this.#piece(call))
    return held.length > 0 ? { ...said, tool_calls: [...callsOf(said), ...held] } : said
  }

  #taken(call: Fields): Fields[] {
    const piece = this.#names.take(call)
    return piece ? [this.#piece(piece)] : []
  }

  /** What waits, as it came, told behind what is said. @param isWhole calls without arguments have none: `{}` */
  withRest(said: Fields, isWhole: boolean): Fields {
    const rest = [...new Set([...this.#untold, ...this.#halves])].flatMap((made) => {
      const text = `${this.#release(made)}${made.half === '' ? '' : '\ufffd'}`
      made.half = ''
      if (text === '' && !isWhole) return []
      made.isTold = true
      this.#untold.delete(made)
      return [{ index: made.index, function: { arguments: text || '{}' } }]
    })
    this.#halves.clear()
    if (rest.length === 0) return said
    return { ...said, tool_calls: [...(Array.isArray(said.tool_calls) ? said.tool_calls : []), ...rest] }
  }

  #piece(call: Fields): Fields {
    const called = isObject(call.function) ? call.function : null
    const custom = isObject(call.custom) ? call.custom : null
    const id = typeof call.id === 'string' && call.id !== '' ? call.id : null
    const name = called?.name ?? custom?.name
    const isNamed = typeof name === 'string' && name !== ''
    const place = typeof call.index === 'number' ? call.index : isNamed ? `n${this.#count}` : this.#last
    const known = this.#at.get(place)
    // One that goes on has no name any more, or the same id.
    const isNew = known === undefined || (isNamed && id !== null && id !== known.id)
    const made = isNew ? this.#begin(id ?? newId(), custom === null) : known
    this.#at.set(place, made)
    this.#last = place
    const args = called && (isNew || 'arguments' in called) ? this.#next(made, textOf(called.arguments)) : undefined
    const more = {
      ...(made.index !== call.index && { index: made.index }),
      ...(isNew && id === null && { id: made.id }),
      ...(isNew && typeof call.type !== 'string' && { type: custom ? 'custom' : 'function' }),
      ...(args !== undefined && args !== called?.arguments && { function: { ...called, arguments: args } }),
    }
    return Object.keys(more).length > 0 ? { ...call, ...more } : call
  }

  #begin(id: string, isFunction: boolean): Made {
    const made = { id, index: this.#count++, isTold: false, quoted: null, half: '' }
    if (isFunction) this.#untold.add(made)
    return made
  }

  /** What of a call's arguments can be told now. */
  #next(made: Made, piece: string): string {
    const [text, half] = joinHalves(made.half, piece, false)
    made.half = half
    if (half === '') this.#halves.delete(made)
    else this.#halves.add(made)
    const told = text === '' ? '' : this.#unquoted(made, text)
    if (told !== '') {
      made.isTold = true
      this.#untold.delete(made)
    }
    return told
  }

  /** A piece, or nothing as long as it belongs to a JSON text within JSON whose end has not come. */
  #unquoted(made: Made, text: string): string {
    const isFirst = made.quoted === null
    if (made.isTold || (isFirst && !text.trimStart().startsWith('"'))) return text
    made.quoted ??= { pieces: [], chars: 0, isEscaped: false }
    const { quoted } = made
    quoted.pieces.push(text)
    quoted.chars += text.length
    this.#room.left -= text.length
    const isEnd = endsIn(quoted, text, isFirst ? text.indexOf('"') + 1 : 0)
    if (!isEnd && this.#room.left >= 0) return ''
    const all = this.#release(made)
    return (isEnd ? unquoted(all) : null) ?? all
  }

  #release(made: Made): string {
    const { quoted } = made
    if (quoted === null) return ''
    made.quoted = null
    this.#room.left += quoted.chars
    return quoted.pieces.join('')
  }
}

/** Whether a string ends in its next piece, from an offset on. */
function endsIn(quoted: Quoted, piece: string, from: number): boolean {
  for (let i = from; i < piece.length; i++) {
    const char = piece[i]
    if (quoted.isEscaped) quoted.isEscaped = false
    else if (char === '"') return true
    else quoted.isEscaped = char === '\\'
  }
  return false
}

const callsOf = ({ tool_calls: calls }: Fields) => (Array.isArray(calls) ? calls.filter(isObject) : [])

/** A call of a whole answer. */
function whole(call: Fields): Fields {
  const called = isObject(call.function) ? call.function : null
  const text = called && textOf(called.arguments)
  const args = text === '' ? '{}' : text && (unquoted(text) ?? text)
  const more = {
    ...(!(typeof call.id === 'string' && call.id !== '') && { id: newId() }),
    ...(typeof call.type !== 'string' && { type: isObject(call.custom) ? 'custom' : 'function' }),
    ...(called && args !== called.arguments && { function: { ...called, arguments: args } }),
  }
  return Object.keys(more).length > 0 ? { ...call, ...more } : call
}

/** The JSON of an object that is told as a JSON text; the same text where it is of another value, null for no JSON. */
function unquoted(text: string): string | null {
  const inner = parsed(text)
  if (inner === undefined) return null
  return typeof inner === 'string' && isObject(parsed(inner)) ? inner : text
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const textOf = (args: unknown): string => (typeof args === 'string' ? args : isObject(args) ? JSON.stringify(args) : '')

const newId = () => `call_${randomBytes(12).toString('hex')}`
