import type { Dialect } from '../../candidates/dialect.ts'
import type { ChatMessage } from '../../openai/chat.ts'
import { callsOf, holdsMoreThanText, saysNothing } from './facts.ts'

type Content = ChatMessage['content']
type Part = Exclude<Content, string | null | undefined>[number]

const SYSTEM = new Set(['system', 'developer'])
/** Between texts that become one. */
const GAP = '\n\n'

/** A conversation in the shape that a model's template wants; the very same messages where nothing is to be changed. */
export function turnsFor(messages: readonly ChatMessage[], turns: Dialect['turns']): readonly ChatMessage[] {
  const { one_text: roles = [], blank, system, alternate, needs_content: needsContent } = turns
  let shaped = turns.tool_parts === 'after' ? withPartsAfter(messages) : messages
  if (roles.length > 0)
    shaped = mapped(shaped, (message) => (roles.includes(message.role) ? asOneText(message) : message))
  if (blank === 'drop' && shaped.some(saysNothing)) shaped = shaped.filter((message) => !saysNothing(message))
  if (system === 'first') shaped = systemFirst(shaped)
  if (alternate) shaped = alternating(shaped)
  if (needsContent) shaped = mapped(shaped, withContent)
  return shaped
}

function mapped(
  messages: readonly ChatMessage[],
  change: (message: ChatMessage) => ChatMessage,
): readonly ChatMessage[] {
  const all = messages.map(change)
  return all.some((message, index) => message !== messages[index]) ? all : messages
}

function asOneText(message: ChatMessage): ChatMessage {
  const { content } = message
  if (!Array.isArray(content) || content.some(({ type }) => type !== 'text')) return message
  return { ...message, content: content.map(({ text }) => text ?? '').join(GAP) }
}

/** Pictures and files of tools' results in a user's message after the last of them. */
function withPartsAfter(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  if (!messages.some(holdsMoreThanText)) return messages
  const out: ChatMessage[] = []
  let shown: Part[] = []
  for (const message of messages) {
    if (message.role !== 'tool' && shown.length > 0) {
      out.push({ role: 'user', content: shown })
      shown = []
    }
    if (!holdsMoreThanText(message)) {
      out.push(message)
      continue
    }
    const parts = message.content as readonly Part[]
    const texts = parts.filter(({ type }) => type === 'text')
    const about = { type: 'text', text: `What the tool call ${String(message.tool_call_id)} returned:` }
    shown.push(about, ...parts.filter(({ type }) => type !== 'text'))
    out.push({ ...message, content: texts.length > 0 ? texts : '(see the next message)' })
  }
  if (shown.length > 0) out.push({ role: 'user', content: shown })
  return out
}

function systemFirst(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  const instructions = messages.filter(({ role }) => SYSTEM.has(role))
  const [first] = instructions
  if (!first || (instructions.length === 1 && messages[0] === first)) return messages
  return [joined(instructions), ...messages.filter(({ role }) => !SYSTEM.has(role))]
}

/** Tool messages and calls stand for themselves: their order is another rule's. */
function alternating(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  const runs: ChatMessage[][] = []
  for (const message of messages) {
    const run = runs.at(-1)
    const first = run?.[0]
    const isNeighbour =
      first?.role === message.role && message.role !== 'tool' && callsOf(first).length + callsOf(message).length === 0
    if (isNeighbour) run?.push(message)
    else runs.push([message])
  }
  return runs.length < messages.length ? runs.map(joined) : messages
}

/** All at once: one after the other, each would copy what was said so far. */
function joined(run: readonly ChatMessage[]): ChatMessage {
  const [first] = run as [ChatMessage]
  if (run.length === 1) return first
  const contents = run.map(({ content }) => content)
  const other = contents.findIndex((content) => typeof content !== 'string')
  const texts = other < 0 ? contents : contents.slice(0, other)
  const text = texts.filter((content) => content !== '').join(GAP)
  return { ...first, content: other < 0 ? text : [text, ...contents.slice(other)].flatMap(partsOf) }
}

const partsOf = (content: Content): readonly Part[] =>
  typeof content === 'string' ? (content === '' ? [] : [{ type: 'text', text: content }]) : (content ?? [])

const withContent = (message: ChatMessage): ChatMessage =>
  message.role === 'assistant' && (message.content ?? []).length === 0 ? { ...message, content: '' } : message
