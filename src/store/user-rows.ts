import { plainState } from './plain-state.ts'
import type { StoredEdge, StoredUser, UserState } from './store.ts'

/** What a store holds of a belief: length of the policy's name (uint8), name, state. */
export function encodeBelief({ policy, state }: Pick<StoredUser, 'policy' | 'state'>): Buffer {
  const name = Buffer.from(policy)
  return Buffer.concat([Uint8Array.of(name.length), name, state])
}

function decodeBelief(bytes: Uint8Array): Pick<StoredUser, 'policy' | 'state'> {
  const end = 1 + (bytes[0] ?? 0)
  return { policy: Buffer.from(bytes.subarray(1, end)).toString(), state: new Uint8Array(bytes.subarray(end)) }
}

interface BeliefFields {
  belief: Uint8Array | null
  /** As earlier versions write them, which clear `policy` nowhere: there = one of them was the last to learn. */
  policy: string
  state: Uint8Array
}

/**
 * A belief from a row. Of an earlier version as it is, unless this version had written before: an earlier one doesn't
 * see what this one keeps, so that its belief is of a part of the edges.
 */
export function beliefOf({ belief, policy, state }: BeliefFields): Pick<UserState, 'policy' | 'state'> {
  if (!belief) return { policy, state: state.length > 0 ? plainState(state) : new Uint8Array(0) }
  const own = decodeBelief(belief)
  return policy === '' ? own : { ...own, state: new Uint8Array(0) }
}

/** What this version keeps, and what an earlier one wrote since: the later word about an answer counts. */
export function mergeEdges(kept: readonly StoredEdge[], since: readonly StoredEdge[]): StoredEdge[] {
  const inOrder = [...since].sort((a, b) => a.seq - b.seq || (a.id < b.id ? -1 : 1))
  if (kept.length === 0) return inOrder
  const known = new Map(kept.map((edge) => [edge.id, edge]))
  let seq = kept.at(-1)?.seq ?? 0
  for (const edge of inOrder) {
    const own = known.get(edge.id)
    if (own && own.ts > edge.ts) continue
    known.delete(edge.id)
    known.set(edge.id, { ...edge, seq: ++seq })
  }
  return [...known.values()]
}
