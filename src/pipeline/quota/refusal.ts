import { GatewayError, type GatewayErrorOptions } from '../../errors.ts'
import type { Amounts, Limit, Reservation } from '../../store/limits.ts'
import { leastLeft } from './headers.ts'
import { usd } from './usd.ts'

/** A budget that has not enough left. */
export class BudgetError extends GatewayError {
  /** Billionths of a dollar. */
  readonly left: number

  constructor(left: number, message: string, options: GatewayErrorOptions) {
    super(message, options)
    this.left = left
  }
}

/** More tokens than a minute has left. */
export class TokensError extends GatewayError {}

export function refusal(
  limits: readonly Limit[],
  { refusedBy, states }: Reservation,
  amounts: Amounts,
  headers: Record<string, string>,
): GatewayError {
  const index = limits.findIndex((limit) => limit === refusedBy || sameLimit(limit, refusedBy))
  const isBudget = refusedBy?.what === 'nanoUsd'
  const whose = refusedBy?.scope.split(/[#:]/)[0] ?? 'tenant'
  const per = refusedBy?.window === 'flight' ? 'at once' : `a ${refusedBy?.window}`
  const what = isBudget ? 'dollars' : refusedBy?.what
  const resetMs = states[index]?.resetMs ?? 1_000
  const needed = refusedBy ? amounts[refusedBy.what] : 0
  const max = refusedBy?.max ?? 0
  const neverFits = needed > max
  const left = states[index]?.remaining ?? 0
  const show = (amount: number) => (isBudget ? `$${usd(amount)}` : String(Math.floor(amount)))
  const reset = `the limit is reset at ${new Date(Date.now() + resetMs).toISOString()}`
  const figures = `needed at most ${show(needed)}, left ${show(left)} of ${show(max)}`
  const advice = neverFits
    ? 'This request can never fit: ask for a shorter answer (max_tokens) or a cheaper model.'
    : `${reset[0]?.toUpperCase()}${reset.slice(1)}.`
  const options: GatewayErrorOptions = {
    status: 429,
    type: isBudget ? 'insufficient_quota' : 'rate_limit_error',
    code: isBudget ? 'insufficient_quota' : 'rate_limit_exceeded',
    ...(!neverFits && { retryAfterS: Math.max(1, resetMs / 1000) }),
    // A budget does not come back while an SDK waits, and what never fits is not to be tried again.
    ...((isBudget || neverFits) && { shouldRetry: false }),
    headers,
  }
  const message = `Limit reached for this ${whose}: ${what} ${per} (${figures}). ${advice}`
  if (refusedBy?.what === 'tokens') return new TokensError(message, options)
  if (!isBudget) return new GatewayError(message, options)
  return new BudgetError(leastLeft(limits, states) ?? 0, message, options)
}

const sameLimit = (a: Limit, b: Limit | null) =>
  b !== null && a.scope === b.scope && a.what === b.what && a.window === b.window
