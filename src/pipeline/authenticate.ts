import { timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { LRUCache } from 'lru-cache'
import { hashKey } from '../candidates/keys.ts'
import { neededScopes, type ScopedCaller, scopesOf } from '../candidates/scopes.ts'
import type { Config } from '../config/schema.ts'
import { GatewayError, invalidRequest, unauthorized } from '../errors.ts'
import { atMost } from '../runtime/lru.ts'
import type { KeyRecord, Store } from '../store/store.ts'

/** The caller: a tenant, by one of its keys. */
export interface Caller extends ScopedCaller {
  tenant: string
  keyId: string
  /** Candidates or groups that the key is limited to; null = all of the tenant's. */
  models: readonly string[] | null
}

/** @throws GatewayError 403 where a route is not for this key. @param path as the router reads it */
export function requireScope(caller: Caller, path: string): void {
  const has = scopesOf(caller)
  const needed = neededScopes(path)
  if (!needed.some((scope) => has.includes(scope))) throw insufficientScope(needed[0] ?? 'chat')
}

export const insufficientScope = (needed: string) =>
  new GatewayError(`This key lacks the scope '${needed}'.`, {
    status: 403,
    type: 'permission_error',
    code: 'insufficient_scope',
  })

/**
 * A key is believed for this long without asking the store again. A revocation is also announced, and then takes effect
 * at once.
 */
export const KEY_CACHE_MS = 5_000
/**
 * Checks tenant keys: those of the configuration, and those of the store behind a cache. Keys are compared by their
 * SHA-256 alone.
 */
export class Authenticator {
  readonly #store: Store
  readonly #onFound: (record: KeyRecord) => void
  readonly #cache = new LRUCache<string, { record: KeyRecord | null; at: number; fresh: boolean }>(atMost(10_000))
  #configured = new Map<string, Caller>()
  #believedMs = 0

  /** @param onFound called with each key that the store has, when it is used; not while it is cached */
  constructor(store: Store, config: Config, onFound: (record: KeyRecord) => void = () => undefined) {
    this.#store = store
    this.#onFound = onFound
    this.configure(config)
    store.subscribe((change) => {
      if (change.kind === 'keys') this.#cache.clear()
      // A change may have been missed: ask again, but believe the cached answer if the store is away again.
      if (change.kind === 'all') for (const entry of this.#cache.values()) entry.fresh = false
    })
  }

  configure(config: Config): void {
    this.#believedMs = config.limits.believe_keys_s * 1_000
    this.#configured = new Map(
      config.tenants.flatMap(({ name, keys }) =>
        keys.map((key, index): [string, Caller] => [
          hashKey(key),
          { tenant: name, keyId: `config-${name}-${index}`, models: null, scopes: null },
        ]),
      ),
    )
  }

  /**
   * Finds the caller by a key; a key of the configuration without waiting.
   *
   * @throws GatewayError 401, the same for every reason; 400 where headers hold different keys
   */
  authenticate(headers: IncomingHttpHeaders): Caller | Promise<Caller> {
    const key = keyOf(headers)
    if (key === undefined) throw unauthorized()
    const hash = hashKey(key)
    const configured = this.#configured.get(hash)
    return configured ?? this.#stored(hash)
  }

  async #stored(hash: string): Promise<Caller> {
    const record = await this.#lookUp(hash)
    if (!record || !sameHash(record.hash, hash)) throw unauthorized()
    if (record.revokedAt !== null || (record.expiresAt !== null && record.expiresAt <= Date.now())) throw unauthorized()
    const { tenant, id: keyId, models, scopes, user } = record
    return { tenant, keyId, models, scopes, ...(user !== null && { user }) }
  }

  async #lookUp(hash: string): Promise<KeyRecord | null> {
    const cached = this.#cache.get(hash)
    const now = performance.now()
    if (cached?.fresh && now - cached.at < KEY_CACHE_MS) return cached.record
    try {
      const record = await this.#store.findKey(hash)
      this.#cache.set(hash, { record, at: now, fresh: true })
      if (record) this.#onFound(record)
      return record
    } catch (error) {
      if (cached?.record && now - cached.at < this.#believedMs) return cached.record
      throw error
    }
  }
}

/** Headers in which OpenAI's, Anthropic's and Azure OpenAI's clients send their key. */
export const KEY_HEADERS = ['authorization', 'x-api-key', 'api-key'] as const

/** The key, undefined where none is given or one is malformed. @throws GatewayError 400 for two different ones */
function keyOf(headers: IncomingHttpHeaders): string | undefined {
  let found: string | undefined
  for (const name of KEY_HEADERS) {
    const value = headers[name]
    if (value === undefined || (value === '' && name !== 'authorization')) continue
    const key = (name === 'authorization' ? BEARER : BARE).exec(String(value))?.[1]
    if (key === undefined) return undefined
    if (found !== undefined && found !== key) {
      throw invalidRequest(`The headers 'authorization', 'x-api-key' and 'api-key' hold different keys.`, name)
    }
    found = key
  }
  return found
}

const BEARER = /^Bearer +([\x21-\x7e]{8,512})$/i
const BARE = /^([\x21-\x7e]{8,512})$/

function sameHash(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a, 'hex'), Buffer.from(b, 'hex')]
  return left.length === right.length && timingSafeEqual(left, right)
}
