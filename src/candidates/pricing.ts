import type { Price } from './candidate.ts'
import type { Usage } from './usage.ts'

const PER_MILLION = 1e6

/**
 * Dollars for the tokens of one answer. Cached and cache-write tokens are parts of the prompt, reasoning tokens are
 * part of the completion and cost the same; parts that add up to more than the whole (some providers count them apart)
 * are never billed below zero.
 */
export function costUsd(usage: Usage, price: Price): number {
  const cached = Math.min(usage.cachedTokens, usage.promptTokens)
  const written = Math.min(usage.cacheWriteTokens, usage.promptTokens - cached)
  const fresh = usage.promptTokens - cached - written
  return (
    (fresh * price.input +
      cached * (price.cachedInput ?? price.input) +
      written * (price.cacheWrite ?? price.input) +
      usage.completionTokens * price.output) /
    PER_MILLION
  )
}
