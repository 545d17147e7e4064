import type { Usage } from '../../candidates/usage.ts'
import { isObject } from '../is-object.ts'
import type { Block } from './body.ts'
import type { Thought } from './thoughts.ts'

export type StopReason = 'end_turn' | 'max_tokens' | 'tool_use' | 'refusal'

/** An answer of the Messages API. */
export interface Message {
  id: string
  type: 'message'
  role: 'assistant'
  model: string
  content: Block[]
  stop_reason: StopReason | null
  stop_sequence: null
  usage: ReturnType<typeof usageOf>
}

/** Input tokens leave out what the cache held or took. */
export const usageOf = ({ promptTokens, completionTokens, cachedTokens, cacheWriteTokens }: Usage) => ({
  input_tokens: Math.max(0, promptTokens - cachedTokens - cacheWriteTokens),
  output_tokens: completionTokens,
  cache_creation_input_tokens: cacheWriteTokens,
  cache_read_input_tokens: cachedTokens,
})

/** Why the model stopped, from OpenAI's word for it. @param calls the answer calls tools */
export function stopReason(finishReason: string | null, calls: boolean): StopReason {
  switch (finishReason) {
    case 'length':
      return 'max_tokens'
    case 'content_filter':
      return 'refusal'
    case 'tool_calls':
    case 'function_call':
      return 'tool_use'
    default:
      return calls ? 'tool_use' : 'end_turn'
  }
}

/** What a provider tells of its thoughts, in whichever of the fields in use: of a message, or of a stream's delta. */
export function thoughtsOf(said: Record<string, unknown>): Thought[] {
  const details = Array.isArray(said.reasoning_details) ? said.reasoning_details.filter(isObject) : []
  const signed = details.flatMap(({ type, text, signature, data, summary }): Thought[] => {
    if (type === 'reasoning.encrypted') return typeof data === 'string' ? [{ data }] : []
    const words = typeof text === 'string' ? text : typeof summary === 'string' ? summary : undefined
    if (words === undefined && typeof signature !== 'string') return []
    return [{ text: words ?? '', ...(typeof signature === 'string' && { signature }) }]
  })
  const plain = [said.reasoning_content, said.reasoning].find((text) => typeof text === 'string' && text !== '')
  if (plain === undefined) return signed
  // The text is there twice: once to be read, once with its signature.
  const readable = signed.some(({ text }) => text !== undefined && text !== '')
  return readable ? signed : [{ text: plain as string }, ...signed]
}
