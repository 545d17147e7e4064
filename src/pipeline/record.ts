import type { Candidate } from '../candidates/candidate.ts'
import { costUsd } from '../candidates/pricing.ts'
import type { Usage } from '../candidates/usage.ts'
import { quantise } from '../runtime/quantise.ts'
import { base64Of } from '../store/codec.ts'
import type { Attempt, InteractionRecord } from '../store/records/records.ts'
import { scoredCandidates } from '../store/records/scored-candidates.ts'
import type { InteractionSummary } from '../store/store.ts'
import type { Call } from './call.ts'
import type { RequestContext } from './context.ts'
import type { Decision } from './decide.ts'

/** How an answer ended, as far as the record tells. */
export interface Ending {
  candidate: Candidate
  attempts: Attempt[]
  status: number
  usage: Usage
  usageEstimated: boolean
  finishReason: string
  completionId: string | null
  ttftMs: number | null
  /** Time that was not ours: waiting for providers, and for the client to read. */
  waitedMs: number
}

const DAY_MS = 86_400_000

/** The row of one request. */
export function recordOf(context: RequestContext, call: Call, decision: Decision, ending: Ending): InteractionRecord {
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
    chosen: ending.candidate.name,
    reason: ending.candidate === selection.chosen.candidate ? selection.reason : 'fallback',
    attempts: ending.attempts,
    usage: ending.usage,
    usageEstimated: ending.usageEstimated,
    costUsd: costUsd(ending.usage, ending.candidate.price),
    ttftMs: ending.ttftMs === null ? null : rounded(ending.ttftMs),
    totalMs: rounded(totalMs),
    overheadUs: Math.max(0, Math.round((totalMs - ending.waitedMs) * 1e3)),
    finishReason: ending.finishReason,
    status: ending.status,
    stream: request.stream,
    tools: request.needs.has('tools'),
    modalities: ['text', ...(['vision', 'audio'] as const).filter((modality) => request.needs.has(modality))],
    completionId: ending.completionId,
  }
}

const rounded = (ms: number) => Math.round(ms * 1e3) / 1e3

/** What feedback needs while the answer is still on its way. */
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
