import { endOf, meantBy } from './finish-reason.ts'
import { isObject } from './is-object.ts'
import { Calls } from './mend-calls.ts'
import { Halves, plainContent, withThoughtsAs } from './mend-text.ts'

type Fields = Record<string, unknown>

/** What the client has asked for, as far as it decides how an answer must be told. */
export interface Asked {
  /** A function is named that must be called: then the end says `stop`, by OpenAI's own rules. */
  isForced?: boolean
  /** Tools, and no `functions`: a call is told in `tool_calls`. */
  tools?: boolean
  /** The field in which it reads thoughts. */
  thoughtsAs?: 'reasoning' | 'reasoning_content' | undefined
}

/**
 * Answers as the official SDKs read them, where a server tells them otherwise: no role at the beginning, content in a
 * list, halves of a character; calls without an id, a type, a place or arguments, several at the same place, in
 * `function_call`; an end that says `stop` though calls were made, or in words of its own.
 */
export class Mend {
  readonly #asked: Asked
  readonly #choices = new Map<unknown, { calls: Calls; halves: Halves }>()

  constructor(asked: Asked) {
    this.#asked = asked
  }

  /** Whether a chunk must be looked at for more than its news. */
  sees(data: string): boolean {
    return this.#isWaiting || (this.#asked.thoughtsAs !== undefined && /"reasoning(?:_content)?"\s*:/.test(data))
  }

  /** Half a character waits for the next chunk, whatever that holds. */
  get #isWaiting(): boolean {
    for (const { calls, halves } of this.#choices.values()) if (halves.isWaiting || calls.isWaiting) return true
    return false
  }

  /** A chunk, or a whole answer; null where nothing is to be mended. */
  mended(answer: Fields): Fields | null {
    if (!Array.isArray(answer.choices)) return null
    let isMended = false
    const choices = answer.choices.map((choice: unknown) => {
      const own = isObject(choice) ? this.#choice(choice) : null
      isMended ||= own !== null
      return own ?? choice
    })
    return isMended ? { ...answer, choices } : null
  }

  #choice(choice: Fields): Fields | null {
    const field = isObject(choice.message) ? 'message' : 'delta'
    const given = isObject(choice[field]) ? choice[field] : null
    const known = this.#choices.get(choice.index)
    const told = known ?? { calls: new Calls(field === 'delta'), halves: new Halves() }
    if (!known) this.#choices.set(choice.index, told)
    const meant = meantBy(choice.finish_reason)
    const isEnd = endOf(meant) !== null
    let said = given === null ? {} : plainContent(given)
    if (this.#asked.tools) said = told.calls.asToolCalls(said)
    if (this.#asked.thoughtsAs) said = withThoughtsAs(said, this.#asked.thoughtsAs)
    said = told.halves.mended(said, isEnd || field === 'message')
    said = told.calls.mended(said, isEnd && meant !== 'length' && meant !== 'content_filter')
    // The first word of a choice says whose it is; without it no SDK puts the answer together.
    if (!known && given !== null && !given.role) said = { ...said, role: 'assistant' }
    const isCalled = meant === 'stop' ? !this.#asked.isForced : meant === 'function_call' && this.#asked.tools === true
    const end = told.calls.made && isCalled ? 'tool_calls' : meant
    const isSame = said === given || (given === null && Object.keys(said).length === 0)
    if (isSame && end === choice.finish_reason) return null
    return { ...choice, ...(!isSame && { [field]: said }), finish_reason: end }
  }
}
