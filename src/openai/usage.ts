import type { Usage } from '../candidates/usage.ts'
import { isObject } from './is-object.ts'

export const NO_USAGE: Usage = Object.freeze({
  promptTokens: 0,
  completionTokens: 0,
  cachedTokens: 0,
  cacheWriteTokens: 0,
  reasoningTokens: 0,
})

/**
 * Reads the `usage` object of a chat completion as OpenAI and those who speak its format send it; null where it holds
 * no counts, or zeros alone. Cached tokens: `prompt_tokens_details.cached_tokens` (OpenAI, OpenRouter, vLLM),
 * `prompt_cache_hit_tokens` (DeepSeek), `cached_tokens` (Moonshot, Together).
 */
export function parseUsage(value: unknown): Usage | null {
  if (!isObject(value)) return null
  const prompt = count(value.prompt_tokens)
  const completion = count(value.completion_tokens)
  // Zeros are what servers that do not count put there.
  if (!prompt && !completion) return null
  const promptDetails = isObject(value.prompt_tokens_details) ? value.prompt_tokens_details : {}
  const completionDetails = isObject(value.completion_tokens_details) ? value.completion_tokens_details : {}
  const hour = count(promptDetails.cache_write_1h_tokens)
  return {
    promptTokens: prompt ?? 0,
    completionTokens: completion ?? 0,
    cachedTokens:
      count(promptDetails.cached_tokens) ?? count(value.prompt_cache_hit_tokens) ?? count(value.cached_tokens) ?? 0,
    cacheWriteTokens: count(promptDetails.cache_write_tokens) ?? count(promptDetails.cache_creation_tokens) ?? 0,
    reasoningTokens: count(completionDetails.reasoning_tokens) ?? count(value.reasoning_tokens) ?? 0,
    ...(hour && { hourWriteTokens: hour }),
  }
}

/** Some tell them as texts. */
function count(value: unknown): number | null {
  const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) && number >= 0 ? number : null
}
