import type { Evidence } from '../../store/store.ts'
import { dayOf, evidenceRow, TALLY } from './evidence.ts'

/** Where sums of what answers' lengths tell are kept, by candidate: measurements, apart from what anybody says. */
export const lengthKey = (policy: string) => `lengths:${policy}`

/** So many answers count at most: enough to outweigh any card, and few enough to follow a change. */
const MOST_ANSWERS = 100

export const lengthRow = (message: ArrayLike<number>, answers: number, at: number): Float32Array =>
  evidenceRow(message, { weight: answers, users: 0, value: 0, at })

/** Sums by candidate as of now, each as of at most so many answers. */
export function lengthEvidence(rows: Evidence, halfLifeDays: number, now: number): Evidence {
  const found: Evidence = new Map()
  for (const [candidate, row] of rows) {
    const [answers, , , day] = row.subarray(row.length - TALLY) as unknown as [number, number, number, number]
    const kept = 0.5 ** (Math.max(0, dayOf(now) - day) / halfLifeDays)
    const share = kept * Math.min(1, MOST_ANSWERS / (kept * answers))
    if (share > 0)
      found.set(
        candidate,
        row.subarray(0, -TALLY).map((value) => share * value),
      )
  }
  return found
}

/** What voices say of candidates, and what was measured. */
export function withLengths(voices: Evidence, lengths: Evidence): Evidence {
  const both: Evidence = new Map(voices)
  for (const [candidate, sum] of lengths) {
    const said = both.get(candidate)
    both.set(candidate, said?.length === sum.length ? said.map((value, i) => value + sum[i]!) : sum)
  }
  return both
}
