import { LRUCache } from 'lru-cache'
import { userKey } from '../runtime/keys.ts'
import { MAX_EDGES, type Store, type StoredEdge, type StoredUser } from '../store/store.ts'

/** Over all users; about 0.5 KB each. */
const MAX_CACHED_EDGES = 50_000

/** The edges of users who were rated lately, so that a rating does not read a long history from the store again. */
export class KeptEdges {
  readonly #store: Store
  readonly #cache = new LRUCache<string, { of: string; edges: readonly StoredEdge[] }>({
    maxSize: MAX_CACHED_EDGES,
    sizeCalculation: ({ edges }) => edges.length + 1,
  })

  constructor(store: Store) {
    this.#store = store
  }

  /** Oldest first. What is in memory counts only if the user is still the one whom it was read with. */
  async of(tenant: string, user: string, stored: StoredUser | null): Promise<readonly StoredEdge[]> {
    if (!stored) return []
    const cached = this.#cache.get(userKey(tenant, user))
    if (cached?.of === stampOf(stored)) return cached.edges
    const edges = await this.#store.loadEdges(tenant, user)
    this.#cache.set(userKey(tenant, user), { of: stampOf(stored), edges })
    return edges
  }

  /** After a commit: as the store has it now. */
  committed(tenant: string, user: string, stored: StoredUser, before: readonly StoredEdge[], edge?: StoredEdge): void {
    const edges = edge ? [...before.filter(({ id }) => id !== edge.id), edge].slice(-MAX_EDGES) : before
    this.#cache.set(userKey(tenant, user), { of: stampOf(stored), edges })
  }

  forget(tenant: string, user: string): void {
    this.#cache.delete(userKey(tenant, user))
  }
}

/** A user who was erased and came back may be at the same revision, but not since the same time. */
const stampOf = ({ revision, updatedAt }: StoredUser) => `${revision} ${updatedAt}`
