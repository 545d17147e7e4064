import { LRUCache } from 'lru-cache'
import { userKey } from '../runtime/keys.ts'
import { MAX_EDGES, type StoredEdge } from '../store/store.ts'

/** Over all users: some thousand of whom somebody has spoken with and without a token. */
const MAX_BYTES = 4 * 1024 * 1024

interface Kept {
  /** Of the artifact, and of the codes that messages are made with. */
  of: string
  vouched: boolean
  /** Which edges are in them, oldest first. */
  names: readonly string[]
  sums: Float32Array
}

/**
 * Sums over a user's edges that were said as the last one was, where others were not: so that a rating does not read
 * all of them again. What is no longer kept of a history that is as long as may be stays in them, fading.
 */
export class AlikeSums {
  readonly #kept = new LRUCache<string, Kept>({
    maxSize: MAX_BYTES,
    sizeCalculation: ({ sums, names }) => names.reduce((size, name) => size + name.length, sums.byteLength + 1),
  })

  /**
   * A copy of the sums over exactly these edges; null where they must be made anew.
   *
   * @param isCut the first ones may be missing since no more are kept
   */
  over(
    tenant: string,
    user: string,
    { of, vouched }: Pick<Kept, 'of' | 'vouched'>,
    edges: readonly StoredEdge[],
    isCut: boolean,
  ): Float32Array | null {
    const kept = this.#kept.get(userKey(tenant, user))
    if (kept?.of !== of || kept.vouched !== vouched || edges.length === 0) return null
    const gone = kept.names.length - edges.length
    if (gone < 0 || (gone > 0 && !isCut)) return null
    return edges.every((edge, i) => nameOf(edge) === kept.names[gone + i]) ? kept.sums.slice() : null
  }

  /** @param edges oldest first, the newest included */
  keep(
    tenant: string,
    user: string,
    { of, vouched }: Pick<Kept, 'of' | 'vouched'>,
    edges: readonly StoredEdge[],
    sums: Float32Array,
  ): void {
    const names = edges.slice(-MAX_EDGES).map(nameOf)
    this.#kept.set(userKey(tenant, user), { of, vouched, names, sums: sums.slice() })
  }

  forget(tenant: string, user: string): void {
    this.#kept.delete(userKey(tenant, user))
  }
}

/** By its number alone it may be another one: of who was faster to write theirs, or of who was erased elsewhere. */
const nameOf = ({ seq, ts, id }: StoredEdge) => `${seq} ${ts} ${id}`
