import { LRUCache } from 'lru-cache'
import type { Logger } from '../observability/logger.ts'
import { openState, ownState, PackedState, type UserStateVector } from '../routing/model/packed-state.ts'
import type { Policy } from '../routing/policy.ts'
import { inTime } from '../runtime/in-time.ts'
import { KeyedQueue } from '../runtime/keyed-queue.ts'
import { userKey } from '../runtime/keys.ts'
import { atMost } from '../runtime/lru.ts'
import type { Invalidation, Store, UserState } from '../store/store.ts'
import { type FindCandidate, rebuild } from './belief.ts'
import { isFiniteVector, NEW_USER, UNKNOWN_USER, type UserProfile } from './profile.ts'
import type { VectorVault } from './vector-vault.ts'

export interface UserStatesOptions {
  store: Store
  vault: VectorVault
  find: FindCandidate
  /** Users kept in memory. */
  max: number
  /**
   * A request waits no longer than this for a user who is not in memory; they are a new user for it, and known to the
   * next.
   */
  deadlineMs: number
  log: Logger
  /** Called for each failure of the store: for a metric. */
  onStoreError?: (call: string) => void
}

/** A user under the policies that asked for them: nearly always one, so that a map would be larger than its content. */
interface CachedUser {
  version: string
  profile: UserProfile | null
  /** Under other policies. */
  others: Map<string, UserProfile> | null
  loading: Map<string, Promise<UserProfile>> | null
}

function profileUnder(cached: CachedUser, version: string): UserProfile | undefined {
  if (cached.profile && cached.version === version) return cached.profile
  return cached.others?.get(version)
}

function keep(cached: CachedUser, version: string, profile: UserProfile): void {
  if (!cached.profile || cached.version === version) {
    cached.version = version
    cached.profile = profile
  } else {
    cached.others ??= new Map()
    cached.others.set(version, profile)
  }
}

/**
 * Rebuilding a long history keeps the thread for some milliseconds, in slices: one user at a time, so that requests
 * come between.
 */
const REBUILDS = 'rebuilds'

/** A day's use is noted once. */
const SEEN_EVERY_MS = 86_400_000

/** Without a policy only stated preferences matter. */
const NO_POLICY = ''

/**
 * Users' profiles, cached: what a request reads. Never fails: a user whom the store can't tell of, or whose state is
 * broken, is a new user for this request.
 */
export class UserStates {
  readonly #options: UserStatesOptions
  readonly #users: LRUCache<string, CachedUser>
  readonly #stop: () => void
  readonly #queue = new KeyedQueue()

  constructor(options: UserStatesOptions) {
    this.#options = options
    this.#users = new LRUCache(atMost(options.max))
    this.#stop = options.store.subscribe((change) => this.#onChange(change))
  }

  /** Without waiting where it is in memory. */
  get(policy: Policy | null, tenant: string, user: string): UserProfile | Promise<UserProfile> {
    const version = policy?.version ?? NO_POLICY
    const cached = this.#entry(tenant, user)
    const known = profileUnder(cached, version)
    if (known) {
      // Once is how most are asked for: who comes again is kept in a form that is read faster.
      if (known.state instanceof PackedState) known.state.quicken()
      if (known.seenAt > 0 && Date.now() - known.seenAt > SEEN_EVERY_MS) this.#touch(known, tenant, user)
      return known
    }
    const loading = cached.loading?.get(version) ?? this.#startLoading(cached, policy, tenant, user)
    return inTime(loading, this.#options.deadlineMs, () => UNKNOWN_USER)
  }

  /** Notes that they were here: those who are not for long are dropped (`UserRetention`). */
  #touch(profile: UserProfile, tenant: string, user: string): void {
    profile.seenAt = Date.now()
    this.#options.store.touchUser(tenant, user).catch(() => this.#options.onStoreError?.('touchUser'))
  }

  #startLoading(cached: CachedUser, policy: Policy | null, tenant: string, user: string): Promise<UserProfile> {
    const version = policy?.version ?? NO_POLICY
    const loading = this.#load(policy, tenant, user).then((profile) => {
      // What was invalidated while it was on its way must not stay.
      if (cached.loading?.get(version) === loading) {
        cached.loading.delete(version)
        if (cached.loading.size === 0) cached.loading = null
        if (!profile.degraded) keep(cached, version, profile)
      }
      return profile
    })
    cached.loading ??= new Map()
    cached.loading.set(version, loading)
    return loading
  }

  /** What this process has just committed. @param policy under which the state is; null: only to be loaded again */
  put(policy: Policy | null, tenant: string, user: string, stored: UserState): void {
    this.invalidate(tenant, user)
    if (!policy || stored.policy !== policy.version || stored.state.length === 0) return
    const state = ownState(stored.state, policy.router.cold)
    keep(this.#entry(tenant, user), policy.version, { ...profileOf(stored), state })
  }

  invalidate(tenant: string, user: string): void {
    const key = userKey(tenant, user)
    const cached = this.#users.get(key)
    if (!cached) return
    cached.loading?.clear()
    this.#users.delete(key)
  }

  /** Scores of this user were not finite: a new user until their belief is computed again. */
  quarantine(policy: Policy, tenant: string, user: string): void {
    this.#options.log.error({ tenant, policy: policy.version }, 'a user’s state is broken: quarantined')
    const cached = this.#entry(tenant, user)
    const known = profileUnder(cached, policy.version) ?? NEW_USER
    keep(cached, policy.version, { ...known, state: null })
  }

  close(): void {
    this.#stop()
    this.#users.clear()
  }

  async #load(policy: Policy | null, tenant: string, user: string): Promise<UserProfile> {
    const { store, vault, find, log, onStoreError } = this.#options
    try {
      const stored = await store.loadUserState(tenant, user)
      if (!stored) return NEW_USER
      const profile = profileOf(stored)
      if (Date.now() - profile.seenAt > SEEN_EVERY_MS) this.#touch(profile, tenant, user)
      if (!policy) return profile
      const isCurrent = stored.policy === policy.version
      const known = isCurrent ? openState(stored.state, policy.router.cold) : null
      if (known && isUsable(known, policy)) return { ...profile, state: known }
      const kept = await store.loadEdges(tenant, user)
      if (kept.length === 0) return profile
      const edges = await vault.openEdges(tenant, user, policy.router.artifact.manifest.reader, kept)
      const older = isCurrent ? (await store.loadUser(tenant, user))?.older : undefined
      const { state } = await this.#queue.run(REBUILDS, () => rebuild(policy, tenant, edges, find, older))
      if (isUsable(state, policy)) return { ...profile, state }
      log.error({ tenant, policy: policy.version }, 'a user’s state is broken: quarantined')
      return { ...profile, state: null }
    } catch (error) {
      onStoreError?.('loadUserState')
      log.warn({ err: error, tenant }, 'user not loaded: treated as a new one')
      return UNKNOWN_USER
    }
  }

  #entry(tenant: string, user: string): CachedUser {
    const key = userKey(tenant, user)
    let cached = this.#users.get(key)
    if (!cached) {
      cached = { version: NO_POLICY, profile: null, others: null, loading: null }
      this.#users.set(key, cached)
    }
    return cached
  }

  /** Whether what is in memory is as new: Redis tells this process, too, what it has committed itself. */
  #isKnown({ tenant, user, revision = Number.POSITIVE_INFINITY }: Extract<Invalidation, { kind: 'user' }>): boolean {
    const cached = this.#users.peek(userKey(tenant, user))
    if (!cached || cached.loading) return false
    return [cached.profile, ...(cached.others?.values() ?? [])].every((known) => known && known.revision >= revision)
  }

  #onChange(change: Invalidation): void {
    if (change.kind === 'user' && !this.#isKnown(change)) this.invalidate(change.tenant, change.user)
    if (change.kind === 'all') this.#users.clear()
  }
}

const isUsable = (state: UserStateVector, policy: Policy) =>
  state.length === policy.router.artifact.dims.S && (state instanceof PackedState || isFiniteVector(state))

const profileOf = ({ rewards, revision, preferences, updatedAt }: UserState): UserProfile => ({
  seenAt: updatedAt,
  state: null,
  rewards,
  revision,
  preferences,
  degraded: false,
})
