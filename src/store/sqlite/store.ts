import { randomUUID } from 'node:crypto'
import type { SqliteConfig } from '../../config/schema.ts'
import { StepSize } from '../../runtime/rest.ts'
import type { BackupStore } from '../backup/contract.ts'
import { floatBytes, floatsOf } from '../bytes.ts'
import { Listeners } from '../changes.ts'
import { isServedFrom, plus } from '../evidence.ts'
import { OwedEnds } from '../owed-ends.ts'
import type { Responses } from '../responses.ts'
import type { ConversationState, Evidence, Invalidation, RefusalFilter, Store, StoredRefusal } from '../store.ts'
import { decodeConversation } from '../stored-values.ts'
import { SqliteBackup } from './backup.ts'
import { eraseTenant } from './erase-tenant.ts'
import { erasedBefore, refuseErased } from './erasures.ts'
import { isBusy, SqliteFile } from './file.ts'
import { SqliteIdempotency } from './idempotency.ts'
import { SqliteLimits, type Transact } from './limits.ts'
import { moveUser } from './move-user.ts'
import { SqliteMoves } from './moves.ts'
import { SqliteRecords } from './records.ts'
import { SqliteResponses } from './responses.ts'
import { scrubVectors } from './scrub.ts'
import { prepareSweep, SLICE, type Sweep } from './sweep.ts'
import { SqliteTenantKeys } from './tenant-keys.ts'
import { SqliteUsage } from './usage.ts'
import { SqliteUsers } from './users.ts'

const POLL_MS = 500
const SWEEP_MS = 60_000
const NEXT_SLICE_MS = 20
/** Rows of each table: so the sweep keeps up with hundreds of requests a second, on whatever machine. */
const LEAST_SWEPT = 16
const CHANGES_AT_ONCE = 1_000

/**
 * Everything in one file, for one gateway (its operator's commands may use the file at the same time). A change that
 * was acknowledged survives the death of the process; the last ones may be lost when the machine loses power (WAL,
 * `synchronous = NORMAL`), but the file stays sound.
 */
export class SqliteStore implements BackupStore {
  readonly kind = 'sqlite'
  readonly hasEarlierReplicas = false
  readonly isDivided = false
  readonly limits: SqliteLimits
  readonly idempotency: OwedEnds
  readonly responses: Responses
  readonly usage: SqliteUsage
  readonly backup: SqliteBackup
  readonly #file: SqliteFile
  readonly #keys: SqliteTenantKeys
  readonly #users: SqliteUsers
  readonly #records: SqliteRecords
  readonly #moves: SqliteMoves
  readonly #listeners = new Listeners()
  readonly #origin = randomUUID()
  readonly #poll: NodeJS.Timeout
  readonly #retentionMs: number
  readonly #sweep: Sweep
  #nextSweep: NodeJS.Timeout | undefined
  readonly #sweepSize = new StepSize(SLICE, LEAST_SWEPT)
  #dataVersion = 0
  #seenChange = 0

  /** @param replicas processes that share the file. @throws StoreError when the file can't be opened */
  constructor(config: SqliteConfig, replicas = 1) {
    const note = (change: Invalidation) =>
      void this.#file.sql.noteChange.run(this.#origin, Date.now(), JSON.stringify(change))
    this.#file = new SqliteFile(config.path, note, (change) => this.#listeners.emit(change))
    this.#keys = new SqliteTenantKeys(this.#file)
    this.#moves = new SqliteMoves(this.#file)
    this.#users = new SqliteUsers(this.#file, this.#moves)
    const { db, sql } = this.#file
    this.usage = new SqliteUsage(db, (work) => this.#file.read(work))
    this.#records = new SqliteRecords(this.#file, this.usage)
    this.backup = new SqliteBackup(this.#file, this.#users, this.#records, this.#moves)
    const transact: Transact = (work, when) => this.#file.write(() => [work()], when)
    this.limits = new SqliteLimits(db, transact, (work) => this.#file.read(work), replicas)
    this.#file.share(this.limits)
    this.#file.share(this.usage)
    this.idempotency = new OwedEnds(new SqliteIdempotency(db, transact, (row) => erasedBefore(this.#file)(row)))
    this.responses = new SqliteResponses(
      db,
      transact,
      (work) => this.#file.read(work),
      (row) => erasedBefore(this.#file)(row),
    )
    this.#seenChange = Number(sql.lastChange.get()?.seq ?? 0)
    this.#poll = setInterval(() => this.#pollChanges(), POLL_MS).unref()
    this.#retentionMs = config.retention_days * 86_400_000
    this.#sweep = prepareSweep(db)
    this.#sweepIn(NEXT_SLICE_MS)
  }

  readonly findKey: Store['findKey'] = (hash) => this.#keys.findKey(hash)
  readonly createKey: Store['createKey'] = (key) => this.#keys.createKey(key)
  readonly listKeys: Store['listKeys'] = (tenant) => this.#keys.listKeys(tenant)
  readonly revokeKey: Store['revokeKey'] = (id, at) => this.#keys.revokeKey(id, at)

  readonly loadUser: Store['loadUser'] = (tenant, user) => this.#users.loadUser(tenant, user)
  readonly loadUserState: Store['loadUserState'] = (tenant, user) => this.#users.loadUserState(tenant, user)
  readonly loadEdges: Store['loadEdges'] = (tenant, user) => this.#users.loadEdges(tenant, user)
  readonly commitUser: Store['commitUser'] = (tenant, user, next, edge, askedAt) =>
    this.#users.commitUser(tenant, user, next, edge, askedAt)
  readonly eraseUser: Store['eraseUser'] = (tenant, user, at) => this.#users.eraseUser(tenant, user, at)
  readonly eraseTenant: Store['eraseTenant'] = (tenant) => eraseTenant(this.#file, tenant)
  readonly scrubVectors: Store['scrubVectors'] = (read) => scrubVectors(this.#file, read)
  readonly moveUser: Store['moveUser'] = (tenant, from, to) =>
    moveUser({ file: this.#file, limits: this.limits, moves: this.#moves }, tenant, from, to, this.#retentionMs)
  readonly presentIds: Store['presentIds'] = (tenant, users) => this.#moves.present(tenant, users)
  readonly formerIds: Store['formerIds'] = (tenant, user) => this.#moves.former(tenant, user)
  readonly listMoves: Store['listMoves'] = (tenant) => this.#moves.list(tenant)
  readonly touchUser: Store['touchUser'] = (tenant, user) => this.#users.touchUser(tenant, user)
  readonly dropIdleUsers: Store['dropIdleUsers'] = (tenant, before) => this.#users.dropIdleUsers(tenant, before)

  readonly openInteractions: Store['openInteractions'] = (rows) => this.#records.openInteractions(rows)
  readonly appendInteractions: Store['appendInteractions'] = async (rows) =>
    void (await this.#records.appendInteractions(rows))
  readonly appendRewards: Store['appendRewards'] = async (rows) => void (await this.#records.appendRewards(rows))
  readonly findInteraction: Store['findInteraction'] = (tenant, id) => this.#records.findInteraction(tenant, id)
  readonly findCompletions: Store['findCompletions'] = (tenant, id) => this.#records.findCompletions(tenant, id)
  readonly readInteractions: Store['readInteractions'] = (filter) => this.#records.readInteractions(filter)
  readonly readRewards: Store['readRewards'] = (filter) => this.#records.readRewards(filter)
  readonly dropInteractions: Store['dropInteractions'] = (rows) => this.#records.dropInteractions(rows)
  readonly dropRewards: Store['dropRewards'] = (rows) => this.#records.dropRewards(rows)
  readonly listErasures: Store['listErasures'] = (tenant) => this.#records.listErasures(tenant)
  readonly wasErased: Store['wasErased'] = (tenant, user) => this.#records.wasErased(tenant, user)

  loadConversation(tenant: string, id: string): Promise<ConversationState | null> {
    return this.#file.read(() => {
      const row = this.#file.sql.loadConversation.get(tenant, id, Date.now())
      return row ? decodeConversation(String(row.state)) : null
    })
  }

  saveConversation(
    tenant: string,
    id: string,
    state: ConversationState,
    ttlS: number,
  ): Promise<ConversationState | null> {
    return this.#file.write(() => {
      const now = Date.now()
      const before = this.#file.sql.loadConversation.get(tenant, id, now)
      if (!erasedBefore(this.#file)({ tenant, user: state.user, ts: state.ts }))
        this.#file.sql.saveConversation.run(tenant, id, state.user, JSON.stringify(state), now + Math.round(ttlS * 1e3))
      return [before ? decodeConversation(String(before.state)) : null]
    }, 'soon')
  }

  loadEvidence(tenant: string, key: string): Promise<Evidence> {
    return this.#file.read(() => {
      const rows = this.#file.sql.loadEvidence.all(tenant, key)
      return new Map(rows.map(({ candidate, sums }) => [String(candidate), floatsOf(sums as Uint8Array)]))
    })
  }

  addEvidence(tenant: string, key: string, name: string, added: Float32Array, halfLifeDays?: number): Promise<void> {
    return this.#file.write(() => {
      const row = this.#file.sql.findEvidence.get(tenant, key, name)
      const sums = row ? plus(floatsOf(row.sums as Uint8Array), added, halfLifeDays) : added
      this.#file.sql.saveEvidence.run(tenant, key, name, floatBytes(sums))
      return isServedFrom(key) ? [undefined, { kind: 'evidence', tenant }] : [undefined]
    })
  }

  dropEvidence(tenant: string, key: string, names?: readonly string[]): Promise<number> {
    return this.#file.write(() => {
      const { dropEvidence, dropAllEvidence } = this.#file.sql
      const gone = names
        ? names.reduce((sum, name) => sum + Number(dropEvidence.run(tenant, key, name).changes), 0)
        : Number(dropAllEvidence.run(tenant, key).changes)
      return [gone, { kind: 'evidence', tenant }]
    })
  }

  noteRefusals(tenant: string, rows: readonly StoredRefusal[]): Promise<void> {
    return this.#file.write(() => {
      for (const { deployment, field, expiresAt } of rows) {
        this.#file.sql.noteRefusal.run(tenant, deployment, field, expiresAt)
      }
      return [undefined, { kind: 'refusals', tenant }]
    })
  }

  listRefusals(tenant: string): Promise<StoredRefusal[]> {
    return this.#file.read(() =>
      this.#file.sql.listRefusals.all(tenant, Date.now()).map((row) => ({
        deployment: String(row.deployment),
        field: String(row.field),
        expiresAt: Number(row.expires_at),
      })),
    )
  }

  forgetRefusals(tenant: string, { deployment, field }: RefusalFilter): Promise<number> {
    return this.#file.write(() => {
      const { changes } = this.#file.sql.forgetRefusals.run(tenant, deployment ?? null, field ?? null)
      return [Number(changes), { kind: 'refusals', tenant }]
    })
  }

  salt(tenant: string, user: string, proposed: Buffer, askedAt = Date.now()): Promise<Buffer> {
    return this.#file.write(() => {
      refuseErased(this.#file, { tenant, user, ts: askedAt })
      this.#file.sql.proposeSalt.run(tenant, user, proposed)
      return [Buffer.from(this.#file.sql.salt.get(tenant, user)?.salt as Uint8Array)]
    })
  }

  loadMode(tenant: string): Promise<string | null> {
    return this.#file.read(() => {
      const row = this.#file.sql.loadMode.get(tenant)
      return row ? String(row.mode) : null
    })
  }

  saveMode(tenant: string, mode: string | null): Promise<void> {
    return this.#file.write(() => {
      if (mode === null) this.#file.sql.dropMode.run(tenant)
      else this.#file.sql.saveMode.run(tenant, mode)
      return [undefined, { kind: 'mode', tenant }]
    })
  }

  sharedSecret(proposed: string): Promise<string>
  sharedSecret(proposed: null): Promise<string | null>
  sharedSecret(proposed: string | null): Promise<string | null> {
    return this.#file.write(() => {
      if (proposed !== null) this.#file.sql.proposeSecret.run(proposed)
      const row = this.#file.sql.sharedSecret.get()
      return [row ? String(row.value) : null]
    })
  }

  secretFingerprint(proposed: string, replaces: readonly string[]): Promise<string> {
    return this.#file.write(() => {
      const row = this.#file.sql.fingerprint.get()
      const noted = row ? String(row.value) : null
      if (noted !== null && !replaces.includes(noted)) return [noted]
      this.#file.sql.noteFingerprint.run(proposed)
      return [proposed]
    })
  }

  subscribe(listener: (change: Invalidation) => void): () => void {
    return this.#listeners.add(listener)
  }

  ping(): Promise<void> {
    return this.#file.read(() => {
      this.#file.sql.dataVersion.get()
    })
  }

  check(): Promise<string[]> {
    return this.#file.write(() => {
      // What takes room, and gives it back: an update in place would succeed on a full disk, too.
      const { lastInsertRowid } = this.#file.sql.takeRoom.run()
      this.#file.sql.giveRoomBack.run(lastInsertRowid)
      return [[]]
    })
  }

  async close(): Promise<void> {
    clearInterval(this.#poll)
    clearTimeout(this.#nextSweep)
    await this.idempotency.close()
    await this.#file.close()
  }

  #pollChanges(): void {
    try {
      this.#file.lookAtWal()
      const version = Number(this.#file.sql.dataVersion.get()?.data_version)
      if (version === this.#dataVersion) return
      this.#dataVersion = version
      const changes = this.#file.sql.changesSince.all(this.#seenChange, CHANGES_AT_ONCE)
      // The others at the next poll.
      if (changes.length === CHANGES_AT_ONCE) this.#dataVersion = 0
      for (const { seq, origin, change } of changes) {
        // Changes are kept for a minute: a process that stood still for longer has missed some.
        if (Number(seq) !== this.#seenChange + 1) this.#listeners.emit({ kind: 'all' })
        this.#seenChange = Number(seq)
        if (origin !== this.#origin) this.#listeners.emit(JSON.parse(String(change)))
      }
    } catch {
      // The next poll sees what this one missed.
    }
  }

  #sweepIn(ms: number): void {
    this.#nextSweep = setTimeout(() => {
      let more = false
      if (this.#file.isHeld) return this.#sweepIn(NEXT_SLICE_MS)
      try {
        const from = performance.now()
        more = this.#sweep(this.#retentionMs, Date.now(), this.#sweepSize.rows)
        if (more) this.#sweepSize.took(performance.now() - from)
        this.#file.keepRoom()
      } catch (error) {
        // One that is full is swept later.
        more = isBusy(error)
      }
      this.#sweepIn(more ? NEXT_SLICE_MS : SWEEP_MS)
    }, ms).unref()
  }
}
