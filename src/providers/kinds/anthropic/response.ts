import type Anthropic from '@anthropic-ai/sdk'
import type { Conversion } from '../../../openai/conversion.ts'
import { parseJson } from '../../../openai/error.ts'
import { finishReason } from './finish-reason.ts'
import { JSON_TOOL } from './request.ts'
import { type AnthropicUsage, openaiUsage } from './usage.ts'

/**
 * Thoughts with the signature that Anthropic wants back in a tool loop: `reasoning_details` is OpenRouter's field, and
 * clients that send messages back whole keep it. For reading there is `reasoning_content`, which DeepSeek, vLLM,
 * LiteLLM and the AI SDK use.
 */
export type ReasoningDetail =
  | { type: 'reasoning.text'; text: string; signature: string; format: string; index: number }
  | { type: 'reasoning.encrypted'; data: string; format: string; index: number }

/** Whose thoughts they are, in OpenRouter's word: nobody else can read them. */
export const FORMAT = 'anthropic-claude-v1'

/** The same from bytes to bytes; false where they are no message. @see completionOf */
export const messageAsChat: Conversion<{ created: number }, boolean> = {
  module: import.meta.url,
  name: 'messageAsChat',
  run(body, { created }) {
    const json = parseJson(body) as Anthropic.Message | undefined
    if (json?.type !== 'message' || !Array.isArray(json.content)) return { body, told: false }
    return { body: Buffer.from(JSON.stringify(completionOf(json, created))), told: true }
  },
}

/** An answer of the Messages API as a chat completion. @param created Unix seconds */
export function completionOf(message: Anthropic.Message, created: number) {
  const texts: string[] = []
  const thoughts: string[] = []
  const details: ReasoningDetail[] = []
  const calls: { id: string; type: 'function'; function: { name: string; arguments: string } }[] = []
  let jsonAnswer = false
  for (const block of message.content) {
    switch (block.type) {
      case 'text':
        if (typeof block.text === 'string') texts.push(block.text)
        break
      case 'thinking':
        if (block.thinking) thoughts.push(block.thinking)
        details.push({
          type: 'reasoning.text',
          text: block.thinking,
          signature: block.signature,
          format: FORMAT,
          index: details.length,
        })
        break
      case 'redacted_thinking':
        details.push({ type: 'reasoning.encrypted', data: block.data, format: FORMAT, index: details.length })
        break
      case 'tool_use':
        if (block.name === JSON_TOOL) {
          jsonAnswer = true
          texts.splice(0, texts.length, JSON.stringify(block.input ?? {}))
        } else {
          calls.push({
            id: block.id,
            type: 'function',
            function: { name: block.name, arguments: JSON.stringify(block.input ?? {}) },
          })
        }
        break
    }
  }
  return {
    id: message.id,
    object: 'chat.completion',
    created,
    model: message.model,
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: texts.length > 0 ? texts.join('') : null,
          refusal: message.stop_reason === 'refusal' ? (message.stop_details?.explanation ?? null) : null,
          ...(thoughts.length > 0 && { reasoning_content: thoughts.join('\n') }),
          ...(details.length > 0 && { reasoning_details: details }),
          ...(calls.length > 0 && { tool_calls: calls }),
        },
        logprobs: null,
        finish_reason: finishReason(
          message.stop_reason ?? (calls.length > 0 ? 'tool_use' : null),
          jsonAnswer && calls.length === 0,
        ),
      },
    ],
    ...(message.usage && { usage: openaiUsage(message.usage as AnthropicUsage) }),
  }
}
