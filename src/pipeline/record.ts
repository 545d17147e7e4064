import { costUsd } from '../candidates/pricing.ts'
import type { Outcome } from '../providers/relay/outcome.ts'
import { quantise } from '../runtime/quantise.ts'
import { base64Of } from '../store/bytes.ts'
import type { InteractionRecord } from '../store/records/codec.ts'
import type { Arm, GainNote } from '../store/records/records.ts'
import { scoredCandidates } from '../store/records/scored-candidates.ts'
import type { InteractionSummary } from '../store/store.ts'
import type { Baseline } from './baseline.ts'
import type { Call } from './call.ts'
import type { RequestContext } from './context.ts'
import { type Decision, stillCached } from './decide.ts'

const DAY_MS = 86_400_000

/** The row of one request. */
export function recordOf(context: RequestContext, call: Call, decision: Decision, outcome: Outcome): InteractionRecord {
  const { request, principal, conversation } = call
  const { selection } = decision
  const keepDays = principal.tenant.config.keep_text_days
  const totalMs = performance.now() - context.startedAt
  const reading = quantise(decision.reading)
  return {
    id: context.requestId,
    ts: context.ts,
    tenant: principal.tenant.name,
    user: principal.user,
    conversation,
    embedding: sealedOf(decision),
    embedder: decision.policy?.embedder.version ?? '',
    reading: reading && { int8: base64Of(reading.int8), scale: reading.scale },
    reader: readerOf(decision),
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
    completionId: call.message ?? outcome.completionId,
    key: principal.keyId,
    ...(principal.vouched && { vouched: true }),
    endpoint: call.endpoint.name,
    ...predictedOf(decision, outcome),
    ...(selection.reason === 'stated' && { arm: 'stated' as const }),
    ...(decision.baseline && {
      arm: armOf(decision, decision.baseline),
      group: decision.baseline.group,
      baselineUsd: baselineUsd(context, decision, outcome),
      gain: outcome.candidate === selection.chosen.candidate ? gainNote(decision) : null,
    }),
  }
}

function predictedOf({ scores, fallback }: Decision, { candidate }: Outcome): Pick<InteractionRecord, 'predicted'> {
  const own = fallback === null ? scores.find((score) => score.candidate === candidate) : undefined
  return own
    ? { predicted: { quality: rounded(own.quality), completion_tokens: Math.round(own.completionTokens) } }
    : {}
}

const readerOf = ({ policy }: Decision) => policy?.router.artifact.manifest.reader ?? ''

const sealedOf = ({ vector }: Decision) => (vector && 'sealed' in vector.of ? vector.of : null)

/** Who chose: the router, or why the baseline. Who is held out stays that where the baseline could not answer. */
function armOf({ selection: { reason, detail } }: Decision, { rule }: Baseline): Arm {
  if (rule.why === 'holdout') return 'holdout'
  return reason === 'fallback' && detail === 'baseline' ? 'baseline' : 'route'
}

/**
 * Dollars that the baseline would have cost for the same tokens. In a conversation that goes on, it would have found
 * its prompt in the provider's cache: so a switch of models is not said to be cheaper than it was.
 */
export function baselineUsd(
  { snapshot, ts }: RequestContext,
  decision: Decision,
  { usage }: Pick<Outcome, 'usage'>,
): number | null {
  const { baseline, conversation } = decision
  const price = snapshot.candidates.find(({ name }) => name === baseline?.comparison.baseline)?.price
  if (!price) return null
  const warm = conversation && stillCached(conversation, ts) ? conversation.promptTokens : 0
  const cachedTokens = Math.max(usage.cachedTokens, Math.min(usage.promptTokens, warm))
  return costUsd({ ...usage, cachedTokens, cacheWriteTokens: 0 }, price)
}

const rounded = (value: number) => Math.round(value * 1e3) / 1e3

/** The part of a record that feedback needs while the answer is still on its way. */
export function summaryOf(context: RequestContext, call: Call, decision: Decision): InteractionSummary {
  const { principal, conversation, request } = call
  return {
    id: context.requestId,
    tenant: principal.tenant.name,
    user: principal.user,
    conversation,
    candidate: decision.selection.chosen.candidate.name,
    reading: quantise(decision.reading),
    reader: readerOf(decision),
    vector: decision.vector,
    promptTokens: request.promptTokens,
    completionTokens: -1,
    costUsd: -1,
    ts: context.ts,
    ended: false,
    gain: gainNote(decision),
    completionId: call.message,
    key: principal.keyId,
    vouched: principal.vouched,
  }
}

function gainNote({ baseline, selection: { lift } }: Decision): GainNote | null {
  if (!baseline || !lift) return null
  const { comparison, group } = baseline
  return { baseline: comparison.baseline, policy: comparison.policy, group, ...lift }
}
