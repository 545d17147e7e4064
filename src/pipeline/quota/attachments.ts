import type { ChatBody } from '../../openai/chat.ts'
import { isObject } from '../../openai/is-object.ts'

/** A file that the provider already has: nobody here knows how long it is. */
const TOKENS_OF_NAMED_FILE = 100_000
/** Base64 of a file of text holds about a token in four characters; of sound at 32 kbit/s, one in 400. */
const CHARS_PER_TOKEN = { file: 4, input_audio: 400 }
const ATTACHED = ['file', 'input_audio'] as const

const found = new WeakMap<ChatBody, number>()

/** Tokens of files and sound in messages, at most: looked for once, however many candidates are looked at. */
export function attachedTokens(body: ChatBody): number {
  let tokens = found.get(body)
  if (tokens === undefined) {
    tokens = find(body)
    found.set(body, tokens)
  }
  return tokens
}

function find({ messages }: ChatBody): number {
  let tokens = 0
  for (const { content } of messages) {
    if (!Array.isArray(content)) continue
    for (const part of content) {
      const type = ATTACHED.find((known) => known === part.type)
      if (!type) continue
      const data = Object.values((part[type] ?? {}) as object).reduce(
        (most, value) => Math.max(most, typeof value === 'string' ? value.length : 0),
        0,
      )
      const isNamed = isObject(part.file) && typeof part.file.file_id === 'string'
      tokens += isNamed ? TOKENS_OF_NAMED_FILE : Math.ceil(data / CHARS_PER_TOKEN[type])
    }
  }
  return tokens
}
