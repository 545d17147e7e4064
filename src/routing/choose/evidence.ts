import { createHash } from 'node:crypto'
import type { Evidence } from '../../store/store.ts'

/** More of them tell users apart better, and take more room in the store. */
const SLOTS = 16
const SEPARATOR = '#'

/**
 * Under which name a message about a candidate is summed up: one of a few slots, by the user who gave it. So the store
 * need not know who rated what, and yet it can be told whether enough different users did.
 *
 * @param user null for what is nobody's opinion: a judge's word
 */
export function evidenceSlot(candidate: string, user: string | null): string {
  if (user === null) return candidate
  return `${candidate}${SEPARATOR}${createHash('sha256').update(user).digest().readUInt8(0) % SLOTS}`
}

/**
 * Sums by candidate. Opinions count once at least `minUsers` slots hold some: what one user says moves nobody else, and
 * nobody can read it from what others are served.
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
