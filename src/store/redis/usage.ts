import { daysBetween, type UsageFilter, type UsageLog, type UsageRow } from '../usage.ts'
import type { RedisAccess } from './access.ts'
import * as keys from './keys.ts'

/** Days asked for in one go. */
const DAYS_AT_ONCE = 50

export class RedisUsage implements UsageLog {
  readonly #redis: RedisAccess

  constructor(redis: RedisAccess) {
    this.#redis = redis
  }

  async read(tenant: string, { scope, id, from, to }: UsageFilter): Promise<UsageRow[]> {
    const rows: UsageRow[] = []
    const days = daysBetween(from, to)
    const field = scope === 'tenant' ? 'tenant' : id === undefined ? null : scope === 'key' ? `key:${id}` : id
    for (let i = 0; i < days.length; i += DAYS_AT_ONCE) {
      const part = days.slice(i, i + DAYS_AT_ONCE)
      const found = await this.#redis.askLong(tenant, () =>
        Promise.all(part.map((day) => this.#ofDay(keyFor(tenant, scope, day), field))),
      )
      for (const [at, fields] of found.entries()) {
        const ofDay = usageOf(Object.fromEntries(fields), part[at] as string, scope === 'user')
        rows.push(...ofDay.filter((row) => row.scope === scope))
      }
    }
    return rows
  }

  /** Forgets a user's sums. */
  async erase(tenant: string, user: string, days: readonly string[]): Promise<void> {
    await this.#redis.askLong(tenant, () =>
      Promise.all(days.map((day) => this.#redis.client.hdel(keys.usersUsage(tenant, day), user))),
    )
  }

  async #ofDay(key: string, field: string | null): Promise<[name: string, lines: string][]> {
    if (field === null) return Object.entries(await this.#redis.client.hgetall(key))
    const lines = await this.#redis.client.hget(key, field)
    return lines === null ? [] : [[field, lines]]
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
