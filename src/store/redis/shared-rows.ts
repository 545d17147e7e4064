import { userKey } from '../../runtime/keys.ts'
import { type StoredInteraction, sharedOf, storedInteraction } from '../records/codec.ts'
import type { StoreEvents } from '../store.ts'
import type { RedisAccess } from './access.ts'
import * as keys from './keys.ts'
import type { KeptRow } from './stream.ts'

const MAX_KNOWN = 1_024

/** Reads what Redis keeps of interactions, with what rows share. */
export class SharedRows {
  readonly #redis: RedisAccess
  readonly #passedBy: StoreEvents['passedBy']
  /** By tenant and name. */
  readonly #known = new Map<string, string>()

  constructor(redis: RedisAccess, { passedBy }: StoreEvents = {}) {
    this.#redis = redis
    this.#passedBy = passedBy
  }

  /** In their order; null where what a row shares is gone: the row left the log meanwhile, or Redis has lost it. */
  async read(tenant: string, kept: readonly KeptRow[]): Promise<(StoredInteraction | null)[]> {
    const all = kept.map(({ json }) => JSON.parse(json) as object)
    const shared = all.map(sharedOf)
    const known = new Map<string, string>()
    const unknown = new Map<string, Set<string>>()
    for (const one of shared) {
      if (!one || known.has(one.id)) continue
      const json = this.#known.get(userKey(tenant, one.id))
      const key = keys.shared(tenant, one.ts)
      if (json !== undefined) known.set(one.id, json)
      else unknown.set(key, (unknown.get(key) ?? new Set()).add(one.id))
    }
    for (const [key, ids] of unknown) await this.#learn(tenant, key, [...ids], known)
    const read = all.map((one, i) => {
      const id = shared[i]?.id
      if (id === undefined) return storedInteraction(one)
      const json = known.get(id)
      return json === undefined ? null : storedInteraction(one, json, kept[i]?.bytes)
    })
    const lost = read.filter((row) => row === null).length
    if (lost > 0) this.#passedBy?.(tenant, lost)
    return read
  }

  async #learn(tenant: string, key: string, ids: string[], known: Map<string, string>): Promise<void> {
    const values = await this.#redis.askLong(tenant, () => this.#redis.client.hmget(key, ...ids))
    if (this.#known.size + ids.length > MAX_KNOWN) this.#known.clear()
    for (const [i, id] of ids.entries()) {
      const json = values[i]
      if (json == null) continue
      known.set(id, json)
      this.#known.set(userKey(tenant, id), json)
    }
  }
}
