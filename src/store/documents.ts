import type { Usage } from '../accounting/usage.ts'
import type { Attempt, InteractionRecord, Reason, RewardKind, RewardRecord, ScoredCandidate } from './records.ts'
import type { InteractionSummary } from './store.ts'

/** An interaction as it is stored and exported: `docs/records.md`. */
export interface InteractionDocument {
  id: string
  ts: number
  tenant: string
  user: string
  conversation: string | null
  embedding: { int8: string; scale: number } | null
  embedder: string
  text: string | null
  text_expires_at?: number
  candidates: CandidateDocument[]
  policy: string
  chosen: string
  reason: Reason
  attempts: Attempt[]
  usage: {
    prompt_tokens: number
    completion_tokens: number
    cached_tokens: number
    cache_write_tokens: number
    reasoning_tokens: number
  }
  usage_estimated: boolean
  cost_usd: number
  ttft_ms: number | null
  total_ms: number
  overhead_us: number
  finish_reason: string
  status: number
  stream: boolean
  tools: boolean
  modalities: string[]
  completion_id: string | null
  shadow?: { policy: string; candidates: CandidateDocument[] }
}

interface CandidateDocument {
  name: string
  mean: number | null
  std: number | null
  predicted_cost_usd: number
  propensity: number
}

export interface RewardDocument {
  interaction: string
  tenant: string
  user: string
  kind: RewardKind
  value: number
  weight: number
  binary: boolean
  ts: number
  preferred_model: string | null
  comment: string | null
}

/** JSON of each record that is on its way: the spool and the store need the same text. */
const known = new WeakMap<InteractionRecord | RewardRecord, string>()

/** The JSON document of a record, text included. Made once a record: don't change it afterwards. */
export function interactionJson(record: InteractionRecord): string {
  let json = known.get(record)
  if (json === undefined) {
    json = JSON.stringify(interactionDocument(record))
    known.set(record, json)
  }
  return json
}

/** As `interactionJson`, without the prompt's text: that is kept apart, to be deleted earlier. */
export function interactionJsonWithoutText(record: InteractionRecord): string {
  if (record.text === null) return interactionJson(record)
  return JSON.stringify({ ...interactionDocument(record), text: null })
}

export function rewardJson(record: RewardRecord): string {
  let json = known.get(record)
  if (json === undefined) {
    json = JSON.stringify(rewardDocument(record))
    known.set(record, json)
  }
  return json
}

/** One line of an export or a spool: the document, and before it what it is. */
export const interactionLine = (record: InteractionRecord) =>
  `{"type":"interaction",${interactionJson(record).slice(1)}`
export const rewardLine = (record: RewardRecord) => `{"type":"reward",${rewardJson(record).slice(1)}`

function interactionDocument(record: InteractionRecord): InteractionDocument {
  const { usage, shadow } = record
  return {
    id: record.id,
    ts: record.ts,
    tenant: record.tenant,
    user: record.user,
    conversation: record.conversation,
    embedding: record.embedding,
    embedder: record.embedder,
    text: record.text,
    ...(record.textExpiresAt !== undefined && { text_expires_at: record.textExpiresAt }),
    candidates: record.candidates.map(candidateDocument),
    policy: record.policy,
    chosen: record.chosen,
    reason: record.reason,
    attempts: record.attempts,
    usage: {
      prompt_tokens: usage.promptTokens,
      completion_tokens: usage.completionTokens,
      cached_tokens: usage.cachedTokens,
      cache_write_tokens: usage.cacheWriteTokens,
      reasoning_tokens: usage.reasoningTokens,
    },
    usage_estimated: record.usageEstimated,
    cost_usd: record.costUsd,
    ttft_ms: record.ttftMs,
    total_ms: record.totalMs,
    overhead_us: record.overheadUs,
    finish_reason: record.finishReason,
    status: record.status,
    stream: record.stream,
    tools: record.tools,
    modalities: record.modalities,
    completion_id: record.completionId,
    ...(shadow && { shadow: { policy: shadow.policy, candidates: shadow.candidates.map(candidateDocument) } }),
  }
}

const candidateDocument = ({ name, mean, std, predictedCostUsd, propensity }: ScoredCandidate): CandidateDocument => ({
  name,
  mean,
  std,
  predicted_cost_usd: predictedCostUsd,
  propensity,
})

/** The way back. `text`: where it was kept apart. */
export function readInteraction(document: InteractionDocument, text = document.text): InteractionRecord {
  const { shadow } = document
  return {
    id: document.id,
    ts: document.ts,
    tenant: document.tenant,
    user: document.user,
    conversation: document.conversation,
    embedding: document.embedding,
    embedder: document.embedder,
    text,
    ...(document.text_expires_at !== undefined && { textExpiresAt: document.text_expires_at }),
    candidates: document.candidates.map(readCandidate),
    policy: document.policy,
    chosen: document.chosen,
    reason: document.reason,
    attempts: document.attempts,
    usage: readUsage(document.usage),
    usageEstimated: document.usage_estimated,
    costUsd: document.cost_usd,
    ttftMs: document.ttft_ms,
    totalMs: document.total_ms,
    overheadUs: document.overhead_us,
    finishReason: document.finish_reason,
    status: document.status,
    stream: document.stream,
    tools: document.tools,
    modalities: document.modalities,
    completionId: document.completion_id,
    ...(shadow && { shadow: { policy: shadow.policy, candidates: shadow.candidates.map(readCandidate) } }),
  }
}

const readCandidate = (document: CandidateDocument): ScoredCandidate => ({
  name: document.name,
  mean: document.mean,
  std: document.std,
  predictedCostUsd: document.predicted_cost_usd,
  propensity: document.propensity,
})

const readUsage = (document: InteractionDocument['usage']): Usage => ({
  promptTokens: document.prompt_tokens,
  completionTokens: document.completion_tokens,
  cachedTokens: document.cached_tokens,
  cacheWriteTokens: document.cache_write_tokens,
  reasoningTokens: document.reasoning_tokens,
})

const rewardDocument = (record: RewardRecord): RewardDocument => ({
  interaction: record.interaction,
  tenant: record.tenant,
  user: record.user,
  kind: record.kind,
  value: record.value,
  weight: record.weight,
  binary: record.binary,
  ts: record.ts,
  preferred_model: record.preferredModel,
  comment: record.comment,
})

export const readReward = (document: RewardDocument): RewardRecord => ({
  interaction: document.interaction,
  tenant: document.tenant,
  user: document.user,
  kind: document.kind,
  value: document.value,
  weight: document.weight,
  binary: document.binary,
  ts: document.ts,
  preferredModel: document.preferred_model,
  comment: document.comment,
})

/** What feedback needs of an answer that has ended. */
export const summaryOf = (record: InteractionRecord): InteractionSummary => ({
  id: record.id,
  tenant: record.tenant,
  user: record.user,
  conversation: record.conversation,
  candidate: record.chosen,
  embedding: record.embedding && {
    int8: int8FromBase64(record.embedding.int8),
    scale: record.embedding.scale,
  },
  embedder: record.embedder,
  promptTokens: record.usage.promptTokens,
  completionTokens: record.usage.completionTokens,
  costUsd: record.costUsd,
  ts: record.ts,
  ended: true,
})

export function int8FromBase64(base64: string): Int8Array {
  return new Int8Array(Buffer.from(base64, 'base64'))
}
