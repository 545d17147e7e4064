import type { KeyRecord } from '../store.ts'
import { announcing, type RedisAccess } from './access.ts'
import * as keys from './keys.ts'

/** Keys by which tenants call. */
export class RedisTenantKeys {
  readonly #redis: RedisAccess

  constructor(redis: RedisAccess) {
    this.#redis = redis
  }

  async findKey(hash: string): Promise<KeyRecord | null> {
    const [json, revoked] = await this.#redis.ask(keys.tenantKeys.records, () =>
      this.#redis.client.hmget(keys.tenantKeys.records, hash, `${hash}:revoked`),
    )
    return json ? keyOf(json, revoked ?? null) : null
  }

  async createKey(key: KeyRecord): Promise<void> {
    const { revokedAt, ...rest } = key
    const created = await this.#redis.run(keys.tenantKeys.records, 'create-key', KEY_KEYS, [
      key.id,
      key.hash,
      JSON.stringify(rest),
      revokedAt ?? '',
      ...announcing({ kind: 'keys', tenant: key.tenant }),
    ])
    if (created !== 1) throw new Error(`There is a key ${key.id}, or one with its secret, already.`)
  }

  async listKeys(tenant?: string): Promise<KeyRecord[]> {
    const records = new Map<string, string>()
    let cursor = '0'
    do {
      const [next, fields] = await this.#redis.ask(keys.tenantKeys.records, () =>
        this.#redis.client.hscan(keys.tenantKeys.records, cursor, 'COUNT', 500),
      )
      cursor = next
      for (let i = 0; i < fields.length; i += 2) records.set(fields[i]!, fields[i + 1]!)
    } while (cursor !== '0')
    return [...records]
      .filter(([field]) => !field.endsWith(':revoked'))
      .map(([hash, json]) => keyOf(json, records.get(`${hash}:revoked`) ?? null))
      .filter((key) => tenant === undefined || key.tenant === tenant)
      .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
  }

  async revokeKey(id: string, at: number): Promise<boolean> {
    return (await this.#redis.run(keys.tenantKeys.records, 'revoke-key', KEY_KEYS, [id, at, keys.CHANGES])) === 1
  }
}

const KEY_KEYS = [keys.tenantKeys.records, keys.tenantKeys.ids]

const keyOf = (json: string, revoked: string | null): KeyRecord => ({
  // Not there in what an earlier release wrote.
  user: null,
  scopes: null,
  ...JSON.parse(json),
  revokedAt: revoked === null ? null : Number(revoked),
})
