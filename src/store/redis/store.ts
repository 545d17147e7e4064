import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { Redis } from 'ioredis'
import type { RedisConfig } from '../../config/schema.ts'
import { fairTimeout } from '../../runtime/fair-timer.ts'
import { Listeners } from '../changes.ts'
import { decodeEdge, decodeState, encodeEdge, encodeState, floatBytes, floatsOf } from '../codec.ts'
import type { Limits } from '../limits.ts'
import { OwedEnds } from '../owed-ends.ts'
import {
  interactionJsonWithoutText,
  type RewardDocument,
  readInteraction,
  readReward,
  rewardJson,
  type StoredInteraction,
  summaryOf,
} from '../records/documents.ts'
import type { InteractionRecord, RewardRecord } from '../records/records.ts'
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
  type UserState,
} from '../store.ts'
import { RedisBatch } from './batch.ts'
import { ChangeChannel } from './changes.ts'
import { type Argument, defineScripts, jsonArgument, type RunScript, type Script } from './commands.ts'
import { createRedis, type RedisClient } from './connection.ts'
import { RedisGuard } from './guard.ts'
import { RedisIdempotency } from './idempotency.ts'
import * as keys from './keys.ts'
import { RedisLimits } from './limits.ts'
import { RedisResponses } from './responses.ts'
import { readStream, readUserLog } from './stream.ts'

/** Rows a script: Redis does nothing else meanwhile. */
const ROWS_PER_SCRIPT = 64
const READ_ROWS = 256
/** Off the request path a call may take so much longer than `command_timeout_ms`. */
const BATCH_DEADLINE_FACTOR = 8
const CONNECT_WAIT_MS = 1_000
const OPEN_MS = 86_400_000
const SWEEP_MS = 600_000

/**
 * Everything in Redis, for any number of replicas. Each change of several keys is one script (`commands/`), each sent
 * at most once by us and safe to be sent again: a lost reply doubles nothing (evidence, which is a sum, excepted). How
 * much survives the death of Redis is up to its own persistence.
 */
export class RedisStore implements Store {
  readonly kind = 'redis'
  readonly limits: Limits
  readonly idempotency: OwedEnds
  readonly responses: RedisResponses
  readonly #client: RedisClient
  readonly #script: RunScript
  readonly #batch: RedisBatch
  readonly #deadlineMs: number
  readonly #retentionMs: number
  readonly #guards = new Map<string, RedisGuard>()
  readonly #listeners = new Listeners()
  readonly #channel: ChangeChannel
  readonly #knownTenants = new Set<string>()
  readonly #sweep: NodeJS.Timeout

  /** @throws Error when the configuration is wrong; not when Redis is away */
  constructor(config: RedisConfig) {
    this.#client = createRedis(config)
    this.#script = defineScripts(this.#client)
    this.#deadlineMs = config.command_timeout_ms
    this.#retentionMs = Math.round(config.retention_days * 86_400_000)
    this.#channel = new ChangeChannel(this.#client, randomUUID(), (change) => this.#listeners.emit(change))
    // A server that comes back may have forgotten them.
    for (const event of ['ready', '+node']) this.#client.on(event, () => this.#knownTenants.clear())
    const run = this.#run.bind(this)
    this.#batch = new RedisBatch((tenant, operations) => run(tenant, 'batch', [keys.tag(tenant)], [operations]))
    this.limits = new RedisLimits(this.#batch)
    this.idempotency = new OwedEnds(new RedisIdempotency(run))
    this.responses = new RedisResponses(run, this.#runLong.bind(this))
    this.#sweep = setInterval(() => void this.sweep().catch(() => undefined), SWEEP_MS).unref()
  }

  /** Waits a moment for the connection, so that the first request finds it. Does not fail when there is none. */
  async connect(): Promise<void> {
    const signal = fairTimeout(CONNECT_WAIT_MS)
    if (this.#client.status !== 'ready') await once(this.#client, 'ready', { signal }).catch(() => undefined)
  }

  async findKey(hash: string): Promise<KeyRecord | null> {
    const [json, revoked] = await this.#ask('{keys}', () =>
      this.#client.hmget(keys.tenantKeys.records, hash, `${hash}:revoked`),
    )
    return json ? keyOf(json, revoked ?? null) : null
  }

  async createKey(key: KeyRecord): Promise<void> {
    const { revokedAt, ...rest } = key
    const created = await this.#run('{keys}', 'create-key', KEY_KEYS, [
      key.id,
      key.hash,
      JSON.stringify(rest),
      revokedAt ?? '',
      ...announcing({ kind: 'keys', tenant: key.tenant }),
    ])
    if (created !== 1) throw new Error(`There is a key ${key.id}, or one with its secret, already.`)
  }

  async listKeys(tenant?: string): Promise<KeyRecord[]> {
    const records = new Map<string, string>()
    let cursor = '0'
    do {
      const [next, fields] = await this.#ask('{keys}', () =>
        this.#client.hscan(keys.tenantKeys.records, cursor, 'COUNT', 500),
      )
      cursor = next
      for (let i = 0; i < fields.length; i += 2) records.set(fields[i]!, fields[i + 1]!)
    } while (cursor !== '0')
    return [...records]
      .filter(([field]) => !field.endsWith(':revoked'))
      .map(([hash, json]) => keyOf(json, records.get(`${hash}:revoked`) ?? null))
      .filter((key) => tenant === undefined || key.tenant === tenant)
      .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1))
  }

  async revokeKey(id: string, at: number): Promise<boolean> {
    return (await this.#run('{keys}', 'revoke-key', KEY_KEYS, [id, at, keys.CHANGES])) === 1
  }

  async loadUser(tenant: string, user: string): Promise<StoredUser | null> {
    const fields = await this.#ask(tenant, () => this.#client.hgetallBuffer(keys.user(tenant, user)))
    return fields.revision ? userOf(fields as Record<StateField | 'sums', Buffer>) : null
  }

  async loadUserState(tenant: string, user: string): Promise<UserState | null> {
    const values = await this.#ask(tenant, () => this.#client.hmgetBuffer(keys.user(tenant, user), ...STATE_FIELDS))
    const fields = Object.fromEntries(STATE_FIELDS.map((field, i) => [field, values[i]]))
    return fields.revision ? userStateOf(fields as Record<StateField, Buffer>) : null
  }

  async loadEdges(tenant: string, user: string): Promise<StoredEdge[]> {
    const edges = await this.#ask(tenant, () => this.#client.hvalsBuffer(keys.edges(tenant, user)))
    return edges.map(decodeEdge).sort((a, b) => a.seq - b.seq || (a.id < b.id ? -1 : 1))
  }

  async commitUser(tenant: string, user: string, next: StoredUser, edge?: StoredEdge): Promise<boolean> {
    const done = await this.#run(
      tenant,
      'commit-user',
      [keys.user(tenant, user), keys.edges(tenant, user), keys.edgeOrder(tenant, user)],
      [
        next.revision,
        next.policy,
        next.rewards,
        floatBytes(next.sums),
        floatBytes(next.state),
        JSON.stringify(next.preferences),
        next.updatedAt,
        ...announcing({ kind: 'user', tenant, user }),
        MAX_EDGES,
        ...(edge ? [edge.id, edge.seq, encodeEdge(edge)] : []),
      ],
    )
    return done === 1
  }

  async eraseUser(tenant: string, user: string): Promise<number> {
    let rows = Number(
      await this.#runLong(
        tenant,
        'erase-user',
        [
          keys.user(tenant, user),
          keys.edges(tenant, user),
          keys.edgeOrder(tenant, user),
          keys.userConversations(tenant, user),
          keys.erased(tenant, user),
        ],
        [
          Date.now(),
          this.#retentionMs,
          user,
          keys.conversation(tenant, ''),
          ...announcing({ kind: 'user', tenant, user }),
        ],
      ),
    )
    rows += await this.responses.erase(tenant, user, ROWS_PER_SCRIPT)
    for (;;) {
      const [handled, went] = (await this.#runLong(
        tenant,
        'erase-log',
        [keys.userLog(tenant, user), keys.interactions(tenant), keys.rewards(tenant)],
        [
          ROWS_PER_SCRIPT,
          keys.marker(tenant, ''),
          keys.completion(tenant, ''),
          keys.text(tenant, ''),
          keys.knownRewards(tenant, ''),
          keys.idempotencyKey(tenant, ''),
        ],
      )) as [number, number]
      rows += went
      if (handled < ROWS_PER_SCRIPT) return rows
    }
  }

  async openInteractions(rows: InteractionSummary[]): Promise<void> {
    await eachTenant(rows, (tenant, part) =>
      this.#runLong(
        tenant,
        'open-interactions',
        [keys.tag(tenant)],
        [OPEN_MS, ...part.flatMap((row) => [row.id, row.user, encodeState(row)])],
      ),
    )
  }

  async appendInteractions(rows: InteractionRecord[]): Promise<void> {
    await eachTenant(rows, async (tenant, part) => {
      await this.#noteTenant(tenant)
      const heads = part.map(({ id, ts, user, completionId, text, textExpiresAt }) => {
        return [id, ts, user, keys.erasedOf(user), completionId ?? '', text ?? '', textExpiresAt ?? '']
      })
      const args = [
        this.#retentionMs,
        jsonArgument(heads),
        ...part.map((row) => Buffer.from(interactionJsonWithoutText(row))),
      ]
      await this.#runLong(tenant, 'append-interactions', [keys.tag(tenant)], args)
    })
  }

  async appendRewards(rows: RewardRecord[]): Promise<void> {
    await eachTenant(rows, async (tenant, part) => {
      await this.#noteTenant(tenant)
      await this.#runLong(
        tenant,
        'append-rewards',
        [
          keys.rewards(tenant),
          ...part.flatMap(({ interaction, user }) => [
            keys.knownRewards(tenant, interaction),
            keys.userLog(tenant, user),
            keys.erased(tenant, user),
          ]),
        ],
        [
          this.#retentionMs,
          ...part.flatMap((row) => [
            `${row.kind}:${row.ts}:${row.user}`,
            row.ts,
            row.user,
            row.interaction,
            rewardJson(row),
          ]),
        ],
      )
    })
  }

  async findInteraction(tenant: string, id: string): Promise<InteractionSummary | null> {
    const found = (await this.#run(
      tenant,
      'find-interaction',
      [keys.marker(tenant, id), keys.completion(tenant, id), keys.interactions(tenant)],
      [keys.marker(tenant, '')],
    )) as [Buffer, Buffer] | null
    if (!found) return null
    const [state, json] = found.map(String) as [string, string]
    return state === 'o' ? decodeState<InteractionSummary>(json) : summaryOf(readInteraction(JSON.parse(json)))
  }

  async *readInteractions(filter: RecordFilter): AsyncGenerator<InteractionRecord[]> {
    for await (const [tenant, documents] of this.#readLog<StoredInteraction>('i', keys.interactions, filter)) {
      const texts = await this.#askLong(tenant, () =>
        this.#client.mget(documents.map(({ id }) => keys.text(tenant, id))),
      )
      yield documents.map((document, i) => readInteraction(document, texts[i] ?? null))
    }
  }

  async *readRewards(filter: RecordFilter): AsyncGenerator<RewardRecord[]> {
    for await (const [, documents] of this.#readLog<RewardDocument>('r', keys.rewards, filter)) {
      yield documents.map(readReward)
    }
  }

  async loadConversation(tenant: string, id: string): Promise<ConversationState | null> {
    return turnOf(await this.#ask(tenant, () => this.#client.get(keys.conversation(tenant, id))))
  }

  async saveConversation(
    tenant: string,
    id: string,
    state: ConversationState,
    ttlS: number,
  ): Promise<ConversationState | null> {
    const operation = ['converse', id, state.user, encodeState(state), Math.round(ttlS * 1e3)]
    const before = (await this.#batch.ask(tenant, operation, 'soon')) as Buffer | null
    return turnOf(before && String(before))
  }

  async loadEvidence(tenant: string, policy: string): Promise<Evidence> {
    const fields = await this.#ask(tenant, () => this.#client.hgetallBuffer(keys.evidence(tenant, policy)))
    return new Map(Object.entries(fields).map(([candidate, sums]) => [candidate, floatsOf(sums)]))
  }

  async addEvidence(tenant: string, policy: string, candidate: string, message: Float32Array): Promise<void> {
    await this.#run(
      tenant,
      'add-evidence',
      [keys.evidence(tenant, policy)],
      [candidate, floatBytes(message), this.#retentionMs, ...announcing({ kind: 'evidence', tenant })],
    )
  }

  async noteRefusals(tenant: string, rows: readonly StoredRefusal[]): Promise<void> {
    const key = keys.refusals(tenant)
    const fields = Object.fromEntries(
      rows.map(({ deployment, field, expiresAt }) => [`${deployment}\n${field}`, expiresAt]),
    )
    await this.#ask(tenant, async () => {
      await this.#client.hset(key, fields)
      await this.#client.pexpireat(key, Math.max(...rows.map(({ expiresAt }) => expiresAt)), 'GT')
      await this.#client.pexpireat(key, Math.max(...rows.map(({ expiresAt }) => expiresAt)), 'NX')
    })
    const change: Invalidation = { kind: 'refusals', tenant }
    await this.#ask('{keys}', () => this.#client.publish(keys.CHANGES, JSON.stringify(change)))
  }

  async listRefusals(tenant: string): Promise<StoredRefusal[]> {
    const fields = await this.#ask(tenant, () => this.#client.hgetall(keys.refusals(tenant)))
    return Object.entries(fields)
      .map(([name, expiresAt]) => {
        const [deployment = '', field = ''] = name.split('\n')
        return { deployment, field, expiresAt: Number(expiresAt) }
      })
      .filter(({ expiresAt }) => expiresAt > Date.now())
      .sort((a, b) => (keyOfRefusal(a) < keyOfRefusal(b) ? -1 : 1))
  }

  sharedSecret(proposed: string): Promise<string> {
    return this.#ask('{keys}', async () => {
      await this.#client.set(keys.SHARED_SECRET, proposed, 'NX')
      return (await this.#client.get(keys.SHARED_SECRET)) ?? proposed
    })
  }

  subscribe(listener: (change: Invalidation) => void): () => void {
    return this.#listeners.add(listener)
  }

  async ping(): Promise<void> {
    await this.#ask('{keys}', () => this.#client.exists(keys.tenantKeys.records))
  }

  /** Drops what is too old also of tenants that write no more. */
  async sweep(): Promise<void> {
    this.#knownTenants.clear()
    const oldest = Date.now() - this.#retentionMs
    for (const tenant of await this.#tenants({})) {
      for (const stream of [keys.interactions(tenant), keys.rewards(tenant)]) {
        await this.#askLong(tenant, () => this.#client.xtrim(stream, 'MINID', oldest))
      }
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#sweep)
    await Promise.all([this.#batch.close(), this.idempotency.close()])
    for (const guard of this.#guards.values()) guard.stop()
    this.#channel.close()
    this.#client.disconnect()
  }

  #run(tenant: string, script: Script, on: string[], args: Argument[]) {
    return this.#ask(tenant, () => this.#script(script, on, args))
  }

  #runLong(tenant: string, script: Script, on: string[], args: Argument[]) {
    return this.#askLong(tenant, () => this.#script(script, on, args))
  }

  #ask<T>(tenant: string, command: () => Promise<T>): Promise<T> {
    return this.#guardOf(tenant).run(command)
  }

  #askLong<T>(tenant: string, command: () => Promise<T>): Promise<T> {
    return this.#guardOf(tenant).run(command, this.#deadlineMs * BATCH_DEADLINE_FACTOR)
  }

  /** A single server answers or it does not; a cluster may do so for some tenants only. */
  #guardOf(tenant: string): RedisGuard {
    const part = this.#client instanceof Redis ? '' : tenant
    let guard = this.#guards.get(part)
    if (!guard) {
      const probed = tenant === '{keys}' ? keys.tenantKeys.records : keys.probe(tenant)
      guard = new RedisGuard(() => this.#client.exists(probed), this.#deadlineMs)
      this.#guards.set(part, guard)
    }
    return guard
  }

  async #noteTenant(tenant: string): Promise<void> {
    if (this.#knownTenants.has(tenant)) return
    await this.#askLong('{keys}', () => this.#client.sadd(keys.TENANTS, tenant))
    this.#knownTenants.add(tenant)
  }

  /** Tenant by tenant; of one user by the user's index. */
  async *#readLog<T extends StoredInteraction | RewardDocument>(
    kind: 'i' | 'r',
    streamOf: (tenant: string) => string,
    filter: RecordFilter,
  ): AsyncGenerator<[tenant: string, documents: T[]]> {
    const { user } = filter
    for (const tenant of await this.#tenants(filter)) {
      const stream = streamOf(tenant)
      const batches =
        user === undefined
          ? readStream<T>(
              (from) => this.#askLong(tenant, () => this.#client.xrange(stream, from, '+', 'COUNT', READ_ROWS)),
              filter,
            )
          : readUserLog<T>(
              (skip) =>
                this.#runLong(
                  tenant,
                  'read-user-log',
                  [keys.userLog(tenant, user), stream],
                  [kind, skip, ROWS_PER_SCRIPT],
                ) as Promise<[number, ...Buffer[]]>,
              filter,
            )
      for await (const documents of batches) yield [tenant, documents]
    }
  }

  async #tenants({ tenant }: RecordFilter): Promise<string[]> {
    if (tenant !== undefined) return [tenant]
    return (await this.#askLong('{keys}', () => this.#client.smembers(keys.TENANTS))).sort()
  }
}

const keyOfRefusal = ({ deployment, field }: StoredRefusal) => `${deployment}\n${field}`

const KEY_KEYS = [keys.tenantKeys.records, keys.tenantKeys.ids]

/** The last arguments of every script that tells the other replicas. */
const announcing = (change: Invalidation) => [keys.CHANGES, JSON.stringify(change)]

/** In parts of one tenant and bounded size; the order within a tenant is kept. */
async function eachTenant<T extends { tenant: string }>(
  rows: T[],
  work: (tenant: string, part: T[]) => Promise<unknown>,
): Promise<void> {
  for (const [tenant, all] of Map.groupBy(rows, (row) => row.tenant)) {
    for (let i = 0; i < all.length; i += ROWS_PER_SCRIPT) await work(tenant, all.slice(i, i + ROWS_PER_SCRIPT))
  }
}

/** "<user>\n<state>", see batch.lua. */
const turnOf = (turn: string | null) =>
  turn === null ? null : decodeState<ConversationState>(turn.slice(turn.lastIndexOf('\n') + 1))

const keyOf = (json: string, revoked: string | null): KeyRecord => ({
  ...JSON.parse(json),
  revokedAt: revoked === null ? null : Number(revoked),
})

const STATE_FIELDS = ['revision', 'policy', 'rewards', 'state', 'preferences', 'updated_at'] as const
type StateField = (typeof STATE_FIELDS)[number]

const userOf = (fields: Record<StateField | 'sums', Buffer>): StoredUser => ({
  ...userStateOf(fields),
  sums: floatsOf(fields.sums),
})

const userStateOf = (fields: Record<StateField, Buffer>): UserState => ({
  revision: Number(fields.revision),
  policy: String(fields.policy),
  rewards: Number(fields.rewards),
  state: floatsOf(fields.state),
  preferences: JSON.parse(String(fields.preferences)),
  updatedAt: Number(fields.updated_at),
})
