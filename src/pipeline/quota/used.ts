import type { Candidate } from '../../candidates/candidate.ts'
import { costUsd } from '../../candidates/pricing.ts'
import type { Amounts } from '../../store/limits.ts'
import type { InteractionRecord } from '../../store/records/codec.ts'
import { type Attempt, KNOWN_USAGE } from '../../store/records/records.ts'
import { billedUsd } from '../../store/usage.ts'
import type { Call } from '../call.ts'
import { likelyOf, mostOf, usualOf } from './estimate.ts'
import { NANO } from './usd.ts'

/**
 * The record with what each try cost, where there was more to pay for than the answer: tries beside it that a provider
 * may have answered and billed, or an answer of which nobody was told how long it became.
 *
 * @param reserved billionths of a dollar: no single try came to more; infinite where nothing was
 */
export function withCosts(record: InteractionRecord, call: Call, reserved: number): InteractionRecord {
  const { attempts } = record
  const last = attempts.length - 1
  const isOpen = isOpenEnd(record)
  if (!isOpen && !attempts.some((attempt, i) => i < last && isBilled(attempt))) return record
  const candidateOf = (name: string) => call.model.candidates.find((candidate) => candidate.name === name)
  const atMost = (candidate: Candidate | undefined) =>
    candidate ? Math.min(reserved, openEnd(record, call, candidate, reserved).nanoUsd) / NANO : 0
  const costs = attempts.map((attempt, i) => {
    const { [KNOWN_USAGE]: known, candidate: name } = attempt
    const candidate = candidateOf(name)
    if (known && candidate) return costUsd(known, candidate.price)
    if (i < last) return isBilled(attempt) ? atMost(candidate) : 0
    return isOpen ? Math.max(record.costUsd, atMost(candidate)) : record.costUsd
  })
  return { ...record, attempts: attempts.map((attempt, i) => ({ ...attempt, cost_usd: costs[i] ?? 0 })) }
}

/** What a request came to. @param record with its costs */
export function usedBy(record: InteractionRecord, call: Call): Amounts {
  const { promptTokens, completionTokens } = record.usage
  let tokens = promptTokens + completionTokens
  const last = record.attempts.length - 1
  for (const [i, attempt] of record.attempts.entries()) {
    if (i < last ? !isBilled(attempt) : !isOpenEnd(record)) continue
    const candidate = call.model.candidates.find(({ name }) => name === attempt.candidate)
    if (!candidate) continue
    const known = attempt[KNOWN_USAGE]
    const most = known ? known.promptTokens + known.completionTokens : usualOf(call, candidate).tokens
    tokens = i < last ? tokens + most : Math.max(tokens, most)
  }
  return { requests: 1, tokens, nanoUsd: Math.round(billedUsd(record) * NANO) }
}

/**
 * A plain answer is written to its end, whoever has left; a stream is mostly ended with its connection, so that without
 * a bound it came to a usual length at most.
 */
const openEnd = ({ stream }: InteractionRecord, call: Call, candidate: Candidate, reserved: number): Amounts =>
  (Number.isFinite(reserved) ? (stream ? usualOf : mostOf) : likelyOf)(call, candidate)

/** A try that gave no answer, and was paid for all the same: the provider had begun to write, or may have. */
const isBilled = ({ status, error }: Attempt): boolean =>
  error === 'hedged' || error === 'timeout' || (error !== null && status !== null && status < 300)

/** The provider had the request, and nobody was told how long its answer became. */
const isOpenEnd = ({ usage, usageEstimated, finishReason }: InteractionRecord) =>
  usageEstimated && usage.promptTokens > 0 && (finishReason === 'aborted' || finishReason === 'error')
