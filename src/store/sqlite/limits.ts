import type { DatabaseSync } from 'node:sqlite'
import { EphemeralMap } from '../../runtime/ephemeral-map.ts'
import { userKey } from '../../runtime/keys.ts'
import {
  type Amounts,
  type Charge,
  countersOfUsers,
  isScarce,
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
import { SqliteCounters } from './counters.ts'
import type { Transactional } from './file.ts'

const MINUTE_MS = 60_000
/** Reservations that ran out are given back so many at a time. */
const EXPIRE_AT_ONCE = 64
/** Reservations of this process that are known without a look at the file. */
const MAX_OWN = 10_000

/** Runs work as one transaction. @param when as `SqliteFile.write` */
export type Transact = <T>(work: () => T, when?: 'now' | 'together' | 'soon') => Promise<T>
type Part = { counter: string; what: keyof Amounts | 'flight'; amount: number }
type Named = Pick<Limit, 'scope' | 'what' | 'window'>

export class SqliteLimits implements Limits, Transactional {
  /** Processes of this machine that share the file. */
  readonly replicas: number
  readonly #transact: Transact
  readonly #read: Transact
  readonly #sql: ReturnType<typeof prepareStatements>
  readonly #counters: SqliteCounters
  /** What open reservations of this process hold. */
  readonly #own = new EphemeralMap<Part[]>(MAX_OWN)
  /** Reservations that others may soon be waiting for. */
  readonly #scarce = new Set<string>()
  /** Tenants whose reservations that ran out have been given back in this transaction. */
  readonly #swept = new Set<string>()

  constructor(db: DatabaseSync, transact: Transact, read: Transact, replicas: number) {
    this.#transact = transact
    this.#read = read
    this.replicas = replicas
    this.#sql = prepareStatements(db)
    this.#counters = new SqliteCounters(db)
  }

  /** Within a transaction: what a user has used counts for another id from now on. */
  carry(tenant: string, from: string, to: string): void {
    for (const { names, end } of countersOfUsers([from, to], Date.now())) {
      const [old, present] = names as [string, string]
      const used = this.#counters.read(tenant, old) ?? 0
      if (used === 0) continue
      this.#counters.add(tenant, present, used, end + MINUTE_MS)
      this.#counters.add(tenant, old, -used)
    }
  }

  flush(): void {
    this.#counters.flush()
  }

  clear(): void {
    this.#counters.clear()
    this.#swept.clear()
  }

  async reserve(request: ReserveRequest): Promise<Reservation> {
    const reservation = await this.#transact(() => this.#reserve(request, Date.now()), 'together')
    if (isScarce(request, reservation)) this.#scarce.add(request.id)
    return reservation
  }

  settle(tenant: string, id: string, actual: Amounts): Promise<Settled> {
    return this.#transact(() => this.#settle(tenant, id, actual), this.#scarce.delete(id) ? 'now' : 'soon')
  }

  look(tenant: string, limits: readonly Limit[]): Promise<LimitState[]> {
    return this.#read(() => {
      const now = Date.now()
      const look = (counter: string) => this.#counters.look(tenant, counter)
      return limits.map((limit) => stateOf(countOf(limit, now, look), 0, now))
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
        this.#counters.add(tenant, counterAt(limit, start), Math.round(amounts[limit.what]), end + MINUTE_MS)
      }
    })
  }

  restore(tenant: string, limit: Named, amount: number): Promise<void> {
    return this.#transact(() => {
      const { start, end } = windowAt(limit.window, Date.now())
      const counter = counterAt(limit, start)
      const before = this.#counters.read(tenant, `restored:${counter}`) ?? 0
      const more = Math.round(amount) - before
      if (more <= 0) return
      this.#counters.add(tenant, `restored:${counter}`, more, end + MINUTE_MS)
      this.#counters.add(tenant, counter, more, end + MINUTE_MS)
    })
  }

  #reserve({ tenant, id, limits, amounts, ttlMs }: ReserveRequest, now: number): Reservation {
    this.#expire(tenant, now)
    const read = (counter: string) => this.#counters.read(tenant, counter)
    const counted = limits.map((limit) => ({
      ...countOf(limit, now, read),
      amount: Math.round(amounts[limit.what]),
    }))
    const over = counted.find(({ limit, used, amount }) => used + amount > limit.max)
    const parts = counted.map(({ counter, limit, amount }): Part => {
      return { counter, what: limit.window === 'flight' ? 'flight' : limit.what, amount }
    })
    // One that is there already is granted once more, and counted once.
    const takes = !over && this.#keep(tenant, id, parts, now + ttlMs)
    const refused = over && !this.#sql.reservation.get(tenant, id) ? over.limit : null
    if (takes) {
      for (const { counter, amount, end } of counted) {
        this.#counters.add(tenant, counter, amount, Math.max(end, now + ttlMs) + MINUTE_MS)
      }
    }
    return {
      granted: refused === null,
      refusedBy: refused,
      states: counted.map((one) => stateOf(one, takes ? one.amount : 0, now)),
    }
  }

  /** False: it is there already. */
  #keep(tenant: string, id: string, parts: Part[], expiresAt: number): boolean {
    const json = JSON.stringify(parts)
    const { changes } = this.#sql.keep.run(tenant, id, 'open', expiresAt, expiresAt + REMEMBER_MS, json)
    if (changes === 0) return false
    this.#own.set(userKey(tenant, id), parts)
    return true
  }

  #settle(tenant: string, id: string, actual: Amounts): Settled {
    const own = this.#own.get(userKey(tenant, id))
    if (own && this.#sql.settleOpen.run(tenant, id).changes === 1) {
      this.#own.delete(userKey(tenant, id))
      this.#correct(tenant, own, actual, true)
      return 'now'
    }
    const row = this.#sql.reservation.get(tenant, id)
    if (!row) return 'unknown'
    if (row.state === 'settled') return 'before'
    this.#sql.mark.run('settled', tenant, id)
    this.#correct(tenant, partsOf(row.parts), actual, row.state === 'open')
    return 'now'
  }

  /** @param isOpen one that ran out has been given back already */
  #correct(tenant: string, parts: readonly Part[], actual: Amounts, isOpen: boolean): void {
    for (const { counter, what, amount } of parts) {
      const used = what === 'flight' ? 0 : Math.round(actual[what])
      this.#counters.add(tenant, counter, used - (isOpen ? amount : 0))
    }
  }

  #expire(tenant: string, now: number): void {
    if (this.#swept.has(tenant)) return
    this.#swept.add(tenant)
    for (const row of this.#sql.expired.all(tenant, now, EXPIRE_AT_ONCE)) {
      for (const { counter, amount } of partsOf(row.parts)) this.#counters.add(tenant, counter, -amount)
      this.#sql.mark.run('expired', tenant, row.id as string)
    }
  }
}

/** What is used of a limit, and in which counter. */
function countOf(limit: Limit, now: number, read: (counter: string) => number | undefined) {
  const { start, end } = windowAt(limit.window, now)
  const counter = counterAt(limit, start)
  const value = read(counter)
  let used = value ?? 0
  if (limit.window === 'minute') {
    // The minute before counts by the part of it that is less than a minute ago.
    const before = read(counterAt(limit, start - MINUTE_MS)) ?? 0
    used += Math.ceil((before * (end - now)) / MINUTE_MS)
  }
  return { limit, counter, used, end, isNew: value === undefined }
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
    reservation: db.prepare('SELECT state, parts FROM reservations WHERE tenant = ? AND id = ?'),
    keep: db.prepare('INSERT OR IGNORE INTO reservations VALUES (?, ?, ?, ?, ?, ?)'),
    mark: db.prepare('UPDATE reservations SET state = ? WHERE tenant = ? AND id = ?'),
    settleOpen: db.prepare("UPDATE reservations SET state = 'settled' WHERE tenant = ? AND id = ? AND state = 'open'"),
    expired: db.prepare(
      "SELECT id, parts FROM reservations WHERE tenant = ? AND state = 'open' AND expires_at <= ? LIMIT ?",
    ),
  }
}
