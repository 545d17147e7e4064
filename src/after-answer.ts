import type { Decision } from './decide.ts'
import type { Asked } from './http/read-request.ts'
import type { Parts } from './parts.ts'
import { quantise } from './quantise.ts'
import type { InteractionRecord } from './store/records.ts'

/** Accounts and records an answer that has ended, and remembers where the conversation is. Nothing here keeps a client waiting, and nothing throws. */
export function afterAnswer(parts: Parts, record: InteractionRecord, asked: Asked, decision: Decision): void {
  parts.recorder.interaction(record)
  parts.metrics.observe(record)
  if (record.ttftMs !== null) parts.latencies.note(record.chosen, record.ttftMs)
  parts.log.info(
    {
      request: record.id,
      tenant: record.tenant,
      candidate: record.chosen,
      reason: record.reason,
      policy: record.policy,
      status: record.status,
      finish: record.finishReason,
      attempts: record.attempts.length,
      prompt_tokens: record.usage.promptTokens,
      completion_tokens: record.usage.completionTokens,
      cost_usd: record.costUsd,
      ttft_ms: record.ttftMs,
      total_ms: record.totalMs,
      overhead_us: record.overheadUs,
    },
    'answered',
  )
  if (record.status < 400) void rememberTurn(parts, record, asked, decision)
}

async function rememberTurn(parts: Parts, record: InteractionRecord, asked: Asked, decision: Decision): Promise<void> {
  const { turn, request } = asked
  try {
    await parts.store.saveConversation(
      record.tenant,
      turn.key,
      {
        candidate: record.chosen,
        interaction: record.id,
        user: record.user,
        lastUserHash: turn.lastUserHash,
        embedding: quantise(decision.embedding),
        messages: request.body.messages.length,
        promptTokens: record.usage.promptTokens + record.usage.completionTokens,
        ts: record.ts,
      },
      turn.ttlS,
    )
  } catch {
    parts.metrics.storeErrors.inc({ call: 'saveConversation' })
  }
}
