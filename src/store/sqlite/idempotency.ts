import { createHash } from 'node:crypto'
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

type IsErased = (row: { tenant: string; user: string; ts: number }) => boolean

export class SqliteIdempotency implements Idempotency {
  readonly #transact: Transact
  readonly #isErased: IsErased
  readonly #sql: ReturnType<typeof prepareStatements>

  constructor(db: DatabaseSync, transact: Transact, isErased: IsErased) {
    this.#transact = transact
    this.#isErased = isErased
    this.#sql = prepareStatements(db)
  }

  claim({ tenant, user, key: given, bodyHash, token, askedAt, ttlMs }: ClaimRequest): Promise<Claim> {
    const key = hashOf(given)
    return this.#transact((): Claim => {
      const now = Date.now()
      const known = this.#sql.find.get(tenant, key, now)
      if (known && known.body !== bodyHash) return { state: 'mismatch' }
      if (known?.response) return { state: 'done', response: Buffer.from(known.response as Uint8Array) }
      if (known) return { state: known.token === token ? 'claimed' : 'in_flight' }
      // Nothing will be kept of it.
      if (this.#isErased({ tenant, user, ts: askedAt ?? now })) return { state: 'claimed' }
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
        this.#sql.release.run(tenant, hashOf(key), token)
        return false
      }
      const now = Date.now()
      if (this.#sql.complete.run(response, now + keepMs, tenant, hashOf(key), token, now).changes === 0) return false
      while (Number(this.#sql.bytes.get(tenant)?.bytes ?? 0) > maxBytes) {
        if (this.#sql.dropOldest.run(tenant, tenant, hashOf(key)).changes === 0) break
      }
      return true
    })
  }

  release(tenant: string, key: string, token: string): Promise<void> {
    return this.#transact(() => {
      this.#sql.release.run(tenant, hashOf(key), token)
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

/** A client's key may be a word of its own. */
const hashOf = (key: string) => createHash('sha256').update(key).digest('base64url')
