import type { ChatRequest } from './chat.ts'
import { withFields } from './with-fields.ts'

/** A chat without thoughts that their maker alone can read; null where it has none. */
export function withoutSealed(request: ChatRequest): ChatRequest | null {
  const given = request.body.messages
  if (!given.some(({ reasoning_details: details }) => Array.isArray(details) && details.length > 0)) return null
  const messages = given.map(({ reasoning_details: _, ...message }) => message)
  const body = { ...request.body, messages }
  return { ...request, body, ...withFields(request, { messages: JSON.stringify(messages) }) }
}
