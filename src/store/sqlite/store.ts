import { createHash, randomUUID } from 'node:crypto'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite'
import type { SqliteConfig } from '../../config/schema.ts'
import { Listeners } from '../changes.ts'
import { decodeEdge, decodeState, encodeEdge, encodeState, floatBytes, floatsOf } from '../codec.ts'
import type { Limits } from '../limits.ts'
import { OwedEnds } from '../owed-ends.ts'
import { interactionJsonWithoutText, readInteraction, readReward, rewardJson, summaryOf } from '../records/documents.ts'
import type { InteractionRecord, RewardRecord } from '../records/records.ts'
import type { Responses } from '../responses.ts'
import {
  type ConversationState,
  type Evidence,
  type InteractionSummary,
  type Invalidation,
  type KeyRecord,
  MAX_EDGES,
  type RecordFilter,
  type Store,
  type StoredEdge,
  type StoredRefusal,
  type StoredUser,
  StoreError,
  type UserState,
} from '../store.ts'
import { SqliteIdempotency } from './idempotency.ts'
import { SqliteLimits, type Transact } from './limits.ts'
import { SqliteResponses } from './responses.ts'
import { migrate } from './schema.ts'
import { prepareStatements } from './statements.ts'
import { sweep } from './sweep.ts'

const BATCH = 500
/** Waiting for another process on the same file blocks this one: rather an error. */
const BUSY_TIMEOUT_MS = 1_000
const POLL_MS = 500
const SWEEP_MS = 60_000
const NEXT_SLICE_MS = 100

/** More would hold up the event loop for too long. */
const WRITES_PER_COMMIT = 64

type Row = Record<string, SQLOutputValue>

interface Write {
  work: () => [result: unknown, change?: Invalidation]
  resolve: (result: unknown) => void
  reject: (error: unknown) => void
}

/**
 * Everything in one file, for one gateway (its operator's commands may use the file at the same time). A change that
 * was acknowledged survives the death of the process; the last ones may be lost when the machine loses power (WAL,
 * `synchronous = NORMAL`), but the file stays sound.
 */
export class SqliteStore implements Store {
  readonly kind = 'sqlite'
  readonly limits: Limits
  readonly idempotency: OwedEnds
  readonly responses: Responses
  readonly #db: DatabaseSync
  readonly #sql: ReturnType<typeof prepareStatements>
  readonly #listeners = new Listeners()
  readonly #origin = randomUUID()
  readonly #poll: NodeJS.Timeout
  #nextSweep: NodeJS.Timeout | undefined
  readonly #writes: Write[] = []
  #dataVersion = 0
  #seenChange = 0

  /** @throws StoreError when the file can't be opened */
  constructor(config: SqliteConfig) {
    try {
      this.#db = openDatabase(config.path)
    } catch (error) {
      throw new StoreError(`Cannot open ${config.path}: ${messageOf(error)}`, { cause: error })
    }
    this.#sql = prepareStatements(this.#db)
    const transact: Transact = (work) => this.#write(() => [work()])
    this.limits = new SqliteLimits(this.#db, transact)
    this.idempotency = new OwedEnds(new SqliteIdempotency(this.#db, transact))
    this.responses = new SqliteResponses(
      this.#db,
      transact,
      (work) => this.#do(work),
      (row) => this.#erasedBefore()(row),
    )
    this.#seenChange = Number(this.#sql.lastChange.get()?.seq ?? 0)
    this.#poll = setInterval(() => this.#pollChanges(), POLL_MS).unref()
    this.#sweepIn(NEXT_SLICE_MS, config.retention_days * 86_400_000)
  }

  findKey(hash: string): Promise<KeyRecord | null> {
    return this.#do(() => {
      const row = this.#sql.findKey.get(hash)
      return row ? keyOf(row) : null
    })
  }

  createKey(key: KeyRecord): Promise<void> {
    const { id, tenant, name, hash, prefix, createdAt, expiresAt, revokedAt, models } = key
    return this.#write(() => {
      const packed = models && JSON.stringify(models)
      this.#sql.createKey.run(id, tenant, name, hash, prefix, createdAt, expiresAt, revokedAt, packed)
      return [undefined, { kind: 'keys', tenant }]
    })
  }

  listKeys(tenant?: string): Promise<KeyRecord[]> {
    return this.#do(() => this.#sql.listKeys.all(tenant ?? null, tenant ?? null).map(keyOf))
  }

  revokeKey(id: string, at: number): Promise<boolean> {
    return this.#write(() => {
      const row = this.#sql.revokeKey.get(at, id)
      return row ? [true, { kind: 'keys', tenant: String(row.tenant) }] : [false]
    })
  }

  loadUser(tenant: string, user: string): Promise<StoredUser | null> {
    return this.#do(() => {
      const row = this.#sql.loadUser.get(tenant, user)
      return row ? userOf(row) : null
    })
  }

  loadUserState(tenant: string, user: string): Promise<UserState | null> {
    return this.#do(() => {
      const row = this.#sql.loadUserState.get(tenant, user)
      return row ? userStateOf(row) : null
    })
  }

  loadEdges(tenant: string, user: string): Promise<StoredEdge[]> {
    return this.#do(() => this.#sql.loadEdges.all(tenant, user).map(({ edge }) => decodeEdge(edge as Uint8Array)))
  }

  commitUser(tenant: string, user: string, next: StoredUser, edge?: StoredEdge): Promise<boolean> {
    return this.#write(() => {
      const stored = Number(this.#sql.userRevision.get(tenant, user)?.revision ?? 0)
      if (stored !== next.revision - 1) return [false]
      this.#sql.saveUser.run(
        tenant,
        user,
        next.revision,
        next.policy,
        next.rewards,
        floatBytes(next.sums),
        floatBytes(next.state),
        JSON.stringify(next.preferences),
        next.updatedAt,
      )
      if (edge) {
        this.#sql.saveEdge.run(tenant, user, edge.id, edge.seq, encodeEdge(edge))
        this.#sql.dropEdges.run(tenant, user, tenant, user, MAX_EDGES)
      }
      return [true, { kind: 'user', tenant, user }]
    })
  }

  eraseUser(tenant: string, user: string): Promise<number> {
    return this.#write(() => {
      this.#sql.noteErasure.run(tenant, hashOf(user), Date.now())
      this.#sql.forgetChanges.run(JSON.stringify({ kind: 'user', tenant, user }))
      let rows = 0
      for (const statement of this.#sql.erase) rows += Number(statement.run(tenant, user).changes)
      return [rows, { kind: 'user', tenant, user }]
    }).finally(() => this.#emptyWal())
  }

  /**
   * What was erased still stands in the write-ahead log, until it is written back. Another reader may be in the way:
   * the next checkpoint does it then.
   */
  #emptyWal(): void {
    try {
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    } catch {
      // Closed meanwhile, which empties it, too.
    }
  }

  openInteractions(rows: InteractionSummary[]): Promise<void> {
    return this.#write(() => {
      for (const row of rows) {
        this.#sql.openInteraction.run(row.tenant, row.id, row.user, row.ts, encodeState(row), row.tenant, row.id)
      }
      return [undefined]
    })
  }

  appendInteractions(rows: InteractionRecord[]): Promise<void> {
    return this.#write(() => {
      const erased = this.#erasedBefore()
      for (const row of rows) {
        const { tenant, id, ts, user, completionId, text } = row
        this.#sql.closeInteraction.run(tenant, id)
        if (erased(row)) continue
        const json = interactionJsonWithoutText(row)
        this.#sql.appendInteraction.run(tenant, id, ts, user, completionId, json, text, row.textExpiresAt ?? null)
      }
      return [undefined]
    })
  }

  appendRewards(rows: RewardRecord[]): Promise<void> {
    return this.#write(() => {
      const erased = this.#erasedBefore()
      for (const row of rows) {
        if (erased(row)) continue
        this.#sql.appendReward.run(row.tenant, row.interaction, row.user, row.kind, row.ts, rewardJson(row))
      }
      return [undefined]
    })
  }

  findInteraction(tenant: string, id: string): Promise<InteractionSummary | null> {
    return this.#do(() => {
      const ended = this.#sql.findInteraction.get(tenant, id) ?? this.#sql.findCompletion.get(tenant, id)
      if (ended) return summaryOf(readInteraction(JSON.parse(String(ended.json))))
      const open = this.#sql.findOpenInteraction.get(tenant, id)
      return open ? decodeState<InteractionSummary>(String(open.state)) : null
    })
  }

  readInteractions(filter: RecordFilter): AsyncGenerator<InteractionRecord[]> {
    const { readInteractions, readInteractionsOf } = this.#sql
    return this.#read(readInteractions, readInteractionsOf, filter, ({ json, text, text_expires_at }) => {
      const expired = text_expires_at !== null && Number(text_expires_at) <= Date.now()
      return readInteraction(JSON.parse(String(json)), expired ? null : (text as string | null))
    })
  }

  readRewards(filter: RecordFilter): AsyncGenerator<RewardRecord[]> {
    const { readRewards, readRewardsOf } = this.#sql
    return this.#read(readRewards, readRewardsOf, filter, ({ json }) => readReward(JSON.parse(String(json))))
  }

  loadConversation(tenant: string, id: string): Promise<ConversationState | null> {
    return this.#do(() => {
      const row = this.#sql.loadConversation.get(tenant, id, Date.now())
      return row ? decodeState<ConversationState>(String(row.state)) : null
    })
  }

  saveConversation(
    tenant: string,
    id: string,
    state: ConversationState,
    ttlS: number,
  ): Promise<ConversationState | null> {
    return this.#write(() => {
      const now = Date.now()
      const before = this.#sql.loadConversation.get(tenant, id, now)
      this.#sql.saveConversation.run(tenant, id, state.user, encodeState(state), now + Math.round(ttlS * 1e3))
      return [before ? decodeState<ConversationState>(String(before.state)) : null]
    })
  }

  loadEvidence(tenant: string, policy: string): Promise<Evidence> {
    return this.#do(() => {
      const rows = this.#sql.loadEvidence.all(tenant, policy)
      return new Map(rows.map(({ candidate, sums }) => [String(candidate), floatsOf(sums as Uint8Array)]))
    })
  }

  addEvidence(tenant: string, policy: string, candidate: string, message: Float32Array): Promise<void> {
    return this.#write(() => {
      const row = this.#sql.findEvidence.get(tenant, policy, candidate)
      const sums = row ? floatsOf(row.sums as Uint8Array) : new Float32Array(message.length)
      if (sums.length !== message.length)
        throw new Error(`Evidence of ${sums.length} numbers, message of ${message.length}`)
      for (let i = 0; i < sums.length; i++) sums[i]! += message[i]!
      this.#sql.saveEvidence.run(tenant, policy, candidate, floatBytes(sums))
      return [undefined, { kind: 'evidence', tenant }]
    })
  }

  noteRefusals(tenant: string, rows: readonly StoredRefusal[]): Promise<void> {
    return this.#write(() => {
      for (const { deployment, field, expiresAt } of rows) {
        this.#sql.noteRefusal.run(tenant, deployment, field, expiresAt)
      }
      return [undefined, { kind: 'refusals', tenant }]
    })
  }

  listRefusals(tenant: string): Promise<StoredRefusal[]> {
    return this.#do(() =>
      this.#sql.listRefusals.all(tenant, Date.now()).map((row) => ({
        deployment: String(row.deployment),
        field: String(row.field),
        expiresAt: Number(row.expires_at),
      })),
    )
  }

  sharedSecret(proposed: string): Promise<string> {
    return this.#write(() => {
      this.#sql.proposeSecret.run(proposed)
      return [String(this.#sql.sharedSecret.get()?.value)]
    })
  }

  subscribe(listener: (change: Invalidation) => void): () => void {
    return this.#listeners.add(listener)
  }

  ping(): Promise<void> {
    return this.#do(() => {
      this.#sql.dataVersion.get()
    })
  }

  async close(): Promise<void> {
    clearInterval(this.#poll)
    clearTimeout(this.#nextSweep)
    await this.idempotency.close()
    while (this.#writes.length > 0) this.#commit()
    if (this.#db.isOpen) this.#db.close()
  }

  /** Runs reads. */
  async #do<T>(work: () => T): Promise<T> {
    try {
      return work()
    } catch (error) {
      throw storeError(error)
    }
  }

  /** Runs writes all or none, and then tells of the change. Resolves when they are committed. */
  #write<T>(work: () => [result: T, change?: Invalidation]): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#writes.length === 0) setImmediate(() => this.#commit())
      this.#writes.push({ work, resolve: resolve as (result: unknown) => void, reject })
    })
  }

  /**
   * Writes of one turn of the event loop share a transaction: a commit costs more than they do (docs/profile.md). One
   * that fails is undone alone.
   */
  #commit(): void {
    const writes = this.#writes.splice(0, WRITES_PER_COMMIT)
    if (writes.length === 0) return
    if (this.#writes.length > 0) setImmediate(() => this.#commit())
    const tell: (() => void)[] = []
    try {
      this.#sql.begin.run()
      for (const { work, resolve, reject } of writes) {
        this.#sql.savepoint.run()
        try {
          const [result, change] = work()
          if (change) this.#sql.noteChange.run(this.#origin, Date.now(), JSON.stringify(change))
          this.#sql.release.run()
          tell.push(() => {
            if (change) this.#listeners.emit(change)
            resolve(result)
          })
        } catch (error) {
          // Some errors end the transaction: then nothing of it is left to commit.
          if (!this.#db.isTransaction) throw error
          this.#sql.undo.run()
          this.#sql.release.run()
          tell.push(() => reject(storeError(error)))
        }
      }
      this.#sql.commit.run()
    } catch (error) {
      if (this.#db.isTransaction) this.#sql.rollback.run()
      for (const { reject } of writes) reject(storeError(error))
      return
    }
    for (const one of tell) one()
  }

  async *#read<T extends { tenant: string }>(
    everybody: { all: (...values: (string | number | null)[]) => Row[] },
    ofUser: typeof everybody,
    { tenant, user, since, until }: RecordFilter,
    decode: (row: Row) => T,
  ): AsyncGenerator<T[]> {
    let [ts, seq] = [since ?? 0, -1]
    for (;;) {
      const place = [ts, ts, seq, until ?? Number.MAX_SAFE_INTEGER, BATCH]
      const rows = await this.#do(() =>
        tenant !== undefined && user !== undefined ? ofUser.all(tenant, user, ...place) : everybody.all(...place),
      )
      const last = rows.at(-1)
      if (!last) return
      ;[ts, seq] = [Number(last.ts), Number(last.seq)]
      const wanted = tenant === undefined ? rows : rows.filter((row) => row.tenant === tenant)
      if (wanted.length > 0) yield wanted.map(decode)
    }
  }

  /** Whether a record is older than the erasure of its user. There hardly ever is one: then nothing is looked up. */
  #erasedBefore(): (row: { tenant: string; user: string; ts: number }) => boolean {
    if (!this.#sql.anyErasure.get()) return () => false
    return ({ tenant, user, ts }) => Number(this.#sql.erasure.get(tenant, hashOf(user))?.at ?? -1) >= ts
  }

  #pollChanges(): void {
    try {
      const version = Number(this.#sql.dataVersion.get()?.data_version)
      if (version === this.#dataVersion) return
      this.#dataVersion = version
      for (const { seq, origin, change } of this.#sql.changesSince.all(this.#seenChange)) {
        // Changes are kept for a minute: a process that stood still for longer has missed some.
        if (Number(seq) !== this.#seenChange + 1) this.#listeners.emit({ kind: 'all' })
        this.#seenChange = Number(seq)
        if (origin !== this.#origin) this.#listeners.emit(JSON.parse(String(change)))
      }
    } catch {
      // The next poll sees what this one missed.
    }
  }

  #sweepIn(ms: number, retentionMs: number): void {
    this.#nextSweep = setTimeout(() => {
      let more = false
      try {
        more = sweep(this.#db, retentionMs, Date.now())
      } catch {
        // A file that is locked or full is swept later.
      }
      this.#sweepIn(more ? NEXT_SLICE_MS : SWEEP_MS, retentionMs)
    }, ms).unref()
  }
}

function openDatabase(path: string): DatabaseSync {
  if (path !== ':memory:') {
    mkdirSync(dirname(path), { recursive: true })
    // What users thought is nobody else's business on this machine.
    closeSync(openSync(path, 'a', 0o600))
  }
  const db = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS })
  db.exec(
    'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON; PRAGMA cache_size = -16384',
  )
  // 32 MB of changes between two checkpoints: a page that changes a hundred times is written to the file once.
  db.exec('PRAGMA wal_autocheckpoint = 8000')
  migrate(db)
  return db
}

const keyOf = (row: Row): KeyRecord => ({
  id: String(row.id),
  tenant: String(row.tenant),
  name: String(row.name),
  hash: String(row.hash),
  prefix: String(row.prefix),
  createdAt: Number(row.created_at),
  expiresAt: row.expires_at as number | null,
  revokedAt: row.revoked_at as number | null,
  models: row.models === null ? null : JSON.parse(String(row.models)),
})

const userOf = (row: Row): StoredUser => ({ ...userStateOf(row), sums: floatsOf(row.sums as Uint8Array) })

const userStateOf = (row: Row): UserState => ({
  revision: Number(row.revision),
  policy: String(row.policy),
  rewards: Number(row.rewards),
  state: floatsOf(row.state as Uint8Array),
  preferences: JSON.parse(String(row.preferences)),
  updatedAt: Number(row.updated_at),
})

const hashOf = (user: string) => createHash('sha256').update(user).digest('base64url')

/** SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE: the row is at fault, not the file. */
const ROW_AT_FAULT = [18, 19, 20, 25]

/** What may work later is a `StoreError`; what is wrong with the call itself stays what it is. */
function storeError(error: unknown): unknown {
  const { code, errcode } = error as { code?: unknown; errcode?: unknown }
  const closed = code === 'ERR_INVALID_STATE'
  if (!closed && (code !== 'ERR_SQLITE_ERROR' || ROW_AT_FAULT.includes(Number(errcode) & 0xff))) return error
  return new StoreError(`SQLite: ${messageOf(error)}`, { cause: error })
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))
