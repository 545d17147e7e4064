import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { candidateNamed } from '../candidates/former-names.ts'
import { scopesOf } from '../candidates/scopes.ts'
import { ANONYMOUS, type UserIds } from '../candidates/tenants.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { GatewayError, invalidRequest, notFound } from '../errors.ts'
import { ratingRewards } from '../learning/sources/user-rating.ts'
import { type RewardDeps, takeReward } from '../learning/take-reward.ts'
import { fieldError } from '../openai/parse-chat.ts'
import { parseRawBody } from '../openai/raw-body.ts'
import { requestIdOf } from '../openai/responses/items.ts'
import type { RequestContext } from '../pipeline/context.ts'
import type { Conversations } from '../pipeline/conversation.ts'
import { allowedCandidates, type Principal, principalOf, tenantOf } from '../pipeline/principal.ts'
import type { RequestIds } from '../pipeline/request-ids.ts'
import { userHash } from '../runtime/keys.ts'
import { type InteractionSummary, StoreError } from '../store/store.ts'
import { readSmallBody } from './body.ts'
import type { PendingFeedback } from './pending-feedback.ts'

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
  requestIds: RequestIds
  pendingFeedback: PendingFeedback
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
 * Where the answer is one of ours that is not found yet, or the store is away, the feedback is accepted all the same,
 * and tried again.
 *
 * @throws GatewayError 400; 404 when the tenant has no such interaction; 409 where several answers have that completion
 * id; 410 where it has left the log; 503 where it may not be written yet, and too much waits already.
 * @throws StoreError when the store is away and too much waits already
 */
export async function takeFeedback(deps: FeedbackDeps, context: RequestContext) {
  const feedback = parseFeedback(await readSmallBody(context))
  const { keep_comments } = tenantOf(context.snapshot, context.caller).config
  const said = {
    ...feedback,
    preferred_model: preferredOf(context, feedback),
    ...(!keep_comments && { comment: undefined }),
  }
  const take = async () => {
    const interaction = await findRated(deps, context, feedback)
    if (!interaction) return null
    if (!mayRate(deps, context, feedback, interaction)) throw noSuchCompletion(feedback)
    await rate(deps, said, interaction, context.ts)
    return interaction
  }
  const accepted = (interaction: string | null) => ({
    object: 'feedback',
    id: context.requestId,
    interaction_id: interaction,
    status: 'accepted',
  })
  const later = () => {
    const isTaken = async () => (await take()) !== null
    return deps.pendingFeedback.add(context.caller.tenant, isTaken, foundWithinMs(context.snapshot))
  }
  const ours = recentRequest(deps, context, feedback)
  let taken: InteractionSummary | null
  try {
    taken = await take()
    if (!taken && ours !== null && later()) return accepted(ours)
    taken ??= await soon(take, lagMs(context.snapshot))
  } catch (error) {
    if (error instanceof StoreError && later()) return accepted(ours)
    throw error
  }
  if (taken) return accepted(taken.id)
  if (ours !== null) throw tooMuchWaits()
  throw goneSince(deps, context, feedback) ?? noSuchCompletion(feedback)
}

const paramOf = (feedback: Feedback) => IDS.find((field) => feedback[field] !== undefined) ?? null

const noSuchCompletion = (feedback: Feedback): GatewayError =>
  notFound('There is no such completion.', 'interaction_not_found', paramOf(feedback))

export const tooMuchWaits = () =>
  new GatewayError('Too much feedback waits for answers to be written down. Please try again later.', {
    status: 503,
    type: 'api_error',
    code: 'overloaded',
    retryAfterS: 1,
  })

/** So long an answer may still be in a replica's spool, as far as anybody can say. */
const WRITTEN_WITHIN_MS = 86_400_000

/** Where an id is one that the tenant was given, long ago: its answer has left the log. Clients take that as final. */
function goneSince(deps: FeedbackDeps, { caller, ts }: RequestContext, feedback: Feedback): GatewayError | null {
  const id = requestIdOf(feedback.request_id ?? feedback.completion_id ?? '')
  const at = deps.requestIds.timeOf(caller.tenant, id)
  if (at === null || ts - at < WRITTEN_WITHIN_MS) return null
  const day = new Date(at).toISOString().slice(0, 10)
  return new GatewayError(
    `The answer of ${day} can’t be rated any more: it was archived or erased, or is older than the log is kept.`,
    { status: 410, type: 'invalid_request_error', code: 'interaction_gone', param: paramOf(feedback) },
  )
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

/** The preferred model by its present name. @throws GatewayError 400 */
function preferredOf({ caller, snapshot }: RequestContext, { preferred_model: preferred }: Feedback) {
  if (preferred === undefined) return undefined
  const candidate = candidateNamed(allowedCandidates(tenantOf(snapshot, caller), caller), preferred)
  if (candidate) return candidate.name
  throw invalidRequest(`Invalid 'preferred_model': no such model.`, 'preferred_model')
}

/** Looks again so often, in as many milliseconds as another replica may take to write an answer down. */
const LOOKS = 4
/** On top of `spool.flush_ms`: the write itself. */
const WRITE_MS = 100

const lagMs = ({ config }: Snapshot) => 2 * (config.spool.flush_ms + WRITE_MS)

async function soon<T>(look: () => Promise<T | null>, withinMs: number): Promise<T | null> {
  for (let looks = 0; looks < LOOKS; looks++) {
    await sleep(withinMs / LOOKS)
    const found = await look()
    if (found) return found
  }
  return null
}

/** How long a replica that is busy may take beyond that. */
const FOUND_WITHIN_MS = 5_000
/** How long feedback on an answer that may not be written down yet is tried. */
export const foundWithinMs = (snapshot: Snapshot) => FOUND_WITHIN_MS + lagMs(snapshot)
/** Replicas' clocks may differ. */
const SKEW_MS = 60_000

/** The request that is named, where it is one of the tenant's that may not have been written down yet. */
function recentRequest({ requestIds }: FeedbackDeps, { caller, snapshot, ts }: RequestContext, feedback: Feedback) {
  const id = requestIdOf(feedback.request_id ?? feedback.completion_id ?? '')
  return mayBeOnItsWay(requestIds.timeOf(caller.tenant, id), ts, snapshot) ? id : null
}

/** @param askedAt when the request came, Unix milliseconds; null: it is none of ours */
export const mayBeOnItsWay = (askedAt: number | null, now: number, { config }: Snapshot): boolean =>
  askedAt !== null && Math.abs(now - askedAt) < config.timeouts.total_ms + SKEW_MS

/** The answer that is rated, by whichever id is given, the most exact one first. @throws GatewayError 409 */
async function findRated(
  deps: FeedbackDeps,
  context: RequestContext,
  feedback: Feedback,
): Promise<InteractionSummary | null> {
  const { caller, snapshot, incoming } = context
  const { tenant, user } = principalOf(snapshot, deps.userIds, caller, incoming, feedback)
  const found = await findNamed(deps, context, feedback, { tenant, user })
  // Asked under the id that the user had before the secret was replaced.
  return found && deps.userIds.former(tenant.name, user).includes(found.user) ? { ...found, user } : found
}

async function findNamed(
  deps: FeedbackDeps,
  context: RequestContext,
  feedback: Feedback,
  { tenant, user }: Pick<Principal, 'tenant' | 'user'>,
): Promise<InteractionSummary | null> {
  const { request_id, completion_id, message_id, conversation_id } = feedback
  const byId = (id: string) => deps.recorder.findInteraction(tenant.name, id)
  if (request_id !== undefined || completion_id !== undefined) {
    const id = requestIdOf(request_id ?? completion_id ?? '')
    return (await byId(id)) ?? findCompleted(deps, tenant.name, user, id, context.ts)
  }
  const message = deps.userIds.message(tenant.config, user, message_id ?? null)
  const [named] = message === null ? [] : await deps.recorder.findCompletions(tenant.name, message)
  if (named) return byId(named.interaction)
  const key = conversation_id && deps.userIds.conversation(tenant.config, user, conversation_id)
  const state = key ? await deps.conversations.load(tenant.name, key) : null
  return state && byId(state.interaction)
}

/**
 * The one answer with a provider's id that the user may mean: their own; where no user is named, any that is likely to
 * be the only one with it.
 *
 * @throws GatewayError 409 where there are several
 */
async function findCompleted(
  { recorder, userIds }: FeedbackDeps,
  tenant: string,
  user: string,
  completionId: string,
  now: number,
): Promise<InteractionSummary | null> {
  const all = await recorder.findCompletions(tenant, completionId)
  const guessable = isGuessable(completionId)
  const whose =
    guessable || user !== ANONYMOUS ? new Set([user, ...userIds.former(tenant, user)].map((id) => userHash(id))) : null
  const meant = all.filter((one) => {
    return (whose === null || whose.has(one.user)) && !(guessable && now - one.ts >= GUESSABLE_MS)
  })
  if (meant.length > 1) throw ambiguous()
  return meant[0] ? recorder.findInteraction(tenant, meant[0].interaction) : null
}

const ambiguous = () =>
  new GatewayError(
    "Several answers have this completion id. Give 'request_id' instead: the answer's header x-request-id.",
    { status: 409, type: 'invalid_request_error', code: 'ambiguous_completion_id', param: 'completion_id' },
  )

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
