import { userHash } from '../../runtime/keys.ts'
import { eraseUntil } from '../backup/user.ts'
import { floatBytes, floatsOf } from '../bytes.ts'
import type { StoredEdge, StoredUser, UserState } from '../store.ts'
import { decodeEdge } from '../stored-values.ts'
import { dayOf } from '../usage.ts'
import { beliefOf, countOf, edgesIn, encodeMemory, mergeEdges } from '../user-rows.ts'
import { refuseErased } from './erasures.ts'
import type { Row, SqliteFile } from './file.ts'
import type { SqliteMoves } from './moves.ts'
import { inSteps } from './steps.ts'

const USERS_A_SLICE = 50

/** What is known of users: beliefs, edges, and how to forget them. */
export class SqliteUsers {
  readonly #file: SqliteFile
  readonly #moves: SqliteMoves

  constructor(file: SqliteFile, moves: SqliteMoves) {
    this.#file = file
    this.#moves = moves
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
      if (!row) return null
      const { told: _, ...state } = userStateOf(row)
      return state
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

  async eraseUser(tenant: string, user: string, at?: number): Promise<number> {
    const { eraseSome, dropUnusedSalt } = this.#file.sql
    try {
      let rows = await (at === undefined ? this.#eraseKnown(tenant, user) : this.#eraseKnownUntil(at, tenant, user))
      for (const statement of eraseSome) {
        const erase = (most: number) => Number(statement.run(tenant, user, at ?? null, at ?? null, most).changes)
        rows += await inSteps(this.#file, erase, { write: (work) => this.#file.writeUrgently(work) })
      }
      if (at === undefined) {
        await this.#moves.forget(tenant, user)
        return rows
      }
      return rows + (await this.#file.writeUrgently(() => [Number(dropUnusedSalt.run(tenant, user).changes)]))
    } finally {
      await this.#file.emptyWal()
    }
  }

  /** What is of bounded size. */
  #eraseKnown(tenant: string, user: string): Promise<number> {
    const { noteErasure, forgetChanges, eraseAll, eraseUsage, loadMemory, dropMemory } = this.#file.sql
    return this.#file.writeUrgently<number>(() => {
      noteErasure.run(tenant, userHash(user), Date.now())
      forgetChanges.run(JSON.stringify({ kind: 'user', tenant, user }))
      eraseUsage.run(tenant, user, NO_DAY)
      const edges = countOf((loadMemory.get(tenant, user)?.belief as Uint8Array | undefined) ?? NOTHING)
      dropMemory.run(tenant, user)
      const erased = eraseAll.reduce((sum, statement) => sum + Number(statement.run(tenant, user).changes), edges)
      return [erased, { kind: 'user', tenant, user }]
    })
  }

  /** Of the day itself nobody can tell what of a sum was used before. */
  async #eraseKnownUntil(at: number, tenant: string, user: string): Promise<number> {
    await this.#file.writeUrgently(() => {
      this.#file.sql.raiseErasure.run(tenant, userHash(user), at)
      this.#file.sql.eraseUsage.run(tenant, user, dayOf(at))
      return [undefined]
    })
    return eraseUntil(at, this, tenant, user)
  }

  dropUser(tenant: string, user: string, revision: number): Promise<boolean> {
    const { dropUserAt, dropEdgesOf, dropMemory } = this.#file.sql
    return this.#file.writeUrgently<boolean>(() => {
      if (dropUserAt.run(tenant, user, revision).changes === 0) return [false]
      dropEdgesOf.run(tenant, user)
      dropMemory.run(tenant, user)
      return [true, { kind: 'user', tenant, user }]
    })
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
/** After all days. */
const NO_DAY = '~'

const userOf = (row: Row): StoredUser => ({
  ...userStateOf(row),
  older: floatsOf((row.older as Uint8Array | null) ?? NOTHING),
  ...(!row.belief && { sums: floatsOf(row.sums as Uint8Array) }),
})

const userStateOf = (row: Row): UserState & Pick<StoredUser, 'told'> => ({
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
