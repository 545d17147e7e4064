import { int8FromBase64 } from '../bytes.ts'
import type { InteractionSummary } from '../store.ts'
import type { InteractionRecord } from './codec.ts'

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
  ...(record.gain !== undefined && { gain: record.gain }),
  ...(record.key !== undefined && { key: record.key }),
  ...(record.vouched !== undefined && { vouched: record.vouched }),
})
