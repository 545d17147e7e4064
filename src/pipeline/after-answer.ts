import { abortReward, type ImplicitReward, implicitRecord, implicitReward } from '../learning/sources/implicit.ts'
import { takeReward } from '../learning/take-reward.ts'
import type { Services } from '../parts.ts'
import { askShadow } from '../routing/policies/shadow.ts'
import { atEndOfTick } from '../runtime/end-of-tick.ts'
import { quantise } from '../runtime/quantise.ts'
import type { InteractionRecord } from '../store/records/records.ts'
import type { ConversationState } from '../store/store.ts'
import type { Call } from './call.ts'
import { pendingKey } from './conversation.ts'
import type { Decision } from './decide.ts'

/**
 * Accounts and records an answer that has ended, and learns from how it came about. What the next request must find is
 * there before the last bytes go out; the rest, for which no client waits, comes after them. Nothing here throws.
 *
 * @returns when the last bytes may go out; undefined = at once
 */
export function afterAnswer(
  services: Services,
  record: InteractionRecord,
  call: Call,
  decision: Decision,
): Promise<void> | undefined {
  const recorded = recordAnswer(services, record, call, decision)
  const state = record.status < 400 && !isErased(services, record) ? turnState(record, call, decision) : null
  if (state) services.pendingTurns.set(pendingKey(record.tenant, call.turn.key), state)
  const finish = () => {
    services.metrics.observe(record)
    if (record.ttftMs !== null) services.latencies.note(record.chosen, record.ttftMs)
    logAnswer(services, record)
    if (!isErased(services, record)) void learnFromTurn(services, record, call, decision, state)
    else if (state) forgetPending(services, record, call, state)
  }
  if (recorded) void recorded.then(() => atEndOfTick(finish))
  else atEndOfTick(finish)
  return recorded
}

function recordAnswer(
  services: Services,
  record: InteractionRecord,
  call: Call,
  decision: Decision,
): Promise<void> | undefined {
  if (isErased(services, record)) services.log.info({ request: record.id }, 'not recorded: the user has been erased')
  else if (decision.shadow) void recordWithShadow(services, record, call, decision)
  else return services.recorder.interaction(record)
  return undefined
}

const isErased = ({ erasures }: Services, { tenant, user, ts }: InteractionRecord) =>
  erasures.happened(tenant, user, ts)

function logAnswer({ log }: Services, record: InteractionRecord): void {
  const { usage, attempts } = record
  log.info(
    {
      request: record.id,
      tenant: record.tenant,
      candidate: record.chosen,
      reason: record.reason,
      policy: record.policy,
      status: record.status,
      finish: record.finishReason,
      attempts: attempts.length,
      prompt_tokens: usage.promptTokens,
      completion_tokens: usage.completionTokens,
      cost_usd: record.costUsd,
      ttft_ms: record.ttftMs,
      total_ms: record.totalMs,
      overhead_us: record.overheadUs,
    },
    'answered',
  )
}

async function recordWithShadow(
  services: Services,
  record: InteractionRecord,
  call: Call,
  decision: Decision,
): Promise<void> {
  const { shadow, text } = decision
  if (!shadow) return
  const { principal, request, model } = call
  const would = await askShadow(
    shadow.policy,
    (policy, tenant, user) => services.users.get(policy, tenant, user),
    {
      tenant: principal.tenant.name,
      user: principal.user,
      text,
      promptTokens: request.promptTokens,
      ...(shadow.costWeight !== undefined && { costWeight: shadow.costWeight }),
    },
    model.candidates,
    shadow.input,
  )
  await services.recorder.interaction(would ? { ...record, shadow: would } : record)
}

/** What this request says of the answer before it, and where its conversation is now. */
async function learnFromTurn(
  services: Services,
  record: InteractionRecord,
  call: Call,
  decision: Decision,
  state: ConversationState | null,
): Promise<void> {
  const { implicit_rewards } = services.snapshot().config.router
  try {
    const previous = await moveOn(services, record, call, decision, state)
    const said = previous && implicitReward(previous, nextTurn(record, call, decision), implicit_rewards)
    if (said) await takeImplicit(services, record.tenant, previous.interaction, said, record.ts)
    const aborted = abortReward(record.finishReason, implicit_rewards)
    if (aborted) await takeImplicit(services, record.tenant, record.id, aborted, record.ts)
  } catch {
    services.metrics.storeErrors.inc({ call: 'conversation' })
  }
}

/** Notes where the conversation is now. Returns where it was: the one look at the store tells both. */
async function moveOn(
  services: Services,
  record: InteractionRecord,
  call: Call,
  decision: Decision,
  state: ConversationState | null,
): Promise<ConversationState | null> {
  const { key, ttlS } = call.turn
  if (!state) return decision.conversation ?? services.store.loadConversation(record.tenant, key)
  const before = await services.store
    .saveConversation(record.tenant, key, state, ttlS)
    .finally(() => forgetPending(services, record, call, state))
  return decision.conversation ?? before
}

function forgetPending(
  { pendingTurns }: Services,
  { tenant }: InteractionRecord,
  call: Call,
  state: ConversationState,
) {
  const pending = pendingKey(tenant, call.turn.key)
  if (pendingTurns.get(pending) === state) pendingTurns.delete(pending)
}

async function takeImplicit(
  services: Services,
  tenant: string,
  id: string,
  said: ImplicitReward,
  ts: number,
): Promise<void> {
  const interaction = await services.recorder.findInteraction(tenant, id)
  if (interaction) await takeReward(services, implicitRecord(said, interaction, ts), interaction)
}

const nextTurn = ({ user }: InteractionRecord, { turn, request }: Call, { embedding }: Decision) => ({
  user,
  lastUserHash: turn.lastUserHash,
  lastUserChars: turn.lastUserChars,
  messages: request.body.messages.length,
  toolLoop: turn.toolLoop,
  embedding,
})

const turnState = (record: InteractionRecord, { turn, request }: Call, { embedding }: Decision): ConversationState => ({
  candidate: record.chosen,
  interaction: record.id,
  user: record.user,
  lastUserHash: turn.lastUserHash,
  embedding: quantise(embedding),
  messages: request.body.messages.length,
  promptTokens: record.usage.promptTokens + record.usage.completionTokens,
  ts: record.ts,
})
