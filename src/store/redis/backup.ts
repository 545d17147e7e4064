import type { Redis } from 'ioredis'
import type { Backup, BackupStore, Page } from '../backup/contract.ts'
import { type BackupRow, budgetOf, type Erasure, type RowType } from '../backup/rows.ts'
import { readUser } from '../backup/user.ts'
import { type RewardDocument, readInteraction, readReward } from '../records/codec.ts'
import { USAGE_DAYS, type UsageRow } from '../usage.ts'
import type { RedisAccess } from './access.ts'
import * as keys from './keys.ts'
import type { RedisMoves } from './moves.ts'
import { addressOf, allNodes, askNode } from './nodes.ts'
import type { RedisRecords } from './records.ts'
import type { SharedRows } from './shared-rows.ts'
import { type KeptRow, keptIn, newestIn } from './stream.ts'
import { usageLine, usageOf } from './usage.ts'

/**
 * What carries each kind of key in a backup: the word after the tenant's tag, or the whole name.
 *
 * @internal held against the store in a test
 */
export const CARRIED: Readonly<Record<string, RowType>> = {
  [keys.tenantKeys.records]: 'key',
  [keys.tenantKeys.ids]: 'key',
  [keys.SHARED_SECRET]: 'secret',
  user: 'user',
  edges: 'user',
  'edge-order': 'user',
  salt: 'salt',
  interactions: 'interaction',
  interaction: 'interaction',
  completion: 'interaction',
  index: 'interaction',
  shared: 'interaction',
  text: 'interaction',
  'user-log': 'interaction',
  [keys.TENANTS]: 'interaction',
  rewards: 'reward',
  'known-rewards': 'reward',
  turn: 'conversation',
  'user-conversations': 'conversation',
  response: 'response',
  responses: 'response',
  'response-bytes': 'response',
  'user-responses': 'response',
  'response-items': 'response',
  evidence: 'evidence',
  refusals: 'refusal',
  mode: 'mode',
  usage: 'usage',
  'users-usage': 'usage',
  limit: 'budget',
  erased: 'erasure',
  moved: 'move',
  'moved-until': 'move',
  former: 'move',
}

/** Keys that no backup has, and why. @internal as above */
export const LEFT_OUT: Readonly<Record<string, string>> = {
  reservations: 'requests on their way',
  reserved: 'requests on their way',
  restored: 'how much of a budget was restored: noted anew',
  carried: 'how much of a counter went along with a changed id: at worst counted twice until the counter ends',
  idempotency: 'answers given again to a client that tries again: kept for hours',
  'idempotency-bytes': 'sizes of those',
  'void-claim': 'claims on their way',
  scrubbed: 'looked for anew',
  scrubbing: 'a lock',
  probe: 'never written',
  [keys.SECRET_FINGERPRINT]: 'in the manifest',
  [keys.REPLICAS]: 'processes that run',
  [keys.CHANGES]: 'a channel',
  [keys.NODES]: 'never written',
  [keys.heartbeatChannel('')]: 'a channel',
}

const KEYS_A_SCAN = 200
/** Rows of a page that are in memory at once. */
const PAGE = 32
const LOG_ROWS = 256
const USAGE_MS = USAGE_DAYS * 86_400_000

/** A node, its SCAN's cursor and the servers that gave it, or a tenant and the id of an entry. */
type Place = readonly [string, string, string?]
interface Piece {
  rows: BackupRow[]
  /** Absent where it is no place to go on from. */
  next?: Place
}
type Pieces = (from: Place | null) => AsyncGenerator<Piece>
type Load = (tenant: string, rest: string, key: string) => Promise<BackupRow[]>

/** All that Redis keeps: streams in their order, all else as SCAN comes by it. */
export class RedisBackup implements Backup {
  readonly #redis: RedisAccess
  readonly #store: BackupStore
  readonly #records: RedisRecords
  readonly #shared: SharedRows
  readonly #moves: RedisMoves
  readonly #retentionMs: number

  constructor(
    redis: RedisAccess,
    store: BackupStore,
    records: RedisRecords,
    shared: SharedRows,
    moves: RedisMoves,
    retentionMs: number,
  ) {
    this.#moves = moves
    this.#redis = redis
    this.#store = store
    this.#records = records
    this.#shared = shared
    this.#retentionMs = retentionMs
  }

  async *read(from: string): AsyncGenerator<Page> {
    const steps = this.#steps()
    const [first, at] = from === '' ? [0, null] : (JSON.parse(from) as [number, Place])
    for (const [step, pieces] of steps.entries()) {
      if (step < first) continue
      for await (const { rows, next } of pieces(step === first ? at : null)) {
        yield { rows, next: next === undefined ? null : JSON.stringify([step, next]) }
      }
    }
  }

  fingerprint(): Promise<string | null> {
    return this.#redis.ask(keys.SECRET_FINGERPRINT, () => this.#redis.client.get(keys.SECRET_FINGERPRINT))
  }

  async erasedAt(tenant: string, userHash: string): Promise<number> {
    const marks = await this.#redis.ask(tenant, () =>
      this.#redis.client.mget(keys.erasedHash(tenant, userHash), keys.tenantErased(tenant)),
    )
    return Math.max(...marks.map((at) => Number(at ?? -1)))
  }

  async noteErasures(tenant: string, erasures: readonly Erasure[]): Promise<Erasure[]> {
    const noted: Erasure[] = []
    for (const { userHash, at } of erasures) {
      const keepMs = Math.max(1, at + this.#retentionMs - Date.now())
      const on = [keys.erasedHash(tenant, userHash)]
      if ((await this.#redis.run(tenant, 'note-erasure', on, [at, keepMs])) === 1) noted.push({ userHash, at })
    }
    return noted
  }

  async noteMove(tenant: string, from: string, to: string): ReturnType<Backup['noteMove']> {
    const known = await this.#moves.present(tenant, [from, to])
    const present = known.get(to) ?? to
    if (known.has(from) || present === from) return 'kept'
    const marks = [...[from, to, present].map((id) => keys.erased(tenant, id)), keys.tenantErased(tenant)]
    return (await this.#moves.note(tenant, from, present, marks)) ? 'restored' : 'erased'
  }

  readonly appendInteractions: Backup['appendInteractions'] = (rows) => this.#records.appendInteractions(rows, false)
  readonly appendRewards: Backup['appendRewards'] = (rows) => this.#records.appendRewards(rows)

  async raiseUsage(tenant: string, rows: readonly UsageRow[]): Promise<void> {
    for (const row of rows) {
      const { scope, id, day } = row
      const name = scope === 'tenant' ? 'tenant' : scope === 'key' ? `key:${id}` : id
      const key = scope === 'user' ? keys.usersUsage(tenant, day) : keys.usage(tenant, day)
      const keepMs = scope === 'user' ? Math.min(this.#retentionMs, USAGE_MS) : USAGE_MS
      await this.#redis.run(tenant, 'raise-usage', [key], [keepMs, name, usageLine(row)])
    }
  }

  /** In the order of `Backup`. */
  #steps(): Pieces[] {
    const { client } = this.#redis
    const usage: Load = async (tenant, day, key) =>
      usageOf(
        await this.#redis.askLong(tenant, () => client.hgetall(key)),
        day,
        key === keys.usersUsage(tenant, day),
      ).map((row) => ({ type: 'usage', tenant, usage: row }))
    const logOf = async (tenant: string, documents: readonly KeptRow[]): Promise<BackupRow[]> => {
      const stored = (await this.#shared.read(tenant, documents)).filter((document) => document !== null)
      if (stored.length === 0) return []
      const texts = await this.#redis.askLong(tenant, () => client.mget(stored.map(({ id }) => keys.text(tenant, id))))
      const rows = stored.map((document, i) => readInteraction(document, texts[i] ?? null))
      return (await this.#moves.rename(tenant, rows)).map((record) => ({ type: 'interaction', record }))
    }
    const rewardsOf = async (tenant: string, kept: readonly KeptRow[]): Promise<BackupRow[]> =>
      (await this.#moves.rename(tenant, kept.map(rewardOf))).map((record) => ({ type: 'reward', record }))
    const evidence: Load = async (tenant, key) =>
      [...(await this.#store.loadEvidence(tenant, key))].map(([name, sums]) => ({
        ...{ type: 'evidence', tenant, key },
        ...{ name, sums },
      }))
    return [
      (from) => this.#stream(keys.rewards, rewardsOf, from),
      (from) => this.#stream(keys.interactions, logOf, from),
      (from) => this.#scan({ usage, 'users-usage': usage }, from),
      (from) => this.#scan({ evidence }, from),
      (from) => this.#scan(this.#singles(), from),
      () => this.#tenantKeys(),
      () => this.#whoMoved(),
      (from) => this.#scan({ erased: (tenant, userHash, key) => this.#erasure(tenant, userHash, key) }, from),
    ]
  }

  #singles(): Record<string, Load> {
    const { client } = this.#redis
    return {
      user: (tenant, user) => readUser(this.#store, tenant, user),
      salt: async (tenant, user, key) => {
        const salt = await this.#redis.ask(tenant, () => client.getBuffer(key))
        return salt ? [{ type: 'salt', tenant, user, salt }] : []
      },
      turn: async (tenant, id, key) => {
        const state = await this.#store.loadConversation(tenant, id)
        const leftMs = await this.#redis.ask(tenant, () => client.pttl(key))
        return state && leftMs > 0 ? [{ type: 'conversation', tenant, id, state, expiresAt: Date.now() + leftMs }] : []
      },
      response: (tenant, member) => this.#response(tenant, member),
      refusals: async (tenant) =>
        (await this.#store.listRefusals(tenant)).map((refusal) => ({ type: 'refusal', tenant, refusal })),
      mode: async (tenant) => {
        const mode = await this.#store.loadMode(tenant)
        return mode === null ? [] : [{ type: 'mode', tenant, mode }]
      },
      limit: async (tenant, counter, key) => {
        const amount = Number(await this.#redis.ask(tenant, () => client.get(key)))
        const budget = budgetOf(counter, amount, Date.now())
        return budget ? [{ type: 'budget', tenant, budget }] : []
      },
    }
  }

  /** Keys of some kinds, of all tenants, on all nodes. */
  async *#scan(kinds: Readonly<Record<string, Load>>, from: Place | null): AsyncGenerator<Piece> {
    for (let place = from; ; place = null) {
      const nodes = allNodes(this.#redis.client).toSorted((a, b) => (addressOf(a) < addressOf(b) ? -1 : 1))
      const servers = await this.#serversOf(nodes)
      // A cursor says nothing to another process: where one was restarted or replaced, all is read once more.
      yield* this.#scanNodes(kinds, nodes, servers, place?.[2] === servers ? place : null)
      if ((await this.#serversOf(allNodes(this.#redis.client))) === servers) return
    }
  }

  /** Which processes they are (`run_id`), in words that are compared. */
  async #serversOf(nodes: readonly Redis[]): Promise<string> {
    const infos = await Promise.all(nodes.map((node) => askNode(this.#redis, node, () => node.info('server'))))
    return infos
      .map((info) => /^run_id:(\w+)/m.exec(info)?.[1] ?? '')
      .sort()
      .join(' ')
  }

  async *#scanNodes(
    kinds: Readonly<Record<string, Load>>,
    nodes: readonly Redis[],
    servers: string,
    known: Place | null,
  ): AsyncGenerator<Piece> {
    for (const node of nodes) {
      const address = addressOf(node)
      if (known !== null && address < known[0]) continue
      let cursor = known !== null && address === known[0] ? known[1] : '0'
      do {
        const [next, found] = await askNode(this.#redis, node, () =>
          node.scan(cursor, 'MATCH', `${keys.tag('*')}*`, 'COUNT', KEYS_A_SCAN),
        )
        cursor = next
        const loads = found.flatMap((key) => {
          const { tenant, kind, rest } = partsOf(key)
          const load = kinds[kind]
          return load ? [() => load(tenant, rest, key)] : []
        })
        for (let i = 0; i < loads.length; i += PAGE) {
          const rows = (await Promise.all(loads.slice(i, i + PAGE).map((load) => load()))).flat()
          yield { rows }
        }
        if (cursor !== '0') yield { rows: [], next: [address, cursor, servers] }
      } while (cursor !== '0')
    }
  }

  async *#stream(
    keyOf: (tenant: string) => string,
    rowsOf: (tenant: string, documents: readonly KeptRow[]) => Promise<BackupRow[]>,
    from: Place | null,
  ): AsyncGenerator<Piece> {
    const { client } = this.#redis
    const tenants = (await this.#redis.askLong(keys.TENANTS, () => client.smembers(keys.TENANTS))).sort()
    for (const tenant of tenants.filter((name) => from === null || name >= from[0])) {
      let after = from !== null && tenant === from[0] ? `(${from[1]}` : '-'
      // Not what comes meanwhile: it might come as fast as it is read.
      const end = (await newestIn(this.#redis, tenant, keyOf(tenant))) ?? '0'
      for (;;) {
        const entries = await this.#redis.askLong(tenant, () =>
          client.xrangeBuffer(keyOf(tenant), after, end, 'COUNT', LOG_ROWS),
        )
        const last = entries.at(-1)
        if (!last) break
        const at = String(last[0])
        after = `(${at}`
        yield {
          rows: await rowsOf(
            tenant,
            entries.map(([, fields]) => keptIn(fields)),
          ),
          next: [tenant, at],
        }
      }
    }
  }

  async *#tenantKeys(): AsyncGenerator<Piece> {
    yield { rows: (await this.#store.listKeys()).map((key) => ({ type: 'key', key })) }
  }

  async *#whoMoved(): AsyncGenerator<Piece> {
    for await (const moves of this.#moves.list()) yield { rows: moves.map((move) => ({ type: 'move', ...move })) }
  }

  async #erasure(tenant: string, userHash: string, key: string): Promise<BackupRow[]> {
    const at = await this.#redis.ask(tenant, () => this.#redis.client.get(key))
    return at === null ? [] : [{ type: 'erasure', tenant, erasure: { userHash, at: Number(at) } }]
  }

  async #response(tenant: string, member: string): Promise<BackupRow[]> {
    const at = member.indexOf('\n')
    const [id, user] = [member.slice(0, at), member.slice(at + 1)]
    const [response] = await this.#store.responses.load(tenant, user, [id])
    const expires = await this.#redis.ask(tenant, () => this.#redis.client.zscore(keys.responses(tenant), member))
    return response && expires !== null
      ? [{ type: 'response', tenant, user, response, expiresAt: Number(expires) }]
      : []
  }
}

const rewardOf = ({ json }: KeptRow) => readReward(JSON.parse(json) as RewardDocument)

/** `pr:{<tenant>}:<kind>`, and what follows after a colon. */
function partsOf(key: string): { tenant: string; kind: string; rest: string } {
  const [, tenant = '', kind = '', rest = ''] = /^pr:\{([^}]*)\}:([^:]*)(?::(.*))?$/s.exec(key) ?? []
  return { tenant, kind, rest }
}
