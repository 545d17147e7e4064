import type { DatabaseSync } from 'node:sqlite'
import type { Transactional } from './file.ts'

interface Counter {
  tenant: string
  name: string
  /** Undefined: it is not there. */
  value: number | undefined
  /** Unix milliseconds until which it is kept; 0 where nothing is said of that. */
  expiresAt: number
  isChanged: boolean
}

/**
 * Counters of limits. The writes that share a transaction share them: each is read once and written once, however many
 * requests it counts (docs/profile.md).
 */
export class SqliteCounters implements Transactional {
  readonly #sql: ReturnType<typeof prepareStatements>
  readonly #counters = new Map<string, Counter>()

  constructor(db: DatabaseSync) {
    this.#sql = prepareStatements(db)
  }

  /** Outside of transactions. */
  look(tenant: string, name: string): number | undefined {
    const value = this.#sql.value.get(tenant, name)?.value
    return value === undefined ? undefined : Number(value)
  }

  /** Within one. */
  read(tenant: string, name: string): number | undefined {
    return this.#find(tenant, name).value
  }

  /**
   * Never below zero: it would give away what it never held.
   *
   * @param expiresAt where it is not there, it is made, and kept for so long at least; without this it stays away
   */
  add(tenant: string, name: string, amount: number, expiresAt = 0): void {
    const counter = this.#find(tenant, name)
    if (counter.value === undefined && expiresAt === 0) return
    counter.value = Math.max(0, (counter.value ?? 0) + amount)
    counter.expiresAt = Math.max(counter.expiresAt, expiresAt)
    counter.isChanged = true
  }

  flush(): void {
    for (const { tenant, name, value = 0, expiresAt, isChanged } of this.#counters.values()) {
      if (!isChanged) continue
      if (expiresAt > 0) this.#sql.save.run(tenant, name, value, expiresAt)
      else this.#sql.set.run(value, tenant, name)
    }
  }

  clear(): void {
    this.#counters.clear()
  }

  #find(tenant: string, name: string): Counter {
    const key = `${tenant}\0${name}`
    let counter = this.#counters.get(key)
    if (!counter) {
      counter = { tenant, name, value: this.look(tenant, name), expiresAt: 0, isChanged: false }
      this.#counters.set(key, counter)
    }
    return counter
  }
}

function prepareStatements(db: DatabaseSync) {
  return {
    value: db.prepare('SELECT value FROM counters WHERE tenant = ? AND counter = ?'),
    set: db.prepare('UPDATE counters SET value = ? WHERE tenant = ? AND counter = ?'),
    save: db.prepare(`
      INSERT INTO counters VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET value = excluded.value, expires_at = max(expires_at, excluded.expires_at)`),
  }
}
