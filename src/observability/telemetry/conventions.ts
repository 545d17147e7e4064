import type { AskedCandidate, AttemptSpan, TracedRecord } from './trace.ts'

/**
 * Names and values by the semantic conventions for generative AI.
 *
 * Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/ (spans, metrics and events of clients)
 */

export type Attributes = Record<string, string | number | boolean | string[]>

/** `gen_ai.provider.name`: well-known values, by the names that configurations use. */
const PROVIDERS: Record<string, string> = {
  azure: 'azure.ai.openai',
  bedrock: 'aws.bedrock',
  gemini: 'gcp.gemini',
  google: 'gcp.gemini',
  mistral: 'mistral_ai',
  vertex: 'gcp.vertex_ai',
  xai: 'x_ai',
}

const OPERATIONS: Record<string, string> = { completions: 'text_completion', embeddings: 'embeddings' }

export const operationOf = (record: TracedRecord | null) => OPERATIONS[record?.endpoint ?? ''] ?? 'chat'

const modelAttributes = ({ model, provider }: AskedCandidate, operation: string): Attributes => ({
  'gen_ai.operation.name': operation,
  'gen_ai.provider.name': PROVIDERS[provider] ?? provider,
  'gen_ai.request.model': model,
})

/** Of a try; with what was answered, for the one that did. */
export function attemptAttributes(span: AttemptSpan, record: TracedRecord | null): Attributes {
  const own = modelAttributes(span.candidate, operationOf(record))
  own['persona_router.candidate'] = span.candidate.name
  if (span.status !== null) own['http.response.status_code'] = span.status
  if (span.error !== null) own['error.type'] = span.error
  if (span.isAnswer && record) addAnswer(own, record)
  return own
}

function addAnswer(own: Attributes, record: TracedRecord): void {
  const { usage } = record
  own['gen_ai.request.stream'] = record.stream
  own['gen_ai.usage.input_tokens'] = usage.promptTokens
  own['gen_ai.usage.output_tokens'] = usage.completionTokens
  if (usage.cachedTokens > 0) own['gen_ai.usage.cache_read.input_tokens'] = usage.cachedTokens
  if (usage.reasoningTokens > 0) own['gen_ai.usage.reasoning.output_tokens'] = usage.reasoningTokens
  if (record.finishReason !== null) own['gen_ai.response.finish_reasons'] = [record.finishReason]
  if (record.completionId) own['gen_ai.response.id'] = record.completionId
  if (record.ttftMs !== null) own['gen_ai.response.time_to_first_chunk'] = record.ttftMs / 1e3
}

/** Of the request itself: what was decided, and why. */
export const requestAttributes = (record: TracedRecord): Attributes => ({
  'persona_router.request.id': record.id,
  'persona_router.tenant': record.tenant,
  'persona_router.candidate': record.chosen,
  'persona_router.reason': record.reason,
  'persona_router.policy': record.policy,
  'persona_router.cost_usd': record.costUsd,
})

export const metricAttributes = (candidate: AskedCandidate, record: TracedRecord | null, error: string | null) => ({
  ...modelAttributes(candidate, operationOf(record)),
  ...(error !== null && { 'error.type': error }),
})

/** Bounds that the conventions advise, in seconds and in tokens. */
export const DURATION_BOUNDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
export const TOKEN_BOUNDS = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]
