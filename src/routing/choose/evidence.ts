import { createHash } from 'node:crypto'
import type { Evidence } from '../../store/store.ts'

/** Slots per candidate: more tell users apart better and take more room in the store. */
const SLOTS = 16
const SEPARATOR = '#'

/**
 * Name under which a message about a candidate is summed: one of a few slots, by a hash of the user. The store need not
 * know who rated what, and it can still be told whether enough different users did.
 *
 * @param user null for a message without an author, such as a judge's
 */
export function evidenceSlot(candidate: string, user: string | null): string {
  if (user === null) return candidate
  return `${candidate}${SEPARATOR}${createHash('sha256').update(user).digest().readUInt8(0) % SLOTS}`
}

/**
 * Sums by candidate. Opinions count once at least `minUsers` slots hold some: one user's ratings do not affect others,
 * and can't be read from what others are served.
 */
export function pooledEvidence(slots: Evidence, minUsers: number): Evidence {
  const opinions = new Map<string, Float32Array[]>()
  const pooled: Evidence = new Map()
  for (const [name, sum] of slots) {
    const [candidate = name, slot] = name.split(SEPARATOR)
    if (slot === undefined) pooled.set(candidate, sum)
    else opinions.set(candidate, [...(opinions.get(candidate) ?? []), sum])
  }
  for (const [candidate, sums] of opinions) {
    if (sums.length < minUsers) continue
    const facts = pooled.get(candidate)
    pooled.set(candidate, [...sums, ...(facts ? [facts] : [])].reduce(plus))
  }
  return pooled
}

const plus = (a: Float32Array, b: Float32Array) => a.map((value, i) => value + (b[i] ?? 0))
