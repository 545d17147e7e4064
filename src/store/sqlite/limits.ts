import type { DatabaseSync } from 'node:sqlite'
import {
  type Amounts,
  type Charge,
  type Limit,
  type LimitState,
  type Limits,
  limitName,
  REMEMBER_MS,
  type Reservation,
  type ReserveRequest,
  type Settled,
  windowAt,
} from '../limits.ts'

const MINUTE_MS = 60_000
/** Reservations that ran out are given back so many at a time. */
const EXPIRE_AT_ONCE = 64

/** Runs work as one transaction. */
export type Transact = <T>(work: () => T) => Promise<T>
type Part = { counter: string; what: keyof Amounts | 'flight'; amount: number }
type Named = Pick<Limit, 'scope' | 'what' | 'window'>

export class SqliteLimits implements Limits {
  /** Processes of this machine that share the file. */
  readonly replicas: number
  readonly #transact: Transact
  readonly #read: Transact
  readonly #sql: ReturnType<typeof prepareStatements>

  constructor(db: DatabaseSync, transact: Transact, read: Transact, replicas: number) {
    this.#transact = transact
    this.#read = read
    this.replicas = replicas
    this.#sql = prepareStatements(db)
  }

  reserve(request: ReserveRequest): Promise<Reservation> {
    return this.#transact(() => this.#reserve(request, Date.now()))
  }

  settle(tenant: string, id: string, actual: Amounts): Promise<Settled> {
    return this.#transact(() => this.#settle(tenant, id, actual))
  }

  look(tenant: string, limits: readonly Limit[]): Promise<LimitState[]> {
    return this.#read(() => {
      const now = Date.now()
      return limits.map((limit) => stateOf(this.#count(tenant, limit, now), 0, now))
    })
  }

  charge({ tenant, id, at, limits, amounts }: Charge): Promise<void> {
    return this.#transact(() => {
      if (this.#settle(tenant, id, amounts) !== 'unknown') return
      const now = Date.now()
      this.#sql.keep.run(tenant, id, 'settled', now, now + REMEMBER_MS, '[]')
      for (const limit of limits) {
        const { start, end } = windowAt(limit.window, at)
        // Of minutes, the one before still counts.
        const matters = (limit.window === 'minute' ? end + MINUTE_MS : end) > now
        if (limit.window === 'flight' || !matters) continue
        this.#add(tenant, counterAt(limit, start), Math.round(amounts[limit.what]), end + MINUTE_MS)
      }
    })
  }

  restore(tenant: string, limit: Named, amount: number): Promise<void> {
    return this.#transact(() => {
      const { start, end } = windowAt(limit.window, Date.now())
      const counter = counterAt(limit, start)
      const before = this.#valueOf(tenant, `restored:${counter}`)
      const more = Math.round(amount) - before
      if (more <= 0) return
      this.#add(tenant, `restored:${counter}`, more, end + MINUTE_MS)
      this.#add(tenant, counter, more, end + MINUTE_MS)
    })
  }

  #reserve({ tenant, id, limits, amounts, ttlMs }: ReserveRequest, now: number): Reservation {
    this.#expire(tenant, now)
    const known = this.#sql.reservation.get(tenant, id) !== undefined
    const counted = limits.map((limit) => ({
      ...this.#count(tenant, limit, now),
      amount: Math.round(amounts[limit.what]),
    }))
    const refused = known ? undefined : counted.find(({ limit, used, amount }) => used + amount > limit.max)
    const takes = !refused && !known
    if (takes) {
      for (const { counter, amount, end } of counted) {
        this.#add(tenant, counter, amount, Math.max(end, now + ttlMs) + MINUTE_MS)
      }
      const parts = counted.map(
        ({ counter, limit, amount }): Part => ({
          counter,
          what: limit.window === 'flight' ? 'flight' : limit.what,
          amount,
        }),
      )
      this.#sql.keep.run(tenant, id, 'open', now + ttlMs, now + ttlMs + REMEMBER_MS, JSON.stringify(parts))
    }
    return {
      granted: !refused,
      refusedBy: refused?.limit ?? null,
      states: counted.map((one) => stateOf(one, takes ? one.amount : 0, now)),
    }
  }

  #settle(tenant: string, id: string, actual: Amounts): Settled {
    const row = this.#sql.reservation.get(tenant, id)
    if (!row) return 'unknown'
    if (row.state === 'settled') return 'before'
    for (const { counter, what, amount } of partsOf(row.parts)) {
      const used = what === 'flight' ? 0 : Math.round(actual[what])
      // One that ran out has been given back already.
      this.#sql.add.run(used - (row.state === 'open' ? amount : 0), tenant, counter)
    }
    this.#sql.mark.run('settled', tenant, id)
    return 'now'
  }

  #count(tenant: string, limit: Limit, now: number) {
    const { start, end } = windowAt(limit.window, now)
    const counter = counterAt(limit, start)
    const value = this.#sql.value.get(tenant, counter)?.value
    let used = Number(value ?? 0)
    if (limit.window === 'minute') {
      // The minute before counts by the part of it that is less than a minute ago.
      const before = this.#valueOf(tenant, counterAt(limit, start - MINUTE_MS))
      used += Math.ceil((before * (end - now)) / MINUTE_MS)
    }
    return { limit, counter, used, end, isNew: value === undefined }
  }

  #valueOf(tenant: string, counter: string): number {
    return Number(this.#sql.value.get(tenant, counter)?.value ?? 0)
  }

  #add(tenant: string, counter: string, amount: number, expiresAt: number): void {
    this.#sql.create.run(tenant, counter, expiresAt)
    this.#sql.add.run(amount, tenant, counter)
  }

  #expire(tenant: string, now: number): void {
    for (const row of this.#sql.expired.all(tenant, now, EXPIRE_AT_ONCE)) {
      for (const { counter, amount } of partsOf(row.parts)) this.#sql.add.run(-amount, tenant, counter)
      this.#sql.mark.run('expired', tenant, row.id as string)
    }
  }
}

function stateOf(
  { limit, used, end, isNew }: { limit: Limit; used: number; end: number; isNew: boolean },
  taken: number,
  now: number,
): LimitState {
  const all = used + taken
  return { used: all, remaining: Math.max(0, limit.max - all), resetMs: end - now, isNew }
}

const counterAt = (limit: Named, start: number) => `${limitName(limit)}:${start}`

const partsOf = (json: unknown): Part[] => JSON.parse(String(json))

function prepareStatements(db: DatabaseSync) {
  return {
    value: db.prepare('SELECT value FROM counters WHERE tenant = ? AND counter = ?'),
    create: db.prepare(`
      INSERT INTO counters VALUES (?, ?, 0, ?)
      ON CONFLICT DO UPDATE SET expires_at = max(expires_at, excluded.expires_at)`),
    // Below zero it would give away what it never held.
    add: db.prepare('UPDATE counters SET value = max(0, value + ?) WHERE tenant = ? AND counter = ?'),
    reservation: db.prepare('SELECT state, parts FROM reservations WHERE tenant = ? AND id = ?'),
    keep: db.prepare('INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?)'),
    mark: db.prepare('UPDATE reservations SET state = ? WHERE tenant = ? AND id = ?'),
    expired: db.prepare(
      "SELECT id, parts FROM reservations WHERE tenant = ? AND state = 'open' AND expires_at <= ? LIMIT ?",
    ),
  }
}
