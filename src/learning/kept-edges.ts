import { LRUCache } from 'lru-cache'
import { HASHED } from '../routing/model/llm-states.ts'
import type { Policy } from '../routing/policy.ts'
import { userKey } from '../runtime/keys.ts'
import type { Store, StoredEdge, StoredUser } from '../store/store.ts'
import { withoutZerosAtEnd } from './profile.ts'

/** Over all users; about 0.5 KB each. */
const MAX_CACHED_EDGES = 50_000
/** Of sums over all users: about a thousand who have rated little, or 250 who have rated much. */
const MAX_SUMS_BYTES = 16 * 1024 * 1024

interface Kept {
  /** Which version of the user it belongs to. */
  of: string
  edges: readonly StoredEdge[]
}

interface Sums {
  of: string
  /** Version of the artifact. */
  policy: string
  /** Of the codes that the messages were made with (`LlmStates.basisOf`). */
  basis: string
  sums: Float32Array
  /** What they tell of their tenant, [Y]. */
  told: Float32Array
}

/** All edges of a user, and the sums over them. */
export interface Learned extends Pick<Sums, 'basis' | 'sums' | 'told'> {
  edges: readonly StoredEdge[]
}

/** The histories of users who were rated lately, so that a rating neither reads a long one again nor sums it up. */
export class KeptEdges {
  readonly #store: Store
  readonly #edges = new LRUCache<string, Kept>({
    maxSize: MAX_CACHED_EDGES,
    sizeCalculation: ({ edges }) => edges.length + 1,
  })
  readonly #sums = new LRUCache<string, Sums>({
    maxSize: MAX_SUMS_BYTES,
    sizeCalculation: ({ sums }) => sums.byteLength + 1,
  })

  constructor(store: Store) {
    this.#store = store
  }

  /** Oldest first. What is in memory counts only if the user is still the one whom it was read with. */
  async of(tenant: string, user: string, stored: StoredUser | null): Promise<readonly StoredEdge[]> {
    if (!stored) return []
    const cached = this.#edges.get(userKey(tenant, user))
    if (cached?.of === stampOf(stored)) return cached.edges
    const edges = await this.#store.loadEdges(tenant, user)
    this.#edges.set(userKey(tenant, user), { of: stampOf(stored), edges })
    return edges
  }

  /**
   * Sums over a user's edges under a policy and its codes as they are now, a copy without zeros at the end, where they
   * are in memory.
   */
  sumsOf(policy: Policy, tenant: string, user: string, stored: StoredUser | null): Float32Array | null {
    if (!stored) return new Float32Array(0)
    const { H } = policy.router.artifact.dims
    const basis = policy.router.llms.basisOf(tenant)
    // A row as the version before writes it, which does not say by which codes.
    if (stored.sums && stored.policy === policy.version && basis === HASHED) return fitting(stored.sums, H)
    const cached = this.#sums.get(userKey(tenant, user))
    const isCurrent = cached?.of === stampOf(stored) && cached.policy === policy.version && cached.basis === basis
    return isCurrent ? fitting(cached.sums, H) : null
  }

  /** What a user told of their tenant when last asked, where it is known. */
  toldBy(policy: Policy, tenant: string, user: string, stored: StoredUser | null): Float32Array | null {
    const { Y } = policy.router.artifact.dims
    if (!stored || Y === 0) return new Float32Array(Y)
    const cached = this.#sums.get(userKey(tenant, user))
    if (cached?.of === stampOf(stored) && cached.policy === policy.version) return cached.told
    return stored.policy === policy.version && stored.told?.length === Y ? stored.told : null
  }

  /** After a commit: as the store has it now. Without edges: a change of something else. */
  committed(tenant: string, user: string, stored: StoredUser, before: StoredUser | null, learned?: Learned): void {
    const key = userKey(tenant, user)
    const of = stampOf(stored)
    if (learned) {
      const { edges, basis, sums, told } = learned
      this.#edges.set(key, { of, edges })
      this.#sums.set(key, { of, policy: stored.policy, basis, sums: owned(withoutZerosAtEnd(sums)), told })
      return
    }
    const was = before && stampOf(before)
    const [edges, sums] = [this.#edges.get(key), this.#sums.get(key)]
    if (edges && edges.of === was) this.#edges.set(key, { ...edges, of })
    if (sums && sums.of === was) this.#sums.set(key, { ...sums, of })
  }

  forget(tenant: string, user: string): void {
    this.#edges.delete(userKey(tenant, user))
    this.#sums.delete(userKey(tenant, user))
  }
}

const fitting = (sums: Float32Array, most: number): Float32Array | null => (sums.length > most ? null : sums.slice())

/** Without what else its buffer holds. */
const owned = (sums: Float32Array) => (sums.byteLength === sums.buffer.byteLength ? sums : sums.slice())

/** A user who was erased and came back may be at the same revision, but not since the same time. */
const stampOf = ({ revision, updatedAt }: StoredUser) => `${revision} ${updatedAt}`
