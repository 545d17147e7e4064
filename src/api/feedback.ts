import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { scopesOf } from '../candidates/scopes.ts'
import type { UserIds } from '../candidates/tenants.ts'
import { invalidRequest, notFound } from '../errors.ts'
import { ratingRewards } from '../learning/sources/user-rating.ts'
import { type RewardDeps, takeReward } from '../learning/take-reward.ts'
import { fieldError } from '../openai/parse-chat.ts'
import { parseRawBody } from '../openai/raw-body.ts'
import { requestIdOf } from '../openai/responses/items.ts'
import type { RequestContext } from '../pipeline/context.ts'
import type { Conversations } from '../pipeline/conversation.ts'
import { allowedCandidates, principalOf, tenantOf } from '../pipeline/principal.ts'
import type { InteractionSummary } from '../store/store.ts'
import { readSmallBody } from './body.ts'

const MAX_COMMENT_CHARS = 4_000

const feedbackSchema = z.looseObject({
  completion_id: z.string().min(1).max(256).optional(),
  request_id: z.string().min(1).max(256).optional(),
  /** As a request's header named it (`identity.message_headers`), by the same user. */
  message_id: z.string().min(1).max(256).optional(),
  /** The last answer in it, of the same user. */
  conversation_id: z.string().min(1).max(256).optional(),
  user: z.string().nullish(),
  rating: z.union([z.enum(['up', 'down']), z.number().min(0).max(1)]).optional(),
  preferred_model: z.string().min(1).max(128).optional(),
  comment: z.string().max(MAX_COMMENT_CHARS).optional(),
})

export interface FeedbackDeps extends RewardDeps {
  userIds: UserIds
  conversations: Conversations
}

type Feedback = z.output<typeof feedbackSchema>

/** @throws GatewayError 400 with `param` */
export function parseFeedback(raw: Buffer): Feedback {
  const parsed = feedbackSchema.safeParse(parseRawBody(raw).json)
  if (!parsed.success) throw fieldError(parsed.error.issues[0])
  const { completion_id, request_id, message_id, conversation_id, rating, preferred_model } = parsed.data
  if ([completion_id, request_id, message_id, conversation_id].every((id) => id === undefined)) {
    throw invalidRequest("Give 'completion_id' or 'request_id'.", 'completion_id')
  }
  if (rating === undefined && preferred_model === undefined) {
    throw invalidRequest("Give 'rating' or 'preferred_model'.", 'rating')
  }
  return parsed.data
}

/** Learning takes about a millisecond; when the store is slow the answer does not wait for it. */
const LEARN_WITHIN_MS = 250

/**
 * `POST /v1/feedback`: records a user's feedback and learns from it; the next request of that user is decided with it.
 *
 * @throws GatewayError 400; 404 when the tenant has no such interaction. @throws StoreError
 */
export async function takeFeedback(deps: FeedbackDeps, context: RequestContext) {
  const feedback = parseFeedback(await readSmallBody(context))
  const { caller, snapshot, requestId, ts } = context
  const found = await findSoon(deps, context, feedback)
  const interaction = found && mayRate(deps, context, feedback, found) ? found : null
  if (!interaction) {
    const param = IDS.find((field) => feedback[field] !== undefined) ?? null
    throw notFound('There is no such completion.', 'interaction_not_found', param)
  }
  const preferred = feedback.preferred_model
  if (
    preferred !== undefined &&
    !allowedCandidates(tenantOf(snapshot, caller), caller).some(({ name }) => name === preferred)
  ) {
    throw invalidRequest(`Invalid 'preferred_model': no such model.`, 'preferred_model')
  }
  const { keep_comments } = tenantOf(snapshot, caller).config
  await rate(deps, keep_comments ? feedback : { ...feedback, comment: undefined }, interaction, ts)
  return { object: 'feedback', id: requestId, interaction_id: interaction.id, status: 'accepted' }
}

/** Somebody else's answer is none for who may rate their own alone. */
function mayRate({ userIds }: FeedbackDeps, context: RequestContext, feedback: Feedback, found: InteractionSummary) {
  const { snapshot, caller, incoming } = context
  return (
    scopesOf(caller).includes('feedback:any') ||
    principalOf(snapshot, userIds, caller, incoming, feedback).user === found.user
  )
}

const IDS = ['request_id', 'completion_id', 'message_id', 'conversation_id'] as const

/** Looks again so often, in as many milliseconds as another replica may take to write an answer down. */
const LOOKS = 4
/** On top of `spool.flush_ms`: the write itself. */
const WRITE_MS = 100

/** As `findRated`, also what another replica has answered a moment ago and is still to write down. */
async function findSoon(deps: FeedbackDeps, context: RequestContext, feedback: Feedback) {
  const withinMs = context.snapshot.config.spool.flush_ms + WRITE_MS
  let found = await findRated(deps, context, feedback)
  for (let look = 0; !found && look < LOOKS; look++) {
    await sleep((2 * withinMs) / LOOKS)
    found = await findRated(deps, context, feedback)
  }
  return found
}

/** The answer that is rated, by whichever id is given, the most exact one first. */
async function findRated(deps: FeedbackDeps, context: RequestContext, feedback: Feedback) {
  const { caller, snapshot, incoming } = context
  const { tenant, user } = principalOf(snapshot, deps.userIds, caller, incoming, feedback)
  const { request_id, completion_id, message_id, conversation_id } = feedback
  const find = (id: string) => deps.recorder.findInteraction(tenant.name, id)
  if (request_id !== undefined || completion_id !== undefined) {
    const id = requestIdOf(request_id ?? completion_id ?? '')
    const named = await find(id)
    if (!named || named.id === id || !isGuessable(id)) return named
    return named.user === user && context.ts - named.ts < GUESSABLE_MS ? named : null
  }
  const message = deps.userIds.message(tenant.config, user, message_id ?? null)
  const named = message === null ? null : await find(message)
  if (named || conversation_id === undefined) return named
  const key = deps.userIds.conversation(tenant.config, user, conversation_id)
  const state = key === null ? null : await deps.conversations.load(tenant.name, key)
  return state && find(state.interaction)
}

/** A provider that counts its answers, or draws from a thousand numbers (Ollama), gives an id to many of them. */
const GUESSABLE_MS = 600_000
const MIN_BITS = 64

/** Whether another answer may well have the same id: then only its own user may name it, and not for long. */
function isGuessable(completionId: string): boolean {
  const own = completionId.replace(/^[a-z]+[-_]/i, '').replace(/[^a-z0-9]/gi, '')
  const alphabet = /^[0-9]*$/.test(own) ? 10 : /^[0-9a-f]*$/i.test(own) ? 16 : 36
  return own.length * Math.log2(alphabet) < MIN_BITS
}

/** Learns from a rating; resolves when that is done, or after a moment. */
export async function rate(
  deps: RewardDeps,
  feedback: Parameters<typeof ratingRewards>[0],
  interaction: InteractionSummary,
  ts: number,
): Promise<void> {
  const rewards = ratingRewards(feedback, interaction, ts)
  await Promise.race([
    Promise.all(rewards.map((reward) => takeReward(deps, reward, interaction))),
    sleep(LEARN_WITHIN_MS, undefined, { ref: false }),
  ])
}
