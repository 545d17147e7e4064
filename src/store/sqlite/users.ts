import { userHash } from '../../runtime/keys.ts'
import { restSince } from '../../runtime/rest.ts'
import { floatBytes, floatsOf } from '../bytes.ts'
import type { StoredEdge, StoredUser, UserState } from '../store.ts'
import { decodeEdge } from '../stored-values.ts'
import { beliefOf, countOf, edgesIn, encodeMemory, mergeEdges } from '../user-rows.ts'
import { refuseErased } from './erasures.ts'
import type { Row, SqliteFile } from './file.ts'

/** Rows a transaction: SQLite blocks the process meanwhile. */
const ERASED_AT_ONCE = 100

const USERS_A_SLICE = 50

/** What is known of users: beliefs, edges, and how to forget them. */
export class SqliteUsers {
  readonly #file: SqliteFile

  constructor(file: SqliteFile) {
    this.#file = file
  }

  loadUser(tenant: string, user: string): Promise<StoredUser | null> {
    return this.#file.read(() => {
      const row = this.#file.sql.loadUser.get(tenant, user)
      return row ? userOf(row) : null
    })
  }

  loadUserState(tenant: string, user: string): Promise<UserState | null> {
    return this.#file.read(() => {
      const row = this.#file.sql.loadUserState.get(tenant, user)
      return row ? userStateOf(row) : null
    })
  }

  loadEdges(tenant: string, user: string): Promise<StoredEdge[]> {
    return this.#file.read(() => {
      const memory = this.#file.sql.loadMemory.get(tenant, user)
      const since = this.#file.sql.loadEarlierEdges.all(tenant, user)
      return mergeEdges(
        edgesIn((memory?.belief ?? null) as Uint8Array | null, (memory?.history ?? null) as Uint8Array | null),
        since.map(({ edge }) => decodeEdge(edge as Uint8Array)),
      )
    })
  }

  commitUser(
    tenant: string,
    user: string,
    next: StoredUser,
    edges?: readonly StoredEdge[],
    askedAt = Date.now(),
  ): Promise<boolean> {
    return this.#file.write(() => {
      const { sql } = this.#file
      refuseErased(this.#file, { tenant, user, ts: askedAt })
      const stored = Number(sql.userRevision.get(tenant, user)?.revision ?? 0)
      if (stored !== next.revision - 1) return [false]
      const { revision, rewards, preferences, updatedAt, since, heardAt } = next
      sql.saveUser.run(tenant, user, revision, rewards, JSON.stringify(preferences), updatedAt, since, heardAt)
      if (edges) {
        const { belief, history } = encodeMemory(next, edges)
        sql.saveMemory.run(tenant, user, belief, floatBytes(next.older), history)
        sql.dropEarlierBelief.run(tenant, user)
        sql.dropEdgesOf.run(tenant, user)
      }
      return [true, { kind: 'user', tenant, user }]
    })
  }

  async eraseUser(tenant: string, user: string): Promise<number> {
    const { noteErasure, forgetChanges, eraseAll, eraseSome, eraseUsage, loadMemory, dropMemory } = this.#file.sql
    try {
      let rows = await this.#file.writeUrgently<number>(() => {
        noteErasure.run(tenant, userHash(user), Date.now())
        forgetChanges.run(JSON.stringify({ kind: 'user', tenant, user }))
        eraseUsage.run(tenant, user)
        const edges = countOf((loadMemory.get(tenant, user)?.belief as Uint8Array | undefined) ?? NOTHING)
        dropMemory.run(tenant, user)
        const erased = eraseAll.reduce((sum, statement) => sum + Number(statement.run(tenant, user).changes), edges)
        return [erased, { kind: 'user', tenant, user }]
      })
      for (const statement of eraseSome) {
        for (let went = ERASED_AT_ONCE; went === ERASED_AT_ONCE; rows += went) {
          const from = performance.now()
          went = await this.#file.writeUrgently(() => [Number(statement.run(tenant, user, ERASED_AT_ONCE).changes)])
          if (went > 0) await restSince(from)
        }
      }
      return rows
    } finally {
      this.#file.emptyWal()
    }
  }

  touchUser(tenant: string, user: string): Promise<void> {
    return this.#file.write(() => {
      this.#file.sql.touchUser.run(Date.now(), tenant, user)
      return [undefined]
    })
  }

  dropIdleUsers(tenant: string, before: number): Promise<{ dropped: number; next: string }> {
    return this.#file.write(() => {
      const idle = this.#file.sql.idleUsers.all(tenant, before, USERS_A_SLICE)
      for (const { user } of idle) {
        this.#file.sql.dropUser.run(tenant, String(user))
        this.#file.sql.dropEdgesOf.run(tenant, String(user))
        this.#file.sql.dropMemory.run(tenant, String(user))
      }
      const next = idle.length === USERS_A_SLICE ? 'more' : ''
      const result = { dropped: idle.length, next }
      return idle.length > 0 ? [result, { kind: 'all' }] : [result]
    })
  }
}

const NOTHING = new Uint8Array(0)

const userOf = (row: Row): StoredUser => ({
  ...userStateOf(row),
  older: floatsOf((row.older as Uint8Array | null) ?? NOTHING),
  ...(!row.belief && { sums: floatsOf(row.sums as Uint8Array) }),
})

const userStateOf = (row: Row): UserState => ({
  revision: Number(row.revision),
  rewards: Number(row.rewards),
  ...beliefOf(row.belief as Uint8Array | null, {
    policy: String(row.policy),
    state: row.state as Uint8Array,
    since: Number(row.since),
    heardAt: Number(row.heard_at),
  }),
  preferences: JSON.parse(String(row.preferences)),
  updatedAt: Number(row.updated_at),
})
