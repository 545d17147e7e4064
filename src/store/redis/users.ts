import { restAfter } from '../../runtime/rest.ts'
import { eraseUntil } from '../backup/user.ts'
import { floatBytes, floatsOf } from '../bytes.ts'
import { numbersOfPlain } from '../plain-state.ts'
import { ErasedError, MAX_EDGES, type StoredEdge, type StoredUser, type UserState } from '../store.ts'
import { decodeEdge, earlierId, encodeEdge } from '../stored-values.ts'
import { dayOf, daysBack } from '../usage.ts'
import { beliefOf, edgesIn, encodeMemory, mergeEdges } from '../user-rows.ts'
import { announcing, type RedisAccess } from './access.ts'
import type { Argument } from './commands.ts'
import * as keys from './keys.ts'
import type { RedisMoves } from './moves.ts'
import { nodeOf } from './nodes.ts'
import type { RedisResponses } from './responses.ts'
import type { RedisUsage } from './usage.ts'

/** Rows a script: Redis does nothing else meanwhile. */
const ROWS_PER_SCRIPT = 64
const KEYS_A_SCAN = 500
const CONVERSATIONS_PER_SCRIPT = 256

/** What is known of users: beliefs, edges, and how to forget them. */
export class RedisUsers {
  readonly #redis: RedisAccess
  readonly #responses: RedisResponses
  readonly #usage: RedisUsage
  readonly #moves: RedisMoves
  readonly #retentionMs: number

  constructor(
    redis: RedisAccess,
    responses: RedisResponses,
    usage: RedisUsage,
    moves: RedisMoves,
    retentionMs: number,
  ) {
    this.#moves = moves
    this.#redis = redis
    this.#responses = responses
    this.#usage = usage
    this.#retentionMs = retentionMs
  }

  async loadUser(tenant: string, user: string): Promise<StoredUser | null> {
    const fields = await this.#load(tenant, user, USER_FIELDS)
    if (!fields.revision) return null
    const isEarlier = !fields.belief
    return {
      ...userStateOf(fields),
      older: floatsOf(fields.older ?? NOTHING),
      ...(isEarlier && fields.sums && { sums: floatsOf(fields.sums) }),
    }
  }

  async loadUserState(tenant: string, user: string): Promise<UserState | null> {
    const fields = await this.#load(tenant, user, STATE_FIELDS)
    if (!fields.revision) return null
    const { told: _, ...state } = userStateOf(fields)
    return state
  }

  async #load<F extends string>(tenant: string, user: string, names: readonly F[]): Promise<Fields<F>> {
    const values = await this.#redis.ask(tenant, () =>
      this.#redis.client.hmgetBuffer(keys.user(tenant, user), ...names),
    )
    return Object.fromEntries(names.map((name, i) => [name, values[i] ?? null])) as Fields<F>
  }

  async loadEdges(tenant: string, user: string): Promise<StoredEdge[]> {
    const { client } = this.#redis
    const [[belief = null, history = null], since] = await this.#redis.ask(tenant, () =>
      Promise.all([
        client.hmgetBuffer(keys.user(tenant, user), 'belief', 'history'),
        client.hvalsBuffer(keys.edges(tenant, user)),
      ]),
    )
    return mergeEdges(edgesIn(belief, history), since.map(decodeEdge))
  }

  async commitUser(
    tenant: string,
    user: string,
    next: StoredUser,
    edges?: readonly StoredEdge[],
    askedAt = Date.now(),
  ): Promise<boolean> {
    const edge = edges?.at(-1)
    const change = announcing({ kind: 'user', tenant, user, revision: next.revision })
    const asBefore = next.sums && edge ? { sums: next.sums, edge } : null
    const done = await this.#redis.run(
      tenant,
      asBefore ? 'commit-user-earlier' : 'commit-user',
      [
        ...[keys.user(tenant, user), keys.edges(tenant, user), keys.edgeOrder(tenant, user)],
        ...[keys.erased(tenant, user), keys.tenantErased(tenant)],
      ],
      asBefore ? earlierArguments(next, asBefore, change, askedAt) : packedArguments(next, edges, change, askedAt),
    )
    if (done === -1) throw new ErasedError('The user has been erased.')
    return done === 1
  }

  async eraseUser(tenant: string, user: string, at?: number): Promise<number> {
    let rows = await (at === undefined ? this.#eraseKnown(tenant, user) : this.#eraseKnownUntil(at, tenant, user))
    // Of the day itself nobody can tell what of a sum was used before.
    const days = daysBack(this.#retentionMs).filter((day) => at === undefined || day <= dayOf(at))
    await this.#usage.erase(tenant, user, days)
    rows += await this.#responses.erase(tenant, user, at)
    rows += await this.#eraseInSlices(
      tenant,
      'erase-conversations',
      [keys.userConversations(tenant, user)],
      CONVERSATIONS_PER_SCRIPT,
      [user, keys.conversation(tenant, '')],
      at,
    )
    rows += await this.#eraseInSlices(
      tenant,
      'erase-log',
      [keys.userLog(tenant, user), keys.interactions(tenant), keys.rewards(tenant), keys.tag(tenant)],
      ROWS_PER_SCRIPT,
      [
        keys.marker(tenant, ''),
        keys.completion(tenant, ''),
        keys.text(tenant, ''),
        keys.knownRewards(tenant, ''),
        keys.idempotencyKey(tenant, ''),
      ],
      at,
    )
    if (at !== undefined) return rows + (await this.#dropUnusedSalt(tenant, user))
    await this.#moves.forget(tenant, user)
    return rows
  }

  async wasErased(tenant: string, user: string): Promise<boolean> {
    return (await this.#redis.ask(tenant, () => this.#redis.client.exists(keys.erased(tenant, user)))) > 0
  }

  /** What is of bounded size. */
  async #eraseKnown(tenant: string, user: string): Promise<number> {
    const on = [
      ...[keys.user(tenant, user), keys.edges(tenant, user), keys.edgeOrder(tenant, user)],
      ...[keys.erased(tenant, user), keys.salt(tenant, user)],
    ]
    const args = [Date.now(), this.#retentionMs, ...announcing({ kind: 'user', tenant, user })]
    return Number(await this.#redis.runLong(tenant, 'erase-user', on, args))
  }

  async #eraseKnownUntil(at: number, tenant: string, user: string): Promise<number> {
    const keepMs = Math.max(1, at + this.#retentionMs - Date.now())
    await this.#redis.runLong(tenant, 'note-erasure', [keys.erased(tenant, user)], [at, keepMs])
    return eraseUntil(at, this, tenant, user)
  }

  async dropUser(tenant: string, user: string, revision: number): Promise<boolean> {
    const on = [keys.user(tenant, user), keys.edges(tenant, user), keys.edgeOrder(tenant, user)]
    const args = [Number.MAX_SAFE_INTEGER, ...announcing({ kind: 'user', tenant, user }), revision]
    return (await this.#redis.runLong(tenant, 'drop-user', on, args)) === 1
  }

  /** Where nothing is sealed under it any more. */
  async #dropUnusedSalt(tenant: string, user: string): Promise<number> {
    const { client } = this.#redis
    const left = await this.#redis.ask(tenant, () => client.exists(keys.user(tenant, user), keys.userLog(tenant, user)))
    return left > 0 ? 0 : this.#redis.ask(tenant, () => client.del(keys.salt(tenant, user)))
  }

  /** Others are served between two slices. One that failed can be gone on with: erase again. */
  async #eraseInSlices(
    tenant: string,
    script: 'erase-conversations' | 'erase-log',
    on: string[],
    most: number,
    args: string[],
    at: number | undefined,
  ): Promise<number> {
    for (let [rows, stayed] = [0, 0]; ; ) {
      const until = at === undefined ? [] : [at, stayed]
      const from = performance.now()
      const reply = await this.#redis.runLong(tenant, script, on, [most, ...args, ...until])
      const [handled, went, stay] = reply as [number, number, number]
      rows += went
      stayed += stay
      if (handled < most) return rows
      await restAfter(performance.now() - from)
    }
  }

  async touchUser(tenant: string, user: string): Promise<void> {
    const key = keys.user(tenant, user)
    await this.#redis.ask(tenant, async () => {
      // Not to bring one back who has just been dropped.
      if (await this.#redis.client.exists(key)) await this.#redis.client.hset(key, 'updated_at', Date.now())
    })
  }

  async dropIdleUsers(tenant: string, before: number, from: string): Promise<{ dropped: number; next: string }> {
    const start = keys.user(tenant, '')
    const node = nodeOf(this.#redis.client, tenant)
    const [left, found] = await this.#redis.askLong(tenant, () =>
      node.scan(from || '0', 'MATCH', `${start}*`, 'COUNT', KEYS_A_SCAN),
    )
    let dropped = 0
    for (const key of found) {
      const user = key.slice(start.length)
      const on = [key, keys.edges(tenant, user), keys.edgeOrder(tenant, user)]
      const args = [before, ...announcing({ kind: 'user', tenant, user })]
      dropped += Number(await this.#redis.runLong(tenant, 'drop-user', on, args))
    }
    return { dropped, next: left === '0' ? '' : left }
  }
}

const packedArguments = (
  next: StoredUser,
  edges: readonly StoredEdge[] | undefined,
  change: string[],
  askedAt: number,
): Argument[] => {
  const memory = edges && encodeMemory(next, edges)
  return [
    ...[next.revision, next.rewards, JSON.stringify(next.preferences), next.updatedAt, ...change, askedAt],
    ...(memory ? [memory.belief, memory.history, floatBytes(next.older)] : []),
  ]
}

const earlierArguments = (
  next: StoredUser,
  { sums, edge }: { sums: Float32Array; edge: StoredEdge },
  change: string[],
  askedAt: number,
): Argument[] => [
  ...[next.revision, next.policy, next.rewards, floatBytes(sums), Buffer.from(numbersOfPlain(next.state))],
  ...[JSON.stringify(next.preferences), next.updatedAt, ...change, MAX_EDGES, next.since, next.heardAt, askedAt],
  ...[earlierId(edge), edge.seq, encodeEdge(edge)],
]

const STATE_FIELDS = [
  'revision',
  'rewards',
  'preferences',
  'updated_at',
  'belief',
  // As earlier versions write a belief.
  'policy',
  'state',
  'since',
  'heard_at',
] as const
const USER_FIELDS = [...STATE_FIELDS, 'older', 'sums'] as const
type Fields<F extends string> = Record<F, Buffer | null>

const NOTHING = Buffer.alloc(0)

const userStateOf = (fields: Fields<(typeof STATE_FIELDS)[number]>): UserState & Pick<StoredUser, 'told'> => ({
  revision: Number(fields.revision),
  rewards: Number(fields.rewards),
  ...beliefOf(fields.belief, {
    policy: String(fields.policy ?? ''),
    state: fields.state ?? NOTHING,
    since: Number(fields.since ?? 0),
    heardAt: Number(fields.heard_at ?? 0),
  }),
  preferences: JSON.parse(String(fields.preferences)),
  updatedAt: Number(fields.updated_at),
})
