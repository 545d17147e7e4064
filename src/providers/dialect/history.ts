import type { Dialect } from '../../candidates/dialect.ts'
import type { ChatMessage } from '../../openai/chat.ts'
import { isObject } from '../../openai/is-object.ts'
import { ownOf } from '../../runtime/own.ts'
import { callsOf } from './facts.ts'
import type { Learned } from './learned.ts'
import { paired } from './pairs.ts'
import { translateIds } from './tool-ids.ts'
import { turnsFor } from './turns.ts'

/** Fields in which models keep thoughts: each means something to the model that made it, and to no other. */
const THOUGHTS: ReadonlySet<string> = new Set([
  'reasoning',
  'reasoning_content',
  'reasoning_details',
  'reasoning_text',
  'reasoning_opaque',
  'thinking',
  'thinking_blocks',
  'thought_signature',
  'extra_content',
  'provider_specific_fields',
])

/** The two names by which plain thoughts go. */
const OTHER_THOUGHTS: ReadonlyMap<string, string> = new Map([
  ['reasoning', 'reasoning_content'],
  ['reasoning_content', 'reasoning'],
])

/** Under which name a model reads a message's plain thoughts that came under its other name; or undefined. */
export function ownThoughtName(
  field: string,
  message: Record<string, unknown>,
  { thoughts }: Dialect,
  learned: Learned | undefined,
): string | undefined {
  const own = OTHER_THOUGHTS.get(field)
  if (own === undefined || !thoughts.has(own) || thoughts.has(field) || learned?.refusesMessageField(own))
    return undefined
  return typeof message[field] === 'string' && !message[own] ? own : undefined
}

/** Whether a message brings what a model must read, under that name or the other. */
export function bringsThoughts(
  message: Record<string, unknown>,
  need: string,
  dialect: Dialect,
  learned: Learned | undefined,
): boolean {
  if (message[need] !== undefined && message[need] !== null) return true
  const other = OTHER_THOUGHTS.get(need)
  return other !== undefined && ownThoughtName(other, message, dialect, learned) === need
}

const MESSAGE = new Set(['role', 'content', 'tool_calls', 'tool_call_id'])
const CALL = new Set(['id', 'type', 'function', 'custom'])

/**
 * A conversation in a model's own terms; the very same messages where nothing is to be changed.
 *
 * @param isConverted from a format in which a user speaks within a tool's result
 */
export function historyFor(
  messages: readonly ChatMessage[],
  dialect: Dialect | undefined,
  learned: Learned | undefined,
  isConverted = false,
): { messages: readonly ChatMessage[]; dropped: readonly string[] } {
  const dropped = new Set<string>()
  const fateOf = (field: string) => {
    if (learned?.refusesMessageField(field)) return 'drop'
    if (!dialect) return 'keep'
    if (THOUGHTS.has(field)) return dialect.thoughts.has(field) ? 'keep' : 'drop'
    return ownOf(dialect.messageFields, field) ?? dialect.messageFields['*'] ?? 'keep'
  }
  const kept = <T extends Record<string, unknown>>(object: T, standard: ReadonlySet<string>): T => {
    let copy: Record<string, unknown> | null = null
    for (const field in object) {
      if (standard.has(field) || fateOf(field) === 'keep') continue
      copy ??= { ...object }
      delete copy[field]
      const value = object[field]
      const name = dialect && ownThoughtName(field, object, dialect, learned)
      if (name !== undefined) {
        copy[name] = value
        continue
      }
      if (field === 'refusal' && typeof value === 'string' && isBlank(object.content)) copy.content = value
      else if (!THOUGHTS.has(field) && saysSomething(value)) dropped.add(`messages.${field}`)
    }
    return (copy as T | null) ?? object
  }
  const roleOf = (given: string) => {
    const role =
      (learned?.systemForDeveloper && given === 'developer' ? 'system' : ownOf(dialect?.roles, given)) ?? given
    return role === 'system' && learned?.userForSystem ? 'user' : role
  }
  let changed = false
  const translated = messages.map((message) => {
    let own = kept(message, MESSAGE)
    const role = roleOf(message.role)
    if (role !== message.role) own = { ...own, role }
    const calls = callsOf(message)
    // An empty list is refused by many, OpenAI among them.
    if ('tool_calls' in own && calls.length === 0) {
      const { tool_calls: _, ...rest } = own
      own = rest
    }
    const keptCalls = calls.map((call) => kept(call, CALL))
    if (keptCalls.some((call, index) => call !== calls[index])) own = { ...own, tool_calls: keptCalls }
    const { content } = message
    if (dialect?.parts.refusal === 'text' && Array.isArray(content) && content.some(({ type }) => type === 'refusal')) {
      own = { ...own, content: content.map(asText) }
    }
    changed ||= own !== message
    return own
  })
  const ids = dialect?.toolIds
  const own = paired(changed ? translated : messages)
  const within = isConverted && dialect?.userAfterTool === 'avoid' ? saidWithin(own) : own
  const all = turnsFor(within, { ...dialect?.turns, ...learned?.turns })
  return { messages: ids ? translateIds(all, ids) : all, dropped: [...dropped] }
}

const isBlank = (content: unknown) =>
  content === null || content === undefined || (typeof content === 'string' && content.trim() === '')

const asText = (part: { type: string; [key: string]: unknown }) =>
  part.type === 'refusal' ? { type: 'text', text: String(part.refusal ?? '') } : part

const saysSomething = (value: unknown) =>
  value !== null && value !== undefined && value !== '' && !(isObject(value) && Object.keys(value).length === 0)

/** What a user says right after a tool's result, as its last lines; pictures stay where they are. */
function saidWithin(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  const joined: ChatMessage[] = []
  for (const message of messages) {
    const last = joined.at(-1)
    const said = message.role === 'user' && last?.role === 'tool' ? plainText(message) : null
    const result = last && plainText(last)
    if (said === null || typeof result !== 'string') joined.push(message)
    else joined[joined.length - 1] = { ...(last as ChatMessage), content: `${result}\n\n${said}` }
  }
  return joined.length === messages.length ? messages : joined
}

function plainText({ content }: ChatMessage): string | null {
  if (typeof content === 'string') return content
  if (!Array.isArray(content) || content.some(({ type }) => type !== 'text')) return null
  return content.map(({ text }) => text).join('\n\n')
}
