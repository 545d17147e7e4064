import { randomBytes } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { userKey } from '../runtime/keys.ts'
import { atMost } from '../runtime/lru.ts'
import { packVector, type QuantisedVector, unpackVector } from '../runtime/quantise.ts'
import { Seal, type Secrets } from '../runtime/seal.ts'
import type { KeptVector, Store, StoredEdge } from '../store/store.ts'

const SALT_BYTES = 32
const MAX_SEALS = 10_000
const CONTEXT = 'query-vector'

/** How vectors of one user are sealed; null where they can't be: then they are not kept. */
export type VectorSeal = (vector: QuantisedVector) => string

/**
 * Query vectors of tenants that asked for them (`training: vectors`), as they are kept: a vector gives its prompt's
 * words back. Sealed under a secret that is not in the store and a random salt of the user's that is: whoever has only
 * one of the two reads nothing, and with the salt all of an erased user's vectors are gone, wherever copies lie.
 */
export class VectorVault {
  readonly #store: Pick<Store, 'salt' | 'subscribe'>
  readonly #secrets: Secrets | null
  readonly #seals = new LRUCache<string, Promise<Seal>>(atMost(MAX_SEALS))
  readonly #stop: () => void

  /** @param secrets null: none is configured, and nothing can be sealed or opened */
  constructor(store: Pick<Store, 'salt' | 'subscribe'>, secrets: Secrets | null) {
    this.#store = store
    this.#secrets = secrets
    this.#stop = store.subscribe((change) => {
      if (change.kind === 'user') this.#seals.delete(userKey(change.tenant, change.user))
      if (change.kind === 'all') this.#seals.clear()
    })
  }

  /**
   * Never rejects: null where the store can't be asked, or the user has been erased since.
   *
   * @param askedAt when the request began, Unix milliseconds
   */
  async sealOf(tenant: string, user: string, askedAt: number): Promise<VectorSeal | null> {
    const seal = await this.#of(tenant, user, askedAt)?.catch(() => null)
    return seal ? (vector) => seal.seal(packVector(vector), CONTEXT).toString('base64') : null
  }

  /** Null where it can't be opened. @throws StoreError */
  async open(tenant: string, user: string, { of }: KeptVector): Promise<QuantisedVector | null> {
    if ('plain' in of) return of.plain
    const bytes = (await this.#of(tenant, user))?.open(Buffer.from(of.sealed, 'base64'), CONTEXT)
    return bytes ? unpackVector(bytes) : null
  }

  /** Opens vectors of edges that another reader read. @param reader that of the artifact @throws StoreError */
  async openEdges<E extends Pick<StoredEdge, 'reader' | 'vector'>>(
    tenant: string,
    user: string,
    reader: string | null | undefined,
    edges: readonly E[],
  ): Promise<readonly E[]> {
    if (!edges.some((edge) => edge.reader !== reader && edge.vector)) return edges
    return Promise.all(
      edges.map(async (edge) => {
        if (edge.reader === reader || !edge.vector) return edge
        const plain = await this.open(tenant, user, edge.vector)
        return plain ? { ...edge, vector: { embedder: edge.vector.embedder, of: { plain } } } : edge
      }),
    )
  }

  close(): void {
    this.#stop()
  }

  #of(tenant: string, user: string, askedAt = Date.now()): Promise<Seal> | null {
    if (!this.#secrets) return null
    const key = userKey(tenant, user)
    let seal = this.#seals.get(key)
    if (!seal) {
      const secrets = this.#secrets
      seal = this.#store
        .salt(tenant, user, randomBytes(SALT_BYTES), askedAt)
        .then((salt) => new Seal(secrets, `vectors of ${tenant}`, salt))
      seal.catch(() => this.#seals.delete(key))
      this.#seals.set(key, seal)
    }
    return seal
  }
}
