import { costUsd } from '../candidates/pricing.ts'
import type { GatewayError } from '../errors.ts'
import { considerJudging } from '../learning/sources/consider-judging.ts'
import { estimateUsage } from '../openai/estimate-tokens.ts'
import { NO_USAGE } from '../openai/usage.ts'
import type { Parts } from '../parts.ts'
import { ForwardError } from '../providers/forward/failure.ts'
import { type Forwarded, forward } from '../providers/forward/forward.ts'
import { type RelayOutcome, relay } from '../providers/relay/relay.ts'
import type { InteractionRecord } from '../store/records/records.ts'
import { type Asked, readRequest } from './call.ts'
import { captureResponse } from './capture-response.ts'
import type { Exchange } from './context.ts'
import { type Decision, decide } from './decide.ts'
import { claimIdempotencyKey } from './idempotency.ts'
import { reserveAllowance } from './quota.ts'
import { type Ending, recordOf, summaryOf } from './record.ts'

/**
 * One chat completion, from top to bottom: read → admit → reserve; embed, score, choose → forward → relay → record. The caller has been
 * authenticated. What is thrown is for the client: nothing has been sent yet.
 *
 * @throws GatewayError
 */
export async function completeChat(parts: Parts, exchange: Exchange): Promise<void> {
  const asked = await readRequest(exchange, parts.userIds)
  const claimed = await claimIdempotencyKey(parts, exchange, asked)
  if (claimed === 'replayed') return
  let isWhole = false
  try {
    await parts.admission.enter(asked.asker.tenant.config.priority, exchange.signal)
    try {
      isWhole = await decideAndAnswer(parts, exchange, asked)
    } finally {
      parts.admission.leave()
    }
  } finally {
    claimed?.end(isWhole)
  }
}

/** @returns whether the client has got a whole answer */
async function decideAndAnswer(parts: Parts, exchange: Exchange, asked: Asked): Promise<boolean> {
  // At once: the store answers while the model scores. Nobody is chosen yet, so that it reserves for the dearest that the model's name stands for.
  const [reserved, decided] = await Promise.allSettled([
    reserveAllowance(parts, exchange, asked),
    decide(parts, exchange, asked),
  ])
  if (decided.status === 'rejected' && reserved.status === 'fulfilled') reserved.value.settle(null)
  const decision = resultOf(decided)
  const { ranking } = decision.selection
  const isForAll = ranking.length === asked.model.candidates.length
  // Refused for the dearest of all, it may be granted for those that are left.
  const allowance =
    reserved.status === 'fulfilled' || isForAll
      ? resultOf(reserved)
      : await reserveAllowance(parts, exchange, asked, ranking)
  parts.recorder.open(summaryOf(exchange, asked, decision))
  const judged = parts.judge && captureResponse(exchange.outgoing, MAX_JUDGED_BYTES)
  let record: InteractionRecord | null = null
  try {
    const ending = await answer(parts, exchange, asked, decision, allowance.headers, (ended) => {
      record = recordOf(exchange, asked, decision, ended)
      return parts.afterAnswer(record, asked, decision)
    })
    if (ending.error) throw ending.error
    if (judged && record) considerJudging(parts, record, decision.text, judged())
    return ending.status < 400 && !['error', 'aborted'].includes(ending.finishReason)
  } finally {
    allowance.settle(record)
  }
}

function resultOf<T>(result: PromiseSettledResult<T>): T {
  if (result.status === 'rejected') throw result.reason
  return result.value
}

/** An answer that is larger is not judged. */
const MAX_JUDGED_BYTES = 256 * 1024

interface Answered extends Ending {
  /** Nobody answered and nothing was sent: what the client is told. */
  error: GatewayError | null
}

/**
 * The candidates in order until one answers, and its bytes to the client.
 *
 * @param onEnding called once and awaited, before the client can know that the answer is whole
 */
async function answer(
  parts: Parts,
  exchange: Exchange,
  asked: Asked,
  decision: Decision,
  limitHeaders: Record<string, string>,
  onEnding: (ending: Ending) => Promise<void> | undefined,
): Promise<Answered> {
  const { live, signal, requestId, startedAt } = exchange
  const { timeouts, retries, server } = live.config
  const { request } = asked
  const deadline = startedAt + timeouts.total_ms
  let forwarded: Forwarded
  try {
    forwarded = await forward(
      { ranking: decision.selection.ranking, request, signal, requestId, deadline },
      { providers: live.providers, breakers: parts.breakers, timeouts, retries },
    )
  } catch (error) {
    if (!(error instanceof ForwardError)) throw error
    const ending = unanswered(asked, decision, error)
    await onEnding(ending)
    return ending
  }
  const outcome = await relay(forwarded, exchange.outgoing, {
    request,
    headers: { ...limitHeaders, ...answerHeaders(requestId, decision, forwarded) },
    signal,
    deadline,
    started: startedAt,
    contentIdleMs: timeouts.content_idle_ms,
    writeIdleMs: server.write_idle_timeout_ms,
    onEnding: (outcome) => onEnding(answered(forwarded, outcome)),
  })
  return answered(forwarded, outcome)
}

/** What the answer says of how it came about. */
function answerHeaders(requestId: string, { selection, version, fallback }: Decision, forwarded: Forwarded) {
  const { candidate } = forwarded
  const isFirstChoice = candidate === selection.chosen.candidate
  const reason = isFirstChoice ? selection.reason : 'fallback'
  const detail = isFirstChoice ? (fallback ?? selection.detail) : (forwarded.attempts[0]?.error ?? '')
  return {
    'x-request-id': requestId,
    'x-router-model': candidate.name,
    'x-router-provider': candidate.provider,
    'x-router-reason': detail === '' ? reason : `${reason};${detail}`,
    'x-router-policy': version,
    ...(!forwarded.stream &&
      forwarded.usage && { 'x-router-cost-usd': costUsd(forwarded.usage, candidate.price).toFixed(9) }),
  }
}

function answered(forwarded: Forwarded, outcome: RelayOutcome): Answered {
  return {
    candidate: forwarded.candidate,
    attempts: withRelayError(forwarded, outcome.error),
    status: forwarded.status,
    usage: outcome.usage,
    usageEstimated: outcome.usageEstimated,
    finishReason: outcome.finishReason,
    completionId: outcome.completionId,
    ttftMs: outcome.ttftMs,
    waitedMs: forwarded.upstreamMs + outcome.waitedMs,
    error: null,
  }
}

/** The try that began to answer and then broke did not work. */
function withRelayError({ attempts }: Forwarded, error: string | null): Forwarded['attempts'] {
  const last = attempts.at(-1)
  return error === null || !last ? attempts : [...attempts.slice(0, -1), { ...last, error }]
}

function unanswered({ request }: Asked, { selection }: Decision, error: ForwardError): Answered {
  const sent = error.attempts.some(({ status, error }) => status === 200 || error === 'aborted' || error === 'timeout')
  return {
    candidate: selection.chosen.candidate,
    attempts: error.attempts,
    status: error.status,
    // A provider that was cut off has read the prompt, and bills it.
    usage: sent ? estimateUsage(request.promptTokens, 0) : NO_USAGE,
    usageEstimated: sent,
    finishReason: error.code === 'client_closed_request' ? 'aborted' : 'error',
    completionId: null,
    ttftMs: null,
    waitedMs: error.upstreamMs,
    error,
  }
}
