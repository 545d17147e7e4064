import type { DatabaseSync } from 'node:sqlite'
import {
  type Amounts,
  type Limit,
  type Limits,
  REMEMBER_MS,
  type Reservation,
  type ReserveRequest,
  windowAt,
} from '../limits.ts'

const MINUTE_MS = 60_000
/** Reservations that ran out are given back so many at a time. */
const EXPIRE_AT_ONCE = 64

/** Runs work as one transaction. */
export type Transact = <T>(work: () => T) => Promise<T>
type Part = { counter: string; what: keyof Amounts | 'flight'; amount: number }

export class SqliteLimits implements Limits {
  readonly #transact: Transact
  readonly #sql: ReturnType<typeof prepareStatements>

  constructor(db: DatabaseSync, transact: Transact) {
    this.#transact = transact
    this.#sql = prepareStatements(db)
  }

  reserve(request: ReserveRequest): Promise<Reservation> {
    return this.#transact(() => this.#reserve(request, Date.now()))
  }

  settle(tenant: string, id: string, actual: Amounts): Promise<boolean> {
    return this.#transact(() => {
      const row = this.#sql.reservation.get(tenant, id)
      if (!row || row.state === 'settled') return false
      for (const { counter, what, amount } of partsOf(row.parts)) {
        const used = what === 'flight' ? 0 : Math.round(actual[what])
        // One that ran out has been given back already.
        this.#sql.add.run(used - (row.state === 'open' ? amount : 0), tenant, counter)
      }
      this.#sql.mark.run('settled', tenant, id)
      return true
    })
  }

  #reserve({ tenant, id, limits, amounts, ttlMs }: ReserveRequest, now: number): Reservation {
    this.#expire(tenant, now)
    const known = this.#sql.reservation.get(tenant, id) !== undefined
    const counted = limits.map((limit) => this.#count(tenant, limit, amounts, now))
    const refused = known ? undefined : counted.find(({ limit, used, amount }) => used + amount > limit.max)
    const takes = !refused && !known
    if (takes) {
      for (const { counter, amount, expiresAt } of counted) {
        this.#sql.create.run(tenant, counter, Math.max(expiresAt, now + ttlMs + MINUTE_MS))
        this.#sql.add.run(amount, tenant, counter)
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
      states: counted.map(({ limit, used, amount, end }) => ({
        remaining: Math.max(0, limit.max - used - (takes ? amount : 0)),
        resetMs: end - now,
      })),
    }
  }

  #count(tenant: string, limit: Limit, amounts: Amounts, now: number) {
    const { start, end } = windowAt(limit.window, now)
    const counterAt = (time: number) => `${limit.scope}:${limit.what}:${limit.window}:${time}`
    const valueAt = (time: number) => Number(this.#sql.value.get(tenant, counterAt(time))?.value ?? 0)
    let used = valueAt(start)
    if (limit.window === 'minute') {
      // The minute before counts by the part of it that is less than a minute ago.
      used += Math.ceil((valueAt(start - MINUTE_MS) * (end - now)) / MINUTE_MS)
    }
    const amount = Math.round(amounts[limit.what])
    return { limit, counter: counterAt(start), used, amount, end, expiresAt: end + MINUTE_MS }
  }

  #expire(tenant: string, now: number): void {
    for (const row of this.#sql.expired.all(tenant, now, EXPIRE_AT_ONCE)) {
      for (const { counter, amount } of partsOf(row.parts)) this.#sql.add.run(-amount, tenant, counter)
      this.#sql.mark.run('expired', tenant, row.id as string)
    }
  }
}

const partsOf = (json: unknown): Part[] => JSON.parse(String(json))

function prepareStatements(db: DatabaseSync) {
  return {
    value: db.prepare('SELECT value FROM counters WHERE tenant = ? AND counter = ?'),
    create: db.prepare(`
      INSERT INTO counters VALUES (?, ?, 0, ?)
      ON CONFLICT DO UPDATE SET expires_at = max(expires_at, excluded.expires_at)`),
    add: db.prepare('UPDATE counters SET value = value + ? WHERE tenant = ? AND counter = ?'),
    reservation: db.prepare('SELECT state, parts FROM reservations WHERE tenant = ? AND id = ?'),
    keep: db.prepare('INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?)'),
    mark: db.prepare('UPDATE reservations SET state = ? WHERE tenant = ? AND id = ?'),
    expired: db.prepare(
      "SELECT id, parts FROM reservations WHERE tenant = ? AND state = 'open' AND expires_at <= ? LIMIT ?",
    ),
  }
}
