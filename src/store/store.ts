import type { Scope } from '../candidates/scopes.ts'
import type { QuantisedVector } from '../runtime/quantise.ts'
import type { Idempotency, Limits } from './limits.ts'
import type { InteractionRecord, RewardRecord } from './records/codec.ts'
import type { GainNote } from './records/records.ts'
import type { Responses } from './responses.ts'
import type { UsageLog } from './usage.ts'

/** A tenant key as stored: the secret itself is nowhere. */
export interface KeyRecord {
  id: string
  tenant: string
  name: string
  /** SHA-256 of the key, hex: the look-up index. */
  hash: string
  /** First characters, to recognise it by. */
  prefix: string
  createdAt: number
  /** Unix milliseconds, null = never. */
  expiresAt: number | null
  revokedAt: number | null
  /** Candidate names or groups this key may use; null = all of the tenant's. */
  models: string[] | null
  /** The user whose key it is, as clients would name them; null = requests say. */
  user: string | null
  /** See `candidates/scopes.ts`; null = the usual ones. */
  scopes: Scope[] | null
}

/**
 * A user's belief and what the tenant stated of them. Their edges are the truth, and kept beside it (`loadEdges`): the
 * belief is made of them, and kept so that a request need not.
 */
export interface StoredUser {
  /** Grows by one with every commit: optimistic locking. */
  revision: number
  /** Artifact version under which `state` and `older` were computed. */
  policy: string
  /** Answers that the user spoke of: ratings, preferences and what weighs as much; hints do not count. */
  rewards: number
  /** As `packState` packs it; empty where it must be made of the edges. */
  state: Uint8Array
  /** Sums of the messages of edges that are no longer kept, as they were before the oldest that is; empty: none. */
  older: Float32Array
  /** What they told of their tenant under `policy`, so that it need not be made of the edges again; absent: unknown. */
  told?: Float32Array
  /** Of a row as the version before writes it (`hasEarlierReplicas`): sums over all edges under `policy`. */
  sums?: Float32Array
  /** Stated preferences (PUT profile). */
  preferences: Record<string, unknown>
  updatedAt: number
  /** Unix milliseconds of their first reward; 0: none yet, or from before this was kept. */
  since: number
  /** Unix milliseconds since when what they say of an LLM counts for the tenant's others; 0: not yet. */
  heardAt: number
}

export type UserState = Omit<StoredUser, 'older' | 'told' | 'sums'>

/**
 * One rewarded answer of a user: of which their belief is made. The newest `MAX_EDGES` a user are kept. Numbers are
 * float32.
 */
export interface StoredEdge {
  /** `edgeId`: a later reward of the same kind for the same answer replaces the earlier one. */
  id: string
  /** What the id is a hash of, where it is at hand: it isn't kept. */
  interaction?: string
  /** Grows with every edge of the user that is added or replaced: their order. */
  seq: number
  ts: number
  candidate: string
  /** What was read in the query; null where this was written by a version that kept the vector. */
  reading: QuantisedVector | null
  /** The manifest's `reader`: under another one the reading means nothing. */
  reader: string
  vector: KeptVector | null
  reward: number
  /** Name in the manifest's `kinds`. */
  kind: string
  weight: number
  promptTokens: number
  /** Negative = unknown. */
  completionTokens: number
  costUsd: number
  /** Somebody answered for the user's name when they asked; absent where an earlier version wrote it. */
  vouched?: boolean
}

export const MAX_EDGES = 512

/**
 * A query vector that is kept beside its reading, so that an artifact with another reader can read it: of tenants that
 * asked for that, sealed; `plain` only where an earlier version of this program wrote it.
 */
export interface KeptVector {
  /** Version of the embedder: under another one the vector means nothing. */
  embedder: string
  of: { sealed: string } | { plain: QuantisedVector }
}

/** What an artifact reads in a query, and which reader it was. */
export interface Reading {
  reading: QuantisedVector
  reader: string
}

/** A query vector that an earlier version of this program kept in clear. */
export interface ClearVector {
  tenant: string
  vector: KeptVector
}

/** What is kept in their place; null where the tenant's artifact can't read them: then nothing is. */
export type ReadVectors = (vectors: readonly ClearVector[]) => Promise<readonly (Reading | null)[]>

/** What feedback needs of an interaction; found also while the answer is still on its way. */
export interface InteractionSummary {
  id: string
  tenant: string
  user: string
  conversation: string | null
  candidate: string
  reading: QuantisedVector | null
  reader: string
  vector: KeptVector | null
  promptTokens: number
  completionTokens: number
  costUsd: number
  ts: number
  /** False while the answer is on its way. */
  ended: boolean
  /** What a rating tells of the router's gain; null where it tells nothing. */
  gain?: GainNote | null
  /** The provider's id, as soon as it is known; or the id of the message that the client named. */
  completionId?: string | null
  /** Id of the key that it was asked with. */
  key?: string
  /** Somebody answers for the user's name (`routing/choose/evidence.ts`). */
  vouched?: boolean
}

/** An answer that has a completion id. Providers give an id to many: those of a tenant's newest are known. */
export interface CompletionRef {
  interaction: string
  /** A hash of the user (`userHash`). */
  user: string
  /** When the request came, Unix milliseconds. */
  ts: number
}

/** Answers known of one completion id. */
export const MAX_COMPLETIONS = 16

/** The last turn of a conversation: what stickiness and implicit rewards compare with. */
export interface ConversationState {
  candidate: string
  interaction: string
  user: string
  /** Hash of the last user message. */
  lastUserHash: string
  /** Vector of the last user message, sealed under what the client sends again with each turn (`Turn.seal`). */
  vector: string | null
  messages: number
  promptTokens: number
  ts: number
}

/** Sums by name, under one key of a tenant. */
export type Evidence = Map<string, Float32Array>

/** Something of a tenant's requests that a deployment refused, and another took. */
/** All where left out. */
export interface RefusalFilter {
  deployment?: string | undefined
  field?: string | undefined
}

export interface StoredRefusal {
  /** `<provider>/<model>` */
  deployment: string
  /** As `Learned` reads it: a field, a field and its value, a role, a part. */
  field: string
  /** Unix milliseconds. */
  expiresAt: number
}

export type Invalidation =
  /** `revision`: what the user is now; absent: erased, moved, or by a version that does not tell. */
  | { kind: 'user'; tenant: string; user: string; revision?: number }
  | { kind: 'keys'; tenant: string }
  | { kind: 'evidence'; tenant: string }
  /** A deployment refused something new. */
  | { kind: 'refusals'; tenant: string }
  /** The operator switched a tenant's mode. */
  | { kind: 'mode'; tenant: string }
  /** The connection was interrupted, so that changes may have been missed: drop every cached copy. */
  | { kind: 'all' }

/** A user, or a whole tenant, that was erased. */
export interface Erasure {
  tenant: string
  /** `userHash`; '' for all of the tenant's. */
  userHash: string
  /** Unix milliseconds. */
  at: number
}

/** A user who has got another id (`moveUser`). */
export interface Move {
  tenant: string
  from: string
  /** The present one, however many there were between. */
  to: string
}

export interface RecordFilter {
  tenant?: string
  /** As stored; only together with `tenant`. */
  user?: string
  /** Unix milliseconds, inclusive. */
  since?: number
  until?: number
  /** Fields that are looked at: a reader may leave all others undefined, whatever the type of a record says. */
  fields?: readonly (keyof InteractionRecord | keyof RewardRecord)[]
}

/**
 * Everything that outlives a process. Implementations: SQLite (one process) and Redis (any number of replicas); one
 * contract suite runs on all. Methods reject with `StoreError` when the store can't be reached in time; callers decide
 * what a lack of it means.
 */
export interface Store {
  readonly kind: 'sqlite' | 'redis'
  /**
   * Replicas of the version before use it, too, and read users only as they write them: whoever has not been packed yet
   * is written with `sums` and a plain state.
   */
  readonly hasEarlierReplicas: boolean
  /** A tenant's part may be away by itself: a cluster. */
  readonly isDivided: boolean
  readonly limits: Limits
  readonly idempotency: Idempotency
  readonly responses: Responses
  readonly usage: UsageLog

  findKey(hash: string): Promise<KeyRecord | null>
  createKey(key: KeyRecord): Promise<void>
  listKeys(tenant?: string): Promise<KeyRecord[]>
  /** False when there is no such key. */
  revokeKey(id: string, at: number): Promise<boolean>

  loadUser(tenant: string, user: string): Promise<StoredUser | null>
  /** What a request needs of a user. */
  loadUserState(tenant: string, user: string): Promise<UserState | null>
  /** Oldest first. */
  loadEdges(tenant: string, user: string): Promise<StoredEdge[]>
  /**
   * Writes the user, and their edges, if the stored revision still is `next.revision - 1` (0 = no user yet). False =
   * somebody was quicker: load again.
   *
   * @param edges all that are kept from now on, oldest first, at most MAX_EDGES; with `next.sums` the last is new.
   *   Left out: they stay, and so do the belief, sums, and since when they are known and heard; all else is written
   * @param askedAt when the request began that this is learned from, Unix milliseconds; absent: now
   * @throws ErasedError where user or tenant have been erased since then
   */
  commitUser(
    tenant: string,
    user: string,
    next: StoredUser,
    edges?: readonly StoredEdge[],
    askedAt?: number,
  ): Promise<boolean>
  /**
   * Erases user, edges, conversations, responses, interactions, rewards: all of it, in slices, so that others are
   * served meanwhile; where it fails on the way, erase again. Returns how many rows went. The store notes when:
   * whatever comes later of requests that began before it (from a spool, another replica, an answer on its way,
   * feedback on it) is left out. That is remembered as long as rows are kept.
   *
   * @param at of an erasure that was elsewhere: when it was, Unix milliseconds. What is newer stays: of a belief the
   *   edges, without what has no time of its own. Left out: now, and all goes
   */
  eraseUser(tenant: string, user: string, at?: number): Promise<number>

  /** Erases all that is kept of a tenant, keys included; as `eraseUser` for what comes later. Returns how much went. */
  eraseTenant(tenant: string): Promise<number>
  /**
   * Gives what is kept of a user another id, where nothing is known under that yet. False = there was nothing. Who
   * moved is remembered as long as rows are kept: what lies elsewhere, such as in an archive, has the former id.
   */
  moveUser(tenant: string, from: string, to: string): Promise<boolean>
  /** Present ids by former ones, of those among `users` who have moved. */
  presentIds(tenant: string, users: readonly string[]): Promise<ReadonlyMap<string, string>>
  /** Ids that a user has had. */
  formerIds(tenant: string, user: string): Promise<string[]>
  /** Everybody who has moved, of all tenants or of one, in batches. */
  listMoves(tenant?: string): AsyncIterable<Move[]>
  /** The user has been here: what is kept of them counts as of now. */
  touchUser(tenant: string, user: string): Promise<void>
  /**
   * Drops what was learned and stated of users who have not been here since `before`, at most one slice.
   *
   * @param from where the last slice ended; '' begins
   * @returns where to go on, or '' at the end
   */
  dropIdleUsers(tenant: string, before: number, from: string): Promise<{ dropped: number; next: string }>

  /** Takes query vectors that earlier versions kept in clear out of log and edges. Returns how many there were. */
  scrubVectors(read: ReadVectors): Promise<number>

  /** Notes that an answer is on its way (`ended: false`) so that feedback finds it; again, with its completion id. */
  openInteractions(rows: InteractionSummary[]): Promise<void>
  /** Idempotent: a row whose id is known is not written again. */
  appendInteractions(rows: InteractionRecord[]): Promise<void>
  /**
   * The log keeps every row; who reads it takes the latest of (interaction, user, kind). Idempotent by (interaction,
   * user, kind, ts).
   */
  appendRewards(rows: RewardRecord[]): Promise<void>
  /** By our request id, within the tenant only. */
  findInteraction(tenant: string, id: string): Promise<InteractionSummary | null>
  /** Answers with this completion id, the newest first, those included that are on their way; of the tenant's. */
  findCompletions(tenant: string, completionId: string): Promise<CompletionRef[]>
  /**
   * In order of time (SQLite) or of arrival (Redis: the same, but for rows that waited in a spool), in batches; erased
   * users' rows are not there.
   */
  readInteractions(filter: RecordFilter): AsyncIterable<InteractionRecord[]>
  readRewards(filter: RecordFilter): AsyncIterable<RewardRecord[]>
  /**
   * Takes rows out of the log that this process has read, and that are kept elsewhere by now, in slices. What was used
   * stays counted; the answers can no longer be rated.
   */
  dropInteractions(rows: readonly InteractionRecord[]): Promise<void>
  dropRewards(rows: readonly RewardRecord[]): Promise<void>
  /** Who was erased, of a tenant or of all, as long as that is remembered. */
  listErasures(tenant?: string): Promise<Erasure[]>
  /** Whether this user was, not their tenant. */
  wasErased(tenant: string, user: string): Promise<boolean>

  loadConversation(tenant: string, id: string): Promise<ConversationState | null>
  /**
   * Returns what it replaces: who saves a turn wants to know the one before, and need not ask on its own. Of a user who
   * was erased after `state.ts` nothing is saved.
   */
  saveConversation(
    tenant: string,
    id: string,
    state: ConversationState,
    ttlS: number,
  ): Promise<ConversationState | null>

  loadEvidence(tenant: string, key: string): Promise<Evidence>
  /**
   * Atomically adds to the sums of a name.
   *
   * @param halfLifeDays the last number is the day up to which the others have faded: what is there fades to the later
   *   of the two days first. Left out: nothing fades
   */
  addEvidence(tenant: string, key: string, name: string, added: Float32Array, halfLifeDays?: number): Promise<void>
  /** Forgets sums by name, or all of a key. Returns how many went. */
  dropEvidence(tenant: string, key: string, names?: readonly string[]): Promise<number>

  /** Keeps what was refused until it expires, and tells the other replicas. */
  noteRefusals(tenant: string, rows: readonly StoredRefusal[]): Promise<void>
  /** What has not expired. */
  listRefusals(tenant: string): Promise<StoredRefusal[]>
  /** Forgets what a deployment, or all, have refused, and tells the other replicas. Returns how many there were. */
  forgetRefusals(tenant: string, of: RefusalFilter): Promise<number>

  /**
   * A random part of the key under which a user's vectors are sealed: the one that is there, else `proposed`.
   *
   * @throws ErasedError as `commitUser`
   */
  salt(tenant: string, user: string, proposed: Buffer, askedAt?: number): Promise<Buffer>
  /** A tenant's mode that the operator switched to while replicas run; null: the configuration's. Opaque here. */
  loadMode(tenant: string): Promise<string | null>
  saveMode(tenant: string, mode: string | null): Promise<void>

  /**
   * One secret for all replicas: the one that is there, else `proposed`, from now on and for all. With null it only
   * looks.
   */
  sharedSecret(proposed: string): Promise<string>
  sharedSecret(proposed: null): Promise<string | null>
  /**
   * Which secret all replicas keep user ids under, by its fingerprint: the one that is noted, else `proposed`, which
   * also takes the place of those in `replaces`.
   */
  secretFingerprint(proposed: string, replaces: readonly string[]): Promise<string>

  /** Other processes' (and this one's) changes, so that cached copies can be dropped. Returns the way to stop. */
  subscribe(listener: (change: Invalidation) => void): () => void
  /** Throws when the store does not answer. */
  ping(): Promise<void>
  /**
   * Writes a little, and says by the way that this process is there. Resolves with what is wrong though it works, such
   * as a policy that drops what must stay. Rejects where nothing can be written.
   */
  check(): Promise<string[]>
  close(): Promise<void>
}

/** The user, or the tenant, was erased after the request began that this comes from: nothing of it is kept. */
export class ErasedError extends Error {
  override readonly name = 'ErasedError'
}

/** What a store tells of itself. */
export interface StoreEvents {
  /** A reading left out so many rows of the log: what they share with others is gone (`WHY_PASSED_BY`). */
  passedBy?(tenant: string, rows: number): void
}

export const WHY_PASSED_BY = 'what they share with others is gone, since Redis lost it, or they went meanwhile'

/** The store can't be reached, refuses, or takes too long. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
  /** What was asked was sent, and no reply came: it may have been done, and it may still be. */
  readonly mayBeDone: boolean

  constructor(message: string, { mayBeDone = false, ...options }: ErrorOptions & { mayBeDone?: boolean } = {}) {
    super(message, options)
    this.mayBeDone = mayBeDone
  }
}
