import { type Amounts, type Limit, NO_AMOUNTS, type Reservation } from '../../store/limits.ts'
import { usd } from './usd.ts'

/**
 * The limits of requests and of tokens a minute with the least left, in OpenAI's headers; and of a budget.
 *
 * @param unlikely what the request has reserved beyond what it is likely to come to: told as left
 */
export function rateLimitHeaders(
  limits: readonly Limit[],
  { states }: Reservation,
  unlikely: Amounts = NO_AMOUNTS,
): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const what of ['requests', 'tokens'] as const) {
    let nearest = -1
    for (const [i, limit] of limits.entries()) {
      if (limit.what !== what || limit.window !== 'minute' || !states[i]) continue
      if (nearest < 0 || states[i].remaining < states[nearest]!.remaining) nearest = i
    }
    if (nearest < 0) continue
    const { remaining, resetMs } = states[nearest]!
    const { max } = limits[nearest]!
    headers[`x-ratelimit-limit-${what}`] = String(max)
    headers[`x-ratelimit-remaining-${what}`] = String(Math.floor(Math.min(max, remaining + unlikely[what])))
    headers[`x-ratelimit-reset-${what}`] = `${(resetMs / 1000).toFixed(3)}s`
  }
  const left = leastLeft(limits, states)
  if (left !== null) headers['x-router-budget-remaining-usd'] = usd(left + unlikely.nanoUsd)
  return headers
}

/** Billionths of a dollar left of the budget with the least left; null where there is none. */
export function leastLeft(limits: readonly Limit[], states: Reservation['states']): number | null {
  let left: number | null = null
  for (const [i, { what }] of limits.entries()) {
    if (what === 'nanoUsd' && states[i]) left = Math.min(left ?? Number.POSITIVE_INFINITY, states[i].remaining)
  }
  return left
}
