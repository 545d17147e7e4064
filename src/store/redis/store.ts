import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { RedisConfig } from '../../config/schema.ts'
import { fairTimeout } from '../../runtime/fair-timer.ts'
import { userHash } from '../../runtime/keys.ts'
import type { BackupStore } from '../backup/contract.ts'
import { floatBytes, floatsOf } from '../bytes.ts'
import { Listeners } from '../changes.ts'
import { isServedFrom } from '../evidence.ts'
import type { Limits } from '../limits.ts'
import { OwedEnds } from '../owed-ends.ts'
import {
  type ConversationState,
  ErasedError,
  type Evidence,
  type Invalidation,
  type RefusalFilter,
  type Store,
  type StoredRefusal,
  type StoreEvents,
} from '../store.ts'
import { decodeConversation } from '../stored-values.ts'
import { announcing, RedisAccess } from './access.ts'
import { RedisBackup } from './backup.ts'
import { RedisBatch } from './batch.ts'
import { ChangeChannel } from './changes.ts'
import { eraseTenant, listErasures } from './erase-tenant.ts'
import { type MostFor, RedisHealth } from './health.ts'
import { RedisIdempotency } from './idempotency.ts'
import * as keys from './keys.ts'
import { RedisLimits } from './limits.ts'
import { moveUser } from './move-user.ts'
import { RedisMoves } from './moves.ts'
import { RedisRecords } from './records.ts'
import { RedisResponses } from './responses.ts'
import { scrubVectors } from './scrub.ts'
import { SharedRows } from './shared-rows.ts'
import { RedisTenantKeys } from './tenant-keys.ts'
import { RedisUsage } from './usage.ts'
import { RedisUsers } from './users.ts'

const CONNECT_WAIT_MS = 1_000
const SWEEP_MS = 600_000

/**
 * Everything in Redis, for any number of replicas. Each change of several keys is one script (`commands/`), each sent
 * at most once by us and safe to be sent again: a lost reply doubles nothing (evidence, which is a sum, excepted). How
 * much survives the death of Redis is up to its own persistence.
 */
export class RedisStore implements BackupStore {
  readonly kind = 'redis'
  readonly limits: Limits
  readonly idempotency: OwedEnds
  readonly responses: RedisResponses
  readonly usage: RedisUsage
  readonly backup: RedisBackup
  readonly #redis: RedisAccess
  readonly #keys: RedisTenantKeys
  readonly #users: RedisUsers
  readonly #records: RedisRecords
  readonly #moves: RedisMoves
  readonly #batch: RedisBatch
  readonly #health: RedisHealth
  readonly #retentionMs: number
  readonly #listeners = new Listeners()
  readonly #channel: ChangeChannel
  readonly #sweep: NodeJS.Timeout

  /** @throws Error when the configuration is wrong; not when Redis is away */
  constructor(config: RedisConfig, events: StoreEvents = {}) {
    this.#redis = new RedisAccess(config)
    const { client, run, runLong, runPatiently } = this.#redis
    const id = randomUUID()
    this.#health = new RedisHealth(this.#redis, id)
    this.#retentionMs = Math.round(config.retention_days * 86_400_000)
    this.#keys = new RedisTenantKeys(this.#redis)
    const shared = new SharedRows(this.#redis, events)
    this.#moves = new RedisMoves(this.#redis, this.#retentionMs)
    this.#records = new RedisRecords(this.#redis, this.#retentionMs, this.#health, shared, this.#moves)
    this.#channel = new ChangeChannel(client, id, (change) => this.#listeners.emit(change))
    this.#batch = new RedisBatch((tenant, operations) =>
      runPatiently(tenant, 'batch', [keys.tag(tenant)], [operations]),
    )
    this.limits = new RedisLimits(this.#batch, () => this.#health.replicas)
    const mostFor: MostFor = (bytes, most) => this.#health.mostFor(bytes, most)
    this.idempotency = new OwedEnds(new RedisIdempotency(run, mostFor))
    this.responses = new RedisResponses(run, runLong, mostFor)
    this.usage = new RedisUsage(this.#redis)
    this.#users = new RedisUsers(this.#redis, this.responses, this.usage, this.#moves, this.#retentionMs)
    this.backup = new RedisBackup(this.#redis, this, this.#records, shared, this.#moves, this.#retentionMs)
    this.#sweep = setInterval(() => void this.sweep().catch(() => undefined), SWEEP_MS).unref()
  }

  get isDivided(): boolean {
    return this.#redis.isDivided
  }

  get hasEarlierReplicas(): boolean {
    return this.#health.hasEarlier
  }

  /** Waits a moment for the connection, so that the first request finds it. Does not fail when there is none. */
  async connect(): Promise<void> {
    const signal = fairTimeout(CONNECT_WAIT_MS)
    if (this.#redis.client.status !== 'ready')
      await once(this.#redis.client, 'ready', { signal }).catch(() => undefined)
    await this.#health.lookAround()
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
  readonly eraseTenant: Store['eraseTenant'] = (tenant) =>
    eraseTenant(this.#redis, this.#keys, tenant, this.#retentionMs)
  readonly scrubVectors: Store['scrubVectors'] = (read) => scrubVectors(this.#redis, read)
  readonly moveUser: Store['moveUser'] = (tenant, from, to) =>
    moveUser(this.#redis, this.#moves, tenant, from, to, this.#retentionMs)
  readonly presentIds: Store['presentIds'] = (tenant, users) => this.#moves.present(tenant, users)
  readonly formerIds: Store['formerIds'] = (tenant, user) => this.#moves.former(tenant, user)
  readonly listMoves: Store['listMoves'] = (tenant) => this.#moves.list(tenant)
  readonly touchUser: Store['touchUser'] = (tenant, user) => this.#users.touchUser(tenant, user)
  readonly dropIdleUsers: Store['dropIdleUsers'] = (tenant, before, from) =>
    this.#users.dropIdleUsers(tenant, before, from)

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
  readonly listErasures: Store['listErasures'] = (tenant) => listErasures(this.#redis, tenant)
  readonly wasErased: Store['wasErased'] = (tenant, user) => this.#users.wasErased(tenant, user)

  async loadConversation(tenant: string, id: string): Promise<ConversationState | null> {
    return turnOf(await this.#redis.ask(tenant, () => this.#redis.client.get(keys.conversation(tenant, id))))
  }

  async saveConversation(
    tenant: string,
    id: string,
    state: ConversationState,
    ttlS: number,
  ): Promise<ConversationState | null> {
    const operation = [
      ...['converse', id, state.user, JSON.stringify(state), Math.round(ttlS * 1e3)],
      ...[`erased:${userHash(state.user)}`, state.ts],
    ]
    const before = (await this.#batch.ask(tenant, operation, 'soon')) as Buffer | null
    return turnOf(before && String(before))
  }

  async loadEvidence(tenant: string, key: string): Promise<Evidence> {
    const fields = await this.#redis.ask(tenant, () => this.#redis.client.hgetallBuffer(keys.evidence(tenant, key)))
    return new Map(Object.entries(fields).map(([name, sums]) => [name, floatsOf(sums)]))
  }

  async addEvidence(
    tenant: string,
    key: string,
    name: string,
    added: Float32Array,
    halfLifeDays?: number,
  ): Promise<void> {
    const change = isServedFrom(key) ? announcing({ kind: 'evidence', tenant }) : ['', '']
    const fading = halfLifeDays === undefined ? [] : [halfLifeDays]
    await this.#redis.run(
      tenant,
      'add-evidence',
      [keys.evidence(tenant, key)],
      [name, floatBytes(added), this.#retentionMs, ...change, ...fading],
    )
  }

  async dropEvidence(tenant: string, key: string, names?: readonly string[]): Promise<number> {
    const hash = keys.evidence(tenant, key)
    const fields = names ?? (await this.#redis.ask(tenant, () => this.#redis.client.hkeys(hash)))
    if (fields.length === 0) return 0
    const gone = await this.#redis.ask(tenant, () => this.#redis.client.hdel(hash, ...fields))
    const change: Invalidation = { kind: 'evidence', tenant }
    await this.#redis.ask(keys.CHANGES, () => this.#redis.client.publish(keys.CHANGES, JSON.stringify(change)))
    return gone
  }

  async noteRefusals(tenant: string, rows: readonly StoredRefusal[]): Promise<void> {
    const key = keys.refusals(tenant)
    const fields = Object.fromEntries(
      rows.map(({ deployment, field, expiresAt }) => [`${deployment}\n${field}`, expiresAt]),
    )
    await this.#redis.ask(tenant, async () => {
      // The hash lives as long as its newest field, and what clients make up is of no bounded number.
      const kept = await this.#redis.client.hgetall(key)
      const expired = Object.keys(kept).filter((name) => Number(kept[name]) <= Date.now())
      if (expired.length > 0) await this.#redis.client.hdel(key, ...expired)
      await this.#redis.client.hset(key, fields)
      await this.#redis.client.pexpireat(key, Math.max(...rows.map(({ expiresAt }) => expiresAt)), 'GT')
      await this.#redis.client.pexpireat(key, Math.max(...rows.map(({ expiresAt }) => expiresAt)), 'NX')
    })
    await this.#announce({ kind: 'refusals', tenant })
  }

  async forgetRefusals(tenant: string, { deployment, field }: RefusalFilter): Promise<number> {
    const all = await this.listRefusals(tenant)
    const gone = all.filter(
      (row) => row.deployment === (deployment ?? row.deployment) && row.field === (field ?? row.field),
    )
    if (gone.length > 0) {
      await this.#redis.ask(tenant, () => this.#redis.client.hdel(keys.refusals(tenant), ...gone.map(keyOfRefusal)))
      await this.#announce({ kind: 'refusals', tenant })
    }
    return gone.length
  }

  async listRefusals(tenant: string): Promise<StoredRefusal[]> {
    const fields = await this.#redis.ask(tenant, () => this.#redis.client.hgetall(keys.refusals(tenant)))
    return Object.entries(fields)
      .map(([name, expiresAt]) => {
        // A field may hold what a client wrote, ends of lines included.
        const at = name.indexOf('\n')
        return { deployment: name.slice(0, at), field: name.slice(at + 1), expiresAt: Number(expiresAt) }
      })
      .filter(({ expiresAt }) => expiresAt > Date.now())
      .sort((a, b) => (keyOfRefusal(a) < keyOfRefusal(b) ? -1 : 1))
  }

  async salt(tenant: string, user: string, proposed: Buffer, askedAt = Date.now()): Promise<Buffer> {
    const { client } = this.#redis
    const key = keys.salt(tenant, user)
    const salt = await this.#redis.ask(tenant, async () => {
      const marks = await client.mget(keys.erased(tenant, user), keys.tenantErased(tenant))
      if (marks.some((at) => at !== null && Number(at) >= askedAt)) return null
      await client.set(key, proposed, 'NX')
      return (await client.getBuffer(key)) ?? proposed
    })
    if (!salt) throw new ErasedError('The user has been erased.')
    return salt
  }

  loadMode(tenant: string): Promise<string | null> {
    return this.#redis.ask(tenant, () => this.#redis.client.get(keys.mode(tenant)))
  }

  async saveMode(tenant: string, mode: string | null): Promise<void> {
    const { client } = this.#redis
    const key = keys.mode(tenant)
    await this.#redis.ask<unknown>(tenant, () => (mode === null ? client.del(key) : client.set(key, mode)))
    await this.#announce({ kind: 'mode', tenant })
  }

  async #announce(change: Invalidation): Promise<void> {
    await this.#redis.ask(keys.CHANGES, () => this.#redis.client.publish(keys.CHANGES, JSON.stringify(change)))
  }

  sharedSecret(proposed: string): Promise<string>
  sharedSecret(proposed: null): Promise<string | null>
  sharedSecret(proposed: string | null): Promise<string | null> {
    return this.#redis.ask(keys.SHARED_SECRET, async () => {
      if (proposed !== null) await this.#redis.client.set(keys.SHARED_SECRET, proposed, 'NX')
      return (await this.#redis.client.get(keys.SHARED_SECRET)) ?? proposed
    })
  }

  secretFingerprint(proposed: string, replaces: readonly string[]): Promise<string> {
    const { client } = this.#redis
    return this.#redis.ask(keys.SECRET_FINGERPRINT, async () => {
      await client.set(keys.SECRET_FINGERPRINT, proposed, 'NX')
      const noted = (await client.get(keys.SECRET_FINGERPRINT)) ?? proposed
      if (!replaces.includes(noted)) return noted
      await client.set(keys.SECRET_FINGERPRINT, proposed)
      return proposed
    })
  }

  subscribe(listener: (change: Invalidation) => void): () => void {
    return this.#listeners.add(listener)
  }

  async ping(): Promise<void> {
    await this.#redis.ask(keys.tenantKeys.records, () => this.#redis.client.exists(keys.tenantKeys.records))
  }

  async check(): Promise<string[]> {
    const problems = await this.#health.check()
    const { problem } = this.#channel
    return problem === null ? problems : [...problems, problem]
  }

  /** Drops what is too old also of tenants that write no more. */
  sweep(): Promise<void> {
    return this.#records.sweep()
  }

  async close(): Promise<void> {
    clearInterval(this.#sweep)
    await Promise.all([this.#batch.close(), this.idempotency.close()])
    await this.#health.leave()
    this.#channel.close()
    this.#redis.close()
  }
}

const keyOfRefusal = ({ deployment, field }: StoredRefusal) => `${deployment}\n${field}`

/** "<user>\n<state>", see batch.lua. */
const turnOf = (turn: string | null) =>
  turn === null ? null : decodeConversation(turn.slice(turn.lastIndexOf('\n') + 1))
