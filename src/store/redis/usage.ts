import { daysBetween, type UsageFilter, type UsageLog, type UsageRow } from '../usage.ts'
import type { RedisAccess } from './access.ts'
import * as keys from './keys.ts'

/** Days asked for in one go. */
const DAYS_AT_ONCE = 50
const FIELDS_AT_ONCE = 500

export class RedisUsage implements UsageLog {
  readonly #redis: RedisAccess

  constructor(redis: RedisAccess) {
    this.#redis = redis
  }

  async read(tenant: string, { scope, id, from, to }: UsageFilter): Promise<UsageRow[]> {
    const days = daysBetween(from, to)
    const field = scope === 'tenant' ? 'tenant' : id === undefined ? null : scope === 'key' ? `key:${id}` : id
    const rows: UsageRow[] = []
    const take = (fields: Iterable<[string, string]>, day: string) => {
      const ofDay = usageOf(Object.fromEntries(fields), day, scope === 'user')
      for (const row of ofDay) if (row.scope === scope) rows.push(row)
    }
    if (field === null) {
      for (const day of days)
        for await (const fields of this.#fields(tenant, keyFor(tenant, scope, day))) take(fields, day)
      return rows
    }
    for (let i = 0; i < days.length; i += DAYS_AT_ONCE) {
      const part = days.slice(i, i + DAYS_AT_ONCE)
      const found = await this.#redis.askLong(tenant, () =>
        Promise.all(part.map((day) => this.#redis.client.hget(keyFor(tenant, scope, day), field))),
      )
      for (const [at, lines] of found.entries()) if (lines !== null) take([[field, lines]], part[at] as string)
    }
    return rows
  }

  /** Some at a time: of users there may be many. */
  async *#fields(tenant: string, key: string): AsyncGenerator<[name: string, lines: string][]> {
    const seen = new Set<string>()
    let cursor = '0'
    do {
      const [next, found] = await this.#redis.askLong(tenant, () =>
        this.#redis.client.hscan(key, cursor, 'COUNT', FIELDS_AT_ONCE),
      )
      cursor = next
      const fields: [string, string][] = []
      for (let i = 0; i < found.length; i += 2) {
        const name = found[i] as string
        // A hash that grows meanwhile tells some twice.
        if (!seen.has(name)) fields.push([name, found[i + 1] as string])
        seen.add(name)
      }
      yield fields
    } while (cursor !== '0')
  }

  /** Forgets a user's sums. */
  async erase(tenant: string, user: string, days: readonly string[]): Promise<void> {
    await this.#redis.askLong(tenant, () =>
      Promise.all(days.map((day) => this.#redis.client.hdel(keys.usersUsage(tenant, day), user))),
    )
  }
}

const keyFor = (tenant: string, scope: UsageFilter['scope'], day: string) =>
  scope === 'user' ? keys.usersUsage(tenant, day) : keys.usage(tenant, day)

/** Rows of a day, by the fields of its hash. */
export const usageOf = (fields: Readonly<Record<string, string>>, day: string, ofUsers: boolean): UsageRow[] =>
  Object.entries(fields).flatMap(([name, lines]) => {
    const key = name.startsWith('key:') ? name.slice('key:'.length) : null
    const scope = ofUsers ? 'user' : key === null ? 'tenant' : 'key'
    const id = ofUsers ? name : (key ?? '')
    return rowsOf(lines).map((row) => ({ day, scope, id, ...row }))
  })

/** As a line of such a field. */
export const usageLine = ({ model, requests, promptTokens, completionTokens, nanoUsd }: UsageRow): string =>
  [model, requests, promptTokens, completionTokens, nanoUsd].join('\t')

/** As append-interactions.lua writes them: model, requests, tokens of prompts and of answers, nanoUsd. */
const rowsOf = (lines: string) =>
  lines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [model = '', ...numbers] = line.split('\t')
      const [requests = 0, promptTokens = 0, completionTokens = 0, nanoUsd = 0] = numbers.map(Number)
      return { model, requests, promptTokens, completionTokens, nanoUsd }
    })
