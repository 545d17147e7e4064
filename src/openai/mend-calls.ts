import { randomBytes } from 'node:crypto'
import { isObject } from './is-object.ts'
import { joinHalves } from './mend-text.ts'

type Fields = Record<string, unknown>

interface Made {
  id: string
  index: number
  isFunction: boolean
  /** Some of its arguments have been told, or (text) wait until they can be: JSON within JSON, half a character. */
  isTold: boolean
  quoted: string | null
  half: string
}

/** The calls of one choice. */
export class Calls {
  /** Some were. */
  made = false
  readonly #isStream: boolean
  /** By the place that the server tells. */
  readonly #at = new Map<unknown, Made>()
  readonly #all: Made[] = []
  #last: unknown
  /** It is told in `function_call`. */
  #isLegacy = false

  constructor(isStream: boolean) {
    this.#isStream = isStream
  }

  get isWaiting(): boolean {
    return this.#all.some(({ half }) => half !== '')
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

  /** @param isEnd the calls are whole with this chunk */
  mended(said: Fields, isEnd: boolean): Fields {
    const told = Array.isArray(said.tool_calls) ? said.tool_calls : []
    const own = told.map((call) => (isObject(call) ? (this.#isStream ? this.#piece(call) : whole(call)) : call))
    this.made ||= callsOf(said).length > 0
    const rest = isEnd && this.#isStream ? this.#all.flatMap(restOf) : []
    const isSame = rest.length === 0 && own.every((call, at) => call === told[at])
    return isSame ? said : { ...said, tool_calls: [...own, ...rest] }
  }

  #piece(call: Fields): Fields {
    const called = isObject(call.function) ? call.function : null
    const custom = isObject(call.custom) ? call.custom : null
    const id = typeof call.id === 'string' && call.id !== '' ? call.id : null
    const name = called?.name ?? custom?.name
    const isNamed = typeof name === 'string' && name !== ''
    const place = typeof call.index === 'number' ? call.index : isNamed ? `n${this.#all.length}` : this.#last
    const known = this.#at.get(place)
    // One that goes on has no name any more, or the same id.
    const isNew = known === undefined || (isNamed && id !== null && id !== known.id)
    const made = isNew ? this.#begin(id ?? newId(), custom === null) : known
    this.#at.set(place, made)
    this.#last = place
    const args = called && (isNew || 'arguments' in called) ? nextOf(made, textOf(called.arguments)) : undefined
    const more = {
      ...(made.index !== call.index && { index: made.index }),
      ...(isNew && id === null && { id: made.id }),
      ...(isNew && typeof call.type !== 'string' && { type: custom ? 'custom' : 'function' }),
      ...(args !== undefined && args !== called?.arguments && { function: { ...called, arguments: args } }),
    }
    return Object.keys(more).length > 0 ? { ...call, ...more } : call
  }

  #begin(id: string, isFunction: boolean): Made {
    const made = { id, index: this.#all.length, isFunction, isTold: false, quoted: null, half: '' }
    this.#all.push(made)
    return made
  }
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

/** What of a call's arguments can be told now. */
function nextOf(made: Made, piece: string): string {
  const [text, half] = joinHalves(made.half, piece, false)
  made.half = half
  if (text === '') return ''
  if (!made.isTold && made.quoted === null && text.trimStart().startsWith('"')) made.quoted = ''
  if (made.quoted === null) {
    made.isTold = true
    return text
  }
  made.quoted += text
  const inner = unquoted(made.quoted)
  if (inner === null) return ''
  made.quoted = null
  made.isTold = true
  return inner
}

/** What is left to be told of a call: clients read arguments as JSON, and those of none are `{}`. */
function restOf(made: Made): Fields[] {
  if (!made.isFunction || (made.isTold && made.half === '')) return []
  const text = `${made.quoted ?? (made.isTold ? '' : '{}')}${made.half === '' ? '' : '\ufffd'}`
  Object.assign(made, { isTold: true, quoted: null, half: '' })
  return [{ index: made.index, function: { arguments: text } }]
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
