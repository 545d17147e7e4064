import type { Evidence } from '../../store/store.ts'
import { dayOf, type EvidenceRules, evidenceName, evidenceRow, hearingOf, sayOf, TALLY } from './evidence.ts'

/**
 * Where sums of what answers' lengths tell are kept, by candidate and voice (`evidenceName`): measurements, apart from
 * what anybody says.
 */
export const lengthKey = (policy: string) => `lengths:${policy}`

/** So many answers count at most: enough to outweigh any card, and few enough to follow a change. */
const MOST_ANSWERS = 100

/** Fewer answers of a voice say nothing to others: four, which begin to fade at once. */
const LEAST_ANSWERS = 3.5

/** What a voice's answers count for at most, together, in what others get: n count as n A / (n + A). */
const ANSWERS_OF_A_VOICE = 20

/**
 * So many (`hearingOf`) must have measured a candidate before others get that, or the quorum of ratings where that is
 * less.
 */
const MOST_QUORUM = 3

/** How far voices' means are apart, in logarithms of tokens: a factor of two; and what one answer varies by. */
const APART = Math.LN2
const NOISE = 1.5

/**
 * @param message sum of the answers' messages
 * @param apart sum of the logarithms of how many times as long each was as its card makes expect
 */
export const lengthRow = (message: ArrayLike<number>, answers: number, apart: number, at: number): Float32Array =>
  evidenceRow(message, { weight: answers, users: 0, value: apart, at })

/** What one voice measured of one candidate, as of now. */
export interface Measured {
  voice: string
  answers: number
  /** Mean logarithm of how many times as long answers were as the card makes expect. */
  apart: number
  sum: Float32Array
  /** Unix milliseconds. */
  at: number
}

/** By candidate. Sums of all voices together, which earlier releases kept, name none, and are left. */
export function measuredOf(rows: Evidence, { halfLifeDays }: EvidenceRules, now: number): Map<string, Measured[]> {
  const found = new Map<string, Measured[]>()
  for (const [name, row] of rows) {
    const [candidate, voice] = name.split('#')
    const [count, , value, day] = row.subarray(row.length - TALLY) as unknown as [number, number, number, number]
    const kept = 0.5 ** (Math.max(0, dayOf(now) - day) / halfLifeDays)
    if (candidate === undefined || voice === undefined || !(kept * count > 1e-3)) continue
    const sum = row.subarray(0, -TALLY).map((of) => kept * of)
    const measured = { voice, answers: kept * count, apart: value / count, sum, at: day * 86_400_000 }
    found.set(candidate, [...(found.get(candidate) ?? []), measured])
  }
  return found
}

/** How many have measured enough to say something to others. */
export const measurers = (all: readonly Measured[]) => hearingOf(all.filter(isMeasurer).map(({ voice }) => voice))

export const isAgreed = (all: readonly Measured[], { quorum }: EvidenceRules) =>
  measurers(all) >= Math.min(quorum, MOST_QUORUM)

const isMeasurer = ({ answers }: Measured) => answers >= LEAST_ANSWERS

/**
 * Sums by candidate as of now, each as of at most a hundred answers.
 *
 * - Once several voices have measured a candidate, all get what these say together: each counts about as much, however
 *   many answers it had, and less where it is further from their median than its own noise explains (as ratings are
 *   pooled: `pooledEvidence`).
 * - Until then a voice's own measurements serve that voice alone, at once and in full, under `evidenceName`: the only
 *   key of a tenant learns within tens of answers, and whoever makes a candidate write at length moves nobody else.
 */
export function lengthEvidence(rows: Evidence, rules: EvidenceRules, now: number): Evidence {
  const found: Evidence = new Map()
  for (const [candidate, all] of measuredOf(rows, rules, now)) {
    if (isAgreed(all, rules)) found.set(candidate, togetherOf(all.filter(isMeasurer)))
    else {
      for (const { voice, answers, sum } of all) {
        found.set(evidenceName(candidate, voice), scaled(sum, Math.min(1, MOST_ANSWERS / answers)))
      }
    }
  }
  return found
}

function togetherOf(all: readonly Measured[]): Float32Array {
  const centre = medianOf(all)
  const weights = all.map(({ voice, answers, apart }) => {
    const allowed = APART + NOISE / Math.sqrt(answers)
    const distance = Math.abs(apart - centre)
    const trust = distance <= allowed ? 1 : (allowed / distance) ** 2
    return (trust * sayOf(voice) * ANSWERS_OF_A_VOICE * answers) / (answers + ANSWERS_OF_A_VOICE)
  })
  const most = Math.min(1, MOST_ANSWERS / weights.reduce((sum, weight) => sum + weight, 0))
  const total = new Float32Array(all[0]?.sum.length ?? 0)
  for (const [i, { sum, answers }] of all.entries()) {
    const share = (most * (weights[i] ?? 0)) / answers
    for (const [k, value] of sum.entries()) total[k] = (total[k] ?? 0) + share * value
  }
  return total
}

/** Of the voices' means, each by its say, not by how many answers it had; between two where they halve. */
function medianOf(all: readonly Measured[]): number {
  const sorted = all.toSorted((a, b) => a.apart - b.apart)
  const half = measurers(all) / 2
  let below = 0
  for (const [i, { voice, apart }] of sorted.entries()) {
    below += sayOf(voice)
    if (below === half) return (apart + (sorted[i + 1]?.apart ?? apart)) / 2
    if (below > half) return apart
  }
  return 0
}

const scaled = (sum: Float32Array, by: number) => sum.map((value) => by * value)

/** What voices say of candidates, and what was measured. What serves one voice alone goes with what all say. */
export function withLengths(voices: Evidence, lengths: Evidence): Evidence {
  const both: Evidence = new Map(voices)
  for (const [name, sum] of lengths) {
    const said = voices.get(name.split('#', 1)[0] ?? name)
    both.set(name, said?.length === sum.length ? said.map((value, i) => value + (sum[i] ?? 0)) : sum)
  }
  return both
}
