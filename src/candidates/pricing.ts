import type { Price, Rates } from './candidate.ts'
import type { Usage } from './usage.ts'

const PER_MILLION = 1e6

/** What a prompt that is kept for an hour costs more than one that is only read (Anthropic's price list). */
const HOUR_WRITE = 2

/** What tokens cost beside a prompt of so many. */
export function ratesAt({ above, ...rates }: Price, promptTokens: number): Rates {
  return above?.findLast(({ tokens }) => promptTokens > tokens) ?? rates
}

/** Of writing a token of a prompt into a cache; at an hour's price where it is kept so long. */
export const writePrice = ({ input, cacheWrite }: Rates, isForAnHour: boolean): number =>
  cacheWrite === undefined ? input : isForAnHour ? Math.max(cacheWrite, HOUR_WRITE * input) : cacheWrite

/**
 * Dollars for the tokens of one answer. Cached and cache-write tokens are parts of the prompt, reasoning tokens are
 * part of the completion and cost the same; parts that add up to more than the whole (some providers count them apart)
 * are never billed below zero.
 */
export function costUsd(usage: Usage, price: Price): number {
  const rates = ratesAt(price, usage.promptTokens)
  const cached = Math.min(usage.cachedTokens, usage.promptTokens)
  const written = Math.min(usage.cacheWriteTokens, usage.promptTokens - cached)
  const forAnHour = Math.min(usage.hourWriteTokens ?? 0, written)
  const fresh = usage.promptTokens - cached - written
  return (
    (fresh * rates.input +
      cached * (rates.cachedInput ?? rates.input) +
      (written - forAnHour) * writePrice(rates, false) +
      forAnHour * writePrice(rates, true) +
      usage.completionTokens * rates.output) /
    PER_MILLION
  )
}
