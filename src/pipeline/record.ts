import { costUsd } from '../candidates/pricing.ts'
import type { Outcome } from '../providers/relay/outcome.ts'
import { quantise } from '../runtime/quantise.ts'
import { base64Of } from '../store/codec.ts'
import type { InteractionRecord } from '../store/records/records.ts'
import { scoredCandidates } from '../store/records/scored-candidates.ts'
import type { InteractionSummary } from '../store/store.ts'
import type { Call } from './call.ts'
import type { RequestContext } from './context.ts'
import type { Decision } from './decide.ts'

const DAY_MS = 86_400_000

/** The row of one request. */
export function recordOf(context: RequestContext, call: Call, decision: Decision, outcome: Outcome): InteractionRecord {
  const { request, principal, conversation } = call
  const { selection } = decision
  const keepDays = principal.tenant.config.keep_text_days
  const totalMs = performance.now() - context.startedAt
  const embedding = quantise(decision.embedding)
  return {
    id: context.requestId,
    ts: context.ts,
    tenant: principal.tenant.name,
    user: principal.user,
    conversation,
    embedding: embedding && { int8: base64Of(embedding.int8), scale: embedding.scale },
    embedder: decision.policy?.embedder.version ?? '',
    text: keepDays === undefined ? null : decision.text,
    ...(keepDays !== undefined && { textExpiresAt: context.ts + keepDays * DAY_MS }),
    candidates: scoredCandidates(selection.scored, selection.propensities, decision.fallback === null),
    policy: decision.version,
    chosen: outcome.candidate.name,
    reason: outcome.candidate === selection.chosen.candidate ? selection.reason : 'fallback',
    attempts: outcome.attempts,
    usage: outcome.usage,
    usageEstimated: outcome.usageEstimated,
    costUsd: costUsd(outcome.usage, outcome.candidate.price),
    ttftMs: outcome.ttftMs === null ? null : rounded(outcome.ttftMs),
    totalMs: rounded(totalMs),
    overheadUs: Math.max(0, Math.round((totalMs - outcome.waitedMs) * 1e3)),
    finishReason: outcome.finishReason,
    status: outcome.status,
    stream: request.stream,
    tools: request.needs.has('tools'),
    modalities: ['text', ...(['vision', 'audio'] as const).filter((modality) => request.needs.has(modality))],
    endpoint: call.endpoint.name,
    completionId: outcome.completionId,
  }
}

const rounded = (ms: number) => Math.round(ms * 1e3) / 1e3

/** The part of a record that feedback needs while the answer is still on its way. */
export function summaryOf(context: RequestContext, call: Call, decision: Decision): InteractionSummary {
  const { principal, conversation, request } = call
  return {
    id: context.requestId,
    tenant: principal.tenant.name,
    user: principal.user,
    conversation,
    candidate: decision.selection.chosen.candidate.name,
    embedding: quantise(decision.embedding),
    embedder: decision.policy?.embedder.version ?? '',
    promptTokens: request.promptTokens,
    completionTokens: -1,
    costUsd: -1,
    ts: context.ts,
    ended: false,
  }
}
