import type Anthropic from '@anthropic-ai/sdk'
import type { Candidate } from '../../../candidates/candidate.ts'
import type { ChatBody } from '../../../openai/chat.ts'
import { withDefaults } from '../../../openai/with-defaults.ts'
import { dialectOf } from './generation.ts'
import { hasMap, outputSchema } from './json-schema.ts'
import { conversation } from './messages.ts'
import { thinking } from './thinking.ts'
import { inputSchema, toolChoice, tools } from './tools.ts'
import { unsupported } from './unsupported.ts'

/** Until structured outputs, a tool that had to be called stood in for them; its input is the answer. */
export const JSON_TOOL = 'json_answer'

/** Where neither the request nor the configuration nor the model says how much. */
const FALLBACK_MAX_TOKENS = 4_096

const JSON_ONLY = 'Answer with a single JSON object and nothing else: no prose, no code fences.'

export type MessagesBody = Anthropic.MessageCreateParams & { temperature?: number; top_p?: number; top_k?: number }

/**
 * A chat completion request as a body for `POST /v1/messages`. What Anthropic has no counterpart for and does not
 * change what the answer is (seed, penalties, logit_bias, store, metadata) is left out; what it would change (n,
 * logprobs, audio) is refused.
 *
 * @throws UnsupportedRequest
 */
export function messagesBody(body: ChatBody, candidate: Candidate, defaultMaxTokens?: number): MessagesBody {
  const asked = withDefaults(body, candidate.defaults)
  refuse(asked)
  const dialect = dialectOf(candidate.model)
  const { system, messages } = conversation(asked.messages)
  if (!dialect.prefill && messages.at(-1)?.role === 'assistant') {
    throw unsupported("going on with an assistant's message", 'messages')
  }
  const format = responseFormat(asked)
  const isStructured = dialect.structuredOutputs && !hasMap(format.schema)
  const jsonTool = format.schema !== null && !isStructured ? jsonToolOf(format.schema) : null
  const offered = [...tools(asked, dialect), ...(jsonTool ? [jsonTool] : [])]
  const choice = jsonTool && offered.length === 1 ? ({ type: 'tool', name: JSON_TOOL } as const) : toolChoice(asked)
  const {
    thinking: config,
    effort,
    maxTokens,
  } = thinking(asked, dialect, {
    defaultMaxTokens: defaultMaxTokens ?? candidate.maxOutputTokens ?? FALLBACK_MAX_TOKENS,
    modelMaxTokens: candidate.maxOutputTokens,
    mayThink:
      choice?.type !== 'any' && choice?.type !== 'tool' && (dialect.thinking !== 'budget' || !inBareToolLoop(messages)),
  })
  const output: Anthropic.OutputConfig = {
    ...(effort && { effort }),
    ...(format.schema !== null &&
      !jsonTool && { format: { type: 'json_schema', schema: outputSchema(format.schema) } }),
  }
  const stops = stopSequences(asked)
  const userId = asked.safety_identifier ?? asked.user
  const instructions = [...system, ...(format.anyJson ? [{ type: 'text' as const, text: JSON_ONLY }] : [])]
  const cacheControl = asked.cache_control
  return {
    model: candidate.model,
    max_tokens: maxTokens,
    messages,
    stream: asked.stream === true,
    ...(instructions.length > 0 && { system: instructions }),
    ...(offered.length > 0 && { tools: offered }),
    ...(offered.length > 0 && choice && { tool_choice: choice }),
    ...(config && { thinking: config }),
    ...(Object.keys(output).length > 0 && { output_config: output }),
    ...(stops.length > 0 && { stop_sequences: stops }),
    // Thinking fixes the temperature.
    ...(dialect.sampling && !config && sampling(asked)),
    // Anthropic's own field: set in a candidate's defaults, it caches every conversation.
    ...(typeof cacheControl === 'object' &&
      cacheControl !== null && { cache_control: { type: 'ephemeral', ...cacheControl } }),
    ...(userId && { metadata: { user_id: userId } }),
  }
}

function refuse(body: ChatBody): void {
  if ((body.n ?? 1) > 1) throw unsupported('more than one choice', 'n')
  if (body.logprobs === true) throw unsupported('logprobs', 'logprobs')
  if (Array.isArray(body.modalities) && body.modalities.includes('audio')) throw unsupported('audio', 'modalities')
}

/** OpenAI's temperature goes to 2, Anthropic's to 1; of temperature and top_p newer models take one. */
function sampling({
  temperature,
  top_p: topP,
  top_k: topK,
}: ChatBody): Pick<MessagesBody, 'temperature' | 'top_p' | 'top_k'> {
  const few = typeof topK === 'number' ? { top_k: topK } : {}
  // Of both, the one that says something.
  if (typeof topP === 'number' && temperature === 1) return { ...few, top_p: topP }
  if (typeof temperature === 'number') return { ...few, temperature: Math.min(1, Math.max(0, temperature)) }
  return typeof topP === 'number' ? { ...few, top_p: topP } : few
}

/** Sequences of white space alone are refused by the API. */
const stopSequences = ({ stop }: ChatBody): string[] =>
  [stop].flat().filter((sequence): sequence is string => typeof sequence === 'string' && sequence.trim() !== '')

function responseFormat(body: ChatBody): { schema: unknown; anyJson: boolean } {
  const format = body.response_format as { type?: string; json_schema?: { schema?: unknown } } | null | undefined
  return {
    schema: format?.type === 'json_schema' ? (format.json_schema?.schema ?? {}) : null,
    anyJson: format?.type === 'json_object',
  }
}

const jsonToolOf = (schema: unknown): Anthropic.Tool => ({
  name: JSON_TOOL,
  description: 'Gives the answer. Always call this to answer.',
  input_schema: inputSchema(schema),
})

/** The last assistant turn called tools, and its thoughts did not come back with it. */
function inBareToolLoop(messages: Anthropic.MessageParam[]): boolean {
  const content = messages.findLast(({ role }) => role === 'assistant')?.content
  if (!Array.isArray(content)) return false
  const thinks = content.some(({ type }) => type === 'thinking' || type === 'redacted_thinking')
  return content.some(({ type }) => type === 'tool_use') && !thinks
}
