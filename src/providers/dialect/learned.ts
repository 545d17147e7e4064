import type { Dialect, FieldRule } from '../../candidates/dialect.ts'
import type { ChatBody, ChatRequest } from '../../openai/chat.ts'
import { isObject } from '../../openai/is-object.ts'
import { ownOf } from '../../runtime/own.ts'
import type { Facts } from './facts.ts'
import { TUNING } from './neutral.ts'

/**
 * What a deployment has refused, as short texts that a store can keep: `seed` (a field), `seed=1` (one value of it),
 * `reasoning=off` (however it says not to think), `prompt_cache_key.length>64` (longer texts),
 * `role:developer`, `part:file`, `tool:custom`, `message:name`, `stream`, `prefill`, `turns:alternate` (the shape of a
 * conversation), `tokens>=70000` (a prompt), `max_tokens>=16000`.
 */
export type Refused = string

/** A field's other name: what to try where one of them is refused. */
const OTHER_NAME: Readonly<Record<string, string>> = {
  max_tokens: 'max_completion_tokens',
  max_completion_tokens: 'max_tokens',
}

/** Whether it is the bound of an answer's length that was refused, its name or its size. */
export const isBound = (refused: Refused): boolean => /^max_(?:completion_)?tokens(?:>=|=|$)/.test(refused)

/** Refusals of one deployment, as rules for the next request. */
export class Learned {
  readonly #refused: ReadonlySet<Refused>
  readonly #promptTokens: number
  readonly #maxTokens: number

  constructor(refused: Iterable<Refused>) {
    this.#refused = new Set(refused)
    this.#promptTokens = smallest(this.#refused, 'tokens>=')
    this.#maxTokens = smallest(this.#refused, 'max_tokens>=')
  }

  has(refused: Refused): boolean {
    return this.#refused.has(refused)
  }

  with(refused: Iterable<Refused>): Learned {
    return new Learned([...this.#refused, ...refused])
  }

  /** Whether so many tokens of an answer were refused as too many: it never writes as many. */
  endsBelow(tokens: number): boolean {
    return tokens >= this.#maxTokens
  }

  /** What the request as a whole has that was refused and can't be helped, or undefined. */
  unfit({ promptTokens, body, stream }: ChatRequest, facts: Facts): string | undefined {
    if (promptTokens >= this.#promptTokens) return `has refused a prompt of ${this.#promptTokens} tokens`
    if ((body.max_completion_tokens ?? body.max_tokens ?? 0) >= this.#maxTokens) {
      return `has refused ${this.#maxTokens} tokens of output`
    }
    if (stream && this.#refused.has('stream')) return 'has refused to stream'
    if (facts.endsWithAssistant && this.#refused.has('prefill'))
      return "has refused to go on with an assistant's message"
    for (const role of facts.roles) {
      if (role !== 'developer' && role !== 'system' && this.#refused.has(`role:${role}`))
        return `has refused messages of role ${role}`
    }
    for (const part of facts.parts) {
      if (this.#refused.has(`part:${part}`)) return `has refused content parts of type ${part}`
    }
    for (const type of facts.toolTypes) {
      if (this.#refused.has(`tool:${type}`)) return `has refused tools of type ${type}`
    }
    return undefined
  }

  ruleFor(field: string, value: unknown, body: ChatBody): FieldRule | undefined {
    const isRefused = this.#refused.has(field)
    const isTooLong = typeof value === 'string' && value.length > this.#longest(field)
    if (!isRefused && !isTooLong && !this.#refused.has(withValue(field, value) ?? field)) return undefined
    const other = ownOf(OTHER_NAME, field)
    // Under either name it is a limit that must hold.
    if (isRefused && other !== undefined)
      return this.#refused.has(other) || other in body ? 'avoid' : { rename: other, otherwise: 'avoid' }
    return TUNING.has(field) ? 'drop' : 'avoid'
  }

  #longest(field: string): number {
    const prefix = `${field}.length>`
    // Numbers of characters: the smallest that was refused.
    return smallest(this.#refused, prefix)
  }

  /** Fields of messages to leave out. */
  refusesMessageField(field: string): boolean {
    return this.#refused.has(`message:${field}`)
  }

  get systemForDeveloper(): boolean {
    return this.#refused.has('role:developer')
  }

  /** Instructions are then told by the user. */
  get userForSystem(): boolean {
    return this.#refused.has('role:system')
  }

  /** The shape that a conversation must have. */
  get turns(): Dialect['turns'] {
    return {
      ...((this.userForSystem || this.#refused.has('turns:alternate')) && { alternate: true }),
      ...(this.#refused.has('turns:system') && { system: 'first' }),
    }
  }
}

/** A field together with its value, where that is short enough to be told apart by. */
export function withValue(field: string, value: unknown): Refused | null {
  if (field === 'response_format') {
    return isObject(value) && typeof value.type === 'string' ? `${field}=${value.type.slice(0, 32)}` : null
  }
  if (isObject(value) && isOff(field, value)) return `${field}=off`
  if (typeof value === 'object' || value === undefined) return null
  const text = JSON.stringify(value)
  return text.length <= 48 ? `${field}=${text}` : null
}

/** Whether a field tells a model not to think. */
export function isOff(field: string, value: unknown): boolean {
  const { effort, enabled, max_tokens, type, enable_thinking, thinking } = isObject(value) ? value : {}
  switch (field) {
    case 'reasoning_effort':
      return value === 'none'
    case 'enable_thinking':
      return value === false
    case 'reasoning':
      return effort === 'none' || enabled === false || max_tokens === 0
    case 'thinking':
      return type === 'disabled'
    case 'chat_template_kwargs':
      return enable_thinking === false || thinking === false
    default:
      return false
  }
}

function smallest(refused: ReadonlySet<Refused>, prefix: string): number {
  let found = Number.POSITIVE_INFINITY
  for (const entry of refused) if (entry.startsWith(prefix)) found = Math.min(found, Number(entry.slice(prefix.length)))
  return Number.isNaN(found) ? Number.POSITIVE_INFINITY : found
}
