import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { invalidRequest, notFound } from '../errors.ts'
import { ratingRewards } from '../learning/sources/user-rating.ts'
import { type RewardDeps, takeReward } from '../learning/take-reward.ts'
import { fieldError } from '../openai/parse-chat.ts'
import { parseRawBody } from '../openai/raw-body.ts'
import { requestIdOf } from '../openai/responses/items.ts'
import type { RequestContext } from '../pipeline/context.ts'
import { allowedCandidates, tenantOf } from '../pipeline/principal.ts'
import { readSmallBody } from './body.ts'

const MAX_COMMENT_CHARS = 4_000

const feedbackSchema = z.looseObject({
  completion_id: z.string().min(1).max(256).optional(),
  request_id: z.string().min(1).max(256).optional(),
  rating: z.union([z.enum(['up', 'down']), z.number().min(0).max(1)]).optional(),
  preferred_model: z.string().min(1).max(128).optional(),
  comment: z.string().max(MAX_COMMENT_CHARS).optional(),
})

type Feedback = z.output<typeof feedbackSchema>

/** @throws GatewayError 400 with `param` */
export function parseFeedback(raw: Buffer): Feedback {
  const parsed = feedbackSchema.safeParse(parseRawBody(raw).json)
  if (!parsed.success) throw fieldError(parsed.error.issues[0])
  const { completion_id, request_id, rating, preferred_model } = parsed.data
  if (completion_id === undefined && request_id === undefined) {
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
export async function takeFeedback(deps: RewardDeps, context: RequestContext) {
  const feedback = parseFeedback(await readSmallBody(context))
  const { caller, snapshot, requestId, ts } = context
  const { name: tenant } = tenantOf(snapshot, caller)
  const id = requestIdOf(feedback.request_id ?? feedback.completion_id ?? '')
  const interaction = await deps.recorder.findInteraction(tenant, id)
  if (!interaction) {
    const param = feedback.request_id === undefined ? 'completion_id' : 'request_id'
    throw notFound('There is no such completion.', 'interaction_not_found', param)
  }
  const preferred = feedback.preferred_model
  if (
    preferred !== undefined &&
    !allowedCandidates(tenantOf(snapshot, caller), caller).some(({ name }) => name === preferred)
  ) {
    throw invalidRequest(`Invalid 'preferred_model': no such model.`, 'preferred_model')
  }
  const rewards = ratingRewards(feedback, interaction, ts)
  await Promise.race([
    Promise.all(rewards.map((reward) => takeReward(deps, reward, interaction))),
    sleep(LEARN_WITHIN_MS, undefined, { ref: false }),
  ])
  return { object: 'feedback', id: requestId, interaction_id: interaction.id, status: 'accepted' }
}
