import type { Usage } from '../../candidates/usage.ts'
import { int8FromBase64 } from '../codec.ts'
import type { InteractionSummary } from '../store.ts'
import type {
  Arm,
  Attempt,
  GainNote,
  InteractionRecord,
  Reason,
  RewardKind,
  RewardRecord,
  ScoredCandidates,
} from './records.ts'
import { type CandidateDocument, candidateDocuments, candidatesJson, readCandidates } from './scored-candidates.ts'

/** An interaction as it is exported: `docs/records.md`. */
export interface InteractionDocument extends InteractionRest {
  candidates: CandidateDocument[]
  shadow?: { policy: string; candidates: CandidateDocument[] }
}

/** As it is stored. Earlier versions stored what they exported. */
export interface StoredInteraction extends InteractionRest {
  candidates: ScoredCandidates | CandidateDocument[]
  shadow?: { policy: string; candidates: ScoredCandidates | CandidateDocument[] }
}

/** What looks the same in both, with a place for the candidates. */
interface InteractionRest {
  id: string
  ts: number
  tenant: string
  user: string
  conversation: string | null
  embedding: { int8: string; scale: number } | null
  embedder: string
  text: string | null
  text_expires_at?: number
  candidates?: unknown
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
  key?: string
  endpoint?: string
  arm?: Arm
  baseline_usd?: number | null
  gain?: GainNote | null
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

/** A record as it is stored, text included. Made once a record: don't change it afterwards. */
function interactionJson(record: InteractionRecord): string {
  let json = known.get(record)
  if (json === undefined) {
    json = storedJson(record, restOf(record))
    known.set(record, json)
  }
  return json
}

/** As the spool has it, without the prompt's text: that is kept apart, to be deleted earlier. */
export function interactionJsonWithoutText(record: InteractionRecord): string {
  if (record.text === null) return interactionJson(record)
  return storedJson(record, { ...restOf(record), text: null })
}

function storedJson({ candidates, shadow }: InteractionRecord, rest: InteractionRest): string {
  const would = shadow
    ? `,"shadow":{"policy":${JSON.stringify(shadow.policy)},"candidates":${candidatesJson(shadow.candidates)}}`
    : ''
  return `${JSON.stringify(rest).slice(0, -1)},"candidates":${candidatesJson(candidates)}${would}}`
}

export function rewardJson(record: RewardRecord): string {
  let json = known.get(record)
  if (json === undefined) {
    json = JSON.stringify(rewardDocument(record))
    known.set(record, json)
  }
  return json
}

/** One line of a spool: the document as stored, and before it what it is. */
export const interactionLine = (record: InteractionRecord) =>
  `{"type":"interaction",${interactionJson(record).slice(1)}`
/** One line of an export. */
export const exportedLine = (record: InteractionRecord) =>
  JSON.stringify({ type: 'interaction', ...interactionDocument(record) })
/** One line of either. */
export const rewardLine = (record: RewardRecord) => `{"type":"reward",${rewardJson(record).slice(1)}`

function interactionDocument(record: InteractionRecord): InteractionDocument {
  const { candidates, shadow } = record
  return {
    ...restOf(record),
    candidates: candidateDocuments(candidates),
    ...(shadow && { shadow: { policy: shadow.policy, candidates: candidateDocuments(shadow.candidates) } }),
  }
}

function restOf(record: InteractionRecord): InteractionRest {
  const { usage } = record
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
    candidates: undefined,
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
    ...(record.key !== undefined && { key: record.key }),
    ...(record.endpoint !== undefined && { endpoint: record.endpoint }),
    ...(record.arm !== undefined && { arm: record.arm }),
    ...(record.baselineUsd !== undefined && { baseline_usd: record.baselineUsd }),
    ...(record.gain !== undefined && { gain: record.gain }),
  }
}

/**
 * The way back, of either form. `text`: where it was kept apart.
 *
 * @throws Error when the candidates can't be read
 */
export function readInteraction(document: StoredInteraction, text = document.text): InteractionRecord {
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
    candidates: readCandidates(document.candidates),
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
    ...(document.key !== undefined && { key: document.key }),
    ...(document.endpoint !== undefined && { endpoint: document.endpoint }),
    ...(document.arm !== undefined && { arm: document.arm }),
    ...(document.baseline_usd !== undefined && { baselineUsd: document.baseline_usd }),
    ...(document.gain !== undefined && { gain: document.gain }),
    ...(shadow && { shadow: { policy: shadow.policy, candidates: readCandidates(shadow.candidates) } }),
  }
}

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
  gain: record.gain ?? null,
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
