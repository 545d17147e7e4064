import type { Candidate, Capability } from '../../candidates/candidate.ts'
import { isNamed } from '../../candidates/former-names.ts'
import type { CandidateScore } from '../router.ts'

/** Requirements of a request. None is ever relaxed. */
export interface Limits {
  needs: ReadonlySet<Capability>
  /** Tokens, estimated. */
  promptTokens: number
  /** Longest answer that the request asks for; null = unlimited. */
  maxTokens: number | null
  /** Names; undefined = all. */
  allow?: readonly string[]
  deny?: readonly string[]
  maxCostUsd?: number
  maxLatencyMs?: number
  /** Expected time to the first byte of a candidate; undefined = unknown, which excludes none. */
  latencyMs?: (candidate: string) => number | undefined
  /** What of the request a candidate does not take, by its dialect or by what it has refused before. */
  unfit?: (candidate: Candidate) => string | undefined
  /** The candidate's breaker is open. */
  isOpen?: (candidate: Candidate) => boolean
}

export interface Exclusion {
  candidate: string
  why: 'not_allowed' | 'denied' | 'capability' | 'context_window' | 'output_limit' | 'cost' | 'latency' | 'unavailable'
  /** In words, for `explain`. */
  detail: string
}

/** No candidate is left; `exclusions` has the reason of each. */
export class NoCandidateError extends Error {
  override readonly name = 'NoCandidateError'
  readonly exclusions: readonly Exclusion[]
  /** Whether only the state of providers is in the way, so that another try is worthwhile. */
  readonly temporary: boolean

  constructor(exclusions: readonly Exclusion[]) {
    super('No candidate fits the request.')
    this.exclusions = exclusions
    this.temporary = exclusions.some(({ why }) => why === 'unavailable' || why === 'latency')
  }
}

/** Why a candidate can't answer; null when it can. The request's own demands come first, temporary ones last. */
export function exclusionOf({ candidate, costUsd }: CandidateScore, limits: Limits): Exclusion | null {
  const { name, capabilities, contextWindow, maxOutputTokens } = candidate
  if (limits.allow && !isNamed(candidate, limits.allow))
    return because(name, 'not_allowed', 'is not among those allowed by x-router-allow or the user’s profile')
  if (limits.deny && isNamed(candidate, limits.deny))
    return because(name, 'denied', 'is denied by x-router-deny or the user’s profile')
  for (const need of limits.needs) if (!capabilities.has(need)) return because(name, 'capability', `lacks ${need}`)
  const unfit = limits.unfit?.(candidate)
  if (unfit !== undefined) return because(name, 'capability', unfit)
  const answer = limits.maxTokens ?? 0
  if (limits.promptTokens + answer > contextWindow) {
    return because(name, 'context_window', `${limits.promptTokens + answer} tokens do not fit into ${contextWindow}`)
  }
  if (maxOutputTokens !== undefined && answer > maxOutputTokens) {
    return because(name, 'output_limit', `answers have at most ${maxOutputTokens} tokens`)
  }
  if (limits.maxCostUsd !== undefined && costUsd > limits.maxCostUsd) {
    return because(name, 'cost', `would cost about $${costUsd.toPrecision(2)}`)
  }
  if (limits.maxLatencyMs !== undefined) {
    const latency = limits.latencyMs?.(name)
    if (latency !== undefined && latency > limits.maxLatencyMs) {
      return because(name, 'latency', `takes about ${Math.round(latency)} ms`)
    }
  }
  if (limits.isOpen?.(candidate)) return because(name, 'unavailable', 'failed lately')
  return null
}

const because = (candidate: string, why: Exclusion['why'], detail: string): Exclusion => ({ candidate, why, detail })
