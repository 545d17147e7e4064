import { ByteReader, ByteWriter } from './byte-stream.ts'
import { decodeHistory, encodeHistory } from './history.ts'
import { plainState } from './plain-state.ts'
import type { StoredEdge, StoredUser, UserState } from './store.ts'

type BeliefFields = Pick<UserState, 'policy' | 'state' | 'since' | 'heardAt'>
type Belief = BeliefFields & Pick<StoredUser, 'told'>

/** A history up to this size lies beside the belief: two values of a database take more than one. */
const INLINE_BYTES = 2_048
const COUNT_BYTES = 2
/** In the place of a state's first byte (`routing/model/packed-state.ts`): what they told comes first. */
const TOLD = 4

/**
 * What a store holds of a user in two values: number of edges (uint16), length of what follows, the policy's name,
 * since when they are known and heard, what they told, state; then the history, unless it is large and has the
 * other value.
 */
export function encodeMemory(
  { policy, state, since, heardAt, told }: Belief,
  edges: readonly StoredEdge[],
): { belief: Buffer; history: Buffer } {
  const bytes = new ByteWriter(64 + state.length)
  const name = Buffer.from(policy)
  bytes.unsigned(name.length)
  bytes.raw(name)
  bytes.unsigned(since)
  bytes.unsigned(heardAt)
  if (told && told.length > 0) {
    bytes.byte(TOLD)
    bytes.unsigned(told.length)
    for (const number of told) bytes.float(number)
  }
  bytes.raw(state)
  const head = new ByteWriter(8)
  head.byte(edges.length & 255)
  head.byte(edges.length >> 8)
  head.unsigned(bytes.bytes.length)
  const history = encodeHistory(edges)
  const isInline = history.length <= INLINE_BYTES
  return {
    belief: Buffer.concat([head.bytes, bytes.bytes, ...(isInline ? [history] : [])]),
    history: isInline ? Buffer.alloc(0) : history,
  }
}

/** How many edges there are. */
export const countOf = (belief: Uint8Array): number => (belief[0] ?? 0) + 256 * (belief[1] ?? 0)

/** Its edges. @param history the other value, where there is one */
export function edgesIn(belief: Uint8Array | null, history: Uint8Array | null): StoredEdge[] {
  if (history && history.length > 0) return decodeHistory(history)
  if (!belief) return []
  const bytes = new ByteReader(belief)
  bytes.raw(COUNT_BYTES)
  bytes.raw(bytes.unsigned())
  return decodeHistory(bytes.rest())
}

function decodeBelief(content: Uint8Array): Belief {
  const all = new ByteReader(content)
  all.raw(COUNT_BYTES)
  const bytes = new ByteReader(all.raw(all.unsigned()))
  const [policy, since, heardAt] = [String(bytes.raw(bytes.unsigned())), bytes.unsigned(), bytes.unsigned()]
  const rest = bytes.rest()
  if (rest[0] !== TOLD) return { policy, since, heardAt, state: new Uint8Array(rest) }
  const after = new ByteReader(rest.subarray(1))
  const told = Float32Array.from({ length: after.unsigned() }, () => after.float())
  return { policy, since, heardAt, told, state: new Uint8Array(after.rest()) }
}

/**
 * A belief from a row. What an earlier version wrote counts as it is, unless this one had written before: an earlier
 * one doesn't see what this one keeps, so that its belief is of a part of the edges. `earlier.policy` is there where it
 * was the last to learn.
 */
export function beliefOf(belief: Uint8Array | null, earlier: BeliefFields): Belief {
  if (!belief) {
    const { state } = earlier
    return { ...earlier, state: state.length > 0 ? plainState(state) : new Uint8Array(0) }
  }
  const own = decodeBelief(belief)
  if (earlier.policy === '') return own
  return {
    policy: own.policy,
    state: new Uint8Array(0),
    since: own.since || earlier.since,
    heardAt: own.heardAt || earlier.heardAt,
  }
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
