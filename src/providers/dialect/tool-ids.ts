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
  const used = new Set<string>()
  /** The client's id -> the calls of that id that have no result yet, and the last one. */
  const open = new Map<string, { waiting: string[]; last: string }>()
  let changed = false
  const translated = messages.map((message) => {
    if (message.role === 'tool') {
      // Without an id there is nothing to translate, and a mistake to be told.
      if (typeof message.tool_call_id !== 'string') return message
      const id = textOf(message.tool_call_id)
      const calls = open.get(id)
      const mapped = calls?.waiting.shift() ?? calls?.last ?? newId(id, form, used)
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
      const mapped = newId(id, form, used)
      const known = open.get(id)
      open.set(id, { waiting: [...(known?.waiting ?? []), mapped], last: mapped })
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

function newId(id: string, { pattern, length, unique }: IdForm, used: Set<string>): string {
  let mapped = id
  for (let turn = 0; !pattern.test(mapped) || (unique && used.has(mapped)); turn++) {
    mapped = hash('sha256', `${id}\0${turn}`, 'base64url').replace(/[-_]/g, 'x').slice(0, length)
  }
  used.add(mapped)
  return mapped
}
