import { decodeHistory, encodeHistory } from '../history.ts'
import { MAX_EDGES, type Store, type StoredEdge, type StoredUser } from '../store.ts'
import type { BackupRow } from './rows.ts'

export interface WholeUser {
  stored: StoredUser
  /** Oldest first. */
  edges: readonly StoredEdge[]
}

type Users = Pick<Store, 'loadUser' | 'loadUserState' | 'loadEdges'>

/** A user with the edges that belong to their belief: others may write between two reads. None where there is none. */
export async function readUser(store: Users, tenant: string, user: string): Promise<BackupRow[]> {
  for (;;) {
    // Asked for together, hardly anything comes between.
    const [stored, edges, after] = await Promise.all([
      store.loadUser(tenant, user),
      store.loadEdges(tenant, user),
      store.loadUserState(tenant, user),
    ])
    if (!stored) return []
    if (after?.revision === stored.revision && after.updatedAt === stored.updatedAt) {
      // As this version keeps them, whichever wrote them, and less what is made of edges when it is next needed.
      const { sums: _, told: __, ...kept } = stored
      return [{ type: 'user', tenant, user, stored: kept, edges: decodeHistory(encodeHistory(edges)) }]
    }
  }
}

/** A belief that is made of the edges when it is next needed. */
const REBUILD = { policy: '', state: new Uint8Array(0), older: new Float32Array(0) }

/**
 * A user of whom a store knows something, and a backup, too: their edges together. Where one of them has all of the
 * other's, its belief is taken as it is.
 *
 * @returns null where the store knows it all
 */
export function mergedUser(known: WholeUser, restored: WholeUser): WholeUser | null {
  const edges = union(known.edges, restored.edges)
  const preferences = preferencesOf(known.stored, restored.stored)
  const isKnown = same(edges, known.edges)
  if (isKnown && preferences === known.stored.preferences) return null
  if (isKnown && known.edges.length > 0) return { ...known, stored: { ...known.stored, preferences } }
  const updatedAt = Math.max(known.stored.updatedAt, restored.stored.updatedAt)
  if (same(edges, restored.edges)) return { ...restored, stored: { ...restored.stored, preferences, updatedAt } }
  const theirs = new Set(restored.edges.map(({ id }) => id))
  const more = known.edges.filter(({ id, weight }) => !theirs.has(id) && weight >= 0.5).length
  const stored = {
    ...restored.stored,
    ...REBUILD,
    preferences,
    updatedAt,
    rewards: restored.stored.rewards + more,
    since: earlier(known.stored.since, restored.stored.since),
    heardAt: earlier(known.stored.heardAt, restored.stored.heardAt),
  }
  return { stored, edges: inOrder(edges, Math.max(...edges.map(({ seq }) => seq), edges.length)) }
}

/**
 * What is left of a user who was erased at a time: edges that are newer. What they stated has no time: it stays where
 * all else is newer. Null where nothing is left.
 */
export function newerThan(at: number, known: WholeUser): WholeUser | null {
  const { stored } = known
  const edges = known.edges.filter(({ ts }) => ts > at)
  if ((stored.since || stored.updatedAt) > at && edges.length === known.edges.length) return known
  if (edges.length === 0) return null
  const { sums: _, told: __, ...rest } = stored
  const since = edges.reduce((least, { ts }) => Math.min(least, ts), stored.updatedAt)
  return {
    stored: {
      ...{ ...rest, ...REBUILD, preferences: {}, since },
      rewards: edges.filter(({ weight }) => weight >= 0.5).length,
      heardAt: stored.heardAt > at ? stored.heardAt : 0,
    },
    edges,
  }
}

interface ErasableUsers extends Users, Pick<Store, 'commitUser'> {
  /** Drops what was learned and stated of a user, unless they have another revision by now: then false. */
  dropUser(tenant: string, user: string, revision: number): Promise<boolean>
}

/** Takes what is not newer out of belief and edges. Returns how many rows went. @throws ErasedError as `commitUser` */
export async function eraseUntil(at: number, users: ErasableUsers, tenant: string, user: string): Promise<number> {
  for (;;) {
    const stored = await users.loadUser(tenant, user)
    if (!stored) return 0
    const known = { stored, edges: await users.loadEdges(tenant, user) }
    const left = newerThan(at, known)
    if (left === known) return 0
    const isDone = left
      ? await users.commitUser(tenant, user, { ...left.stored, revision: stored.revision + 1 }, left.edges)
      : await users.dropUser(tenant, user, stored.revision)
    if (isDone) return left ? known.edges.length - left.edges.length : 1 + known.edges.length
  }
}

/** Of two of one id the later one; the newest. */
function union(known: readonly StoredEdge[], restored: readonly StoredEdge[]): StoredEdge[] {
  const byId = new Map(restored.map((edge) => [edge.id, edge]))
  for (const edge of known) if ((byId.get(edge.id)?.ts ?? -1) <= edge.ts) byId.set(edge.id, edge)
  return [...byId.values()].sort((a, b) => a.ts - b.ts || a.seq - b.seq).slice(-MAX_EDGES)
}

const same = (some: readonly StoredEdge[], others: readonly StoredEdge[]): boolean => {
  const times = new Map(others.map(({ id, ts }) => [id, ts]))
  return some.length === others.length && some.every(({ id, ts }) => times.get(id) === ts)
}

const inOrder = (edges: readonly StoredEdge[], newest: number): StoredEdge[] =>
  edges.map((edge, i) => ({ ...edge, seq: newest - edges.length + 1 + i }))

/**
 * What was stated last. A store that knows the user since the same time has heard all that the backup has; in another
 * one, where nothing was stated, it is not known yet.
 */
function preferencesOf(known: StoredUser, restored: StoredUser): StoredUser['preferences'] {
  const isSameStore = known.since === restored.since && known.since > 0
  const isUnstated = Object.keys(known.preferences).length === 0
  const isNewer = known.updatedAt >= restored.updatedAt && (isSameStore || !isUnstated)
  const isSame = JSON.stringify(known.preferences) === JSON.stringify(restored.preferences)
  return isNewer || isSame ? known.preferences : restored.preferences
}

/** Of times, 0 where there is none. */
const earlier = (a: number, b: number): number => (a === 0 || b === 0 ? Math.max(a, b) : Math.min(a, b))
