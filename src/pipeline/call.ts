import { type ModelChoice, resolveModel, type UserIds } from '../candidates/tenants.ts'
import type { ChatRequest } from '../openai/chat.ts'
import { parseChat } from '../openai/parse-chat.ts'
import { readBody } from '../server/body.ts'
import type { RequestContext } from './context.ts'
import { type Turn, turnOf } from './conversation.ts'
import { type Knobs, readKnobs } from './knobs.ts'
import { type Principal, principalOf } from './principal.ts'

/** A valid chat completion request: what is asked, by whom, of which models, where in which conversation. */
export interface Call {
  request: ChatRequest
  principal: Principal
  knobs: Knobs
  model: ModelChoice
  turn: Turn
  /** Stored id of the conversation that the client named, or null. */
  conversation: string | null
}

/** @throws GatewayError 400, 401, 404, 408, 413 */
export async function readCall(context: RequestContext, userIds: UserIds): Promise<Call> {
  const { snapshot, incoming } = context
  const { max_body_bytes, body_timeout_ms, body_min_bytes_per_s } = snapshot.config.server
  const request = parseChat(await readBody(incoming, max_body_bytes, body_timeout_ms, body_min_bytes_per_s))
  const principal = principalOf(snapshot, userIds, context.caller, incoming, request.body)
  const knobs = readKnobs(incoming)
  const model = resolveModel(request.body.model, principal.allowed)
  const conversation = userIds.conversation(principal.tenant.config, principal.user, knobs.conversation)
  return {
    request,
    principal,
    knobs,
    model,
    turn: turnOf(request.body.messages, principal.user, conversation),
    conversation,
  }
}
