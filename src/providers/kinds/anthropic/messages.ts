import type Anthropic from '@anthropic-ai/sdk'
import type { ChatMessage } from '../../../openai/chat.ts'
import { paired } from '../../dialect/pairs.ts'
import { translateIds } from '../../dialect/tool-ids.ts'
import { malformed, unsupported } from './unsupported.ts'

type Block = Anthropic.ContentBlockParam
type Turn = { role: 'user' | 'assistant'; content: Block[] }
type Part = { type: string; text?: string; [key: string]: unknown }

/** `^[a-zA-Z0-9_-]+$`, and each once in a conversation. */
const CALL_IDS = { pattern: /^[a-zA-Z0-9_-]{1,64}$/, length: 24, unique: true }

type Cached = { cache_control?: Anthropic.CacheControlEphemeral }

export interface Conversation {
  system: Anthropic.TextBlockParam[]
  messages: Turn[]
}

/**
 * OpenAI's messages as Anthropic's turns: system and developer messages become `system`, tool results become blocks of
 * a user turn, neighbours of one role become one turn.
 */
export function conversation(given: readonly ChatMessage[]): Conversation {
  const messages = translateIds(paired(given), CALL_IDS)
  const system: Anthropic.TextBlockParam[] = []
  const turns: Turn[] = []
  messages.forEach((message, index) => {
    const param = `messages.${index}`
    if (message.role === 'system' || message.role === 'developer') {
      system.push(...systemBlocks(message, `${param}.content`))
      return
    }
    const turn = turnOf(message, param)
    const last = turns.at(-1)
    if (last?.role === turn.role) last.content.push(...turn.content)
    else if (turn.content.length > 0) turns.push(turn)
  })
  for (const turn of turns) if (turn.role === 'user') turn.content = resultsFirst(turn.content)
  trimEnd(turns.at(-1))
  if (turns.length === 0) throw malformed('expected at least one message that is not a system message', 'messages')
  return { system, messages: turns }
}

function turnOf(message: ChatMessage, param: string): Turn {
  switch (message.role) {
    case 'user':
      return { role: 'user', content: blocks(message.content, `${param}.content`) }
    case 'assistant':
      return { role: 'assistant', content: assistantBlocks(message, param) }
    case 'tool':
      return { role: 'user', content: [toolResult(message, param)] }
    default:
      throw unsupported(`messages of role '${message.role}'`, `${param}.role`)
  }
}

function assistantBlocks(message: ChatMessage, param: string): Block[] {
  const calls = Array.isArray(message.tool_calls) ? (message.tool_calls as ToolCall[]) : []
  return [
    ...thinking(message.reasoning_details, calls),
    ...blocks(message.content, `${param}.content`),
    ...calls.map((call, index) => toolUse(call, `${param}.tool_calls.${index}`)),
  ]
}

interface ToolCall {
  id?: unknown
  function?: { name?: unknown; arguments?: unknown }
}

function toolUse({ id, function: called }: ToolCall, param: string): Anthropic.ToolUseBlockParam {
  if (typeof id !== 'string' || typeof called?.name !== 'string')
    throw malformed('expected a function call with an id', param)
  return {
    type: 'tool_use',
    id,
    name: called.name,
    input: parseArguments(called.arguments, `${param}.function.arguments`),
  }
}

function parseArguments(text: unknown, param: string): unknown {
  if (text === undefined || text === null || text === '') return {}
  try {
    const input: unknown = JSON.parse(String(text))
    if (typeof input === 'object' && input !== null && !Array.isArray(input)) return input
  } catch {
    // Said below.
  }
  throw malformed('expected a JSON object', param)
}

function toolResult(message: ChatMessage, param: string): Anthropic.ToolResultBlockParam {
  if (typeof message.tool_call_id !== 'string') throw malformed('expected a string', `${param}.tool_call_id`)
  const content = blocks(message.content, `${param}.content`) as (
    | Anthropic.TextBlockParam
    | Anthropic.ImageBlockParam
  )[]
  return { type: 'tool_result', tool_use_id: message.tool_call_id, ...(content.length > 0 && { content }) }
}

/**
 * Thoughts that an earlier answer carried and the client sent back: only with their signature do they count, and only
 * here. Where they don't say whose they are, the calls beside them do: Anthropic's ids begin with `toolu_`.
 */
function thinking(details: unknown, calls: readonly ToolCall[]): Block[] {
  if (!Array.isArray(details)) return []
  const isOurs = calls.length > 0 && calls.every(({ id }) => String(id).startsWith('toolu_'))
  return details.flatMap((detail): Block[] => {
    const isForeign =
      typeof detail?.format === 'string'
        ? !detail.format.startsWith('anthropic')
        : !isOurs && (calls.length > 0 || detail?.type === 'reasoning.encrypted')
    if (isForeign) return []
    if (typeof detail?.signature === 'string' && typeof detail.text === 'string') {
      return [{ type: 'thinking', thinking: detail.text, signature: detail.signature }]
    }
    if (detail?.type === 'reasoning.encrypted' && typeof detail.data === 'string') {
      return [{ type: 'redacted_thinking', data: detail.data }]
    }
    return []
  })
}

/** The API refuses empty text, and text of white space alone. */
const isBlank = (text: unknown): boolean => typeof text !== 'string' || text.trim() === ''

function blocks(content: ChatMessage['content'], param: string): Block[] {
  if (typeof content === 'string') return isBlank(content) ? [] : [{ type: 'text', text: content }]
  if (!content) return []
  return content.flatMap((part, index) => blockOf(part, `${param}.${index}`))
}

/**
 * A part may carry Anthropic's own `cache_control`, as OpenRouter and LiteLLM have it: up to there the prompt is
 * cached.
 */
const cached = ({ cache_control: mark }: Part): Cached =>
  typeof mark === 'object' && mark !== null ? { cache_control: mark as Anthropic.CacheControlEphemeral } : {}

function blockOf(part: Part, param: string): Block[] {
  switch (part.type) {
    case 'text':
      return isBlank(part.text) ? [] : [{ type: 'text', text: part.text as string, ...cached(part) }]
    case 'refusal':
      return isBlank(part.refusal) ? [] : [{ type: 'text', text: part.refusal as string }]
    case 'image_url':
      return [{ ...image(part.image_url, `${param}.image_url`), ...cached(part) }]
    case 'file':
      return [{ ...document(part.file, `${param}.file`), ...cached(part) }]
    case 'input_audio':
      throw unsupported('audio', param)
    default:
      throw unsupported(`content parts of type '${part.type}'`, `${param}.type`)
  }
}

const IMAGE_TYPES = ['image/jpeg', 'image/png', 'image/gif', 'image/webp'] as const
type ImageType = (typeof IMAGE_TYPES)[number]

function image(value: unknown, param: string): Anthropic.ImageBlockParam {
  const url = typeof value === 'string' ? value : (value as { url?: unknown } | null)?.url
  if (typeof url !== 'string') throw malformed('expected a URL', param)
  if (url.startsWith('https://')) return { type: 'image', source: { type: 'url', url } }
  const { type, data } = dataUrl(url, `${param}.url`)
  // The API believes the bytes, and refuses a label that says otherwise.
  const mediaType = typeOfBytes(data) ?? IMAGE_TYPES.find((known) => known === type.replace('image/jpg', 'image/jpeg'))
  if (!mediaType) throw unsupported(`images of type '${type}' (${IMAGE_TYPES.join(', ')} are)`, `${param}.url`)
  return { type: 'image', source: { type: 'base64', media_type: mediaType satisfies ImageType, data } }
}

/** First bytes of the formats that the API takes; of WebP those after the length count, too. */
const MAGIC: readonly [ImageType, RegExp][] = [
  ['image/png', /^89504e470d0a1a0a/],
  ['image/jpeg', /^ffd8ff/],
  ['image/gif', /^474946383[79]61/],
  ['image/webp', /^52494646.{8}57454250/],
]

function typeOfBytes(base64: string): ImageType | undefined {
  const head = Buffer.from(base64.slice(0, 24), 'base64').toString('hex')
  return MAGIC.find(([, pattern]) => pattern.test(head))?.[0]
}

function document(value: unknown, param: string): Anthropic.DocumentBlockParam {
  const { file_data: file, filename } = (value ?? {}) as { file_data?: unknown; filename?: unknown }
  if (typeof file !== 'string') throw unsupported('files that are not given as file_data', param)
  const { type, data } = dataUrl(file, `${param}.file_data`)
  if (type !== 'application/pdf')
    throw unsupported(`files of type '${type}' (application/pdf is)`, `${param}.file_data`)
  return {
    type: 'document',
    source: { type: 'base64', media_type: 'application/pdf', data },
    ...(typeof filename === 'string' && { title: filename }),
  }
}

/** RFC 2397, base64 only. */
function dataUrl(url: string, param: string): { type: string; data: string } {
  const comma = url.indexOf(',')
  const match = /^data:([^;,]+)(?:;[^;,]+)*;base64$/i.exec(url.slice(0, comma))
  if (!match?.[1]) throw malformed('expected an https URL or a base64 data URL', param)
  return { type: match[1].toLowerCase(), data: url.slice(comma + 1) }
}

function systemBlocks({ content }: ChatMessage, param: string): Anthropic.TextBlockParam[] {
  return blocks(content, param).map((block, index) => {
    if (block.type !== 'text') throw unsupported('system messages that are not text', `${param}.${index}`)
    return block
  })
}

/** The API wants tool results before anything else in a turn. */
const resultsFirst = (content: Block[]) => [
  ...content.filter(({ type }) => type === 'tool_result'),
  ...content.filter(({ type }) => type !== 'tool_result'),
]

/** The API refuses a last assistant turn that ends in white space. */
function trimEnd(turn: Turn | undefined): void {
  const last = turn?.role === 'assistant' ? turn.content.at(-1) : undefined
  if (last?.type !== 'text') return
  last.text = last.text.trimEnd()
  if (last.text === '') turn?.content.pop()
}
