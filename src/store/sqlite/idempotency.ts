import type { DatabaseSync } from 'node:sqlite'
import {
  type Claim,
  type ClaimRequest,
  type Idempotency,
  type Keeping,
  MAX_REPLAY_BYTES,
  MAX_REPLAYS,
} from '../limits.ts'
import type { Transact } from './limits.ts'

export class SqliteIdempotency implements Idempotency {
  readonly #transact: Transact
  readonly #sql: ReturnType<typeof prepareStatements>

  constructor(db: DatabaseSync, transact: Transact) {
    this.#transact = transact
    this.#sql = prepareStatements(db)
  }

  claim({ tenant, user, key, bodyHash, token, ttlMs }: ClaimRequest): Promise<Claim> {
    return this.#transact((): Claim => {
      const now = Date.now()
      const known = this.#sql.find.get(tenant, key, now)
      if (known && known.body !== bodyHash) return { state: 'mismatch' }
      if (known?.response) return { state: 'done', response: Buffer.from(known.response as Uint8Array) }
      if (known) return { state: known.token === token ? 'claimed' : 'in_flight' }
      this.#sql.forget.run(tenant, key)
      this.#sql.save.run(tenant, key, user, bodyHash, token, now + ttlMs)
      this.#sql.drop.run(tenant, tenant, tenant, MAX_REPLAYS)
      return { state: 'claimed' }
    })
  }

  complete(
    tenant: string,
    key: string,
    token: string,
    response: Buffer,
    { keepMs, maxBytes }: Keeping,
  ): Promise<boolean> {
    return this.#transact(() => {
      if (response.length > Math.min(MAX_REPLAY_BYTES, maxBytes)) {
        this.#sql.release.run(tenant, key, token)
        return false
      }
      const now = Date.now()
      if (this.#sql.complete.run(response, now + keepMs, tenant, key, token, now).changes === 0) return false
      while (Number(this.#sql.bytes.get(tenant)?.bytes ?? 0) > maxBytes) {
        if (this.#sql.dropOldest.run(tenant, tenant, key).changes === 0) break
      }
      return true
    })
  }

  release(tenant: string, key: string, token: string): Promise<void> {
    return this.#transact(() => {
      this.#sql.release.run(tenant, key, token)
    })
  }
}

function prepareStatements(db: DatabaseSync) {
  return {
    find: db.prepare('SELECT body, response, token FROM idempotency WHERE tenant = ? AND key = ? AND expires_at > ?'),
    forget: db.prepare('DELETE FROM idempotency WHERE tenant = ? AND key = ?'),
    save: db.prepare('INSERT INTO idempotency VALUES (?, ?, ?, ?, ?, NULL, ?)'),
    drop: db.prepare(`
      DELETE FROM idempotency WHERE tenant = ? AND key IN (
        SELECT key FROM idempotency WHERE tenant = ? AND response IS NOT NULL ORDER BY expires_at
        LIMIT max(0, (SELECT count(*) FROM idempotency WHERE tenant = ?) - ?))`),
    bytes: db.prepare('SELECT bytes FROM replay_bytes WHERE tenant = ?'),
    dropOldest: db.prepare(`
      DELETE FROM idempotency WHERE tenant = ? AND key = (
        SELECT key FROM idempotency WHERE tenant = ? AND response IS NOT NULL AND key <> ? ORDER BY expires_at LIMIT 1)`),
    complete: db.prepare(`
      UPDATE idempotency SET response = ?, expires_at = ? WHERE tenant = ? AND key = ? AND token = ? AND expires_at > ?`),
    release: db.prepare('DELETE FROM idempotency WHERE tenant = ? AND key = ? AND token = ?'),
  }
}
