import { Cluster, type Redis } from 'ioredis'
import type { RedisAccess } from './access.ts'
import * as keys from './keys.ts'

/** A process that was not heard of for so long is gone. */
const SILENT_MS = 20_000
/** How long what a server said of its memory is believed. */
const MEMORY_MS = 2_000
/** Share of its memory from which on a server takes nothing that can be done without. */
const TIGHT = 0.8
/** Share of it that one tenant's answers, and its responses, may each fill. */
const OF_ONE = 0.25
/** After so many more bytes, what it said is not believed. */
const MEMORY_BYTES = 1024 * 1024

/** As `RedisHealth.mostFor`. */
export type MostFor = (bytes: number, most: number) => Promise<number>

/** What ids begin with of processes that read users, and rows of the log, as the version before keeps them. */
const READS_PACKED = 'packed:'
/** And of those that read rows that share (`records/shared-row.ts`), too. */
const READS_SHARED = 'packed:shared:'

/**
 * Whether Redis takes writes, how many processes share it, whether some of them are of an earlier version, and whether
 * it drops what must stay.
 */
export class RedisHealth {
  readonly #redis: RedisAccess
  readonly #id: string
  #replicas = 1
  #isIn = false
  #hasEarlier = false
  #hasBefore = false
  #hasLooked = false
  #evicts: string | null = null
  #isTight = false
  #mostOfOne = Number.POSITIVE_INFINITY
  #bytesSince = 0
  #askedAt = Number.NEGATIVE_INFINITY

  /** @param id of this process */
  constructor(redis: RedisAccess, id: string) {
    this.#redis = redis
    this.#id = READS_SHARED + id
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

  /** Some of them read users only as an earlier version keeps them. */
  get hasEarlier(): boolean {
    return this.#hasEarlier
  }

  /** Every process can read rows of the log (`records/row.ts`): it was asked, and none is of an earlier version. */
  get allReadRows(): boolean {
    return this.#hasLooked && !this.#hasEarlier
  }

  /** And those that share what they have in common, and the index that leads to them. */
  get allReadShared(): boolean {
    return this.#hasLooked && !this.#hasBefore
  }

  /** Before the first check: who is there. What can't be asked is asked by the next check. */
  async lookAround(): Promise<void> {
    const ids = await this.#redis
      .ask(keys.REPLICAS, () => this.#redis.client.zrange(keys.REPLICAS, '0', '-1'))
      .catch(() => null)
    if (ids === null) return
    this.#hasLooked = true
    this.#hasEarlier = ids.some((id) => !id.startsWith(READS_PACKED))
    this.#hasBefore = ids.some((id) => !id.startsWith(READS_SHARED))
  }

  /**
   * What a tenant may keep of what can be done without, such as answers to be given again: it must crowd out neither
   * counters nor what others keep. None where memory is short.
   *
   * @param bytes that are about to be added
   * @param most by configuration
   */
  async mostFor(bytes: number, most: number): Promise<number> {
    this.#bytesSince += bytes
    if (this.#bytesSince > MEMORY_BYTES) await this.#lookAtMemory()
    return this.#isTight ? 0 : Math.min(most, this.#mostOfOne)
  }

  /** As `Store.check`. */
  async check(): Promise<string[]> {
    const args = [this.#id, SILENT_MS, READS_PACKED, READS_SHARED]
    const counts = await this.#redis.run(keys.REPLICAS, 'check-in', [keys.REPLICAS], args)
    const [count, earlier, before] = counts as [number, number, number]
    this.#isIn = true
    this.#hasLooked = true
    this.#replicas = Math.max(1, count)
    this.#hasEarlier = earlier > 0
    this.#hasBefore = before > 0
    if (performance.now() - this.#askedAt > MEMORY_MS) {
      this.#askedAt = performance.now()
      await this.#lookAtMemory()
    }
    return this.#evicts === null ? [] : [this.#evicts]
  }

  /** This process goes: what is left is shared by the others. */
  async leave(): Promise<void> {
    if (!this.#isIn) return
    await this.#redis.ask(keys.REPLICAS, () => this.#redis.client.zrem(keys.REPLICAS, this.#id)).catch(() => undefined)
  }

  /** Where a server does not say, nothing is known. */
  async #lookAtMemory(): Promise<void> {
    this.#bytesSince = 0
    const { client } = this.#redis
    const servers: (Redis | Cluster)[] = client instanceof Cluster ? client.nodes('master') : [client]
    const told = await Promise.all(
      servers.map((server) => this.#redis.ask(keys.NODES, () => server.info('memory')).catch(() => '')),
    )
    const policy = told.map(evictionOf).find((name) => name !== null)
    this.#evicts =
      policy === undefined
        ? null
        : `maxmemory-policy ${policy}: budgets, keys and what is learned may be evicted; set noeviction`
    this.#isTight = told.some((info) => numberOf(info, 'used_memory') > TIGHT * limitOf(info))
    this.#mostOfOne = Math.floor(OF_ONE * Math.min(...told.map(limitOf)))
  }
}

const numberOf = (info: string, name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? 0)

/** The policy by which a server drops keys when its memory is used up; null where it drops none. */
function evictionOf(info: string): string | null {
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1]
  return numberOf(info, 'maxmemory') === 0 || policy === undefined || policy === 'noeviction' ? null : policy
}

/** Of a server's memory; infinite where it has none. */
const limitOf = (info: string) => numberOf(info, 'maxmemory') || Number.POSITIVE_INFINITY
