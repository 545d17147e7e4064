import { parseRawBody } from '../openai/raw-body.ts'
import type { Decision } from '../pipeline/decide.ts'
import type { Endpoint } from '../pipeline/endpoint.ts'

/** Takes the body of a completion or of a response, told apart by what they alone have. */
export const whichever = (chat: Endpoint, responses: Endpoint): Endpoint => ({
  ...chat,
  read: (raw) => (isForResponses(parseRawBody(raw).json) ? responses : chat).read(raw),
})

const isForResponses = (body: Record<string, unknown>) =>
  !('messages' in body) && ('input' in body || 'previous_response_id' in body)

/** The table of candidates and why: the answer of `POST /v1/router/explain`. */
export function explanationOf({ selection, scores, version, fallback, profile, conversation }: Decision) {
  const propensity = new Map(
    selection.scored.map(({ candidate }, index) => [candidate.name, selection.propensities[index]]),
  )
  const excluded = new Map(selection.excluded.map(({ candidate, why, detail }) => [candidate, { why, detail }]))
  const byGraph = fallback === null
  return {
    object: 'router.explanation',
    chosen: selection.chosen.candidate.name,
    reason: selection.reason,
    detail: fallback ?? selection.detail,
    policy: version,
    user: { rewards: profile.rewards, preferences: profile.preferences, degraded: profile.degraded },
    conversation: conversation && { candidate: conversation.candidate, messages: conversation.messages },
    candidates: scores
      .map(({ candidate, mean, std, parts, quality, completionTokens, costUsd }) => ({
        name: candidate.name,
        provider: candidate.provider,
        mean: byGraph ? mean : null,
        std: byGraph ? std : null,
        parts: byGraph ? parts : null,
        quality: byGraph ? quality : null,
        completion_tokens: completionTokens,
        predicted_cost_usd: costUsd,
        propensity: propensity.get(candidate.name) ?? 0,
        excluded: excluded.get(candidate.name)?.detail ?? null,
        excluded_code: excluded.get(candidate.name)?.why ?? null,
      }))
      .sort((a, b) => Number(a.excluded !== null) - Number(b.excluded !== null) || (b.mean ?? 0) - (a.mean ?? 0)),
  }
}
