import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Backup, Page } from '../backup/contract.ts'
import { type BackupRow, budgetOf, type Erasure, type RowType } from '../backup/rows.ts'
import { readUser } from '../backup/user.ts'
import { floatsOf } from '../bytes.ts'
import { decodeResponse } from '../responses.ts'
import { decodeConversation } from '../stored-values.ts'
import type { UsageRow, UsageScope } from '../usage.ts'
import { WHOLE_TENANT } from './erasures.ts'
import type { Row, SqliteFile } from './file.ts'
import { INTERACTIONS, REWARDS } from './log-tables.ts'
import type { SqliteMoves } from './moves.ts'
import { interactionOf, rewardOf, type SqliteRecords } from './records.ts'
import { keyOf } from './tenant-keys.ts'
import type { SqliteUsers } from './users.ts'

/** What carries each table's rows in a backup. @internal held against the store in a test */
export const CARRIED: Readonly<Record<string, RowType>> = {
  keys: 'key',
  users: 'user',
  memories: 'user',
  edges: 'user',
  salts: 'salt',
  interactions: 'interaction',
  earlier_interactions: 'interaction',
  rewards: 'reward',
  earlier_rewards: 'reward',
  conversations: 'conversation',
  responses: 'response',
  response_items: 'response',
  evidence: 'evidence',
  refusals: 'refusal',
  modes: 'mode',
  usage: 'usage',
  counters: 'budget',
  erasures: 'erasure',
  moves: 'move',
  secrets: 'secret',
}

/** Tables that no backup has, and why. @internal as above */
export const LEFT_OUT: Readonly<Record<string, string>> = {
  open_interactions: 'answers on their way: over in minutes, and the log has them then',
  reservations: 'requests on their way',
  idempotency: 'answers given again to a client that tries again: kept for hours',
  replay_bytes: 'sizes of those',
  response_bytes: 'sizes: counted anew as responses are kept',
  changes: 'what running processes tell each other',
  room: 'filler',
  sqlite_sequence: "SQLite's own",
}

/** Rows of a page: the process does nothing else meanwhile. */
const PAGE = 64

type Key = (string | number)[]

interface Table {
  name: string
  /** Columns that tell a row from others, in order. */
  key: readonly string[]
  rows: (row: Row) => Promise<BackupRow[]> | BackupRow[]
}

/** All that the file keeps, a page at a time. */
export class SqliteBackup implements Backup {
  readonly #file: SqliteFile
  readonly #users: SqliteUsers
  readonly #records: SqliteRecords
  readonly #moves: SqliteMoves

  constructor(file: SqliteFile, users: SqliteUsers, records: SqliteRecords, moves: SqliteMoves) {
    this.#moves = moves
    this.#file = file
    this.#users = users
    this.#records = records
  }

  async *read(from: string): AsyncGenerator<Page> {
    const tables = this.#tables()
    let [at, after] = from === '' ? [0, null] : placeIn(tables, JSON.parse(from))
    for (; at < tables.length; at++, after = null) {
      const { name, key, rows } = tables[at] as Table
      const columns = key.join(', ')
      const place = `(${columns}) > (${key.map(() => '?').join(', ')})`
      const first = this.#file.db.prepare(`SELECT * FROM ${name} ORDER BY ${columns} LIMIT ${PAGE}`)
      const further = this.#file.db.prepare(`SELECT * FROM ${name} WHERE ${place} ORDER BY ${columns} LIMIT ${PAGE}`)
      // Not what comes meanwhile: it might come as fast as it is read.
      const newest = this.#file.db.prepare(`SELECT max(${key[0]}) AS newest FROM ${name}`)
      const end =
        columns === 'seq' ? Number((await this.#file.read(() => newest.get()))?.newest ?? 0) : Number.POSITIVE_INFINITY
      for (;;) {
        const found = await this.#file.read(() => (after === null ? first.all() : further.all(...after)))
        const last = found.at(-1)
        if (!last) break
        after = key.map((column) => last[column] as string | number)
        yield { rows: (await Promise.all(found.map(rows))).flat(), next: JSON.stringify([name, after]) }
        if (Number(after[0]) >= end) break
        await nextTurn()
      }
    }
  }

  fingerprint(): Promise<string | null> {
    return this.#file.read(() => {
      const row = this.#file.sql.fingerprint.get()
      return row ? String(row.value) : null
    })
  }

  erasedAt(tenant: string, userHash: string): Promise<number> {
    return this.#file.read(() => Number(this.#file.sql.erasure.get(tenant, userHash, WHOLE_TENANT)?.at ?? -1))
  }

  noteErasures(tenant: string, erasures: readonly Erasure[]): Promise<Erasure[]> {
    const { raiseErasure } = this.#file.sql
    return this.#file.write(() => [
      erasures.filter(({ userHash, at }) => raiseErasure.run(tenant, userHash, at).changes > 0),
    ])
  }

  readonly noteMove: Backup['noteMove'] = (tenant, from, to) => this.#moves.restore(tenant, from, to)
  readonly appendInteractions: Backup['appendInteractions'] = (rows) => this.#records.appendInteractions(rows, false)
  readonly appendRewards: Backup['appendRewards'] = (rows) => this.#records.appendRewards(rows)

  raiseUsage(tenant: string, rows: readonly UsageRow[]): Promise<void> {
    return this.#file.write(() => {
      for (const { day, scope, id, model, requests, promptTokens, completionTokens, nanoUsd } of rows) {
        const numbers = [requests, promptTokens, completionTokens, nanoUsd]
        this.#file.sql.raiseUsage.run(tenant, day, scope, id, model, ...numbers)
      }
      return [undefined]
    })
  }

  /** In the order of `Backup`. */
  #tables(): Table[] {
    const now = Date.now()
    return [
      ...[...REWARDS].reverse().map((name) => ({
        ...{ name, key: ['seq'] },
        rows: (row: Row): BackupRow[] => [{ type: 'reward', record: rewardOf(row) }],
      })),
      ...[...INTERACTIONS].reverse().map((name) => ({
        ...{ name, key: ['seq'] },
        rows: (row: Row): BackupRow[] => [{ type: 'interaction', record: interactionOf(row) }],
      })),
      { name: 'usage', key: ['tenant', 'day', 'scope', 'id', 'model'], rows: (row) => [usageRow(row)] },
      {
        name: 'evidence',
        key: ['tenant', 'policy', 'candidate'],
        rows: ({ tenant, policy, candidate, sums }) => [
          {
            type: 'evidence',
            ...{ tenant: String(tenant), key: String(policy), name: String(candidate) },
            sums: floatsOf(sums as Uint8Array),
          },
        ],
      },
      {
        name: 'users',
        key: ['tenant', 'user'],
        rows: (row) => readUser(this.#users, String(row.tenant), String(row.user)),
      },
      {
        name: 'salts',
        key: ['tenant', 'user'],
        rows: ({ tenant, user, salt }) => [
          { type: 'salt', tenant: String(tenant), user: String(user), salt: Buffer.from(salt as Uint8Array) },
        ],
      },
      {
        name: 'conversations',
        key: ['tenant', 'id'],
        rows: ({ tenant, id, state, expires_at }) => [
          {
            type: 'conversation',
            ...{ tenant: String(tenant), id: String(id), state: decodeConversation(String(state)) },
            expiresAt: Number(expires_at),
          },
        ],
      },
      {
        name: 'responses',
        key: ['tenant', 'user', 'id'],
        rows: ({ tenant, user, response, expires_at }) => [
          {
            type: 'response',
            ...{ tenant: String(tenant), user: String(user), response: decodeResponse(response as Uint8Array) },
            expiresAt: Number(expires_at),
          },
        ],
      },
      {
        name: 'refusals',
        key: ['tenant', 'deployment', 'field'],
        rows: ({ tenant, deployment, field, expires_at }) => [
          {
            type: 'refusal',
            tenant: String(tenant),
            refusal: { deployment: String(deployment), field: String(field), expiresAt: Number(expires_at) },
          },
        ],
      },
      {
        name: 'modes',
        key: ['tenant'],
        rows: ({ tenant, mode }) => [{ type: 'mode', tenant: String(tenant), mode: String(mode) }],
      },
      {
        name: 'counters',
        key: ['tenant', 'counter'],
        rows: ({ tenant, counter, value }) => {
          const budget = budgetOf(String(counter), Number(value), now)
          return budget ? [{ type: 'budget', tenant: String(tenant), budget }] : []
        },
      },
      { name: 'keys', key: ['id'], rows: (row) => [{ type: 'key', key: keyOf(row) }] },
      {
        name: 'moves',
        key: ['tenant', 'former'],
        rows: ({ tenant, former, user }) => [
          { type: 'move', tenant: String(tenant), from: String(former), to: String(user) },
        ],
      },
      {
        name: 'erasures',
        key: ['tenant', 'user_hash'],
        rows: ({ tenant, user_hash, at }) => [
          { type: 'erasure', tenant: String(tenant), erasure: { userHash: String(user_hash), at: Number(at) } },
        ],
      },
    ]
  }
}

/** An earlier version gave the table's number; the first was of rewards then, the next of interactions. */
function placeIn(tables: Table[], [of, after]: [string | number, Key | null]): [at: number, after: Key | null] {
  if (typeof of === 'string') return [tables.findIndex(({ name }) => name === of), after]
  return [of === 0 ? 0 : of === 1 ? REWARDS.length : of + 2, after]
}

const usageRow = (row: Row): BackupRow => ({
  type: 'usage',
  tenant: String(row.tenant),
  usage: {
    ...{ day: String(row.day), scope: row.scope as UsageScope, id: String(row.id), model: String(row.model) },
    requests: Number(row.requests),
    promptTokens: Number(row.prompt_tokens),
    completionTokens: Number(row.completion_tokens),
    nanoUsd: Number(row.nano_usd),
  },
})
