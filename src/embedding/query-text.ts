import type { ChatMessage } from '../openai/chat.ts'
import { clipText, type MaxChars } from './clip-text.ts'

/** A turn shorter than this ("and the second one?", "continue") is read together with the user turn before it. */
const SHORT_TURN_CHARS = 40
/** Characters of short turns after which no earlier turn is read. */
const READ_BACK_CHARS = 400
/** More than any embedder reads, so that megabytes pasted into a message cost nothing. */
const MAX_CHARS: MaxChars = { head: 6144, tail: 2048 }

/**
 * The part of a conversation that the router reads: the last user turn, with those before it up to one that is not
 * short. No system prompt and no answers: they drown the question (`docs/embedding.md` has the measurement). Without a
 * user turn, the last text there is.
 *
 * @returns '' where there is no text at all, for example an image alone
 */
export function queryText(messages: readonly ChatMessage[]): string {
  let text = ''
  for (let i = messages.length - 1; i >= 0 && text.length < READ_BACK_CHARS; i--) {
    const message = messages[i]!
    if (message.role !== 'user') continue
    const turn = messageText(message)
    if (turn) text = text ? `${turn}\n${text}` : turn
    if (turn.length >= SHORT_TURN_CHARS) break
  }
  return text || lastText(messages)
}

function lastText(messages: readonly ChatMessage[]): string {
  for (let i = messages.length - 1; i >= 0; i--) {
    const text = messageText(messages[i]!)
    if (text) return text
  }
  return ''
}

/** The text of a message, trimmed and clipped; parts other than text are skipped. */
function messageText({ content }: ChatMessage): string {
  if (typeof content === 'string') return clipText(content, MAX_CHARS).trim()
  if (!Array.isArray(content)) return ''
  let text = ''
  for (const part of content as readonly { type?: unknown; text?: unknown }[]) {
    if (part?.type !== 'text' || typeof part.text !== 'string') continue
    const piece = clipText(part.text, MAX_CHARS)
    text = text ? `${text}\n${piece}` : piece
    if (text.length > 2 * (MAX_CHARS.head + MAX_CHARS.tail)) text = clipText(text, MAX_CHARS)
  }
  return clipText(text, MAX_CHARS).trim()
}
