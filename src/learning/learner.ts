import { setTimeout as sleep } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type { Logger } from '../observability/logger.ts'
import {
  evidenceKey,
  evidenceName,
  forgottenAt,
  forgottenKey,
  JUDGE,
  type Speaker,
  voiceOf,
} from '../routing/choose/evidence.ts'
import type { Policy } from '../routing/policy.ts'
import { KeyedQueue } from '../runtime/keyed-queue.ts'
import { userKey } from '../runtime/keys.ts'
import { atMost } from '../runtime/lru.ts'
import { PerMinute } from '../runtime/per-minute.ts'
import { quantise } from '../runtime/quantise.ts'
import { floatBytes } from '../store/bytes.ts'
import { plainState } from '../store/plain-state.ts'
import type { RewardRecord } from '../store/records/codec.ts'
import {
  ErasedError,
  type InteractionSummary,
  MAX_EDGES,
  type Store,
  type StoredEdge,
  type StoredUser,
  StoreError,
} from '../store/store.ts'
import { AlikeSums } from './alike-sums.ts'
import {
  type Belief,
  believed,
  type FindCandidate,
  messagesOf,
  NOTHING_OLDER,
  queriesOf,
  rebuild,
  withOlder,
  withoutVectorsInClear,
} from './belief.ts'
import { edgesOf, outdatedBy, withdrawn } from './edges.ts'
import {
  type HearingRules,
  isHeard,
  isSaidAlike,
  lastWordOf,
  ofTenant,
  type Said,
  type Telling,
  tellingOf,
  wholeTelling,
} from './hearing.ts'
import { KeptEdges, type Learned } from './kept-edges.ts'
import { propertiesOf } from './kinds.ts'
import { LearnLater } from './learn-later.ts'
import { isFiniteVector, withoutZerosAtEnd } from './profile.ts'
import type { UserStates } from './user-states.ts'
import type { VectorVault } from './vector-vault.ts'

export interface LearnerOptions {
  store: Store
  states: UserStates
  vault: VectorVault
  find: FindCandidate
  /**
   * Which policy serves a user by now: for rewards that had to wait for the store. Without it they are learned under
   * the first one.
   */
  policyFor?: (tenant: string, user: string) => Policy | null
  hearing: HearingRules & { halfLifeDays: number }
  /** After how many days without a request a user of this tenant is dropped; never where left out. */
  userDays?: (tenant: string) => number
  /** Of one key that nobody vouches for: users of whom a belief is begun. */
  newUsersPerMinute?: number
  /** A user rates a candidate for the first time. */
  onFirstWord?: (tenant: string, candidate: string, reward: number) => void
  log: Logger
  retryEveryMs?: number
}

/**
 * - `learned`: the next request is scored with it;
 * - `kept`: this artifact can't read it, another one may;
 * - `outdated`: a later reward of the same answer is there already;
 * - `no_vector`: nothing to learn from was kept of the question;
 * - `quarantined`: the belief is broken, so that the user counts as a new one;
 * - `erased`: the user has been erased since they asked;
 * - `paced`: more hints came of this user than a person gives, or more new users of one key than a key has; the log has
 *   them for the next training.
 */
export type Outcome = 'learned' | 'kept' | 'outdated' | 'no_vector' | 'quarantined' | 'paced' | 'erased'

type NewEdge = Omit<StoredEdge, 'seq'>

/** What is kept of a user's ratings. */
export interface Standing {
  /** They have been here for long enough to count for others. */
  isHeard: boolean
  /** How many answers they have rated since then; infinitely many where they have said more than is kept. */
  ratings: number
}

const CLOSE_WITHIN_MS = 2_000

const HINTS_A_MINUTE = 60
const DAY_MS = 86_400_000

/** Other processes may change the same user at the same time; each loss means that another one made progress. */
const MAX_TRIES = 20

/**
 * Turns rewards into beliefs, online: reward -> edge -> messages -> the user's sums -> their state. Edges and state are
 * stored, and cached with the sums. No gradient step.
 */
export class Learner {
  readonly #store: Store
  readonly #states: UserStates
  readonly #vault: VectorVault
  readonly #find: FindCandidate
  readonly #log: Logger
  readonly #queue = new KeyedQueue()
  readonly #pace = new PerMinute(HINTS_A_MINUTE)
  readonly #kept: KeptEdges
  readonly #alike = new AlikeSums()
  readonly #later: LearnLater
  readonly #working = new Set<Promise<Outcome>>()
  readonly #policyFor: LearnerOptions['policyFor']
  readonly #hearing: LearnerOptions['hearing']
  readonly #userDays: LearnerOptions['userDays']
  readonly #newUsers: PerMinute
  readonly #knownUsers = new LRUCache<string, true>(atMost(10_000))
  readonly #onFirstWord: LearnerOptions['onFirstWord']

  constructor({
    store,
    states,
    vault,
    find,
    log,
    policyFor,
    hearing,
    userDays,
    onFirstWord,
    retryEveryMs,
    ...rest
  }: LearnerOptions) {
    this.#later = new LearnLater({ log, ...(retryEveryMs !== undefined && { everyMs: retryEveryMs }) })
    this.#policyFor = policyFor
    this.#hearing = hearing
    this.#userDays = userDays
    this.#newUsers = new PerMinute(rest.newUsersPerMinute ?? Number.POSITIVE_INFINITY)
    this.#onFirstWord = onFirstWord
    this.#store = store
    this.#kept = new KeptEdges(store)
    this.#states = states
    this.#vault = vault
    this.#find = find
    this.#log = log
  }

  /**
   * Takes in one reward. Giving the same one again changes nothing.
   *
   * @param policy the one that serves this user
   * @param onFirst called when the first reward of its kind for this answer has been taken in, whoever was quicker
   * @throws StoreError when the store is away; the reward is learned when it is back
   */
  async apply(
    policy: Policy,
    reward: RewardRecord,
    interaction: InteractionSummary,
    onFirst?: (standing: Standing) => Promise<void>,
  ): Promise<Outcome> {
    const { tenant, user } = interaction
    if (propertiesOf(reward.kind).hint && !this.#pace.allows(userKey(tenant, user))) return 'paced'
    const working = this.#apply(policy, reward, interaction, onFirst)
    this.#working.add(working)
    try {
      return await working
    } catch (error) {
      if (error instanceof StoreError) {
        this.#later.add(tenant, user, () =>
          this.#apply(this.#policyFor?.(tenant, user) ?? policy, reward, interaction, onFirst),
        )
      }
      throw error
    } finally {
      this.#working.delete(working)
    }
  }

  /** Waits for what is being learned; what waits for the store is left to the log. */
  async close(): Promise<void> {
    this.#later.close()
    await Promise.race([Promise.allSettled(this.#working), sleep(CLOSE_WITHIN_MS, undefined, { ref: false })])
  }

  async #apply(
    policy: Policy,
    reward: RewardRecord,
    interaction: InteractionSummary,
    onFirst?: (standing: Standing) => Promise<void>,
  ): Promise<Outcome> {
    const { tenant, user } = interaction
    const speaker = { user, key: interaction.key ?? '', vouched: interaction.vouched ?? false }
    const { ts: askedAt } = interaction
    const working = this.#queue.run(userKey(tenant, user), async () => {
      const edges = edgesOf(reward, await this.#read(policy, interaction))
      if (edges.length === 0) return 'no_vector'
      let stored: StoredUser | null | undefined
      if (propertiesOf(reward.kind).rates) {
        stored = await this.#store.loadUser(tenant, user)
        for (const edge of outdatedBy(reward, await this.#kept.of(tenant, user, stored))) {
          await this.#commit(policy, tenant, user, withdrawn(edge, reward.ts), speaker, speaker, askedAt)
          stored = undefined
        }
      }
      if (!this.#isKnown(tenant, speaker)) {
        if (stored === undefined) stored = await this.#store.loadUser(tenant, user)
        if (!this.#admits(tenant, speaker, stored !== null)) return 'paced'
      }
      let outcome: Outcome = 'learned'
      let first: Standing | null = null
      const by = propertiesOf(reward.kind).ofUser ? speaker : null
      for (const [i, edge] of edges.entries()) {
        const done = await this.#commit(policy, tenant, user, edge, speaker, by, askedAt, i === 0 ? stored : undefined)
        outcome = done.outcome
        first ??= done.first
      }
      if (first) await onFirst?.(first)
      return outcome
    })
    return working.catch((error: unknown) => {
      if (error instanceof ErasedError) return 'erased'
      throw error
    })
  }

  /**
   * An answer's question as this policy's reader reads it, where it can; a plain vector does not go on from here. What
   * was read when it came wins, since that knows of the tools that the request brought.
   */
  async #read(policy: Policy, interaction: InteractionSummary): Promise<InteractionSummary> {
    const { tenant, user, vector } = interaction
    const { reader } = policy.router.artifact.manifest
    if (!vector || (interaction.reading && interaction.reader === reader)) return interaction
    const kept = 'plain' in vector.of ? null : vector
    const [opened] = await this.#vault.openEdges(tenant, user, reader, [interaction])
    const [query] = reader ? await queriesOf(policy, opened ? [opened] : []) : []
    return query
      ? { ...interaction, reading: quantise(query), reader: reader ?? '', vector: kept }
      : { ...interaction, vector: kept }
  }

  /**
   * Sets what the tenant states of a user.
   *
   * @returns whether it did: not of more new users than a key has. @throws StoreError
   */
  setPreferences(
    policy: Policy | null,
    tenant: string,
    speaker: Speaker,
    preferences: Record<string, unknown>,
  ): Promise<boolean> {
    const { user } = speaker
    return this.#queue.run(userKey(tenant, user), async () => {
      if (!this.#isKnown(tenant, speaker)) {
        const isStored = (await this.#store.loadUserState(tenant, user)) !== null
        if (!this.#admits(tenant, speaker, isStored)) return false
      }
      await this.#compareAndSet(policy, tenant, user, async (stored) => ({
        next: { ...(stored ?? { ...NOBODY, policy: policy?.version ?? '' }), preferences },
        result: undefined,
      }))
      return true
    })
  }

  #isKnown(tenant: string, { user, vouched }: Speaker): boolean {
    return vouched || this.#knownUsers.has(userKey(tenant, user))
  }

  /** Ids that a key makes up must not fill the store. */
  #admits(tenant: string, { user, key }: Speaker, isStored: boolean): boolean {
    const admits = isStored || this.#newUsers.allows(userKey(tenant, key))
    if (admits) this.#knownUsers.set(userKey(tenant, user), true)
    return admits
  }

  /** Erases a user after what is being learned of them. Returns how many rows went. */
  forgetUser(tenant: string, user: string): Promise<number> {
    this.#later.forget(tenant, user)
    return this.#queue.run(userKey(tenant, user), async () => {
      const rows = await this.#store.eraseUser(tenant, user)
      this.#kept.forget(tenant, user)
      this.#alike.forget(tenant, user)
      this.#states.invalidate(tenant, user)
      return rows
    })
  }

  /**
   * @param asker whose answer it is
   * @param speaker whose word it is in the tenant's evidence on an LLM; null: the judge's
   * @param known the user, where just loaded
   */
  async #commit(
    policy: Policy,
    tenant: string,
    user: string,
    edge: NewEdge,
    asker: Speaker,
    speaker: Speaker | null,
    askedAt: number,
    known?: StoredUser | null,
  ): Promise<{ outcome: Outcome; first: Standing | null }> {
    const change = async (stored: StoredUser | null): Promise<Change<Committed>> => {
      const kept = await this.#kept.of(tenant, user, stored)
      const old = kept.find(({ id }) => id === edge.id)
      if (old && old.ts > edge.ts) return { result: { outcome: 'outdated', told: null, isFirst: false } }
      const added: StoredEdge = { ...edge, seq: (kept.at(-1)?.seq ?? 0) + 1 }
      const others = kept.filter(({ id }) => id !== added.id)
      const said = { others, added, old }
      const learned = await this.#learn(policy, tenant, user, stored, said)
      const { belief, basis, was, older, before } = learned
      const now = belief.last
      if (!isFiniteVector(belief.state)) {
        return { result: { outcome: 'quarantined', told: null, isFirst: false } }
      }
      const since = stored?.since || kept[0]?.ts || added.ts
      const words = { since, ...said, now, before, counts: speaker !== null }
      const { told: ofLlms, heardAt } = await this.#hear(policy, tenant, asker, stored?.heardAt ?? 0, words)
      const wasTold =
        stored?.heardAt && heardAt > 0
          ? (learned.wasTold ?? (await this.#toldBefore(policy, tenant, user, stored, kept, was)))
          : null
      // A judge's words are not the user's: what these tell of the tenant waits for the user's next.
      const tells = heardAt > 0 && speaker !== null && !isBesideVouched(others, asker)
      const tellsNow = tells ? await this.#tellsOfTenant(policy, tenant, user, [...others, added], belief) : belief.told
      const earlier = tells && wasTold ? await this.#unforgotten(policy, tenant, wasTold, lastWordOf(kept)) : null
      const ofPeople = tells ? ofTenant(tellsNow, earlier, added.ts, this.#hearing.halfLifeDays) : []
      const told = new Map([...ofLlms, ...ofPeople])
      const toldNow = !tells && wasTold ? wasTold : tellsNow
      const rewards = (stored?.rewards ?? 0) + counted(added) - (old ? counted(old) : 0)
      const asBefore = this.#store.hasEarlierReplicas && (stored === null || stored.sums !== undefined)
      const next: NextUser = {
        preferences: stored?.preferences ?? {},
        state: asBefore ? plainState(floatBytes(belief.state)) : belief.packed,
        older,
        ...(asBefore && { sums: withoutZerosAtEnd(belief.sums) }),
        policy: policy.version,
        rewards,
        since,
        heardAt,
        ...(heardAt > 0 && !asBefore && { told: toldNow }),
      }
      const edges = await withoutVectorsInClear(policy, [...others, added].slice(-MAX_EDGES))
      const isFirst = speaker !== null && !old && !others.some(({ candidate }) => candidate === added.candidate)
      const first = old ? null : standingOf(stored, kept, asker)
      const result: Committed = { outcome: now ? 'learned' : 'kept', told, isFirst, first }
      return { next, learned: { edges, basis, sums: belief.sums, told: toldNow }, result }
    }
    const { outcome, told, isFirst, first } = await this.#compareAndSet(policy, tenant, user, change, known, askedAt)
    if (outcome === 'quarantined') this.#states.quarantine(policy, tenant, user)
    if (told) await this.#tell(policy, tenant, `${speaker ? '' : JUDGE}${voiceOf(asker)}`, told)
    if (isFirst && counted(edge) > 0) this.#onFirstWord?.(tenant, edge.candidate, edge.reward)
    return { outcome, first: first ?? null }
  }

  /**
   * What an edge more tells of LLMs. The first one by which its user is heard tells all that they said before, too.
   * What was said in their name without anybody's answering for it is not theirs. Who had themselves erased, or was
   * dropped since they were not here for long, has been heard before, and their words still count: they are not heard
   * again as long as the erasure is remembered, or the log has what they said then.
   */
  async #hear(
    policy: Policy,
    tenant: string,
    { user, vouched }: Speaker,
    heardAt: number,
    said: Said & { since: number },
  ): Promise<{ told: ReadonlyMap<string, Float32Array>; heardAt: number }> {
    const { counts, added } = said
    const others = said.others.filter((edge) => isSaidAlike(edge, vouched))
    if (!counts || heardAt > 0) return { told: tellingOf({ ...said, others }), heardAt }
    const none = { told: new Map<string, Float32Array>(), heardAt }
    if (isBesideVouched(said.others, { vouched })) return none
    const since = others.length === said.others.length ? said.since : (others[0]?.ts ?? added.ts)
    const edges = await this.#open(policy, tenant, user, [...others, added])
    if (!isHeard(edges, since, added.ts, this.#hearing)) return none
    if ((await this.#store.wasErased(tenant, user)) || (await this.#wasDropped(tenant, user, said.since))) return none
    return { told: wholeTelling(edges, await messagesOf(policy, tenant, edges, this.#find)), heardAt: added.ts }
  }

  /** Whether a user spoke so long before the first word that is kept of them that they were dropped meanwhile. */
  async #wasDropped(tenant: string, user: string, since: number): Promise<boolean> {
    const days = this.#userDays?.(tenant)
    if (days === undefined) return false
    const until = since - days * DAY_MS
    for await (const page of this.#store.readRewards({ tenant, user, until, fields: ['kind'] })) {
      if (page.some(({ kind }) => propertiesOf(kind).ofUser)) return true
    }
    return false
  }

  /** What a user tells of their tenant, [Y]: of what was said as the last of the edges was. */
  async #tellsOfTenant(
    policy: Policy,
    tenant: string,
    user: string,
    edges: readonly StoredEdge[],
    belief: Belief,
  ): Promise<Float32Array> {
    const vouched = edges.at(-1)?.vouched ?? false
    const alike = edges.filter((edge) => isSaidAlike(edge, vouched))
    if (alike.length === edges.length) return belief.told
    const [before, added] = [alike.slice(0, -1), alike.slice(-1)]
    const of = { of: `${policy.version} ${policy.router.llms.basisOf(tenant)}`, vouched }
    const sums = this.#alike.over(tenant, user, of, before, edges.length > MAX_EDGES)
    const whole = sums
      ? await believed(
          policy,
          tenant,
          { sums, seq: before.at(-1)?.seq ?? 1 },
          await this.#open(policy, tenant, user, added),
          this.#find,
        )
      : await this.#rebuild(policy, tenant, user, alike)
    if (isFiniteVector(whole.sums)) this.#alike.keep(tenant, user, of, alike, whole.sums)
    return whole.told
  }

  /**
   * The belief with an edge more, sums of edges that are not kept any more, as they were and as they are with it, and
   * what that edge said before; null where it can't be read. `wasTold`: see `#toldBefore`, where it came along.
   */
  async #learn(
    policy: Policy,
    tenant: string,
    user: string,
    stored: StoredUser | null,
    { others, added, old }: Pick<Said, 'others' | 'added' | 'old'>,
  ): Promise<Learnt> {
    const gone = others.slice(0, Math.max(0, others.length + 1 - MAX_EDGES))
    const was = stored
      ? await this.#olderOf(policy, tenant, user, stored, old ? [...others, old] : others)
      : NOTHING_OLDER
    const { llms } = policy.router
    let basis = llms.basisOf(tenant)
    const openGone = await this.#open(policy, tenant, user, gone)
    let sums = old ? null : this.#kept.sumsOf(policy, tenant, user, stored)
    let wasTold: Float32Array | undefined
    if (!sums && !old && stored && this.#asksWhatTheyTold(policy, tenant, user, stored)) {
      // The belief before is needed, too: this edge is added to it, and all others are read once.
      const earlier = await this.#rebuild(policy, tenant, user, others, was)
      sums = earlier.sums
      wasTold = earlier.told
    }
    if (sums) {
      const open = await this.#open(policy, tenant, user, [added])
      const belief = await believed(policy, tenant, { sums, seq: others.at(-1)?.seq ?? 1 }, open, this.#find, openGone)
      if (isFiniteVector(belief.state) && basis === llms.basisOf(tenant)) {
        return { belief, basis, was, older: withOlder(was, belief.gone, policy), before: null, wasTold }
      }
    }
    // Sums that are not in memory, or of other codes, or went wrong at some time, are made anew from the history.
    basis = llms.basisOf(tenant)
    const belief = await this.#rebuild(policy, tenant, user, [...others, added], was)
    const [before = null] = old
      ? await messagesOf(policy, tenant, await this.#open(policy, tenant, user, [old]), this.#find)
      : []
    const told = await messagesOf(policy, tenant, openGone, this.#find)
    const ofGone = told.map((messages) => messages?.user ?? null)
    return { belief, basis, was, older: withOlder(was, ofGone, policy), before: before?.llm ?? null }
  }

  /** Whether what they told of their tenant before must be made anew of their history. */
  #asksWhatTheyTold(policy: Policy, tenant: string, user: string, stored: StoredUser): boolean {
    const isCurrent = stored.heardAt > 0 && stored.policy === policy.version
    return isCurrent && this.#kept.toldBy(policy, tenant, user, stored) === null
  }

  /** What a user told of their tenant before this edge, [Y]: made anew from the history where it is not in memory. */
  async #toldBefore(
    policy: Policy,
    tenant: string,
    user: string,
    stored: StoredUser,
    kept: readonly StoredEdge[],
    was: Float32Array,
  ): Promise<Float32Array | null> {
    if (policy.router.artifact.dims.Y === 0) return null
    const known = this.#kept.toldBy(policy, tenant, user, stored)
    if (known) return known
    // Under another artifact they have told nothing yet: what they told lies with that one.
    if (stored.policy !== policy.version) return null
    return (await this.#rebuild(policy, tenant, user, kept, was)).told
  }

  /** What they told, unless that has been forgotten since (`DELETE /admin/evidence`). */
  async #unforgotten(policy: Policy, tenant: string, told: Float32Array, at: number): Promise<Telling | null> {
    if (told.length === 0) return null
    const marks = await this.#store.loadEvidence(tenant, forgottenKey(policy.version))
    return at > forgottenAt(marks) ? { told, at } : null
  }

  /** Sums of what was said before the first edge that is kept; an earlier version has them in its sums over all. */
  async #olderOf(
    policy: Policy,
    tenant: string,
    user: string,
    stored: StoredUser,
    edges: readonly StoredEdge[],
  ): Promise<Float32Array> {
    const { dims, manifest } = policy.router.artifact
    if (stored.policy !== policy.version || !isFiniteVector(stored.older)) return NOTHING_OLDER
    const { sums } = stored
    const isWhole = edges.length < MAX_EDGES || edges.some(({ seq }) => seq === 1)
    if (!sums || isWhole || sums.length !== dims.H || !isFiniteVector(sums)) return stored.older
    const inOrder = [...edges].sort((a, b) => a.seq - b.seq)
    const opened = await this.#open(policy, tenant, user, inOrder)
    const readable = (await messagesOf(policy, tenant, opened, this.#find)).filter((one) => one !== null).length
    const { sums: ofKept } = await this.#rebuild(policy, tenant, user, inOrder)
    const faded = manifest.forget.per_reward ** readable
    const last = dims.H - dims.G
    return sums.slice(last).map((value, i) => (value - (ofKept[last + i] ?? 0)) / faded)
  }

  #open(policy: Policy, tenant: string, user: string, edges: readonly StoredEdge[]): Promise<readonly StoredEdge[]> {
    return this.#vault.openEdges(tenant, user, policy.router.artifact.manifest.reader, edges)
  }

  async #rebuild(
    policy: Policy,
    tenant: string,
    user: string,
    edges: readonly StoredEdge[],
    older?: Float32Array,
  ): Promise<Belief> {
    return rebuild(policy, tenant, await this.#open(policy, tenant, user, edges), this.#find, older)
  }

  /** Adds to what the tenant's users together know of an LLM. Losing it costs a little knowledge, not the reward. */
  async #tell(policy: Policy, tenant: string, voice: string, told: ReadonlyMap<string, Float32Array>): Promise<void> {
    try {
      const key = evidenceKey(policy.version)
      const rows = [...told].filter(([, row]) => isFiniteVector(row))
      // Together they are one write to the store.
      await Promise.all(
        rows.map(([candidate, row]) =>
          this.#store.addEvidence(tenant, key, evidenceName(candidate, voice), row, this.#hearing.halfLifeDays),
        ),
      )
      if (told.size > 0) policy.router.llms.refreshSoon(tenant)
    } catch (error) {
      this.#log.warn({ err: error, tenant }, 'evidence not stored')
    }
  }

  /**
   * Optimistic locking: load, change, store unless another process did, else again. Without `next` nothing changes.
   *
   * @param known the user, where just loaded
   */
  async #compareAndSet<T>(
    policy: Policy | null,
    tenant: string,
    user: string,
    change: (stored: StoredUser | null) => Promise<Change<T>>,
    known?: StoredUser | null,
    askedAt?: number,
  ): Promise<T> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      if (tries > 0) await sleep(Math.random() * 5 * tries)
      const isKnown = tries === 0 && known !== undefined
      const stored = isKnown ? known : await this.#store.loadUser(tenant, user)
      const { next, learned, result } = await change(stored)
      if (!next) return result
      const written = { ...next, revision: (stored?.revision ?? 0) + 1, updatedAt: Date.now() }
      if (await this.#store.commitUser(tenant, user, written, learned?.edges, askedAt)) {
        this.#states.put(policy, tenant, user, written)
        this.#kept.committed(tenant, user, written, stored, learned)
        return result
      }
    }
    throw new StoreError('The user changes faster than a reward can be stored.')
  }
}

/** See `#learn`. */
interface Learnt {
  belief: Belief
  basis: string
  was: Float32Array
  older: Float32Array
  before: Float32Array | null
  wasTold?: Float32Array | undefined
}

/** What an edge did, and what it tells others. */
interface Committed {
  outcome: Outcome
  told: ReadonlyMap<string, Float32Array> | null
  /** The user's first word of this candidate. */
  isFirst: boolean
  /** How the user stood before, where they had said nothing of this kind of the answer. */
  first?: Standing | null
}

interface Change<T> {
  next?: NextUser
  /** Where edges changed: all of them, and the sums over them. */
  learned?: Learned
  result: T
}

type NextUser = Omit<StoredUser, 'revision' | 'updatedAt'>

const NOBODY: NextUser = {
  policy: '',
  rewards: 0,
  state: new Uint8Array(0),
  older: NOTHING_OLDER,
  preferences: {},
  since: 0,
  heardAt: 0,
}

/**
 * Hints, such as that a conversation went on, move the belief a little and say nothing of how well the user is known.
 */
const counted = ({ weight }: NewEdge) => (weight >= 0.5 ? 1 : 0)

/** Nobody answers for who says it, and for who said others under that name somebody did. */
const isBesideVouched = (others: readonly StoredEdge[], { vouched }: Pick<Speaker, 'vouched'>): boolean =>
  !vouched && others.some((edge) => edge.vouched === true)

function standingOf(stored: StoredUser | null, kept: readonly StoredEdge[], { vouched }: Speaker): Standing {
  const heardAt = stored?.heardAt ?? 0
  const isWhole = kept.length < MAX_EDGES || kept[0]?.seq === 1
  const since = kept.filter((edge) => edge.ts > heardAt && isSaidAlike(edge, vouched))
  const ratings = since.filter(({ id }) => id.endsWith(':rating')).length
  return { isHeard: heardAt > 0, ratings: heardAt === 0 ? 0 : isWhole ? ratings : Number.POSITIVE_INFINITY }
}
