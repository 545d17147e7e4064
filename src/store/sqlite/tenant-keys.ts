import type { KeyRecord } from '../store.ts'
import type { Row, SqliteFile } from './file.ts'

/** Keys by which tenants call. */
export class SqliteTenantKeys {
  readonly #file: SqliteFile

  constructor(file: SqliteFile) {
    this.#file = file
  }

  findKey(hash: string): Promise<KeyRecord | null> {
    return this.#file.read(() => {
      const row = this.#file.sql.findKey.get(hash)
      return row ? keyOf(row) : null
    })
  }

  createKey(key: KeyRecord): Promise<void> {
    const { id, tenant, name, hash, prefix, createdAt, expiresAt, revokedAt, models, user, scopes } = key
    return this.#file.write(() => {
      const [only, may] = [models, scopes].map((list) => list && JSON.stringify(list)) as [string | null, string | null]
      this.#file.sql.createKey.run(id, tenant, name, hash, prefix, createdAt, expiresAt, revokedAt, only, user, may)
      return [undefined, { kind: 'keys', tenant }]
    })
  }

  listKeys(tenant?: string): Promise<KeyRecord[]> {
    return this.#file.read(() => this.#file.sql.listKeys.all(tenant ?? null, tenant ?? null).map(keyOf))
  }

  revokeKey(id: string, at: number): Promise<boolean> {
    return this.#file.writeUrgently(() => {
      const row = this.#file.sql.revokeKey.get(at, id)
      return row ? [true, { kind: 'keys', tenant: String(row.tenant) }] : [false]
    })
  }
}

export const keyOf = (row: Row): KeyRecord => ({
  id: String(row.id),
  tenant: String(row.tenant),
  name: String(row.name),
  hash: String(row.hash),
  prefix: String(row.prefix),
  createdAt: Number(row.created_at),
  expiresAt: row.expires_at as number | null,
  revokedAt: row.revoked_at as number | null,
  models: row.models === null ? null : JSON.parse(String(row.models)),
  user: row.user as string | null,
  scopes: row.scopes === null ? null : JSON.parse(String(row.scopes)),
})
