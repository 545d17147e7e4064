import { int8FromBase64 } from '../bytes.ts'
import type { InteractionSummary, KeptVector } from '../store.ts'
import type { InteractionRecord } from './codec.ts'

/** What feedback needs of an answer that has ended. */
export const summaryOf = (record: InteractionRecord): InteractionSummary => ({
  id: record.id,
  tenant: record.tenant,
  user: record.user,
  conversation: record.conversation,
  candidate: record.chosen,
  reading: unpacked(record.reading),
  reader: record.reader ?? '',
  vector: keptVector(record),
  promptTokens: record.usage.promptTokens,
  completionTokens: record.usage.completionTokens,
  costUsd: record.costUsd,
  ts: record.ts,
  ended: true,
  ...(record.gain !== undefined && { gain: record.gain }),
  ...(record.key !== undefined && { key: record.key }),
  ...(record.vouched !== undefined && { vouched: record.vouched }),
})

const unpacked = (packed: InteractionRecord['reading']) =>
  packed ? { int8: int8FromBase64(packed.int8), scale: packed.scale } : null

function keptVector({ embedding, embedder }: InteractionRecord): KeptVector | null {
  if (!embedding) return null
  if ('sealed' in embedding) return { embedder, of: embedding }
  return { embedder, of: { plain: { int8: int8FromBase64(embedding.int8), scale: embedding.scale } } }
}
