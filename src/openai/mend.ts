import { endOf, isFailure, meantBy } from './finish-reason.ts'
import { isBlank } from './is-blank.ts'
import { isObject } from './is-object.ts'
import { Calls, Room } from './mend-calls.ts'
import { Halves, plainContent, withThoughtsAs } from './mend-text.ts'

type Fields = Record<string, unknown>

/** What the client has asked for, as far as it decides how an answer must be told. */
export interface Asked {
  /** A function is named that must be called: then the end says `stop`, by OpenAI's own rules. */
  isForced?: boolean
  /** Tools, and no `functions`: a call is told in `tool_calls`. */
  tools?: boolean
  /** Their names. */
  toolNames?: ReadonlySet<string>
  /** One choice is asked for: what comes as several is one. */
  isSingle?: boolean
  /** The field in which it reads thoughts. */
  thoughtsAs?: 'reasoning' | 'reasoning_content' | undefined
}

/** A choice of the answer. */
interface Told {
  calls: Calls
  halves: Halves
  /** An end that waits: calls without arguments have none if nothing more comes, and clients read them at the end. */
  end: unknown
  /** Its last end was none of the model's own: what is there of a call is not all. */
  isCut: boolean
}

/**
 * Where a stream is: at `[DONE]`; at the end of its bytes; at a chunk of no choice, which comes behind their ends.
 */
type At = 'done' | 'end' | 'behind'

/**
 * Answers as the official SDKs read them, where a server tells them otherwise: no role at the beginning, content in a
 * list, halves of a character, an answer in several choices; calls without an id, a type, a place or arguments, several
 * at the same place, in `function_call`, with a name in pieces, or what was told again; an end that says `stop` though
 * calls were made, or in words of its own, or in each chunk.
 */
export class Mend {
  readonly #asked: Asked
  readonly #choices = new Map<unknown, Told>()
  readonly #room = new Room()
  /** Half a character, or an end, of them waits for the next chunk, whatever that holds. */
  readonly #waiting = new Set<Told>()
  #head: Fields = {}

  constructor(asked: Asked) {
    this.#asked = asked
  }

  /** Choices whose end came, and waits for what may still be told of their calls. */
  get ended(): number {
    let count = 0
    for (const { end } of this.#choices.values()) if (end !== null) count++
    return count
  }

  /** Whether a chunk must be looked at for more than its news. */
  sees(data: string): boolean {
    return this.#waiting.size > 0 || (this.#asked.thoughtsAs !== undefined && /"reasoning(?:_content)?"\s*:/.test(data))
  }

  /** A chunk, or a whole answer; null where nothing is to be mended. */
  mended(answer: Fields): Fields | null {
    if (!Array.isArray(answer.choices) || answer.choices.length === 0) return null
    const given = this.#asked.isSingle ? asOne(answer.choices) : answer.choices
    let isMended = given !== answer.choices
    const choices = given.map((choice: unknown, position) => {
      const own = isObject(choice) ? this.#choice(choice, position) : null
      isMended ||= own !== null
      return own ?? choice
    })
    const { id, object, created, model } = answer
    this.#head = { id, object, created, model }
    return isMended ? { ...answer, choices } : null
  }

  /** A chunk of all that waits, where nothing more comes that it could wait for; null for nothing. */
  rest(at: At): Fields | null {
    if (at === 'behind' && this.#waiting.size === 0) return null
    const choices: Fields[] = []
    for (const [index, told] of this.#choices) {
      const { calls, halves, end } = told
      if (at === 'behind' && end === null) continue
      const isWhole = at === 'done' ? !told.isCut : end !== null
      const delta = calls.withRest(calls.withHeld(halves.mended({}, true)), isWhole)
      told.end = null
      this.#waiting.delete(told)
      if (end !== null || Object.keys(delta).length > 0) choices.push({ index, delta, finish_reason: end })
    }
    return choices.length > 0 ? { ...this.#head, choices } : null
  }

  #choice(choice: Fields, position: number): Fields | null {
    const field = isObject(choice.message) ? 'message' : 'delta'
    const given = isObject(choice[field]) ? choice[field] : null
    const index = choice.index ?? position
    const known = this.#choices.get(index)
    const told = known ?? this.#begin(index, field === 'delta')
    const { calls, halves } = told
    const meant = meantBy(choice.finish_reason)
    const isEnd = endOf(meant) !== null
    let said = given === null ? {} : plainContent(given)
    if (this.#asked.tools) said = calls.asToolCalls(said)
    if (this.#asked.thoughtsAs) said = withThoughtsAs(said, this.#asked.thoughtsAs)
    said = halves.mended(said, isEnd || field === 'message')
    said = calls.mended(said)
    if (isEnd) said = calls.withHeld(said)
    if (isEnd) told.isCut = meant === 'length' || meant === 'content_filter' || isFailure(meant)
    if (isEnd && told.isCut) said = calls.withRest(said, false)
    // The first word of a choice says whose it is; without it no SDK puts the answer together.
    if (!known && given !== null && !given.role) said = { ...said, role: 'assistant' }
    const isCalled = meant === 'stop' ? !this.#asked.isForced : meant === 'function_call' && this.#asked.tools === true
    const end = calls.made && isCalled ? 'tool_calls' : meant
    const waits = isEnd && !told.isCut && calls.isOpen
    if (isEnd) told.end = waits ? end : null
    if (halves.isWaiting || calls.isWaiting || told.end !== null) this.#waiting.add(told)
    else this.#waiting.delete(told)
    const isSame = said === given || (given === null && Object.keys(said).length === 0)
    const shown = waits ? null : end
    if (isSame && shown === choice.finish_reason) return null
    return { ...choice, ...(!isSame && { [field]: said }), finish_reason: shown }
  }

  #begin(index: unknown, isStream: boolean): Told {
    const told = {
      calls: new Calls(isStream, this.#room, this.#asked.toolNames),
      halves: new Halves(),
      end: null,
      isCut: false,
    }
    this.#choices.set(index, told)
    return told
  }
}

/**
 * Whether a whole answer is one text, told as OpenAI does: nothing is to be mended. Most are, and to look for all that
 * might be costs many times as much.
 */
export function isPlainlyTold({ choices }: Fields): boolean {
  if (!Array.isArray(choices) || choices.length !== 1) return false
  const choice: unknown = choices[0]
  if (!isObject(choice) || !isObject(choice.message)) return false
  if (choice.finish_reason !== 'stop' && choice.finish_reason !== 'length') return false
  const { message } = choice
  if (typeof message.role !== 'string' || message.role === '' || typeof message.content !== 'string') return false
  for (const field in message) if (message[field] !== null && !PLAIN.has(field)) return false
  // Half a character at the end is mended.
  return (message.content.charCodeAt(message.content.length - 1) & 0xfc00) !== 0xd800
}

const PLAIN = new Set(['role', 'content'])

/**
 * Text in one choice and calls in the next, none of which says which it is: parts of the one that was asked for. What
 * several choices tell in the same field are answers of their own: the very same list.
 */
function asOne(choices: unknown[]): unknown[] {
  if (choices.length < 2 || !choices.every((choice) => isObject(choice) && typeof choice.index !== 'number'))
    return choices
  const all = choices as Fields[]
  const field = all.some(({ message }) => isObject(message)) ? 'message' : 'delta'
  const said = all.map((choice) => choice[field]).filter(isObject)
  const told: Fields = {}
  for (const part of said) {
    for (const key in part) {
      if (key === 'role' || key === 'tool_calls' || isBlank(part[key])) continue
      if (Object.hasOwn(told, key)) return choices
      told[key] = part[key]
    }
  }
  const calls = said.flatMap(({ tool_calls: made }) => (Array.isArray(made) ? made : []))
  const one = { content: null, ...Object.assign({}, ...said), ...told, ...(calls.length > 0 && { tool_calls: calls }) }
  const end = all.map(({ finish_reason: reason }) => reason).findLast((reason) => endOf(reason) !== null)
  return [{ ...Object.assign({}, ...all), index: 0, [field]: one, finish_reason: end ?? null }]
}
