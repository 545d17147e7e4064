import type { Candidate } from '../candidates/candidate.ts'
import { costUsd } from '../candidates/pricing.ts'
import type { Usage } from '../candidates/usage.ts'
import { badGateway, GatewayError } from '../errors.ts'
import type { Ghost } from '../learning/sources/ghost.ts'
import type { Judge } from '../learning/sources/judge.ts'
import type { Logger } from '../observability/logger.ts'
import { ForwardError } from '../providers/forward/failure.ts'
import { type Forwarded, forward } from '../providers/forward/forward.ts'
import { UpstreamError } from '../providers/provider.ts'
import { isWhole, type Outcome, unanswered, untold } from '../providers/relay/outcome.ts'
import { relay } from '../providers/relay/relay.ts'
import { voiceOf } from '../routing/choose/evidence.ts'
import type { Seal } from '../runtime/seal.ts'
import type { InteractionRecord } from '../store/records/codec.ts'
import type { Admission } from './admission.ts'
import { type AfterAnswerDeps, afterAnswer, considerJudging } from './after-answer.ts'
import type { Call } from './call.ts'
import { captureResponse } from './capture-response.ts'
import type { RequestContext } from './context.ts'
import { type DecideDeps, type Decision, decide } from './decide.ts'
import { feedbackLink } from './feedback-link.ts'
import { claimIdempotencyKey, type IdempotencyDeps } from './idempotency.ts'
import { personOf, speakerOf } from './principal.ts'
import { affordable } from './quota/estimate.ts'
import type { Grant, Quota } from './quota/quota.ts'
import { BudgetError } from './quota/refusal.ts'
import { baselineUsd, recordOf, summaryOf } from './record.ts'

export interface ChatDeps extends DecideDeps, IdempotencyDeps, AfterAnswerDeps {
  admission: Admission
  quota: Quota
  seal: Seal
  /** Null where none is configured. */
  judge: Judge | null
  ghost: Ghost | null
}

/**
 * One answer, from top to bottom, for every endpoint: admit → reserve; embed, score, choose → forward → relay → record.
 * The caller has been authenticated and the request parsed. Errors that are thrown are for the client: nothing has been
 * sent yet.
 *
 * @throws GatewayError
 */
export async function complete(deps: ChatDeps, context: RequestContext, call: Call): Promise<void> {
  deps.quota.refuseKnown(context, call.principal)
  await deps.admission.run(call.principal.tenant.config.priority, context.signal, async () => {
    const claimed = await claimIdempotencyKey(deps, context, call)
    if (claimed === 'replayed') return
    let hasWholeAnswer = false
    try {
      hasWholeAnswer = await decideAndAnswer(deps, context, call)
    } finally {
      claimed?.end(hasWholeAnswer)
    }
  })
}

/** @returns whether the client has got a whole answer */
async function decideAndAnswer(deps: ChatDeps, context: RequestContext, asked: Call): Promise<boolean> {
  // Together: the store answers while the model scores. No candidate is chosen yet, so it reserves for the dearest one
  // that the model's name stands for.
  const [reserved, decided] = await Promise.allSettled([
    deps.quota.reserve(context, asked),
    decide(deps, context, asked),
  ])
  if (decided.status === 'rejected' && reserved.status === 'fulfilled') reserved.value.settle(null)
  const { call, decision, grant } = await within(deps, context, asked, resultOf(decided), reserved)
  deps.recorder.open(summaryOf(context, call, decision))
  const judged = (deps.judge || deps.ghost) && captureResponse(context.outgoing, MAX_JUDGED_BYTES)
  let record: InteractionRecord | null = null
  try {
    const headers = { ...grant.headers, ...feedbackLink(deps.seal, context, call) }
    const onEnding = (ended: Outcome) => {
      record = grant.withCosts(recordOf(context, call, decision, ended))
      if (context.trace) context.trace.record = record
      // Before the client has the whole answer: what it has got is counted, whatever becomes of this process.
      grant.settle(record)
      return afterAnswer(deps, { context, call, decision, record })
    }
    const onNamed = (id: string) => deps.recorder.nameCompletion(call.principal.tenant.name, context.requestId, id)
    const granted = { headers, mostTokens: grant.mostTokens }
    const outcome = await answer(deps, context, call, decision, granted, onEnding, onNamed)
    logBroken(deps.log, context, outcome)
    if (judged && record) considerJudging(deps, { call, decision, record }, judged().body)
    return isWhole(outcome)
  } finally {
    if (!record) grant.settle(null)
  }
}

/**
 * Where a budget does not pay for all candidates, a request goes to those that it pays for.
 *
 * @throws GatewayError 429 where it pays for none
 */
async function within(
  deps: ChatDeps,
  context: RequestContext,
  call: Call,
  decision: Decision,
  reserved: PromiseSettledResult<Grant>,
): Promise<{ call: Call; decision: Decision; grant: Grant }> {
  const { ranking } = decision.selection
  let grant =
    reserved.status === 'fulfilled'
      ? reserved.value
      : await reserveAgain(deps.quota, context, call, ranking, reserved.reason)
  let fitting = grant.affordable(ranking)
  if (fitting.length === 0) {
    // It pays for none of those that are left: refused with their figures.
    grant.settle(null)
    grant = await deps.quota.reserve(anew(anew(context)), call, ranking)
    fitting = ranking
  }
  if (fitting.length === ranking.length) return { call, decision, grant }
  const narrowed = { ...call, model: { ...call.model, candidates: fitting } }
  try {
    return { call: narrowed, decision: await decide(deps, context, narrowed), grant }
  } catch (error) {
    grant.settle(null)
    throw error
  }
}

/** Reserved for the dearest candidate, a request was refused. @throws GatewayError 429 with the figures of `ranking` */
function reserveAgain(
  quota: Quota,
  context: RequestContext,
  call: Call,
  ranking: readonly Candidate[],
  refused: unknown,
): Promise<Grant> {
  if (!(refused instanceof BudgetError)) throw refused
  const fitting = affordable(call, ranking, refused.left)
  if (fitting.length === 0 && ranking.length === call.model.candidates.length) throw refused
  return quota.reserve(anew(context), call, fitting.length > 0 ? fitting : ranking, refused.left)
}

/** The same id would be the same reservation. */
const anew = ({ requestId, snapshot }: Pick<RequestContext, 'requestId' | 'snapshot'>) => ({
  requestId: `${requestId}+`,
  snapshot,
})

/** An error after the first byte: the client has been told in the stream, its cause is for the log. */
function logBroken(log: Logger, { requestId }: RequestContext, { error, cause }: Outcome): void {
  if (cause === undefined) return
  if (!(cause instanceof UpstreamError)) log.error({ err: cause, request: requestId }, 'internal error')
  else if (error !== null) log.warn({ err: cause, request: requestId, error }, 'an answer broke')
}

function resultOf<T>(result: PromiseSettledResult<T>): T {
  if (result.status === 'rejected') throw result.reason
  return result.value
}

/** Larger answers are not judged. */
const MAX_JUDGED_BYTES = 256 * 1024

/**
 * Asks the candidates in order until one answers, and sends its bytes to the client.
 *
 * @param onEnding called once and awaited, before the client can know that the answer is whole
 * @throws ForwardError where none answered: nothing has been sent
 */
export async function answer(
  deps: Pick<ChatDeps, 'breakers' | 'refusals' | 'log'>,
  context: RequestContext,
  call: Call,
  decision: Decision,
  granted: Pick<Grant, 'headers' | 'mostTokens'>,
  onEnding: (outcome: Outcome) => Promise<void> | undefined,
  onNamed?: (completionId: string) => void,
): Promise<Outcome> {
  const { snapshot, signal, requestId, startedAt } = context
  const { timeouts, retries, server } = snapshot.config
  const { request, principal, knobs, model } = call
  const deadline = startedAt + timeouts.total_ms
  // Its frames say where; its message might hold what was converted.
  const onBug = (err: unknown, { name: candidate }: Candidate) =>
    deps.log.error({ err, candidate, request: requestId }, 'a request or an answer could not be converted')
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
        voice: voiceOf(speakerOf(principal)),
        asker: personOf(principal),
        mostTokens: granted.mostTokens,
        hold: (bytes) => context.held.take(bytes),
        trace: context.trace,
      },
      { providers: snapshot.providers, breakers: deps.breakers, timeouts, retries, refusals: deps.refusals, onBug },
    )
  } catch (error) {
    if (!(error instanceof ForwardError)) throw error
    await onEnding(unanswered(error, decision.selection.chosen.candidate, request))
    throw error
  }
  const writer = call.writer?.(call.turn.key)
  if (writer && !forwarded.stream) {
    try {
      forwarded.body = await writer.plain(forwarded, principal.tenant.name)
    } catch (err) {
      const error = err instanceof GatewayError ? err : notTold()
      if (error !== err) onBug(err, forwarded.candidate)
      await onEnding(untold(forwarded, request, error))
      throw error
    }
  }
  return relay(forwarded, context.outgoing, {
    request,
    headers: { ...granted.headers, ...answerHeaders(context, decision, forwarded, granted) },
    writer: writer && forwarded.stream ? writer.stream(forwarded) : undefined,
    signal,
    deadline,
    started: startedAt,
    contentIdleMs: timeouts.content_idle_ms,
    commentsMs: timeouts.comments_ms,
    endingMs: timeouts.ending_ms,
    writeIdleMs: server.write_idle_timeout_ms,
    onEnding,
    ...(onNamed && { onNamed }),
  })
}

const notTold = () => badGateway("The model's answer could not be told in the format that was asked for.")

/** Headers that say how the answer came about. */
function answerHeaders(
  context: RequestContext,
  decision: Decision,
  forwarded: Forwarded,
  { mostTokens }: Pick<Grant, 'mostTokens'>,
) {
  const { selection, version, fallback } = decision
  const { candidate } = forwarded
  const most = mostTokens(candidate)
  const isFirstChoice = candidate === selection.chosen.candidate
  const reason = isFirstChoice ? selection.reason : 'fallback'
  const detail = isFirstChoice ? (fallback ?? selection.detail) : (forwarded.attempts[0]?.error ?? '')
  return {
    'x-request-id': context.requestId,
    'x-router-model': candidate.name,
    'x-router-provider': candidate.provider,
    'x-router-reason': detail === '' ? reason : `${reason};${detail}`,
    'x-router-policy': version,
    ...(most !== null && { 'x-router-max-tokens': String(most) }),
    ...(forwarded.request.dropped?.length && { 'x-router-dropped': inHeader(forwarded.request.dropped) }),
    ...(!forwarded.stream && forwarded.usage && costHeaders(context, decision, candidate, forwarded.usage)),
  }
}

function costHeaders(context: RequestContext, decision: Decision, { price }: Candidate, usage: Usage) {
  const cost = costUsd(usage, price)
  const baseline = context.snapshot.config.router.tell_saved ? baselineUsd(context, decision, { usage }) : null
  return {
    'x-router-cost-usd': cost.toFixed(9),
    ...(baseline !== null && { 'x-router-saved-usd': (baseline - cost).toFixed(9) }),
  }
}

/** Node's clients take 16 KiB of headers together. */
const MAX_LIST_CHARS = 2_048

/** Names that clients make up, as a header's list: in visible ASCII, and of bounded length. */
function inHeader(names: readonly string[]): string {
  let list = ''
  for (const name of names) {
    const shown = name.slice(0, 128).replace(/[^\x21-\x2b\x2d-\x7e]/g, '?')
    if (list.length + shown.length > MAX_LIST_CHARS) return `${list}, ...`
    list += list === '' ? shown : `, ${shown}`
  }
  return list
}
