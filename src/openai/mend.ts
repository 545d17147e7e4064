import { randomBytes } from 'node:crypto'
import { meantBy } from './finish-reason.ts'
import { isObject } from './is-object.ts'

type Fields = Record<string, unknown>

/**
 * Tool calls and ends as the official SDKs read them, where a server tells them otherwise: no role at the beginning,
 * arguments as an object, calls without an id or a place, several at the same place; an end that says `stop` though
 * calls were made, or in words of its own.
 */
export class Mend {
  readonly #isForced: boolean
  readonly #choices = new Map<unknown, Calls>()

  /** @param isForced the client has forced a function: then the end says `stop`, by OpenAI's own rules */
  constructor(isForced: boolean) {
    this.#isForced = isForced
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
    const said = isObject(choice[field]) ? choice[field] : null
    const told = Array.isArray(said?.tool_calls) ? said.tool_calls : []
    const known = this.#choices.get(choice.index)
    const calls = known ?? new Calls(field === 'delta')
    if (!known) this.#choices.set(choice.index, calls)
    // The first word of a choice says whose it is; without it no SDK puts the answer together.
    const lacksRole = !known && said !== null && !said.role
    const own = told.map((call) => (isObject(call) ? calls.mended(call) : call))
    const isSame = own.every((call, at) => call === told[at])
    calls.made ||= told.some(isObject)
    const meant = meantBy(choice.finish_reason)
    const end = calls.made && !this.#isForced && meant === 'stop' ? 'tool_calls' : meant
    if (isSame && !lacksRole && end === choice.finish_reason) return null
    const whose = lacksRole ? { role: 'assistant' } : {}
    return {
      ...choice,
      ...(said && { [field]: { ...said, ...whose, ...(!isSame && { tool_calls: own }) } }),
      finish_reason: end,
    }
  }
}

/** The calls of one choice. */
class Calls {
  /** Some were. */
  made = false
  /** By the place that the server tells. */
  readonly #at = new Map<unknown, { id: string; index: number }>()
  readonly #isStream: boolean
  #count = 0
  #last: unknown

  constructor(isStream: boolean) {
    this.#isStream = isStream
  }

  mended(call: Fields): Fields {
    const called = isObject(call.function) ? call.function : null
    const args = isObject(called?.arguments) ? JSON.stringify(called.arguments) : null
    const asText = args === null ? call : { ...call, function: { ...called, arguments: args } }
    const id = typeof call.id === 'string' && call.id !== '' ? call.id : null
    if (!this.#isStream) return id === null ? { ...asText, id: newId(), type: call.type ?? 'function' } : asText
    const name = called?.name ?? (isObject(call.custom) ? call.custom.name : undefined)
    const isNamed = typeof name === 'string' && name !== ''
    const place = typeof call.index === 'number' ? call.index : isNamed ? `n${this.#count}` : this.#last
    const known = this.#at.get(place)
    // One that goes on has no name any more, or the same id.
    const isNew = known === undefined || (isNamed && id !== null && id !== known.id)
    const own = isNew ? { id: id ?? newId(), index: this.#count++ } : known
    this.#at.set(place, own)
    this.#last = place
    const lacksId = isNew && id === null
    if (own.index === call.index && !lacksId) return asText
    return { ...asText, index: own.index, ...(lacksId && { id: own.id, type: call.type ?? 'function' }) }
  }
}

const newId = () => `call_${randomBytes(12).toString('hex')}`
