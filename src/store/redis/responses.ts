import { restAfter } from '../../runtime/rest.ts'
import {
  decodeResponse,
  encodeResponse,
  type KeepOptions,
  MAX_ITEMS,
  type Responses,
  type StoredResponse,
} from '../responses.ts'
import type { RunFor } from './commands.ts'
import type { MostFor } from './health.ts'
import * as keys from './keys.ts'

/** Responses a script: Redis does nothing else meanwhile. */
const PER_SCRIPT = 64

export class RedisResponses implements Responses {
  readonly #run: RunFor
  readonly #runLong: RunFor

  readonly #mostFor: MostFor

  /**
   * @param runLong with more time, for what may be large
   * @param mostFor what Redis has to spare for responses
   */
  constructor(run: RunFor, runLong: RunFor, mostFor: MostFor) {
    this.#run = run
    this.#runLong = runLong
    this.#mostFor = mostFor
  }

  async save(tenant: string, user: string, response: StoredResponse, options: KeepOptions): Promise<boolean> {
    const { id, ts, chain, items } = response
    const bytes = encodeResponse(response)
    const maxBytes = await this.#mostFor(bytes.length, options.maxBytes)
    if (bytes.length > maxBytes) return false
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
        maxBytes,
        keys.response(tenant, ''),
        keys.userResponses(tenant, ''),
        keys.responseItems(tenant, ''),
        items.slice(-MAX_ITEMS).join('\n'),
        bytes,
        ...chain.slice(0, PER_SCRIPT),
      ],
    )
    if (kept !== 1) return false
    for (const ids of slices(chain.slice(PER_SCRIPT))) {
      const args = [user, keys.response(tenant, ''), Math.round(options.ttlMs), ...ids]
      await this.#runLong(tenant, 'renew-responses', [keys.responses(tenant)], args)
    }
    return true
  }

  async load(tenant: string, user: string, ids: readonly string[]): Promise<(StoredResponse | null)[]> {
    const found: (Buffer | null)[] = []
    for (const some of slices(ids)) {
      const args = [user, keys.response(tenant, ''), ...some]
      found.push(...((await this.#runLong(tenant, 'load-responses', [keys.responses(tenant)], args)) as typeof found))
    }
    return found.map((bytes) => bytes && decodeResponse(bytes))
  }

  async findItems(tenant: string, user: string, items: readonly string[]): Promise<(string | null)[]> {
    const found: (Buffer | null)[] = []
    for (const some of slices(items)) {
      const on = [keys.responseItems(tenant, user)]
      found.push(...((await this.#run(tenant, 'find-items', on, some)) as typeof found))
    }
    return found.map((id) => id && String(id))
  }

  async delete(tenant: string, user: string, id: string): Promise<boolean> {
    const [, went] = await this.#drop(tenant, user, 1, [id])
    return went === 1
  }

  async *list(tenant: string, user: string): AsyncGenerator<string[]> {
    const on = [keys.responses(tenant), keys.userResponses(tenant, user)]
    for (let skip = 0; ; ) {
      const args = [user, skip, PER_SCRIPT]
      const [read, ...ids] = (await this.#runLong(tenant, 'list-responses', on, args)) as [number, ...Buffer[]]
      if (read === 0) return
      if (ids.length > 0) yield ids.map(String)
      skip += read
    }
  }

  /** Returns how many went. @param at what is newer stays; left out: nothing does */
  async erase(tenant: string, user: string, at?: number): Promise<number> {
    for (let rows = 0; ; ) {
      const from = performance.now()
      const [handled, went] = await this.#drop(tenant, user, PER_SCRIPT, [], at)
      rows += went
      if (handled < PER_SCRIPT) return rows
      await restAfter(performance.now() - from)
    }
  }

  async #drop(
    tenant: string,
    user: string,
    most: number,
    ids: string[],
    at?: number,
  ): Promise<[handled: number, went: number]> {
    const on = [
      keys.responses(tenant),
      keys.responseBytes(tenant),
      keys.userResponses(tenant, user),
      keys.responseItems(tenant, user),
    ]
    const args = [user, keys.response(tenant, ''), most, at ?? '', ...ids]
    return (await this.#runLong(tenant, 'drop-responses', on, args)) as [number, number]
  }
}

function* slices(ids: readonly string[]): Generator<string[]> {
  for (let i = 0; i < ids.length; i += PER_SCRIPT) yield ids.slice(i, i + PER_SCRIPT)
}
