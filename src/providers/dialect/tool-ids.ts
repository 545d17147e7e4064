import { hash } from 'node:crypto'
import type { ChatMessage } from '../../openai/chat.ts'
import { callsOf } from './facts.ts'

export interface IdForm {
  pattern: RegExp
  length: number
  /** No two calls of a conversation may share one. */
  unique: boolean
}

/**
 * Ids of tool calls in a form that a model takes: the ids of calls and of their results are translated together, the
 * same way each time, so that prompt caches hold. Returns the very same messages where nothing is to be changed.
 */
export function translateIds(messages: readonly ChatMessage[], form: IdForm): readonly ChatMessage[] {
  const ids = new Ids(form)
  /** The client's id -> the calls of that id that have no result yet, and the last one. */
  const open = new Map<string, { waiting: string[]; last: string }>()
  let changed = false
  const translated = messages.map((message) => {
    if (message.role === 'tool') {
      // Without an id there is nothing to translate, and a mistake to be told.
      if (typeof message.tool_call_id !== 'string') return message
      const id = textOf(message.tool_call_id)
      const calls = open.get(id)
      const mapped = calls?.waiting.shift() ?? calls?.last ?? ids.next(id)
      if (mapped === message.tool_call_id) return message
      changed = true
      return { ...message, tool_call_id: mapped }
    }
    const calls = callsOf(message)
    if (calls.length === 0) return message
    let differs = false
    for (const call of calls) open.delete(textOf(call.id))
    const renamed = calls.map((call) => {
      const id = textOf(call.id)
      const mapped = ids.next(id)
      const known = open.get(id)
      if (known) {
        known.waiting.push(mapped)
        known.last = mapped
      } else open.set(id, { waiting: [mapped], last: mapped })
      if (mapped === call.id) return call
      differs = true
      return { ...call, id: mapped }
    })
    if (!differs) return message
    changed = true
    return { ...message, tool_calls: renamed }
  })
  return changed ? translated : messages
}

const textOf = (id: unknown) => (typeof id === 'string' ? id : '')

/** Ids that were given out, and how often each of the client's was asked for: those before are not tried again. */
class Ids {
  readonly #form: IdForm
  readonly #used = new Set<string>()
  readonly #tries = new Map<string, number>()

  constructor(form: IdForm) {
    this.#form = form
  }

  next(id: string): string {
    const { pattern, length, unique } = this.#form
    let turn = this.#tries.get(id) ?? 0
    let mapped = turn === 0 ? id : triedId(id, turn - 1, length)
    while (!pattern.test(mapped) || (unique && this.#used.has(mapped))) mapped = triedId(id, turn++, length)
    this.#tries.set(id, turn)
    this.#used.add(mapped)
    return mapped
  }
}

const triedId = (id: string, turn: number, length: number) =>
  hash('sha256', `${id}\0${turn}`, 'base64url').replace(/[-_]/g, 'x').slice(0, length)
