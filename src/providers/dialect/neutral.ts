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
    if (field === 'modalities') return Array.isArray(value) && value.every((item) => item === 'text')
    return Object.keys(value).length === 0
  }
  return NEUTRAL[field]?.includes(value) ?? false
}

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
])
