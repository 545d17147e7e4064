/** The parts of Anthropic's usage that are read; its input tokens leave out what the cache held. */
export interface AnthropicUsage {
  input_tokens?: number | null
  output_tokens?: number | null
  cache_creation_input_tokens?: number | null
  cache_creation?: { ephemeral_1h_input_tokens?: number | null } | null
  cache_read_input_tokens?: number | null
  output_tokens_details?: { thinking_tokens?: number | null } | null
}

/**
 * In OpenAI's shape, where the prompt includes the cache. `cache_write_tokens` is OpenRouter's name: OpenAI has none.
 * What is kept for an hour is dearer, and told where there is any.
 */
export function openaiUsage(given: AnthropicUsage | null | undefined) {
  const usage = given ?? {}
  const cached = usage.cache_read_input_tokens ?? 0
  const written = usage.cache_creation_input_tokens ?? 0
  const hour = usage.cache_creation?.ephemeral_1h_input_tokens
  const prompt = (usage.input_tokens ?? 0) + cached + written
  const completion = usage.output_tokens ?? 0
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: {
      cached_tokens: cached,
      cache_write_tokens: written,
      ...(hour && { cache_write_1h_tokens: hour }),
    },
    completion_tokens_details: { reasoning_tokens: usage.output_tokens_details?.thinking_tokens ?? 0 },
  }
}

/** `message_delta` repeats the counts of `message_start`, or leaves them out. */
export function mergeUsage(before: AnthropicUsage, now: AnthropicUsage | null | undefined): AnthropicUsage {
  const merged: AnthropicUsage = { ...before }
  for (const [key, value] of Object.entries(now ?? {}))
    if (value !== null && value !== undefined) Object.assign(merged, { [key]: value })
  return merged
}
