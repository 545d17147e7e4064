import type { ChatBody } from '../../openai/chat.ts'
import { isObject } from '../../openai/is-object.ts'

/** What of a request's prompt the estimate of its texts (`promptTokens`) does not look at. */
export interface Attached {
  /** Of files, sound, film, and of all texts beside those of messages and tools: at most. */
  tokens: number
  pictures: number
  /** Of their data, in the body. */
  mediaChars: number
}

/** A file that the provider has, or fetches: nobody here knows how long it is. */
const TOKENS_OF_NAMED_FILE = 100_000
/** Base64 of a file of text, or of a film of few pictures, holds about a token in four characters. */
const CHARS_PER_TOKEN = 4
/** Of sound at 32 kbit/s. */
const CHARS_PER_TOKEN_OF_SOUND = 400

/** Fields that `promptTokens` counts. */
const COUNTED: ReadonlySet<string> = new Set(['model', 'messages', 'tools', 'functions', 'response_format'])
/** Fields that no provider puts into a prompt. */
const NO_PROMPT: ReadonlySet<string> = new Set(
  'metadata user safety_identifier prompt_cache_key stop logit_bias stream_options'.split(' '),
)
const COUNTED_OF_MESSAGES: ReadonlySet<string> = new Set(['role', 'content', 'tool_calls'])
const COUNTED_OF_PARTS: ReadonlySet<string> = new Set(['type', 'text'])
const ADDRESS = /^https?:\/\//i
const ADDRESS_FIELD = /^(.+_)?url$|^file_data$/

const found = new WeakMap<ChatBody, Attached>()

/** Looked for once, however many candidates are looked at. */
export function attachedTo(body: ChatBody): Attached {
  let attached = found.get(body)
  if (attached === undefined) {
    attached = find(body)
    found.set(body, attached)
  }
  return attached
}

function find(body: ChatBody): Attached {
  const attached: Attached = { tokens: 0, pictures: 0, mediaChars: 0 }
  let bytes = 0
  for (const field in body) if (!COUNTED.has(field) && !NO_PROMPT.has(field)) bytes += textBytes(body[field])
  for (const message of body.messages) {
    for (const field in message) if (!COUNTED_OF_MESSAGES.has(field)) bytes += textBytes(message[field])
    if (!Array.isArray(message.content)) continue
    for (const part of message.content) bytes += partBytes(part, attached)
  }
  attached.tokens += Math.ceil(bytes / CHARS_PER_TOKEN)
  return attached
}

/** Texts of a part that nobody has counted; what else it holds is added to `attached`. */
function partBytes(part: Readonly<Record<string, unknown>>, attached: Attached): number {
  let bytes = 0
  for (const field in part) {
    const value = part[field]
    if (COUNTED_OF_PARTS.has(field) && typeof value === 'string') continue
    if (part.type === 'image_url' && field === 'image_url') {
      attached.pictures++
      bytes += mediaBytes(value, 'url', attached)
    } else if (part.type === 'input_audio' && field === 'input_audio') {
      const before = attached.mediaChars
      bytes += mediaBytes(value, 'data', attached)
      attached.tokens += Math.ceil((attached.mediaChars - before) / CHARS_PER_TOKEN_OF_SOUND)
    } else if (isNamedFile(field, value)) attached.tokens += TOKENS_OF_NAMED_FILE
    else bytes += textBytes(value)
  }
  return bytes
}

/** Takes the data of a picture or of sound, and counts what stands beside it. */
function mediaBytes(value: unknown, field: string, attached: Attached): number {
  const data = isObject(value) ? value[field] : value
  if (typeof data === 'string') attached.mediaChars += data.length
  if (!isObject(value)) return typeof value === 'string' ? 0 : textBytes(value)
  const { [field]: _, ...beside } = value
  return textBytes(typeof data === 'string' ? beside : value)
}

/** What names a file that is elsewhere: at the provider, or at an address that it fetches. */
function isNamedFile(field: string, value: unknown): boolean {
  if (typeof value === 'string') return ADDRESS_FIELD.test(field) && ADDRESS.test(value)
  if (!isObject(value)) return false
  if (typeof value.file_id === 'string') return true
  return Object.entries(value).some(([name, inner]) => isNamedFile(name, inner))
}

/** Of all strings in a value, and of its fields' names. */
function textBytes(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (typeof value !== 'object' || value === null) return 0
  let bytes = 0
  if (Array.isArray(value)) for (const item of value) bytes += textBytes(item)
  else for (const [name, inner] of Object.entries(value)) bytes += Buffer.byteLength(name) + textBytes(inner)
  return bytes
}
