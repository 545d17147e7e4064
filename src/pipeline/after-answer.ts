import type { Erasures } from '../learning/erasures.ts'
import type { Lengths } from '../learning/lengths.ts'
import type { Ghost } from '../learning/sources/ghost.ts'
import { abortReward, type ImplicitReward, implicitRecord, implicitReward } from '../learning/sources/implicit.ts'
import type { Judge } from '../learning/sources/judge.ts'
import { type RewardDeps, takeReward } from '../learning/take-reward.ts'
import type { UserStates } from '../learning/user-states.ts'
import type { Latencies } from '../observability/latencies.ts'
import type { Logger } from '../observability/logger.ts'
import { askShadow } from '../routing/policies/shadow.ts'
import type { Background } from '../runtime/background.ts'
import { Cohort } from '../runtime/cohort.ts'
import { quantise } from '../runtime/quantise.ts'
import { sealVector } from '../runtime/sealed-vector.ts'
import type { InteractionRecord } from '../store/records/codec.ts'
import { summaryOf } from '../store/records/summary.ts'
import type { ConversationState } from '../store/store.ts'
import type { Call } from './call.ts'
import type { RequestContext } from './context.ts'
import type { Conversations, Turn } from './conversation.ts'
import type { Decision } from './decide.ts'
import { askerOf, speakerOf } from './principal.ts'

export interface AfterAnswerDeps extends RewardDeps {
  erasures: Erasures
  conversations: Conversations
  users: UserStates
  latencies: Latencies
  lengths: Lengths
  /** What goes on when the last bytes are out. */
  background: Pick<Background, 'begin' | 'end'>
}

/** An answer that has ended, and how it came about. */
interface Ended {
  context: RequestContext
  call: Call
  decision: Decision
  record: InteractionRecord
}

/**
 * Accounts and records an answer that has ended, and learns from it. The record, and the state that the next request
 * must find, come before the last bytes go out; all else comes after them, since no client waits for it.
 *
 * @returns a promise that resolves when the last bytes may go out; undefined = at once
 */
export function afterAnswer(deps: AfterAnswerDeps, ended: Ended): Promise<void> | undefined {
  const { record, call } = ended
  const recorded = recordAnswer(deps, ended)
  const state = record.status < 400 && !isErased(deps, record) ? turnState(ended) : null
  if (state) deps.conversations.note(record.tenant, call.turn, state)
  deps.background.begin()
  const finish = () => finishing.add({ deps, ended, state })
  if (recorded) void recorded.then(finish)
  else finish()
  return recorded
}

interface Finishing {
  deps: AfterAnswerDeps
  ended: Ended
  /** Null where the conversation stays as it was. */
  state: ConversationState | null
}

/**
 * What is left when the last bytes are out, each step for all whose answers ended together. Done before this process
 * hears of anything else: whoever has an answer finds it counted.
 */
const finishing = new Cohort<Finishing>(
  ({ deps, ended }) => deps.metrics.observe(ended.record),
  ({ deps: { latencies }, ended: { record, call } }) => {
    if (record.ttftMs !== null) latencies.note(record.chosen, record.ttftMs, askerOf(call.principal))
  },
  ({ deps, ended }) => logAnswer(deps.log, ended.record),
  ({ deps, ended }) => {
    if (ended.record.status < 400 && !isErased(deps, ended.record)) noteLength(deps, ended)
  },
  // Its vector is sealed, which takes longest where the cipher's code is cold.
  ({ deps, ended, state }) => void (isErased(deps, ended.record) || state?.vector),
  ({ deps, ended, state }) => {
    const { record, call } = ended
    if (!isErased(deps, record)) {
      void learnFromTurn(deps, ended, state).finally(() => deps.background.end())
      return
    }
    if (state) deps.conversations.forget(record.tenant, call.turn, state)
    deps.background.end()
  },
)

function noteLength({ lengths }: AfterAnswerDeps, { record, call, decision }: Ended): void {
  const { format, body } = call.request
  const { embedding, tools } = decision
  lengths.note(decision.policy, record, { format, body, embedding, tools })
}

function recordAnswer(deps: AfterAnswerDeps, ended: Ended): Promise<void> | undefined {
  const { record, decision } = ended
  if (isErased(deps, record)) deps.log.info({ request: record.id }, 'not recorded: the user has been erased')
  else if (decision.shadow) void recordWithShadow(deps, ended)
  else return deps.recorder.interaction(record)
  return undefined
}

const isErased = ({ erasures }: AfterAnswerDeps, { tenant, user, ts }: InteractionRecord) =>
  erasures.happened(tenant, user, ts)

export function logAnswer(log: Logger, record: InteractionRecord): void {
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

async function recordWithShadow(deps: AfterAnswerDeps, { record, call, decision }: Ended): Promise<void> {
  const { shadow, text, tools } = decision
  if (!shadow) return
  const { principal, request, model } = call
  const preferred = await askShadow(
    shadow.policy,
    (policy, tenant, user) => deps.users.get(policy, tenant, user),
    {
      tenant: principal.tenant.name,
      user: principal.user,
      speaker: speakerOf(principal),
      text,
      tools,
      promptTokens: request.promptTokens,
      ...(shadow.costWeight !== undefined && { costWeight: shadow.costWeight }),
      ...(shadow.taste && { taste: shadow.taste }),
      ...(shadow.usually !== undefined && { baseline: shadow.usually }),
    },
    model.candidates,
    shadow.input,
    shadow.rule,
  )
  await deps.recorder.interaction(preferred ? { ...record, shadow: preferred } : record)
}

/** Learns from what this request says about the answer before it, and moves its conversation on. */
async function learnFromTurn(deps: AfterAnswerDeps, ended: Ended, state: ConversationState | null): Promise<void> {
  const { record, context } = ended
  const { implicit_rewards } = context.snapshot.config.router
  try {
    const previous = await moveOn(deps, ended, state)
    const stated = previous && implicitReward(previous, nextTurn(ended), implicit_rewards)
    if (stated) await takeImplicit(deps, record.tenant, previous.interaction, stated, record.ts)
    const aborted = abortReward(record.finishReason, implicit_rewards)
    if (aborted) await takeImplicit(deps, record.tenant, record.id, aborted, record.ts)
  } catch {
    deps.metrics.storeErrors.inc({ call: 'conversation' })
  }
}

/** Stores the conversation's new state. @returns the state before it, which the same call of the store gives back */
async function moveOn(
  { conversations }: AfterAnswerDeps,
  { record, call, decision }: Ended,
  state: ConversationState | null,
): Promise<ConversationState | null> {
  if (!state) return decision.conversation ?? conversations.load(record.tenant, call.turn.key)
  const before = await conversations.save(record.tenant, call.turn, state)
  return decision.conversation ?? before
}

async function takeImplicit(
  deps: AfterAnswerDeps,
  tenant: string,
  id: string,
  reward: ImplicitReward,
  ts: number,
): Promise<void> {
  const interaction = await deps.recorder.findInteraction(tenant, id)
  if (interaction) await takeReward(deps, implicitRecord(reward, interaction, ts), interaction)
}

const nextTurn = ({ record, call: { turn, request }, decision }: Ended) => ({
  user: record.user,
  lastUserHash: turn.lastUserHash,
  lastUserChars: turn.lastUserChars,
  messages: request.body.messages.length,
  toolLoop: turn.toolLoop,
  embedding: decision.embedding,
  seal: turn.seal,
})

/** Its vector is sealed when it is asked for: mostly as the state is stored, when the client has its last bytes. */
function turnState({ record, call: { turn, request }, decision }: Ended): ConversationState {
  let vector: string | null | undefined
  return {
    candidate: record.chosen,
    interaction: record.id,
    user: record.user,
    lastUserHash: turn.lastUserHash,
    get vector() {
      if (vector === undefined) vector = sealedFor(turn, decision.embedding)
      return vector
    },
    messages: request.body.messages.length,
    promptTokens: record.usage.promptTokens + record.usage.completionTokens,
    ts: record.ts,
  }
}

function sealedFor({ seal }: Turn, embedding: Float32Array | null): string | null {
  const vector = quantise(embedding)
  return vector && sealVector(seal, vector)
}

/**
 * Offers an answer to those who judge, once the client has it.
 *
 * @param body as the client got it; null where it was too large to keep
 */
export function considerJudging(
  { judge, ghost }: { judge: Judge | null; ghost: Ghost | null },
  { call, decision, record }: Omit<Ended, 'context'>,
  body: Buffer | null,
): void {
  if (call.principal.tenant.config.judged === false || record.status >= 400 || !body) return
  const interaction = summaryOf(record)
  const answer = call.endpoint.answerText(body, record.stream)
  judge?.consider(interaction, decision.text, answer)
  // Tools, pictures and schemas are no matter of which text is better.
  if (call.request.needs.size > 0 || record.finishReason !== 'stop') return
  ghost?.consider({
    interaction,
    messages: call.request.body.messages,
    question: decision.text,
    answer,
    costUsd: record.costUsd,
    completionTokens: record.usage.completionTokens,
    stop: call.request.body.stop,
    others: decision.selection.scored.map(({ candidate, costUsd }) => ({ name: candidate.name, costUsd })),
    baseline: decision.baseline?.comparison.baseline ?? null,
  })
}
