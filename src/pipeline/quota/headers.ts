import type { Limit, Reservation } from '../../store/limits.ts'
import { usd } from './usd.ts'

/** The limits of requests and of tokens a minute with the least left, in OpenAI's headers. */
export function rateLimitHeaders(limits: readonly Limit[], { states }: Reservation): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const what of ['requests', 'tokens'] as const) {
    let nearest = -1
    for (const [i, limit] of limits.entries()) {
      if (limit.what !== what || limit.window !== 'minute' || !states[i]) continue
      if (nearest < 0 || states[i].remaining < states[nearest]!.remaining) nearest = i
    }
    if (nearest < 0) continue
    const { remaining, resetMs } = states[nearest]!
    headers[`x-ratelimit-limit-${what}`] = String(limits[nearest]!.max)
    headers[`x-ratelimit-remaining-${what}`] = String(Math.floor(remaining))
    headers[`x-ratelimit-reset-${what}`] = `${(resetMs / 1000).toFixed(3)}s`
  }
  const left = leastLeft(limits, states)
  if (left !== null) headers['x-router-budget-remaining-usd'] = usd(left)
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
