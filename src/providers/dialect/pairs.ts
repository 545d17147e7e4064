import type { ChatMessage } from '../../openai/chat.ts'
import { callsOf } from './facts.ts'

/** What a model reads where a call has no result: clients that were interrupted send it so. */
const NO_RESULT = '(no result)'

/**
 * Each call with a result, and each result with its call, as most models demand: a client that was interrupted, or cut
 * a conversation in the middle, sends one without the other. The very same messages where nothing is missing.
 */
export function paired(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  const called = new Set<unknown>()
  const answered = new Set<unknown>()
  let isWhole = true
  for (const message of messages) {
    for (const { id } of callsOf(message)) called.add(id)
    if (message.role !== 'tool') continue
    answered.add(message.tool_call_id)
    isWhole &&= called.has(message.tool_call_id)
  }
  for (const id of called) isWhole &&= answered.has(id)
  return isWhole ? messages : withBoth(messages, answered)
}

function withBoth(messages: readonly ChatMessage[], answered: ReadonlySet<unknown>): readonly ChatMessage[] {
  const called = new Set<unknown>()
  const out: ChatMessage[] = []
  /** Calls of the last turn that nothing answers. */
  let missing: unknown[] = []
  const fill = () => {
    for (const id of missing) out.push({ role: 'tool', tool_call_id: id, content: NO_RESULT })
    missing = []
  }
  for (const message of messages) {
    if (message.role === 'tool' && called.has(message.tool_call_id)) {
      out.push(message)
      continue
    }
    fill()
    out.push(message.role === 'tool' ? asSaid(message) : message)
    for (const { id } of callsOf(message)) {
      called.add(id)
      if (!answered.has(id)) missing.push(id)
    }
  }
  fill()
  return out
}

/** A result whose call is gone. */
function asSaid({ content }: ChatMessage): ChatMessage {
  const about = 'What a tool returned:'
  if (Array.isArray(content)) return { role: 'user', content: [{ type: 'text', text: about }, ...content] }
  return { role: 'user', content: `${about}\n${content ?? ''}` }
}
