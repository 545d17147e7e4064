import type { DatabaseSync } from 'node:sqlite'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  decodeResponse,
  encodeResponse,
  type KeepOptions,
  MAX_ITEMS,
  type Responses,
  type StoredResponse,
} from '../responses.ts'
import type { Transact } from './limits.ts'

/** Dropped at once, at most, to make room: the next one makes more. */
const MAX_DROPPED = 64
const LISTED_AT_ONCE = 64

export class SqliteResponses implements Responses {
  readonly #transact: Transact
  readonly #read: <T>(work: () => T) => Promise<T>
  readonly #isErased: (row: { tenant: string; user: string; ts: number }) => boolean
  readonly #sql: ReturnType<typeof prepareStatements>

  constructor(
    db: DatabaseSync,
    transact: Transact,
    read: <T>(work: () => T) => Promise<T>,
    isErased: (row: { tenant: string; user: string; ts: number }) => boolean,
  ) {
    this.#transact = transact
    this.#read = read
    this.#isErased = isErased
    this.#sql = prepareStatements(db)
  }

  save(tenant: string, user: string, response: StoredResponse, { ttlMs, maxBytes }: KeepOptions): Promise<boolean> {
    const bytes = encodeResponse(response)
    return this.#transact(() => {
      if (bytes.length > maxBytes || this.#isErased({ tenant, user, ts: response.ts })) return false
      const now = Date.now()
      const expiresAt = now + ttlMs
      this.#sql.delete.run(tenant, user, response.id)
      this.#makeRoom(tenant, maxBytes - bytes.length)
      this.#sql.save.run(tenant, user, response.id, response.ts, bytes.length, bytes, expiresAt)
      for (const item of response.items.slice(-MAX_ITEMS)) this.#sql.saveItem.run(tenant, user, item, response.id)
      if (response.chain.length > 0) {
        this.#sql.touch.run(expiresAt, expiresAt, tenant, user, JSON.stringify(response.chain))
      }
      return true
    })
  }

  load(tenant: string, user: string, ids: readonly string[]): Promise<(StoredResponse | null)[]> {
    return this.#read(() => {
      const now = Date.now()
      return ids.map((id) => {
        const row = this.#sql.load.get(tenant, user, id, now)
        return row ? decodeResponse(row.response as Uint8Array) : null
      })
    })
  }

  findItems(tenant: string, user: string, items: readonly string[]): Promise<(string | null)[]> {
    return this.#read(() =>
      items.map((item) => {
        const row = this.#sql.findItem.get(tenant, user, item)
        return row ? String(row.response) : null
      }),
    )
  }

  delete(tenant: string, user: string, id: string): Promise<boolean> {
    return this.#transact(() => this.#sql.delete.run(tenant, user, id).changes === 1)
  }

  async *list(tenant: string, user: string): AsyncGenerator<string[]> {
    let [ts, last] = [-1, '']
    for (;;) {
      const rows = await this.#read(() => this.#sql.list.all(tenant, user, Date.now(), ts, last, LISTED_AT_ONCE))
      const end = rows.at(-1)
      if (!end) return
      ;[ts, last] = [Number(end.ts), String(end.id)]
      yield rows.map(({ id }) => String(id))
      await nextTurn()
    }
  }

  #makeRoom(tenant: string, maxBytes: number): void {
    for (let dropped = 0; dropped < MAX_DROPPED; dropped++) {
      if (Number(this.#sql.bytes.get(tenant)?.bytes ?? 0) <= maxBytes) return
      this.#sql.dropOldest.run(tenant, tenant)
    }
  }
}

function prepareStatements(db: DatabaseSync) {
  return {
    save: db.prepare('INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?, ?)'),
    saveItem: db.prepare('INSERT OR REPLACE INTO response_items VALUES (?, ?, ?, ?)'),
    touch: db.prepare(`
      UPDATE responses SET expires_at = ?
      WHERE expires_at < ? AND tenant = ? AND user = ? AND id IN (SELECT value FROM json_each(?))`),
    load: db.prepare('SELECT response FROM responses WHERE tenant = ? AND user = ? AND id = ? AND expires_at > ?'),
    findItem: db.prepare('SELECT response FROM response_items WHERE tenant = ? AND user = ? AND item = ?'),
    delete: db.prepare('DELETE FROM responses WHERE tenant = ? AND user = ? AND id = ?'),
    list: db.prepare(`
      SELECT id, ts FROM responses WHERE tenant = ? AND user = ? AND expires_at > ? AND (ts, id) > (?, ?)
      ORDER BY ts, id LIMIT ?`),
    bytes: db.prepare('SELECT bytes FROM response_bytes WHERE tenant = ?'),
    dropOldest: db.prepare(`
      DELETE FROM responses WHERE tenant = ? AND (user, id) IN (
        SELECT user, id FROM responses WHERE tenant = ? ORDER BY expires_at LIMIT 1)`),
  }
}
