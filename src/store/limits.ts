/** `flight`: while a request is in work. Minutes slide; days and months are UTC's. */
export type Window = 'flight' | 'minute' | 'day' | 'month'

/** Money is counted in billionths of a dollar: whole numbers add up exactly. */
export interface Amounts {
  requests: number
  tokens: number
  nanoUsd: number
}

/** One bound. At most `max` of `what` by `scope` in a window. */
export interface Limit {
  /** What it bounds within the tenant: `tenant`, `key:<id>`, `user:<id>`. */
  scope: string
  what: keyof Amounts
  window: Window
  max: number
}

export interface LimitState {
  /** What may still be used, this reservation taken off; never below zero. */
  remaining: number
  /** Milliseconds until the window is over (`flight`: 0). */
  resetMs: number
}

export interface Reservation {
  granted: boolean
  /** The limit that refused, null = granted. Then nothing at all was reserved. */
  refusedBy: Limit | null
  /** One for each limit, in their order. */
  states: LimitState[]
}

export interface ReserveRequest {
  tenant: string
  /** The request's id: asked again (a reply was lost), the same reservation is granted, and counted once. */
  id: string
  limits: Limit[]
  /** An upper estimate: what is reserved is never exceeded, what is settled may be. */
  amounts: Amounts
  /** After this a reservation that was not settled (its process died) is given back. Longer than any request takes. */
  ttlMs: number
}

/**
 * Budgets and rates over all replicas: reserved before, settled after. Windows are by the store's clock. Methods reject
 * with `StoreError`.
 */
export interface Limits {
  /** All limits or none, in one step. */
  reserve(request: ReserveRequest): Promise<Reservation>
  /**
   * Replaces what was reserved by what it came to; once. False = it was settled before, or is unknown. A late one,
   * after `ttlMs`, counts too.
   */
  settle(tenant: string, id: string, actual: Amounts): Promise<boolean>
}

/** What became of a request with this `Idempotency-Key` so far. */
export type Claim =
  /** Ours to answer, and then to `complete` or to `release`. */
  | { state: 'claimed' }
  | { state: 'in_flight' }
  /** The key was used for another body. */
  | { state: 'mismatch' }
  | { state: 'done'; response: Buffer }

export interface ClaimRequest {
  tenant: string
  /** As stored; their replies go when they are erased. */
  user: string
  key: string
  bodyHash: string
  /** Identifies the claim: asked again with the same token (a reply was lost), the answer is the same. */
  token: string
  /** After this a claim that was not completed (its process died) is free again. */
  ttlMs: number
}

/**
 * Answers kept to be given again. Methods reject with `StoreError`. The end of a claim (`complete`, `release`) that the
 * store can't take now is told again until it is back.
 */
export interface Idempotency {
  /**
   * Where it fails and the error's `mayBeDone` is set, the key may be claimed: `complete` or `release` it all the same.
   */
  claim(request: ClaimRequest): Promise<Claim>
  /**
   * Keeps the answer. False = not kept: it is larger than `MAX_REPLAY_BYTES` (the key is free again), or the claim had
   * run out.
   */
  complete(tenant: string, key: string, token: string, response: Buffer, keepMs: number): Promise<boolean>
  /**
   * Frees the key: the request failed, and may be tried again. A claim with this token that is still on its way has no
   * effect when it arrives.
   */
  release(tenant: string, key: string, token: string): Promise<void>
}

export const MAX_REPLAY_BYTES = 1024 * 1024
/** Keys that a tenant may have at once; beyond, the oldest answer is forgotten. */
export const MAX_REPLAYS = 10_000

/** How long settled and expired reservations are remembered, for calls that come late or twice. */
export const REMEMBER_MS = 86_400_000

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

/** Where a window of this kind that holds `now` begins and ends, Unix milliseconds. */
export function windowAt(window: Window, now: number): { start: number; end: number } {
  switch (window) {
    case 'flight':
      return { start: 0, end: now }
    case 'minute':
    case 'day': {
      const length = window === 'minute' ? MINUTE_MS : DAY_MS
      const start = Math.floor(now / length) * length
      return { start, end: start + length }
    }
    case 'month': {
      const date = new Date(now)
      const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()]
      return { start: Date.UTC(year, month), end: Date.UTC(year, month + 1) }
    }
  }
}
