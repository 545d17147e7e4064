/** Tokens of one answer, as the provider counted them (or as we estimated them). */
export interface Usage {
  promptTokens: number
  completionTokens: number
  /** Part of the prompt that was read from the provider's cache. */
  cachedTokens: number
  /** Part of the prompt that was written to the provider's cache (Anthropic). */
  cacheWriteTokens: number
  /** Of those, what it keeps for an hour; told of an answer, and not kept in its record. */
  hourWriteTokens?: number
  /** Part of the completion that is reasoning. */
  reasoningTokens: number
}
