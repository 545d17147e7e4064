import type { ChatMessage, ChatRequest } from '../../openai/chat.ts'
import { isObject } from '../../openai/is-object.ts'

/** What of a request may matter to a dialect: looked for once, however many candidates are looked at. */
export interface Facts {
  /** Top-level fields that say something, but for those that every API has. */
  fields: readonly string[]
  roles: ReadonlySet<string>
  parts: ReadonlySet<string>
  /** Fields of messages beside role and content. */
  messageFields: ReadonlySet<string>
  /** The same, with those that say nothing. */
  emptyMessageFields: ReadonlySet<string>
  /** Assistant messages with tool calls whose results end the conversation: the model must go on with them. */
  loop: readonly ChatMessage[]
  /** All assistant messages with tool calls. */
  calling: readonly ChatMessage[]
  /** Some tool's result holds more than text. */
  hasPartsInTools: boolean
  /** Types of the tools that are offered. */
  toolTypes: ReadonlySet<string>
  /** Some call in it was of a tool that takes text, not JSON. */
  hasCustomCalls: boolean
  endsWithAssistant: boolean
  /** Some message that is not a system message is more than white space. */
  isSaid: boolean
  hasUserAfterTool: boolean
  /** Text in turns, and nothing else: every API takes it. */
  isPlain: boolean
}

const TURNS = new Set(['system', 'user', 'assistant'])
const TEXT = new Set(['text'])
const SYSTEM = new Set(['system', 'developer'])
const EVERYWHERE = new Set(['model', 'messages', 'stream'])
const STANDARD = new Set(['role', 'content', 'tool_calls', 'tool_call_id'])

const known = new WeakMap<ChatRequest, Facts>()

export function factsOf(request: ChatRequest): Facts {
  let facts = known.get(request)
  if (!facts) {
    facts = find(request)
    known.set(request, facts)
  }
  return facts
}

function find({ body, spans }: ChatRequest): Facts {
  const fields: string[] = []
  for (const field of spans.keys()) if (!EVERYWHERE.has(field)) fields.push(field)
  const roles = new Set<string>()
  const parts = new Set<string>()
  const messageFields = new Set<string>()
  const empty = new Set<string>()
  let hasCustomCalls = false
  for (const message of body.messages) {
    roles.add(message.role)
    if (Array.isArray(message.content)) for (const part of message.content) notePart(part, parts)
    for (const field in message) {
      if (!STANDARD.has(field)) (hasMeaning(message[field]) ? messageFields : empty).add(field)
    }
    for (const call of callsOf(message)) {
      if (call.type === 'custom') hasCustomCalls = true
      for (const field in call) if (!CALL.has(field) && hasMeaning(call[field])) messageFields.add(field)
    }
  }
  const last = body.messages.at(-1)
  return {
    fields,
    roles,
    parts,
    messageFields,
    emptyMessageFields: empty,
    loop: loopOf(body.messages),
    calling: body.messages.filter((message) => message.role === 'assistant' && callsOf(message).length > 0),
    hasPartsInTools: parts.size > 0 && body.messages.some(holdsMoreThanText),
    toolTypes: new Set(Array.isArray(body.tools) ? body.tools.filter(isObject).map(({ type }) => String(type)) : []),
    hasCustomCalls,
    isSaid: body.messages.some((message) => !SYSTEM.has(message.role) && !saysNothing(message)),
    endsWithAssistant: last?.role === 'assistant',
    hasUserAfterTool: body.messages.some(({ role }, i) => role === 'user' && body.messages[i - 1]?.role === 'tool'),
    isPlain:
      fields.length + messageFields.size === 0 &&
      last?.role === 'user' &&
      !saysNothing(last) &&
      hasOnly(roles, TURNS) &&
      hasOnly(parts, TEXT),
  }
}

/** A tool's result with pictures or files. */
export const holdsMoreThanText = ({ role, content }: ChatMessage): boolean =>
  role === 'tool' && Array.isArray(content) && content.some(({ type }) => type !== 'text')

/** What is not in the request is a part of another type: a file by its id, an image by its address. */
function notePart(part: { type: string; [key: string]: unknown }, parts: Set<string>): void {
  parts.add(part.type)
  if (part.type === 'file' && isObject(part.file) && typeof part.file.file_data !== 'string') parts.add('file_id')
  if (part.type === 'image_url' && !/^data:/i.test(urlOf(part.image_url))) parts.add('remote_image')
}

const urlOf = (image: unknown) => (typeof image === 'string' ? image : isObject(image) ? String(image.url) : '')

const CALL = new Set(['id', 'type', 'function', 'index', 'custom'])

function hasOnly(found: ReadonlySet<string>, known: ReadonlySet<string>): boolean {
  for (const one of found) if (!known.has(one)) return false
  return true
}

const hasMeaning = (value: unknown) =>
  value !== null && value !== undefined && value !== '' && !(Array.isArray(value) && value.length === 0)

export const callsOf = (message: ChatMessage): Record<string, unknown>[] =>
  Array.isArray(message.tool_calls) ? message.tool_calls.filter(isObject) : []

/** White space, and no call, no result: the model would see an empty turn. */
export function saysNothing(message: ChatMessage): boolean {
  if (message.role === 'tool' || message.role === 'function' || message.function_call) return false
  return callsOf(message).length === 0 && !message.audio && isBlank(message.content)
}

const isBlank = (content: ChatMessage['content']): boolean =>
  typeof content === 'string'
    ? content.trim() === ''
    : (content ?? []).every(({ type, text }) => type === 'text' && (text ?? '').trim() === '')

function loopOf(messages: readonly ChatMessage[]): ChatMessage[] {
  if (messages.at(-1)?.role !== 'tool') return []
  const asked = messages.findLastIndex(({ role }) => role === 'user')
  return messages.slice(asked + 1).filter((message) => message.role === 'assistant' && callsOf(message).length > 0)
}
