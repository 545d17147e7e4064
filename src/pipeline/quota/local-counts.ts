import { EphemeralMap } from '../../runtime/ephemeral-map.ts'
import { userKey } from '../../runtime/keys.ts'
import {
  type Amounts,
  isLasting,
  type Limit,
  type LimitState,
  limitName,
  type Reservation,
  windowAt,
} from '../../store/limits.ts'

const MINUTE_MS = 60_000
/** Ends of one window that are told one after the other differ by less. */
const LATE_MS = 30_000
/** Counters that this process remembers, some 150 bytes each. */
const MAX_COUNTS = 50_000

/** One counter in one window, as far as this process knows it. Times are on the monotonic clock. */
interface Count {
  /** What the store told last, for all replicas, and what has been learned of it since. Of minutes: in this one. */
  known: number
  /** Of minutes, the same of the one before: it fades, and this one does so once it is over, as in the store. */
  before: number
  ends: number
  /** The store said when it ends, not the clock here. */
  isEndTold: boolean
  /** Granted here, and not in the store yet. Of minutes also what was granted in the one before. */
  own: number
  ownBefore: number
  /** What the store has said to have counted of this process's requests: it must have at least so much. */
  settled: number
  /** Requests of this process that are in work. */
  inFlight: number
  /** Amount that was brought back to the store, and when. */
  restoredAt: number
}

/** What one request took of one counter. */
interface Part {
  count: Count
  limit: Limit
  amount: number
  /** Which window it was. */
  ends: number
}

/** What a request holds here. */
export interface Held {
  parts: readonly Part[]
  at: number
  /** Granted without the store. */
  isOwn: boolean
}

/** A counter that the store has less of than it must have. */
export interface Lost {
  limit: Limit
  /** What it had come to. */
  amount: number
}

/**
 * What this process knows of the counters that it asked for, so that limits hold while the store can't be asked. Then
 * each of `n` replicas grants an `n`th of what was left when it last heard of the counter.
 */
export class LocalCounts {
  readonly #counts = new EphemeralMap<Count>(MAX_COUNTS)

  /** Whether it has heard of all of them in their present windows. */
  knows(tenant: string, limits: readonly Limit[]): boolean {
    const now = performance.now()
    return limits.every((limit) => {
      const { window } = limit
      const count = this.#counts.get(keyOf(tenant, limit))
      return count !== undefined && (window === 'flight' || (count.ends > now && count.isEndTold))
    })
  }

  /** What is left under the limit of dollars, or of tokens, with the least left; null where none is known. */
  leftOf(tenant: string, limits: readonly Limit[], what: 'nanoUsd' | 'tokens'): number | null {
    const now = performance.now()
    let left: number | null = null
    for (const limit of limits) {
      if (limit.what !== what) continue
      const count = this.#counts.get(keyOf(tenant, limit))
      if (!count?.isEndTold || count.ends <= now) continue
      left = Math.min(left ?? limit.max, Math.max(0, roomIn(count, limit, 1, now)))
    }
    return left
  }

  /**
   * Takes in what the store tells.
   *
   * @param taken of each limit, by the reservation of which it tells
   * @returns counters of budgets that it has lost
   */
  told(tenant: string, limits: readonly Limit[], states: readonly LimitState[], taken: Amounts | null): Lost[] {
    const now = performance.now()
    let lost: Lost[] | null = null
    for (const [i, limit] of limits.entries()) {
      const state = states[i]
      if (!state || limit.window === 'flight') continue
      const count = this.#at(tenant, limit, now)
      const ends = now + state.resetMs
      if (!count.isEndTold) count.ends = ends
      else if (ends > count.ends + LATE_MS) begin(count, limit, ends)
      count.isEndTold = true
      const others = state.used - (taken ? taken[limit.what] : 0)
      if (limit.what === 'nanoUsd' && (state.isNew ? count.known > 0 : others < count.settled)) {
        lost ??= []
        lost.push({ limit, amount: count.known })
        count.known += state.used
        count.restoredAt = now
      } else count.known = state.used - Math.min(state.used, fading(count, limit, now, count.before))
    }
    return lost ?? NONE
  }

  /** What a request holds that was granted: by the store, or (`isOwn`) here, whatever is left. */
  hold(tenant: string, limits: readonly Limit[], amounts: Amounts, isOwn = false): Held {
    return this.#hold(tenant, limits, amounts, performance.now(), isOwn)
  }

  /** Decides without the store, for one of `replicas` processes. */
  reserve(
    tenant: string,
    limits: readonly Limit[],
    amounts: Amounts,
    replicas: number,
  ): { reservation: Reservation; held: Held | null } {
    const now = performance.now()
    const rooms = limits.map((limit) => roomIn(this.#at(tenant, limit, now), limit, replicas, now))
    const refused = limits.findIndex(({ what }, i) => amounts[what] > rooms[i]!)
    const granted = refused < 0
    const held = granted ? this.#hold(tenant, limits, amounts, now, true) : null
    const states = limits.map((limit, i) => {
      const remaining = Math.max(0, Math.floor(rooms[i]! - (granted ? amounts[limit.what] : 0)))
      const ends = limit.window === 'flight' ? now : this.#at(tenant, limit, now).ends
      return { remaining, used: limit.max - remaining, resetMs: Math.max(0, ends - now), isNew: false }
    })
    return { reservation: { granted, refusedBy: limits[refused] ?? null, states }, held }
  }

  /** A request has ended; while `isOwn`, what it came to is still to be told to the store. */
  end({ parts, isOwn }: Held, actual: Amounts): void {
    for (const { count, limit, amount, ends } of parts) {
      if (limit.window === 'flight') count.inFlight--
      else if (count.ends === ends) {
        const more = actual[limit.what] - amount
        if (isOwn) count.own += more
        else if (limit.window !== 'minute') count.known += more
      }
    }
  }

  /** The store has taken over what was granted here. */
  moved(held: Held, amounts: Amounts): void {
    for (const { count, limit, ends } of held.parts) {
      if (!held.isOwn || limit.window === 'flight' || count.ends !== ends) continue
      count.own -= amounts[limit.what]
      count.known += amounts[limit.what]
    }
    held.isOwn = false
  }

  /** The store has lost a reservation and counted the request anew: what else it lost is so much less. */
  charged({ parts }: Held, actual: Amounts): void {
    for (const { count, limit, ends } of parts) {
      if (count.ends === ends && limit.window !== 'flight') {
        count.known = Math.max(0, count.known - actual[limit.what])
      }
    }
  }

  /** The store has counted what a request came to. */
  settled({ parts }: Held, actual: Amounts): void {
    for (const { count, limit, ends } of parts) {
      if (count.ends === ends) count.settled += actual[limit.what]
    }
  }

  /** Whether the reservation of a request was brought back with its counters, so that it counts there already. */
  wasRestored({ parts, at }: Held): boolean {
    return parts.some(({ count }) => count.restoredAt > at)
  }

  #hold(tenant: string, limits: readonly Limit[], amounts: Amounts, now: number, isOwn: boolean): Held {
    const parts = limits.map((limit): Part => {
      const count = this.#at(tenant, limit, now)
      const amount = amounts[limit.what]
      if (limit.window === 'flight') count.inFlight++
      else if (isOwn) count.own += amount
      return { count, limit, amount, ends: count.ends }
    })
    return { parts, at: now, isOwn }
  }

  /** In the present window. */
  #at(tenant: string, limit: Limit, now: number): Count {
    const key = keyOf(tenant, limit)
    let count = this.#counts.get(key)
    if (!count) {
      const ends = limit.window === 'flight' ? Number.POSITIVE_INFINITY : endOf(limit, now)
      count = { ...NOTHING_KNOWN, ends }
      this.#counts.set(key, count)
    }
    if (now >= count.ends) begin(count, limit, endOf(limit, now))
    return count
  }
}

const keys = new WeakMap<Limit, { tenant: string; key: string }>()

/** Of a counter. Of limits that hold for many requests it is made once. */
function keyOf(tenant: string, limit: Limit): string {
  const known = keys.get(limit)
  if (known?.tenant === tenant) return known.key
  const key = userKey(tenant, limitName(limit))
  if (isLasting(limit)) keys.set(limit, { tenant, key })
  return key
}

const NOTHING_KNOWN: Omit<Count, 'ends'> = {
  known: 0,
  before: 0,
  isEndTold: false,
  own: 0,
  ownBefore: 0,
  settled: 0,
  inFlight: 0,
  restoredAt: -1,
}

/** The next window of a counter begins. */
function begin(count: Count, { window }: Limit, ends: number): void {
  // What was told of a minute fades; a day is over at once.
  const isNext = window === 'minute' && ends < count.ends + 2 * MINUTE_MS
  count.ownBefore = isNext ? count.own : 0
  count.before = isNext ? count.known : 0
  count.known = 0
  count.own = 0
  count.settled = 0
  count.ends = ends
  count.isEndTold = false
}

const NONE: Lost[] = []

function endOf({ window }: Limit, now: number): number {
  const wall = Date.now()
  return now + windowAt(window, wall).end - wall
}

/** What one of `replicas` processes may still grant by itself. */
function roomIn(count: Count, limit: Limit, replicas: number, now: number): number {
  const { window, max } = limit
  if (window === 'flight') return Math.max(1, Math.floor(max / replicas)) - count.inFlight
  if (window !== 'minute') return (max - count.known) / replicas - count.own
  const known = count.known + fading(count, limit, now, count.before)
  return (max - known) / replicas - count.own - fading(count, limit, now, count.ownBefore)
}

/** Of what a minute had come to, as much as is less than a minute ago if it came evenly. */
const fading = ({ ends }: Count, { window }: Limit, now: number, before: number): number =>
  window === 'minute' ? before * Math.min(1, Math.max(0, (ends - now) / MINUTE_MS)) : 0
