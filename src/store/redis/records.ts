import { setImmediate as nextTurn } from 'node:timers/promises'
import { eachOnItsOwn } from '../../runtime/each.ts'
import { userHash } from '../../runtime/keys.ts'
import { requestTimeOf } from '../../runtime/request-time.ts'
import {
  type InteractionRecord,
  interactionJsonWithoutText,
  interactionRow,
  type RewardDocument,
  type RewardRecord,
  readInteraction,
  readReward,
  rewardJson,
  type StoredInteraction,
  sharingRow,
  storedInteraction,
} from '../records/codec.ts'
import type { Shared } from '../records/shared-row.ts'
import { summaryOf } from '../records/summary.ts'
import { type CompletionRef, type InteractionSummary, MAX_COMPLETIONS, type RecordFilter } from '../store.ts'
import { decodeSummary, encodeSummary } from '../stored-values.ts'
import { dayOf, MAX_USERS_A_DAY, USAGE_DAYS, usedOf } from '../usage.ts'
import type { RedisAccess } from './access.ts'
import { jsonArgument } from './commands.ts'
import * as keys from './keys.ts'
import type { RedisMoves } from './moves.ts'
import type { SharedRows } from './shared-rows.ts'
import {
  entryOf,
  type KeptRow,
  newestIn,
  noteEntry,
  readStream,
  readUserLog,
  type StreamPages,
  type UserLogPages,
} from './stream.ts'

/** Rows a script: Redis does nothing else meanwhile. */
const ROWS_PER_SCRIPT = 64
/** Fewer of those that are appended, 70 us each: turns of requests go in between. */
const APPENDED_PER_SCRIPT = 16
/** Read at once: what they hold is parsed in one go. */
const READ_ROWS = 64
/** Of an index, as `find-completions.lua` asks them. */
const SLICES_PER_SCRIPT = 32
/** Of a stream; whole nodes of it, some hundred rows each. */
const TRIMMED_AT_ONCE = 2_000
const OPEN_MS = 86_400_000
const USAGE_MS = USAGE_DAYS * 86_400_000

/** What every process that uses this Redis can read. */
interface Replicas {
  readonly allReadRows: boolean
  readonly allReadShared: boolean
}

/** As it is written: a document, a row, or a row that shares something. */
type Written = (row: InteractionRecord) => { row: string; bytes?: Buffer; shared?: Shared }

/** The log: interactions and rewards. */
export class RedisRecords {
  readonly #redis: RedisAccess
  readonly #retentionMs: number
  readonly #replicas: Replicas
  readonly #shared: SharedRows
  readonly #moves: RedisMoves
  /** True: the server has it; false: it may not. */
  readonly #knownTenants = new Map<string, boolean>()

  constructor(redis: RedisAccess, retentionMs: number, replicas: Replicas, shared: SharedRows, moves: RedisMoves) {
    this.#moves = moves
    this.#redis = redis
    this.#replicas = replicas
    this.#shared = shared
    this.#retentionMs = retentionMs
    // A server that comes back may have forgotten them.
    for (const event of ['ready', '+node']) redis.client.on(event, () => this.#doubtTenants())
  }

  async openInteractions(rows: InteractionSummary[]): Promise<void> {
    await eachTenant(rows, (tenant, part) =>
      this.#redis.runLong(
        tenant,
        'open-interactions',
        [keys.tag(tenant)],
        [
          OPEN_MS,
          this.#retentionMs,
          ...part.flatMap((row) => {
            const { id, user, ts, completionId } = row
            return [id, user, userHash(user), ts, completionId ?? '', encodeSummary(row)]
          }),
        ],
      ),
    )
  }

  /** Returns how many are new. @param isCounted what they used counts from now on */
  async appendInteractions(rows: InteractionRecord[], isCounted = true): Promise<number> {
    let added = 0
    const written = this.#written()
    await eachTenant(
      rows,
      async (tenant, part) => {
        await this.#noteTenant(tenant)
        const kept = part.map(written)
        const shared = new Map(kept.flatMap((one) => (one.shared ? [[one.shared.id, one.shared.json]] : [])))
        const heads = part.map((row, i) => {
          const { id, ts, user, completionId, text, textExpiresAt, key, chosen } = row
          const { promptTokens, completionTokens, nanoUsd } = usedOf(row)
          const used = [dayOf(ts), key ?? '', chosen, promptTokens, completionTokens, nanoUsd]
          const of = [id, ts, user, userHash(user), completionId ?? '', text ?? '', textExpiresAt ?? '']
          return [...of, ...used, kept[i]?.shared?.id ?? '']
        })
        const args = [
          this.#retentionMs,
          jsonArgument(heads),
          isCounted ? USAGE_MS : '',
          MAX_USERS_A_DAY,
          jsonArgument([...shared]),
          ...kept.flatMap(({ row, bytes = '' }) => [Buffer.from(row), bytes]),
        ]
        added += Number(await this.#redis.runLong(tenant, 'append-interactions', [keys.tag(tenant)], args))
      },
      APPENDED_PER_SCRIPT,
    )
    return added
  }

  #written(): Written {
    if (this.#replicas.allReadShared) return sharingRow
    const written = this.#replicas.allReadRows ? interactionRow : interactionJsonWithoutText
    return (row) => ({ row: written(row) })
  }

  /** Returns how many are new. */
  async appendRewards(rows: RewardRecord[]): Promise<number> {
    let added = 0
    await eachTenant(rows, async (tenant, part) => {
      await this.#noteTenant(tenant)
      const reply = await this.#redis.runLong(
        tenant,
        'append-rewards',
        [
          keys.rewards(tenant),
          keys.tenantErased(tenant),
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
            row.askedAt ?? row.ts,
            row.user,
            row.interaction,
            rewardJson(row),
          ]),
        ],
      )
      added += Number(reply)
    })
    return added
  }

  async findInteraction(tenant: string, id: string): Promise<InteractionSummary | null> {
    for (let asked = 0; ; ) {
      const args = [id, requestTimeOf(id) ?? '', asked]
      const found = await this.#redis.run(tenant, 'find-interaction', [keys.tag(tenant)], args)
      if (typeof found === 'number') {
        asked = found
        continue
      }
      if (found === null) return null
      const [state, json, shared, bytes] = found as Buffer[]
      if (String(state) === 'o') return decodeSummary(String(json))
      return summaryOf(readInteraction(storedInteraction(JSON.parse(String(json)), String(shared) || null, bytes)))
    }
  }

  async findCompletions(tenant: string, completionId: string): Promise<CompletionRef[]> {
    const refs: CompletionRef[] = []
    for (let asked = 0; ; ) {
      const args = [completionId, asked]
      const [slices, lines, ...rows] = (await this.#redis.run(
        tenant,
        'find-completions',
        [keys.tag(tenant)],
        args,
      )) as [number, Buffer, ...Buffer[]]
      for (let i = 0; i < rows.length; i += 3) {
        const [id, user, ts] = rows.slice(i, i + 3).map(String) as [string, string, string]
        refs.push({ user: userHash(user), interaction: id, ts: Number(ts) })
      }
      refs.push(...(await this.#refsOf(tenant, String(lines))))
      asked += slices
      if (slices < SLICES_PER_SCRIPT) break
    }
    const byId = Map.groupBy(refs, ({ interaction }) => interaction)
    const once = [...byId.values()].flatMap(([ref]) => ref ?? [])
    return once.sort((a, b) => b.ts - a.ts).slice(0, MAX_COMPLETIONS)
  }

  /** Of answers that are on their way, and of earlier versions. */
  async #refsOf(tenant: string, lines: string): Promise<CompletionRef[]> {
    const refs = lines
      .split('\n')
      .filter((line) => line !== '')
      .map(async (line): Promise<CompletionRef | null> => {
        const [user = '', interaction, ts] = line.split(' ')
        return interaction === undefined ? this.#refOf(tenant, line) : { user, interaction, ts: Number(ts) }
      })
    return (await Promise.all(refs)).filter((ref) => ref !== null)
  }

  /** Of an answer that an earlier version noted by its id alone. */
  async #refOf(tenant: string, interaction: string): Promise<CompletionRef | null> {
    const found = await this.findInteraction(tenant, interaction)
    return found && { user: userHash(found.user), interaction, ts: found.ts }
  }

  async *readInteractions(filter: RecordFilter): AsyncGenerator<InteractionRecord[]> {
    const read = (tenant: string, kept: KeptRow[]) => this.#shared.read(tenant, kept)
    for await (const [tenant, documents] of this.#readLog<StoredInteraction>('i', keys.interactions, read, filter)) {
      const texts = await this.#redis.askLong(tenant, () =>
        this.#redis.client.mget(documents.map(({ id }) => keys.text(tenant, id))),
      )
      yield documents.map((document, i) => noteEntry(readInteraction(document, texts[i] ?? null), document))
    }
  }

  async *readRewards(filter: RecordFilter): AsyncGenerator<RewardRecord[]> {
    const read = async (_: string, kept: KeptRow[]) => kept.map(({ json }) => JSON.parse(json) as RewardDocument)
    for await (const [, documents] of this.#readLog<RewardDocument>('r', keys.rewards, read, filter)) {
      yield documents.map((document) => noteEntry(readReward(document), document))
    }
  }

  async dropInteractions(rows: readonly InteractionRecord[]): Promise<void> {
    await this.#drop('i', keys.interactions, rows)
  }

  async dropRewards(rows: readonly RewardRecord[]): Promise<void> {
    await this.#drop('r', keys.rewards, rows)
  }

  async #drop<T extends { tenant: string }>(
    kind: 'i' | 'r',
    streamOf: (tenant: string) => string,
    rows: readonly T[],
  ): Promise<void> {
    await eachTenant([...rows], async (tenant, part) => {
      const entries = part.map(entryOf).filter((entry) => entry !== undefined)
      await this.#redis.runLong(tenant, 'drop-rows', [streamOf(tenant), keys.tag(tenant)], [kind, ...entries])
    })
  }

  /** Drops what is too old also of tenants that write no more. @throws StoreError where a tenant's part is away */
  async sweep(): Promise<void> {
    this.#doubtTenants()
    const oldest = Math.max(0, Date.now() - this.#retentionMs)
    await eachOnItsOwn(await this.#tenants({}), async (tenant) => {
      for (const stream of [keys.interactions(tenant), keys.rewards(tenant)]) {
        const trim = () => this.#redis.client.xtrim(stream, 'MINID', '~', oldest, 'LIMIT', TRIMMED_AT_ONCE)
        while ((await this.#redis.askLong(tenant, trim)) > 0) await nextTurn()
        // The rest of a node: rows of a tenant that writes seldom stay no longer than others.
        await this.#redis.askLong(tenant, () => this.#redis.client.xtrim(stream, 'MINID', oldest))
      }
      await this.#dropSlices(tenant)
    })
  }

  /** What is kept of the log's slices whose rows are gone. */
  async #dropSlices(tenant: string): Promise<void> {
    let [slice, hashes] = ['', '0']
    for (;;) {
      const dropped = await this.#redis.runLong(tenant, 'drop-slices', [keys.tag(tenant)], [slice, hashes])
      if (dropped === null && slice === '') return
      const [of, by, isAll] = ((dropped ?? []) as Buffer[]).map(String)
      ;[slice, hashes] = isAll === '0' ? [of as string, by as string] : ['', '0']
      await nextTurn()
    }
  }

  #doubtTenants(): void {
    for (const tenant of this.#knownTenants.keys()) this.#knownTenants.set(tenant, false)
  }

  /**
   * Names lie elsewhere than rows in a cluster: while they are away, whoever has a log has been noted before, and goes
   * on.
   */
  async #noteTenant(tenant: string): Promise<void> {
    if (this.#knownTenants.get(tenant)) return
    const { client } = this.#redis
    try {
      await this.#redis.askLong(keys.TENANTS, () => client.sadd(keys.TENANTS, tenant))
      this.#knownTenants.set(tenant, true)
    } catch (error) {
      if (this.#knownTenants.has(tenant)) return
      const logs = [keys.interactions(tenant), keys.rewards(tenant)]
      if ((await this.#redis.askLong(tenant, () => client.exists(...logs))) === 0) throw error
      this.#knownTenants.set(tenant, false)
    }
  }

  /** Tenant by tenant; of one user by the user's index. */
  async *#readLog<T extends StoredInteraction | RewardDocument>(
    kind: 'i' | 'r',
    streamOf: (tenant: string) => string,
    read: (tenant: string, kept: KeptRow[]) => Promise<(T | null)[]>,
    filter: RecordFilter,
  ): AsyncGenerator<[tenant: string, documents: T[]]> {
    const { user } = filter
    for (const tenant of await this.#tenants(filter)) {
      const stream = streamOf(tenant)
      const readKept = (kept: KeptRow[]) => read(tenant, kept)
      const batches =
        user === undefined
          ? readStream<T>(this.#streamPages(tenant, stream), readKept, filter)
          : readUserLog<T>(this.#userPages(tenant, user, kind, stream), readKept, filter)
      for await (const documents of batches) {
        await this.#moves.rename(tenant, documents)
        yield [tenant, documents]
      }
    }
  }

  #streamPages(tenant: string, stream: string): StreamPages {
    const { client } = this.#redis
    return {
      newest: () => newestIn(this.#redis, tenant, stream),
      page: (from, to) => this.#redis.askLong(tenant, () => client.xrangeBuffer(stream, from, to, 'COUNT', READ_ROWS)),
    }
  }

  #userPages(tenant: string, user: string, kind: 'i' | 'r', stream: string): UserLogPages {
    const index = keys.userLog(tenant, user)
    return {
      count: () => this.#redis.askLong(tenant, () => this.#redis.client.zcard(index)),
      page: (skip, most) =>
        this.#redis.runLong(
          tenant,
          'read-user-log',
          [index, stream],
          [kind, skip, Math.min(most, ROWS_PER_SCRIPT)],
        ) as ReturnType<UserLogPages['page']>,
    }
  }

  async #tenants({ tenant }: RecordFilter): Promise<string[]> {
    if (tenant !== undefined) return [tenant]
    return (await this.#redis.askLong(keys.TENANTS, () => this.#redis.client.smembers(keys.TENANTS))).sort()
  }
}

/** In parts of one tenant and bounded size; the order within a tenant is kept. */
async function eachTenant<T extends { tenant: string }>(
  rows: T[],
  work: (tenant: string, part: T[]) => Promise<unknown>,
  most = ROWS_PER_SCRIPT,
): Promise<void> {
  for (const [tenant, all] of Map.groupBy(rows, (row) => row.tenant)) {
    for (let i = 0; i < all.length; i += most) await work(tenant, all.slice(i, i + most))
  }
}
