import type { Usage } from '../../candidates/usage.ts'
import { isObject } from '../is-object.ts'
import type { Block } from './body.ts'
import type { Thought } from './thoughts.ts'

export type StopReason = 'end_turn' | 'max_tokens' | 'stop_sequence' | 'tool_use' | 'refusal'

/** An answer of the Messages API. */
export interface Message {
  id: string
  type: 'message'
  role: 'assistant'
  model: string
  content: Block[]
  stop_reason: StopReason | null
  stop_sequence: string | null
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

/**
 * The stop sequence that ended an answer, as far as the provider tells: vLLM (`stop_reason`) and SGLang
 * (`matched_stop`) name it, OpenRouter (`native_finish_reason`) says that there was one. OpenAI's own word, `stop`, is
 * the same for an answer that came to its end.
 *
 * @param choice of a chat completion, or of a chunk of one
 * @param asked what the request wanted to stop at
 */
export function stoppedAt(choice: Record<string, unknown>, asked: readonly string[]): string | null {
  const named = [choice.stop_reason, choice.matched_stop].find((word) => asked.includes(word as string))
  if (named !== undefined) return named as string
  const [only, ...others] = asked
  return choice.native_finish_reason === 'stop_sequence' && others.length === 0 ? (only ?? null) : null
}

/** The stop sequences of a chat completion's request. */
export const stopsOf = ({ stop }: Readonly<Record<string, unknown>>): string[] =>
  [stop].flat().filter((text) => typeof text === 'string')

/** What a provider tells of its thoughts, in whichever of the fields in use: of a message, or of a stream's delta. */
export function thoughtsOf(said: Record<string, unknown>): Thought[] {
  const details = Array.isArray(said.reasoning_details) ? said.reasoning_details.filter(isObject) : []
  const signed = details.flatMap(({ type, text, signature, data, summary, id, format }): Thought[] => {
    const named = { ...(typeof id === 'string' && { id }), ...(typeof format === 'string' && { format }) }
    if (type === 'reasoning.encrypted') return typeof data === 'string' ? [{ data, ...named }] : []
    if (typeof text !== 'string' && typeof summary === 'string') return [{ text: summary, ...named, isSummary: true }]
    if (typeof text !== 'string' && typeof signature !== 'string') return []
    const words = typeof text === 'string' ? text : ''
    return [{ text: words, ...(typeof signature === 'string' && { signature }), ...named }]
  })
  const plain = [said.reasoning_content, said.reasoning].find((text) => typeof text === 'string' && text !== '')
  if (plain === undefined) return signed
  // The text is there twice: once to be read, once with its signature.
  const readable = signed.some(({ text }) => text !== undefined && text !== '')
  return readable ? signed : [{ text: plain as string }, ...signed]
}
