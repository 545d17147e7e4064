import { type Amounts, NO_AMOUNTS } from '../../store/limits.ts'
import type { InteractionRecord } from '../../store/records/codec.ts'
import type { Call } from '../call.ts'
import { mostOf } from './estimate.ts'
import { NANO } from './usd.ts'

/** What a request came to: the answer, and tries beside it that a provider may have answered and billed. */
export function usedBy(record: InteractionRecord, call: Call): Amounts {
  const { promptTokens, completionTokens } = record.usage
  const candidateOf = (wanted: string) => call.model.candidates.find(({ name }) => name === wanted)
  const used: Amounts = {
    requests: 1,
    tokens: promptTokens + completionTokens,
    nanoUsd: Math.round(record.costUsd * NANO),
  }
  const atMost = (name: string, atLeast: Amounts): Amounts => {
    const candidate = candidateOf(name)
    if (!candidate) return atLeast
    const { tokens, nanoUsd } = mostOf(call, candidate)
    return { ...atLeast, tokens: Math.max(tokens, atLeast.tokens), nanoUsd: Math.max(nanoUsd, atLeast.nanoUsd) }
  }
  const total = { ...(isOpenEnd(record) ? atMost(record.attempts.at(-1)?.candidate ?? record.chosen, used) : used) }
  for (const { candidate, error } of record.attempts.slice(0, -1)) {
    if (error !== 'hedged' && error !== 'timeout') continue
    const lost = atMost(candidate, NO_AMOUNTS)
    total.tokens += lost.tokens
    total.nanoUsd += lost.nanoUsd
  }
  return total
}

/** The provider had the request, and nobody was told how long its answer became. */
const isOpenEnd = ({ usage, usageEstimated, finishReason }: InteractionRecord) =>
  usageEstimated && usage.promptTokens > 0 && (finishReason === 'aborted' || finishReason === 'error')
