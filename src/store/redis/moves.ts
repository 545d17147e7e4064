import type { Move } from '../store.ts'
import type { RedisAccess } from './access.ts'
import * as keys from './keys.ts'

/** As many as `note-move.lua` takes: more than secrets are in use at once. */
const MOST_IDS = 16
const FIELDS_A_SCAN = 1_000

/** Users who have got another id. A row of a stream can't be changed: it has the id of its time. */
export class RedisMoves {
  readonly #redis: RedisAccess
  readonly #rememberMs: number

  constructor(redis: RedisAccess, rememberMs: number) {
    this.#redis = redis
    this.#rememberMs = rememberMs
  }

  /** @param unless keys: where one of them is there, nobody moves. @returns whether it is remembered */
  async note(tenant: string, from: string, to: string, unless: readonly string[]): Promise<boolean> {
    const before = await this.former(tenant, from)
    const sets = [keys.former(tenant, from), keys.former(tenant, to)]
    const on = [keys.moved(tenant), ...sets, keys.movedUntil(tenant), ...unless]
    const args = [this.#rememberMs, to, ...[from, ...before].slice(0, MOST_IDS)]
    return (await this.#redis.runLong(tenant, 'note-move', on, args)) === 1
  }

  former(tenant: string, user: string): Promise<string[]> {
    return this.#redis.ask(tenant, () => this.#redis.client.smembers(keys.former(tenant, user)))
  }

  async present(tenant: string, users: readonly string[]): Promise<Map<string, string>> {
    if (users.length === 0) return new Map()
    const now = await this.#redis.askLong(tenant, () => this.#redis.client.hmget(keys.moved(tenant), ...users))
    return new Map(users.flatMap((user, i) => (now[i] ? [[user, now[i]] as const] : [])))
  }

  /** Gives rows the present ids of their users. Returns the rows. */
  async rename<R extends { user: string }>(tenant: string, rows: readonly R[]): Promise<readonly R[]> {
    const now = await this.present(tenant, [...new Set(rows.map(({ user }) => user))])
    if (now.size > 0) for (const row of rows) row.user = now.get(row.user) ?? row.user
    return rows
  }

  /** Of a user who is erased, under whichever id. */
  async forget(tenant: string, user: string): Promise<void> {
    const before = await this.former(tenant, user)
    await this.#redis.askLong(tenant, () => this.#redis.client.hdel(keys.moved(tenant), user, ...before))
    await this.#redis.askLong(tenant, () => this.#redis.client.zrem(keys.movedUntil(tenant), user, ...before))
    await this.#redis.askLong(tenant, () => this.#redis.client.del(keys.former(tenant, user)))
  }

  async *list(only?: string): AsyncGenerator<Move[]> {
    const { client } = this.#redis
    const all = () => this.#redis.askLong(keys.TENANTS, () => client.smembers(keys.TENANTS))
    for (const tenant of only === undefined ? await all() : [only]) {
      let cursor = '0'
      do {
        const [next, moves] = await this.#page(tenant, cursor)
        cursor = next
        if (moves.length > 0) yield moves
      } while (cursor !== '0')
    }
  }

  async #page(tenant: string, cursor: string): Promise<[next: string, moves: Move[]]> {
    const { client } = this.#redis
    const [next, fields] = await this.#redis.askLong(tenant, () =>
      client.hscan(keys.moved(tenant), cursor, 'COUNT', FIELDS_A_SCAN),
    )
    const moves: Move[] = []
    for (let i = 0; i < fields.length; i += 2) {
      moves.push({ tenant, from: fields[i] as string, to: fields[i + 1] as string })
    }
    return [next, moves]
  }
}
