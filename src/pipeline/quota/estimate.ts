import type { Candidate } from '../../candidates/candidate.ts'
import type { Amounts } from '../../store/limits.ts'
import type { Call } from '../call.ts'
import { attachedTokens } from './attachments.ts'
import { NANO } from './usd.ts'

/** Reserved for an answer whose length the request does not bound. */
const UNBOUNDED_ANSWER_TOKENS = 4_096
/** A bound above this, `1e400` too, is read as this, so that counters stay finite. */
const MOST_ANSWER_TOKENS = 2 ** 40
/** The estimate of a prompt may be too low: other scripts, other vocabularies, and text that providers add. */
const PROMPT_MARGIN = { factor: 1.5, tokens: 64 }

/** The most that one answer could take of any of `candidates`. */
export function upperEstimate(call: Call, candidates: readonly Candidate[]): Amounts {
  let [tokens, nanoUsd] = [0, 0]
  for (const candidate of candidates) {
    const most = mostOf(call, candidate)
    tokens = Math.max(tokens, most.tokens)
    nanoUsd = Math.max(nanoUsd, most.nanoUsd)
  }
  return { requests: 1, tokens, nanoUsd }
}

/** Those whose answer costs no more than what is left of a budget. */
export const affordable = (call: Call, candidates: readonly Candidate[], nanoUsdLeft: number): Candidate[] =>
  candidates.filter((candidate) => mostOf(call, candidate).nanoUsd <= nanoUsdLeft)

/** Of two spellings servers differ in which one they read: the larger one counts. */
export function mostOf({ request }: Call, { price, maxOutputTokens, contextWindow }: Candidate): Amounts {
  const { body } = request
  const estimated = Math.ceil(request.promptTokens * PROMPT_MARGIN.factor) + PROMPT_MARGIN.tokens
  const attached = attachedTokens(request.body)
  const prompt = attached === 0 ? estimated : Math.max(estimated, Math.min(contextWindow, estimated + attached))
  const answers = Math.max(1, Math.min(body.n ?? 1, 128))
  const bounds = [body.max_completion_tokens, body.max_tokens].filter((bound) => typeof bound === 'number')
  const asked = bounds.length > 0 ? Math.max(...bounds) : UNBOUNDED_ANSWER_TOKENS
  const longest = Math.min(asked, MOST_ANSWER_TOKENS)
  const completion = Math.min(longest, maxOutputTokens ?? longest) * answers
  const dollars = (prompt * Math.max(price.input, price.cacheWrite ?? 0) + completion * price.output) / 1e6
  return { requests: 1, tokens: prompt + longest * answers, nanoUsd: Math.ceil(dollars * NANO) }
}
