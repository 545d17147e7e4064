import type { ChatMessage } from '../../../../openai/chat.ts'
import { isObject } from '../../../../openai/is-object.ts'
import { unsupported } from './unsupported.ts'

export type Item = { type: string; [field: string]: unknown }

/** Whose thoughts they are, in OpenRouter's word: nobody else can read them. */
export const FORMAT = 'openai-responses-v1'

/** A conversation as items, and which message each of them was made of. */
export interface Input {
  items: Item[]
  places: number[]
}

/** A chat's messages as items: what an assistant thought, said and called is one item each, in this order. */
export function itemsOf(messages: readonly ChatMessage[]): Input {
  const input: Input = { items: [], places: [] }
  const custom = new Set<unknown>()
  for (const [index, message] of messages.entries()) {
    const made = itemsOfMessage(message, `messages[${index}]`, custom)
    input.items.push(...made)
    input.places.push(...made.map(() => index))
  }
  return input
}

function itemsOfMessage(message: ChatMessage, param: string, custom: Set<unknown>): Item[] {
  switch (message.role) {
    case 'assistant':
      return ofAssistant(message, param, custom)
    case 'tool': {
      const { tool_call_id: id, content } = message
      const type = custom.has(id) ? 'custom_tool_call_output' : 'function_call_output'
      return [{ type, call_id: id, output: contentOf(content, `${param}.content`) }]
    }
    case 'function':
      throw unsupported(`messages of role '${message.role}'`, `${param}.role`)
    default:
      return [{ type: 'message', role: message.role, content: contentOf(message.content, `${param}.content`) }]
  }
}

function ofAssistant(message: ChatMessage, param: string, custom: Set<unknown>): Item[] {
  const calls = Array.isArray(message.tool_calls) ? message.tool_calls.filter(isObject) : []
  const text = textOf(message.content) || (typeof message.refusal === 'string' ? message.refusal : '')
  const said: Item[] = text === '' ? [] : [{ type: 'message', role: 'assistant', content: text }]
  if (message.function_call) throw unsupported("'function_call': use 'tool_calls'", `${param}.function_call`)
  for (const call of calls) {
    const called = isObject(call.function) ? call.function : {}
    if (call.type === 'custom' && isObject(call.custom)) {
      custom.add(call.id)
      const { name, input } = call.custom
      said.push({ type: 'custom_tool_call', call_id: call.id, name, input: input ?? '' })
    } else {
      said.push({ type: 'function_call', call_id: call.id, name: called.name, arguments: called.arguments || '{}' })
    }
  }
  // Thoughts that nothing follows are refused.
  return said.length === 0 ? [] : [...thoughtsOf(message.reasoning_details), ...said]
}

/** Those that came from here. */
function thoughtsOf(details: unknown): Item[] {
  return (Array.isArray(details) ? details.filter(isObject) : [])
    .filter(({ format, type }) => format === FORMAT && type === 'reasoning.encrypted')
    .map(({ id, data }) => ({ type: 'reasoning', ...(id ? { id } : {}), summary: [], encrypted_content: data }))
}

const textOf = (content: ChatMessage['content']): string =>
  typeof content === 'string'
    ? content
    : (content ?? []).map(({ text, refusal }) => text ?? (typeof refusal === 'string' ? refusal : '')).join('')

function contentOf(content: ChatMessage['content'], param: string): unknown {
  if (!Array.isArray(content)) return content ?? ''
  return content.map((part, index) => partOf(part, `${param}[${index}]`))
}

function partOf(part: { type: string; [key: string]: unknown }, param: string): unknown {
  switch (part.type) {
    case 'text':
      return { type: 'input_text', text: part.text }
    case 'refusal':
      return { type: 'input_text', text: part.refusal }
    case 'image_url': {
      const { url, detail } = isObject(part.image_url) ? part.image_url : { url: part.image_url, detail: undefined }
      return { type: 'input_image', image_url: url, detail: detail ?? 'auto' }
    }
    case 'file':
      return { type: 'input_file', ...(isObject(part.file) ? part.file : {}) }
    default:
      throw unsupported(`content parts of type '${part.type}'`, param)
  }
}
