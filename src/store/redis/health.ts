import { Cluster, type Redis } from 'ioredis'
import type { RedisAccess } from './access.ts'
import * as keys from './keys.ts'

/** A process that was not heard of for so long is gone. */
const SILENT_MS = 20_000
/** How long what a server said of its memory is believed. */
const POLICY_MS = 60_000

/** Whether Redis takes writes, how many processes share it, and whether it drops what must stay. */
export class RedisHealth {
  readonly #redis: RedisAccess
  readonly #id: string
  #replicas = 1
  #isIn = false
  #evicts: string | null = null
  #askedAt = Number.NEGATIVE_INFINITY

  /** @param id of this process */
  constructor(redis: RedisAccess, id: string) {
    this.#redis = redis
    this.#id = id
    // A server that comes back may be configured in another way.
    for (const event of ['ready', '+node']) {
      redis.client.on(event, () => {
        this.#askedAt = Number.NEGATIVE_INFINITY
      })
    }
  }

  /** Processes that were heard of lately, this one included. */
  get replicas(): number {
    return this.#replicas
  }

  /** As `Store.check`. */
  async check(): Promise<string[]> {
    const count = await this.#redis.run('{keys}', 'check-in', [keys.REPLICAS], [this.#id, SILENT_MS])
    this.#isIn = true
    this.#replicas = Math.max(1, Number(count))
    if (performance.now() - this.#askedAt > POLICY_MS) {
      this.#askedAt = performance.now()
      this.#evicts = await this.#eviction()
    }
    return this.#evicts === null ? [] : [this.#evicts]
  }

  /** This process goes: what is left is shared by the others. */
  async leave(): Promise<void> {
    if (!this.#isIn) return
    await this.#redis.ask('{keys}', () => this.#redis.client.zrem(keys.REPLICAS, this.#id)).catch(() => undefined)
  }

  /** Why data may vanish, or null; null also where the server does not say. */
  async #eviction(): Promise<string | null> {
    const { client } = this.#redis
    const servers: (Redis | Cluster)[] = client instanceof Cluster ? client.nodes('master') : [client]
    const told = await Promise.all(
      servers.map((server) => this.#redis.ask('{keys}', () => server.info('memory')).catch(() => '')),
    )
    const policies = told.flatMap((info) => evictionOf(info) ?? [])
    if (policies.length === 0) return null
    return `maxmemory-policy ${policies[0]}: budgets, keys and what is learned may be evicted; set noeviction`
  }
}

/** The policy by which a server drops keys when its memory is used up; null where it drops none. */
function evictionOf(info: string): string | null {
  const limit = /^maxmemory:(\d+)/m.exec(info)?.[1]
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1]
  if (limit === undefined || limit === '0' || policy === undefined || policy === 'noeviction') return null
  return policy
}
