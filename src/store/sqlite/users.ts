import { userHash } from '../../runtime/keys.ts'
import { restSince } from '../../runtime/rest.ts'
import { floatBytes, floatsOf } from '../bytes.ts'
import { decodeEdge, encodeEdge } from '../codec.ts'
import { MAX_EDGES, type StoredEdge, type StoredUser, type UserState } from '../store.ts'
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
    return this.#file.read(() =>
      this.#file.sql.loadEdges.all(tenant, user).map(({ edge }) => decodeEdge(edge as Uint8Array)),
    )
  }

  commitUser(
    tenant: string,
    user: string,
    next: StoredUser,
    edge?: StoredEdge,
    askedAt = Date.now(),
  ): Promise<boolean> {
    return this.#file.write(() => {
      refuseErased(this.#file, { tenant, user, ts: askedAt })
      const stored = Number(this.#file.sql.userRevision.get(tenant, user)?.revision ?? 0)
      if (stored !== next.revision - 1) return [false]
      this.#file.sql.saveUser.run(
        tenant,
        user,
        next.revision,
        next.policy,
        next.rewards,
        floatBytes(next.sums),
        floatBytes(next.state),
        JSON.stringify(next.preferences),
        next.updatedAt,
        next.since,
        next.heardAt,
      )
      if (edge) {
        this.#file.sql.saveEdge.run(tenant, user, edge.id, edge.seq, encodeEdge(edge))
        this.#file.sql.dropEdges.run(tenant, user, tenant, user, MAX_EDGES)
      }
      return [true, { kind: 'user', tenant, user }]
    })
  }

  async eraseUser(tenant: string, user: string): Promise<number> {
    const { noteErasure, forgetChanges, eraseAll, eraseSome, eraseUsage } = this.#file.sql
    try {
      let rows = await this.#file.writeUrgently<number>(() => {
        noteErasure.run(tenant, userHash(user), Date.now())
        forgetChanges.run(JSON.stringify({ kind: 'user', tenant, user }))
        eraseUsage.run(tenant, user)
        const erased = eraseAll.reduce((sum, statement) => sum + Number(statement.run(tenant, user).changes), 0)
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
      }
      const next = idle.length === USERS_A_SLICE ? 'more' : ''
      const result = { dropped: idle.length, next }
      return idle.length > 0 ? [result, { kind: 'all' }] : [result]
    })
  }
}

const userOf = (row: Row): StoredUser => ({ ...userStateOf(row), sums: floatsOf(row.sums as Uint8Array) })

const userStateOf = (row: Row): UserState => ({
  revision: Number(row.revision),
  policy: String(row.policy),
  rewards: Number(row.rewards),
  state: floatsOf(row.state as Uint8Array),
  preferences: JSON.parse(String(row.preferences)),
  updatedAt: Number(row.updated_at),
  since: Number(row.since),
  heardAt: Number(row.heard_at),
})
