import { costUsd } from '../candidates/pricing.ts'
import type { GatewayError } from '../errors.ts'
import { considerJudging } from '../learning/sources/consider-judging.ts'
import { estimateUsage } from '../openai/estimate-tokens.ts'
import { NO_USAGE } from '../openai/usage.ts'
import type { Services } from '../parts.ts'
import { ForwardError } from '../providers/forward/failure.ts'
import { type Forwarded, forward } from '../providers/forward/forward.ts'
import { type RelayOutcome, relay } from '../providers/relay/relay.ts'
import type { InteractionRecord } from '../store/records/records.ts'
import { type Call, readCall } from './call.ts'
import { captureResponse } from './capture-response.ts'
import type { RequestContext } from './context.ts'
import { type Decision, decide } from './decide.ts'
import { claimIdempotencyKey } from './idempotency.ts'
import { reserveAllowance } from './quota.ts'
import { type Ending, recordOf, summaryOf } from './record.ts'

/**
 * One chat completion, from top to bottom: read → admit → reserve; embed, score, choose → forward → relay → record. The
 * caller has been authenticated. What is thrown is for the client: nothing has been sent yet.
 *
 * @throws GatewayError
 */
export async function completeChat(services: Services, context: RequestContext): Promise<void> {
  const call = await readCall(context, services.userIds)
  const claimed = await claimIdempotencyKey(services, context, call)
  if (claimed === 'replayed') return
  let isWhole = false
  try {
    await services.admission.enter(call.principal.tenant.config.priority, context.signal)
    try {
      isWhole = await decideAndAnswer(services, context, call)
    } finally {
      services.admission.leave()
    }
  } finally {
    claimed?.end(isWhole)
  }
}

/** @returns whether the client has got a whole answer */
async function decideAndAnswer(services: Services, context: RequestContext, call: Call): Promise<boolean> {
  // At once: the store answers while the model scores. Nobody is chosen yet, so that it reserves for the dearest that
  // the model's name stands for.
  const [reserved, decided] = await Promise.allSettled([
    reserveAllowance(services, context, call),
    decide(services, context, call),
  ])
  if (decided.status === 'rejected' && reserved.status === 'fulfilled') reserved.value.settle(null)
  const decision = resultOf(decided)
  const { ranking } = decision.selection
  const isForAll = ranking.length === call.model.candidates.length
  // Refused for the dearest of all, it may be granted for those that are left.
  const allowance =
    reserved.status === 'fulfilled' || isForAll
      ? resultOf(reserved)
      : await reserveAllowance(services, context, call, ranking)
  services.recorder.open(summaryOf(context, call, decision))
  const judged = services.judge && captureResponse(context.outgoing, MAX_JUDGED_BYTES)
  let record: InteractionRecord | null = null
  try {
    const ending = await answer(services, context, call, decision, allowance.headers, (ended) => {
      record = recordOf(context, call, decision, ended)
      return services.afterAnswer(record, call, decision)
    })
    if (ending.error) throw ending.error
    if (judged && record) considerJudging(services, record, decision.text, judged())
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
  services: Services,
  context: RequestContext,
  call: Call,
  decision: Decision,
  limitHeaders: Record<string, string>,
  onEnding: (ending: Ending) => Promise<void> | undefined,
): Promise<Answered> {
  const { snapshot, signal, requestId, startedAt } = context
  const { timeouts, retries, server } = snapshot.config
  const { request } = call
  const deadline = startedAt + timeouts.total_ms
  let forwarded: Forwarded
  try {
    forwarded = await forward(
      { ranking: decision.selection.ranking, request, signal, requestId, deadline },
      { providers: snapshot.providers, breakers: services.breakers, timeouts, retries },
    )
  } catch (error) {
    if (!(error instanceof ForwardError)) throw error
    const ending = unanswered(call, decision, error)
    await onEnding(ending)
    return ending
  }
  const outcome = await relay(forwarded, context.outgoing, {
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

function unanswered({ request }: Call, { selection }: Decision, error: ForwardError): Answered {
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
