import { costUsd } from '../candidates/pricing.ts'
import { considerJudging } from '../learning/sources/consider-judging.ts'
import type { Services } from '../parts.ts'
import { ForwardError } from '../providers/forward/failure.ts'
import { type Forwarded, forward } from '../providers/forward/forward.ts'
import { isWhole, type Outcome, unanswered } from '../providers/relay/outcome.ts'
import { relay } from '../providers/relay/relay.ts'
import type { InteractionRecord } from '../store/records/records.ts'
import { type Call, readCall } from './call.ts'
import { captureResponse } from './capture-response.ts'
import type { RequestContext } from './context.ts'
import { type Decision, decide } from './decide.ts'
import type { Endpoint } from './endpoint.ts'
import { claimIdempotencyKey } from './idempotency.ts'
import { reserveAllowance } from './quota.ts'
import { recordOf, summaryOf } from './record.ts'

/**
 * One answer, from top to bottom, whichever endpoint it is asked by: read → admit → reserve; embed, score, choose →
 * forward → relay → record. The caller has been authenticated. What is thrown is for the client: nothing has been sent
 * yet.
 *
 * @throws GatewayError
 */
export async function complete(services: Services, context: RequestContext, endpoint: Endpoint): Promise<void> {
  const call = await readCall(context, services.userIds, endpoint)
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
    const outcome = await answer(services, context, call, decision, allowance.headers, (ended) => {
      record = recordOf(context, call, decision, ended)
      return services.afterAnswer(record, call, decision)
    })
    if (judged && record) considerJudging(services, record, decision.text, judged(), call.endpoint)
    return isWhole(outcome)
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

/**
 * The candidates in order until one answers, and its bytes to the client.
 *
 * @param onEnding called once and awaited, before the client can know that the answer is whole
 * @throws ForwardError where none answered: nothing has been sent
 */
async function answer(
  services: Services,
  context: RequestContext,
  call: Call,
  decision: Decision,
  limitHeaders: Record<string, string>,
  onEnding: (outcome: Outcome) => Promise<void> | undefined,
): Promise<Outcome> {
  const { snapshot, signal, requestId, startedAt } = context
  const { timeouts, retries, server } = snapshot.config
  const { request, principal, knobs, model } = call
  const deadline = startedAt + timeouts.total_ms
  let forwarded: Forwarded
  try {
    forwarded = await forward(
      {
        ranking: decision.selection.ranking,
        request,
        signal,
        requestId,
        deadline,
        routed: !model.explicit,
        strict: knobs.strict,
        tenant: principal.tenant.name,
        user: principal.user,
      },
      {
        providers: snapshot.providers,
        breakers: services.breakers,
        timeouts,
        retries,
        refusals: services.refusals,
        onBug: (error, candidate) => services.log.error({ ...bugOf(error), candidate: candidate.name }, CONVERSION),
      },
    )
  } catch (error) {
    if (!(error instanceof ForwardError)) throw error
    await onEnding(unanswered(error, decision.selection.chosen.candidate, request))
    throw error
  }
  const writer = call.writer?.(call)
  if (writer && !forwarded.stream) forwarded.body = await writer.plain(forwarded)
  return relay(forwarded, context.outgoing, {
    request,
    headers: { ...limitHeaders, ...answerHeaders(requestId, decision, forwarded) },
    writer: writer && forwarded.stream ? writer.stream(forwarded) : undefined,
    signal,
    deadline,
    started: startedAt,
    contentIdleMs: timeouts.content_idle_ms,
    commentsMs: timeouts.comments_ms,
    writeIdleMs: server.write_idle_timeout_ms,
    onEnding,
    onBug: (error) => services.log.error({ ...bugOf(error), candidate: forwarded.candidate.name }, CONVERSION),
  })
}

const CONVERSION = 'a request or an answer could not be converted'

/** Where a mistake of ours is; its message may hold what was converted. */
function bugOf(error: unknown) {
  const { name, stack } = error instanceof Error ? error : new Error('unknown')
  const at = (stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
  return { bug: name, at: at.slice(0, 4).map((line) => line.trim()) }
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
    ...(forwarded.request.dropped?.length && { 'x-router-dropped': forwarded.request.dropped.join(', ') }),
    ...(!forwarded.stream &&
      forwarded.usage && { 'x-router-cost-usd': costUsd(forwarded.usage, candidate.price).toFixed(9) }),
  }
}
