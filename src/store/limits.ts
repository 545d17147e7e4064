/** `flight`: while a request is in work. Minutes slide; days and months are UTC's. */
export type Window = 'flight' | 'minute' | 'day' | 'month'

/** Money is counted in billionths of a dollar: whole numbers add up exactly. */
export interface Amounts {
  requests: number
  tokens: number
  nanoUsd: number
}

export const NO_AMOUNTS: Amounts = { requests: 0, tokens: 0, nanoUsd: 0 }

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
  /** What counts now, this reservation included. */
  used: number
  /** Milliseconds until the window is over (`flight`: 0). */
  resetMs: number
  /** Nothing had been counted in this window. */
  isNew: boolean
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

/** What a request came to that the store had not granted, or whose reservation it has lost. */
export interface Charge {
  tenant: string
  /** The request's id: however often it is sent, it counts once. Where it is reserved after all, it is settled. */
  id: string
  /** When it was granted, Unix milliseconds: it counts in the windows of that time, as far as they last. */
  at: number
  limits: readonly Pick<Limit, 'scope' | 'what' | 'window'>[]
  /** May be negative, where more had been counted already. */
  amounts: Amounts
}

/** `before`: it had been settled; `unknown`: there was no such reservation, or it is lost. */
export type Settled = 'now' | 'before' | 'unknown'

/**
 * Budgets and rates over all replicas: reserved before, settled after. Windows are by the store's clock. Methods reject
 * with `StoreError`.
 */
export interface Limits {
  /** Processes that share these counters now, this one included; as last told while the store is away. */
  readonly replicas: number
  /** All limits or none, in one step. */
  reserve(request: ReserveRequest): Promise<Reservation>
  /** Replaces what was reserved by what it came to; once. A late one, after `ttlMs`, counts too. */
  settle(tenant: string, id: string, actual: Amounts): Promise<Settled>
  /** Where limits stand; changes nothing, so that a full store answers, too. */
  look(tenant: string, limits: readonly Limit[]): Promise<LimitState[]>
  charge(charge: Charge): Promise<void>
  /**
   * A counter was lost (evicted, say): counts what it had come to, as far as is known. Of several who restore it in the
   * same window, the largest amount counts.
   */
  restore(tenant: string, limit: Pick<Limit, 'scope' | 'what' | 'window'>, amount: number): Promise<void>
}

type Named = Pick<Limit, 'scope' | 'what' | 'window'>

/** Of limits that hold for many requests. */
const names = new WeakMap<Named, string>()

/** A limit's name: one counter for each window. */
export const limitName = (limit: Named): string => names.get(limit) ?? nameOf(limit)

const nameOf = ({ scope, what, window }: Named) => `${scope}:${what}:${window}`

/** A limit that holds for many requests: its name is made once. */
export function lasting<T extends Named>(limit: T): T {
  names.set(limit, nameOf(limit))
  return limit
}

/** Whether `lasting` made it. */
export const isLasting = (limit: Named): boolean => names.has(limit)

/** Whether others may soon be waiting for what this reservation gives back: more than half of a place is taken. */
export const isScarce = ({ limits }: Pick<ReserveRequest, 'limits'>, { granted, states }: Reservation): boolean =>
  granted && limits.some(({ window, max }, i) => window === 'flight' && (states[i]?.remaining ?? 0) < max / 2)

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
  /** When the request began, Unix milliseconds: of users erased since then no answer is kept. Absent: now. */
  askedAt?: number
  /** After this a claim that was not completed (its process died) is free again. */
  ttlMs: number
}

/** How long an answer is kept, and how many bytes of one tenant's. */
export interface Keeping {
  keepMs: number
  maxBytes: number
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
   * Keeps the answer, and drops the tenant's oldest ones where they come to more than `maxBytes`. False = not kept: it
   * is larger than that or than `MAX_REPLAY_BYTES` (the key is free again), or the claim had run out.
   */
  complete(tenant: string, key: string, token: string, response: Buffer, keeping: Keeping): Promise<boolean>
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

/** Scopes of a user's limits, of answers and of other requests. */
export const userScope = (user: string) => `user:${user}`
export const otherUserScope = (user: string) => `user#other:${user}`

/** A counter that users may have, and when its window ends: Unix milliseconds. */
interface CounterOfUsers {
  /** One for each user. */
  names: string[]
  end: number
}

/** All counters that count for users now. */
export function countersOfUsers(users: readonly string[], now: number): CounterOfUsers[] {
  const windows: [Window, number][] = [
    ['minute', now],
    ['minute', now - MINUTE_MS],
    ['day', now],
    ['month', now],
  ]
  return [userScope, otherUserScope].flatMap((scopeOf) =>
    (['requests', 'tokens', 'nanoUsd'] as const).flatMap((what) =>
      windows.map(([window, at]) => {
        const { start, end } = windowAt(window, at)
        return { names: users.map((user) => `${limitName({ scope: scopeOf(user), what, window })}:${start}`), end }
      }),
    ),
  )
}
