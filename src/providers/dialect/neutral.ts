import type { ChatBody } from '../../openai/chat.ts'
import { ownOf } from '../../runtime/own.ts'

/** Values that ask for what happens anyway: where a field is not taken, leaving one of them off loses nothing. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  n: [1],
  logprobs: [false],
  top_logprobs: [0],
  presence_penalty: [0],
  frequency_penalty: [0],
  temperature: [1],
  top_p: [1],
  parallel_tool_calls: [true],
  store: [false],
  service_tier: ['auto', 'default'],
  verbosity: ['medium'],
  tool_choice: ['auto'],
  function_call: ['auto'],
  stream_options: [],
}

export function isNeutral(field: string, value: unknown): boolean {
  if (value === null || value === undefined) return true
  if (typeof value === 'object') {
    if (field === 'response_format') return (value as { type?: unknown }).type === 'text'
    // Without settings it is asked for all the same.
    if (field === 'web_search_options') return false
    if (field === 'modalities') return Array.isArray(value) && value.every((item) => item === 'text')
    return Object.keys(value).length === 0
  }
  return ownOf(NEUTRAL, field)?.includes(value) ?? false
}

/**
 * Whether a field asks for nothing in this request: about tools where there are none, about a stream where none is
 * wanted. OpenAI refuses each of them.
 */
export function isIdle(field: string, value: unknown, body: ChatBody): boolean {
  switch (field) {
    case 'tools':
    case 'functions':
      return isNone(value)
    case 'tool_choice':
      return isNone(body.tools) && (isNone(value) || value === 'auto' || value === 'none')
    case 'function_call':
      return isNone(body.functions) && (isNone(value) || value === 'auto' || value === 'none')
    case 'parallel_tool_calls':
      return isNone(body.tools)
    case 'stream_options':
      return body.stream !== true
    default:
      return false
  }
}

const isNone = (value: unknown) => value === null || value === undefined || (Array.isArray(value) && value.length === 0)

/** Fields of chat completions (https://platform.openai.com/docs/api-reference/chat/create). */
export const DOCUMENTED: ReadonlySet<string> = new Set(
  `audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens metadata
  modalities moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options
  prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier stop store stream_options
  temperature tool_choice tools top_logprobs top_p user verbosity web_search_options`.split(/\s+/),
)

/** Fields that only tune an answer, account for it or speed it up: what it means does not hang on them. */
export const TUNING: ReadonlySet<string> = new Set([
  'temperature',
  'top_p',
  'top_k',
  'min_p',
  'presence_penalty',
  'frequency_penalty',
  'repetition_penalty',
  'seed',
  'logit_bias',
  'reasoning_effort',
  'verbosity',
  'service_tier',
  'store',
  'metadata',
  'user',
  'safety_identifier',
  'prompt_cache_key',
  'prompt_cache_retention',
  'prompt_cache_options',
  'prediction',
  'stream_options',
  'moderation',
  // Of other vendors: how, or how long, a model thinks.
  'thinking',
  'enable_thinking',
  'thinking_budget',
  'reasoning',
  'include_reasoning',
  'reasoning_format',
  'reasoning_split',
  'chat_template_kwargs',
])
