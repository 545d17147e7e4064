import type { DatabaseSync } from 'node:sqlite'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { InteractionRecord } from '../records/codec.ts'
import {
  dayOf,
  daysBetween,
  MAX_USERS_A_DAY,
  OTHER_USERS,
  type UsageFilter,
  type UsageLog,
  type UsageRow,
  usedOf,
} from '../usage.ts'
import type { Transactional } from './file.ts'
import type { Transact } from './limits.ts'

/** Rows read at once: the process does nothing else meanwhile. */
const PAGE = 500

export class SqliteUsage implements UsageLog, Transactional {
  readonly #read: Transact
  readonly #sql: ReturnType<typeof prepareStatements>
  /** Of the tenant and day that were last added to: counting them takes a look at each. */
  #users = { key: '', count: 0 }

  constructor(db: DatabaseSync, read: Transact) {
    this.#read = read
    this.#sql = prepareStatements(db)
  }

  async read(tenant: string, { scope, id, from, to }: UsageFilter): Promise<UsageRow[]> {
    const rows: UsageRow[] = []
    for (const day of daysBetween(from, to)) {
      // Of users there may be many.
      for (let next: UsageRow | undefined = undefined; ; ) {
        const page: UsageRow[] = await this.#page(tenant, { scope, id, day }, next)
        next = page[PAGE]
        rows.push(...page.slice(0, PAGE))
        if (!next) break
        await nextTurn()
      }
    }
    return rows
  }

  /** @returns one row more than a page where there is one, to go on with */
  #page(
    tenant: string,
    { scope, id, day }: Pick<UsageRow, 'scope' | 'day'> & { id: string | undefined },
    next?: UsageRow,
  ) {
    const from = next ? [next.id, next.model] : [id ?? '', '']
    return this.#read(() =>
      this.#sql.rows.all(tenant, day, scope, ...from, id ?? null, PAGE + 1).map((row) => ({
        day,
        scope,
        id: String(row.id),
        model: String(row.model),
        requests: Number(row.requests),
        promptTokens: Number(row.prompt_tokens),
        completionTokens: Number(row.completion_tokens),
        nanoUsd: Number(row.nano_usd),
      })),
    )
  }

  clear(isDone: boolean): void {
    if (!isDone) this.#users = { key: '', count: 0 }
  }

  /** Within the transaction that writes the records, each of which is new. */
  add(records: readonly InteractionRecord[]): void {
    const sums = new Map<string, { at: [string, string, string, string, string]; used: ReturnType<typeof usedOf> }>()
    for (const record of records) {
      const day = dayOf(record.ts)
      const used = usedOf(record)
      const owners = [['tenant', ''], ...(record.key === undefined ? [] : [['key', record.key]]), ['user', record.user]]
      for (const [scope = '', id = ''] of owners) {
        const key = `${record.tenant}\n${day}\n${scope}\n${id}\n${record.chosen}`
        const sum = sums.get(key)
        if (sum) {
          sum.used.requests += used.requests
          sum.used.promptTokens += used.promptTokens
          sum.used.completionTokens += used.completionTokens
          sum.used.nanoUsd += used.nanoUsd
        } else sums.set(key, { at: [record.tenant, day, scope, id, record.chosen], used: { ...used } })
      }
    }
    for (const { at, used } of sums.values()) {
      const { requests, promptTokens, completionTokens, nanoUsd } = used
      if (at[2] === 'user') at[3] = this.#counted(at[0], at[1], at[3])
      this.#sql.add.run(...at, requests, promptTokens, completionTokens, nanoUsd)
    }
  }

  /** The user, or who stands for those that are too many. */
  #counted(tenant: string, day: string, user: string): string {
    if (this.#sql.isCounted.get(tenant, day, user)) return user
    const key = `${tenant}\n${day}`
    if (this.#users.key !== key) {
      this.#users = { key, count: Number(this.#sql.users.get(tenant, day)?.count ?? 0) }
    }
    if (this.#users.count >= MAX_USERS_A_DAY) return OTHER_USERS
    this.#users.count++
    return user
  }
}

function prepareStatements(db: DatabaseSync) {
  return {
    rows: db.prepare(`
      SELECT id, model, requests, prompt_tokens, completion_tokens, nano_usd FROM usage
      WHERE tenant = ? AND day = ? AND scope = ? AND (id, model) >= (?, ?) AND id <= ifnull(?, x'')
      ORDER BY id, model LIMIT ?`),
    add: db.prepare(`
      INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET requests = requests + excluded.requests,
        prompt_tokens = prompt_tokens + excluded.prompt_tokens,
        completion_tokens = completion_tokens + excluded.completion_tokens, nano_usd = nano_usd + excluded.nano_usd`),
    isCounted: db.prepare("SELECT 1 FROM usage WHERE tenant = ? AND day = ? AND scope = 'user' AND id = ? LIMIT 1"),
    users: db.prepare("SELECT count(DISTINCT id) AS count FROM usage WHERE tenant = ? AND day = ? AND scope = 'user'"),
  }
}
