import { abortReward, type ImplicitReward, implicitRecord, implicitReward } from '../learning/sources/implicit.ts'
import { takeReward } from '../learning/take-reward.ts'
import type { Parts } from '../parts.ts'
import { askShadow } from '../routing/policies/shadow.ts'
import { atTurnsEnd } from '../runtime/end-of-tick.ts'
import { quantise } from '../runtime/quantise.ts'
import type { InteractionRecord } from '../store/records/records.ts'
import type { ConversationState } from '../store/store.ts'
import type { Asked } from './call.ts'
import { pendingKey } from './conversation.ts'
import type { Decision } from './decide.ts'

/**
 * Accounts and records an answer that has ended, and learns from how it came about. What the next request must find is there before the last bytes go
 * out; the rest, for which no client waits, comes after them. Nothing here throws.
 *
 * @returns when the last bytes may go out; undefined = at once
 */
export function afterAnswer(
  parts: Parts,
  record: InteractionRecord,
  asked: Asked,
  decision: Decision,
): Promise<void> | undefined {
  const recorded = recordAnswer(parts, record, asked, decision)
  const state = record.status < 400 && !isErased(parts, record) ? turnState(record, asked, decision) : null
  if (state) parts.pendingTurns.set(pendingKey(record.tenant, asked.turn.key), state)
  const finish = () => {
    parts.metrics.observe(record)
    if (record.ttftMs !== null) parts.latencies.note(record.chosen, record.ttftMs)
    logAnswer(parts, record)
    if (!isErased(parts, record)) void learnFromTurn(parts, record, asked, decision, state)
    else if (state) forgetPending(parts, record, asked, state)
  }
  if (recorded) void recorded.then(() => atTurnsEnd(finish))
  else atTurnsEnd(finish)
  return recorded
}

function recordAnswer(
  parts: Parts,
  record: InteractionRecord,
  asked: Asked,
  decision: Decision,
): Promise<void> | undefined {
  if (isErased(parts, record)) parts.log.info({ request: record.id }, 'not recorded: the user has been erased')
  else if (decision.shadow) void recordWithShadow(parts, record, asked, decision)
  else return parts.recorder.interaction(record)
  return undefined
}

const isErased = ({ erasures }: Parts, { tenant, user, ts }: InteractionRecord) => erasures.happened(tenant, user, ts)

function logAnswer({ log }: Parts, record: InteractionRecord): void {
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
  parts: Parts,
  record: InteractionRecord,
  asked: Asked,
  decision: Decision,
): Promise<void> {
  const { shadow, text } = decision
  if (!shadow) return
  const { asker, request, model } = asked
  const would = await askShadow(
    shadow.policy,
    (policy, tenant, user) => parts.users.get(policy, tenant, user),
    {
      tenant: asker.tenant.name,
      user: asker.user,
      text,
      promptTokens: request.promptTokens,
      ...(shadow.costWeight !== undefined && { costWeight: shadow.costWeight }),
    },
    model.candidates,
    shadow.input,
  )
  await parts.recorder.interaction(would ? { ...record, shadow: would } : record)
}

/** What this request says of the answer before it, and where its conversation is now. */
async function learnFromTurn(
  parts: Parts,
  record: InteractionRecord,
  asked: Asked,
  decision: Decision,
  state: ConversationState | null,
): Promise<void> {
  const { implicit_rewards } = parts.live().config.router
  try {
    const previous = await moveOn(parts, record, asked, decision, state)
    const said = previous && implicitReward(previous, nextTurn(record, asked, decision), implicit_rewards)
    if (said) await takeImplicit(parts, record.tenant, previous.interaction, said, record.ts)
    const aborted = abortReward(record.finishReason, implicit_rewards)
    if (aborted) await takeImplicit(parts, record.tenant, record.id, aborted, record.ts)
  } catch {
    parts.metrics.storeErrors.inc({ call: 'conversation' })
  }
}

/** Notes where the conversation is now. Returns where it was: the one look at the store tells both. */
async function moveOn(
  parts: Parts,
  record: InteractionRecord,
  asked: Asked,
  decision: Decision,
  state: ConversationState | null,
): Promise<ConversationState | null> {
  const { key, ttlS } = asked.turn
  if (!state) return decision.conversation ?? parts.store.loadConversation(record.tenant, key)
  const before = await parts.store
    .saveConversation(record.tenant, key, state, ttlS)
    .finally(() => forgetPending(parts, record, asked, state))
  return decision.conversation ?? before
}

function forgetPending({ pendingTurns }: Parts, { tenant }: InteractionRecord, asked: Asked, state: ConversationState) {
  const pending = pendingKey(tenant, asked.turn.key)
  if (pendingTurns.get(pending) === state) pendingTurns.delete(pending)
}

async function takeImplicit(parts: Parts, tenant: string, id: string, said: ImplicitReward, ts: number): Promise<void> {
  const interaction = await parts.recorder.findInteraction(tenant, id)
  if (interaction) await takeReward(parts, implicitRecord(said, interaction, ts), interaction)
}

const nextTurn = ({ user }: InteractionRecord, { turn, request }: Asked, { embedding }: Decision) => ({
  user,
  lastUserHash: turn.lastUserHash,
  lastUserChars: turn.lastUserChars,
  messages: request.body.messages.length,
  toolLoop: turn.toolLoop,
  embedding,
})

const turnState = (
  record: InteractionRecord,
  { turn, request }: Asked,
  { embedding }: Decision,
): ConversationState => ({
  candidate: record.chosen,
  interaction: record.id,
  user: record.user,
  lastUserHash: turn.lastUserHash,
  embedding: quantise(embedding),
  messages: request.body.messages.length,
  promptTokens: record.usage.promptTokens + record.usage.completionTokens,
  ts: record.ts,
})
