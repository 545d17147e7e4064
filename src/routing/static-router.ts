import type { Candidate } from '../candidates/candidate.ts'
import type { RouterConfig } from '../config/schema.ts'
import type { CandidateScore, RouteQuery, Router } from './router.ts'

export type FallbackKind = RouterConfig['fallback']

/** Tokens of an answer, assumed where no model predicts them. */
const ANSWER_TOKENS = 400

/**
 * Ranks candidates when there is no model or it fails: by cost, by the order of the configuration, or by known quality.
 */
export class StaticRouter implements Router {
  readonly version: string
  readonly device = null
  readonly #kind: FallbackKind

  constructor(kind: FallbackKind) {
    this.#kind = kind
    this.version = `fallback:${kind}`
  }

  /** Means are ranks, 0 for the best and falling by 1: they say nothing of rewards. */
  async score({ promptTokens }: RouteQuery, candidates: readonly Candidate[]): Promise<CandidateScore[]> {
    const cost = ({ price }: Candidate) => (promptTokens * price.input + ANSWER_TOKENS * price.output) / 1e6
    const worth = {
      first: () => 0,
      cheapest: (candidate: Candidate) => -cost(candidate),
      best_quality: (candidate: Candidate) => knownQuality(candidate),
    }[this.#kind]
    const ranked = candidates.toSorted((a, b) => worth(b) - worth(a))
    return candidates.map((candidate) => ({
      candidate,
      mean: 0 - ranked.indexOf(candidate),
      std: 0,
      parts: {},
      quality: 0,
      completionTokens: ANSWER_TOKENS,
      costUsd: cost(candidate),
    }))
  }
}

const SCALES: Readonly<Record<string, (score: number) => number>> = {
  arena_elo: (elo) => (elo - 1000) / 500,
}

/** Mean of the public benchmark scores; where there are none, price stands for quality, below any known one. */
function knownQuality({ benchmarks, price }: Candidate): number {
  const scores = Object.entries(benchmarks).map(([name, score]) => SCALES[name]?.(score) ?? score)
  if (scores.length > 0) return scores.reduce((sum, score) => sum + score, 0) / scores.length
  return Math.log10(Math.max(price.output, 1e-3)) - 10
}
