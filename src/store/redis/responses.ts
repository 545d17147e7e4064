import { decodeResponse, encodeResponse, type KeepOptions, type Responses, type StoredResponse } from '../responses.ts'
import type { RunFor } from './commands.ts'
import * as keys from './keys.ts'

export class RedisResponses implements Responses {
  readonly #run: RunFor
  readonly #runLong: RunFor

  /** @param runLong with more time, for what may be large */
  constructor(run: RunFor, runLong: RunFor) {
    this.#run = run
    this.#runLong = runLong
  }

  async save(tenant: string, user: string, response: StoredResponse, options: KeepOptions): Promise<boolean> {
    const { id, ts, chain, items } = response
    const bytes = encodeResponse(response)
    if (bytes.length > options.maxBytes) return false
    const on = [keys.responses(tenant), keys.responseBytes(tenant), keys.erased(tenant, user)]
    const kept = await this.#runLong(
      tenant,
      'save-response',
      [...on, keys.response(tenant, `${id}\n${user}`), keys.tenantErased(tenant)],
      [
        id,
        user,
        ts,
        Math.round(options.ttlMs),
        options.maxBytes,
        keys.response(tenant, ''),
        keys.userResponses(tenant, ''),
        keys.responseItems(tenant, ''),
        items.join('\n'),
        bytes,
        ...chain,
      ],
    )
    return kept === 1
  }

  async load(tenant: string, user: string, ids: readonly string[]): Promise<(StoredResponse | null)[]> {
    if (ids.length === 0) return []
    const on = [keys.responses(tenant)]
    const found = await this.#runLong(tenant, 'load-responses', on, [user, keys.response(tenant, ''), ...ids])
    return (found as (Buffer | null)[]).map((bytes) => bytes && decodeResponse(bytes))
  }

  async findItems(tenant: string, user: string, items: readonly string[]): Promise<(string | null)[]> {
    if (items.length === 0) return []
    const found = await this.#run(tenant, 'find-items', [keys.responseItems(tenant, user)], [...items])
    return (found as (Buffer | null)[]).map((id) => id && String(id))
  }

  async delete(tenant: string, user: string, id: string): Promise<boolean> {
    const [, went] = await this.#drop(tenant, user, 1, [id])
    return went === 1
  }

  async list(tenant: string, user: string): Promise<string[]> {
    const on = [keys.responses(tenant), keys.userResponses(tenant, user)]
    return ((await this.#runLong(tenant, 'list-responses', on, [user])) as Buffer[]).map(String)
  }

  /** Returns how many went. @param atOnce most responses a script */
  async erase(tenant: string, user: string, atOnce: number): Promise<number> {
    for (let rows = 0; ; ) {
      const [handled, went] = await this.#drop(tenant, user, atOnce, [])
      rows += went
      if (handled < atOnce) return rows
    }
  }

  async #drop(tenant: string, user: string, most: number, ids: string[]): Promise<[handled: number, went: number]> {
    const on = [
      keys.responses(tenant),
      keys.responseBytes(tenant),
      keys.userResponses(tenant, user),
      keys.responseItems(tenant, user),
    ]
    const args = [user, keys.response(tenant, ''), most, ...ids]
    return (await this.#runLong(tenant, 'drop-responses', on, args)) as [number, number]
  }
}
