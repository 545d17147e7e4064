import type { ChatMessage } from '../../openai/chat.ts'
import { callsOf } from './facts.ts'

/** What a model reads where a call has no result: clients that were interrupted send it so. */
const NO_RESULT = '(no result)'

/**
 * Each call with a result, and each result with its call, as most models demand: a client that was interrupted, or cut
 * a conversation in the middle, sends one without the other. The very same messages where nothing is missing, or where
 * they name no call: that is a mistake, for who takes them to tell.
 */
export function paired(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  /** By place: calls of a turn that no result behind it answers. */
  const missing = new Map<number, Set<string>>()
  /** Places of results without a call before them. */
  const strays = new Set<number>()
  /** By id: what waits for a result in the last turn that calls so. Some clients count anew in each turn. */
  const waiting = new Map<unknown, Set<unknown>>()
  for (const [at, message] of messages.entries()) {
    if (message.role === 'tool') {
      const ids = waiting.get(message.tool_call_id)
      if (ids) ids.delete(message.tool_call_id)
      else if (typeof message.tool_call_id === 'string') strays.add(at)
      continue
    }
    const calls = callsOf(message)
    if (calls.length === 0) continue
    const ids = new Set(calls.map(({ id }) => id).filter((id) => typeof id === 'string'))
    missing.set(at, ids)
    for (const id of ids) waiting.set(id, ids)
  }
  let isWhole = strays.size === 0
  for (const ids of missing.values()) isWhole &&= ids.size === 0
  return isWhole ? messages : withBoth(messages, missing, strays)
}

function withBoth(
  messages: readonly ChatMessage[],
  missing: ReadonlyMap<number, ReadonlySet<string>>,
  strays: ReadonlySet<number>,
): readonly ChatMessage[] {
  const out: ChatMessage[] = []
  /** Calls of the last turn that nothing answers. */
  let unanswered: Iterable<string> = []
  const fill = () => {
    for (const id of unanswered) out.push({ role: 'tool', tool_call_id: id, content: NO_RESULT })
    unanswered = []
  }
  for (const [at, message] of messages.entries()) {
    const isStray = strays.has(at)
    if (message.role === 'tool' && !isStray) {
      out.push(message)
      continue
    }
    fill()
    out.push(isStray ? asSaid(message) : message)
    unanswered = missing.get(at) ?? []
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
