import { LRUCache } from 'lru-cache'
import { GatewayError } from '../errors.ts'
import { atMost } from '../runtime/lru.ts'
import type { Amounts, Limit, Reservation } from '../store/limits.ts'

/** A caller over a limit is believed to be for so long; then one request asks again for all. */
const ASK_EVERY_MS = 1_000
const MAX_KNOWN = 10_000

interface Known {
  what: keyof Amounts
  error: GatewayError
  /** On `performance.now()`'s clock: when its window is over, and when a request may ask again. */
  endsAt: number
  askAt: number
}

/**
 * Limits that are known to be used up, so that requests under them are refused without a look at their bodies or at the
 * store. What the store would grant again, since another replica gave something back or a minute slides, is noticed a
 * second later.
 */
export class KnownRefusals {
  readonly #known = new LRUCache<string, Known>(atMost(MAX_KNOWN))
  /** Requests that ask the store for all others. */
  readonly #asking = new WeakSet<object>()

  get size(): number {
    return this.#known.size
  }

  /** @throws GatewayError 429 where one of these scopes is known to be over its limit */
  refuse(request: object, tenant: string, scopes: readonly string[]): void {
    if (this.#known.size === 0 || this.#asking.has(request)) return
    const now = performance.now()
    for (const scope of scopes) {
      const key = keyOf(tenant, scope)
      const known = this.#known.get(key)
      if (!known) continue
      if (now >= known.endsAt) this.#known.delete(key)
      else if (now < known.askAt) throw again(known, now)
      else {
        known.askAt = now + ASK_EVERY_MS
        this.#asking.add(request)
      }
    }
  }

  /** A reservation was refused: whether the next one would be, whatever it asks for. */
  note(tenant: string, limits: readonly Limit[], { refusedBy, states }: Reservation, error: GatewayError): void {
    if (!refusedBy || refusedBy.window === 'flight') return
    const state = states[limits.findIndex((limit) => isSame(limit, refusedBy))]
    if (!state || state.remaining >= 1) return
    const now = performance.now()
    const known = { what: refusedBy.what, error, endsAt: now + state.resetMs, askAt: now + ASK_EVERY_MS }
    this.#known.set(keyOf(tenant, refusedBy.scope), known)
  }

  granted(tenant: string, limits: readonly Limit[]): void {
    if (this.#known.size === 0) return
    for (const { scope } of limits) this.#known.delete(keyOf(tenant, scope))
  }

  /** Less was used than had been reserved. */
  givenBack(tenant: string, limits: readonly Limit[], used: Amounts): void {
    if (this.#known.size === 0) return
    for (const { scope } of limits) {
      const key = keyOf(tenant, scope)
      if (this.#known.get(key)?.what !== 'requests' || used.requests === 0) this.#known.delete(key)
    }
  }
}

const keyOf = (tenant: string, scope: string) => `${tenant}\0${scope}`

const isSame = (a: Limit, b: Limit) => a.scope === b.scope && a.what === b.what && a.window === b.window

const again = ({ error, endsAt }: Known, now: number) =>
  new GatewayError(error.message, {
    status: error.status,
    type: error.type,
    code: error.code,
    ...(error.retryAfterS !== undefined && { retryAfterS: Math.max(1, (endsAt - now) / 1_000) }),
    ...(error.shouldRetry !== undefined && { shouldRetry: error.shouldRetry }),
    headers: error.headers,
  })
