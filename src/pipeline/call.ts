import { type ModelChoice, resolveModel, type UserIds } from '../candidates/tenants.ts'
import type { ChatRequest } from '../openai/chat.ts'
import { readBody } from '../server/body.ts'
import { deploymentOf } from './address.ts'
import type { RequestContext } from './context.ts'
import { type Turn, turnOf } from './conversation.ts'
import type { ChatCall, Endpoint } from './endpoint.ts'
import { type Knobs, readKnobs } from './knobs.ts'
import { type Principal, principalOf } from './principal.ts'

/** A valid request: what is asked, by whom, of which models, where in which conversation. */
export interface Call {
  endpoint: Endpoint
  /** The client's bytes. */
  raw: Uint8Array
  request: ChatRequest
  writer: ChatCall['writer']
  principal: Principal
  knobs: Knobs
  model: ModelChoice
  turn: Turn
  /** Stored id of the conversation that the client named, or null. */
  conversation: string | null
}

/** @throws GatewayError 400, 401, 404, 408, 413 */
export async function readCall(context: RequestContext, userIds: UserIds, endpoint: Endpoint): Promise<Call> {
  const { max_body_bytes, body_timeout_ms, body_min_bytes_per_s } = context.snapshot.config.server
  const body = await readBody(context.incoming, max_body_bytes, body_timeout_ms, body_min_bytes_per_s)
  return parseCall(context, userIds, endpoint, body)
}

/** @throws GatewayError 400, 401, 404 */
async function parseCall(context: RequestContext, userIds: UserIds, endpoint: Endpoint, body: Buffer): Promise<Call> {
  const { snapshot, incoming } = context
  const { raw, names, toChat } = endpoint.read(body, deploymentOf(incoming))
  const principal = principalOf(snapshot, userIds, context.caller, incoming, names)
  const knobs = readKnobs(incoming)
  const model = resolveModel(names.model, principal.allowed, principal.tenant.aliases)
  const named = knobs.conversation ?? names.conversation ?? null
  const conversation = userIds.conversation(principal.tenant.config, principal.user, named)
  const asked = toChat(context, principal)
  const { request, writer, turnKey, inToolLoop } = asked instanceof Promise ? await asked : asked
  const turn = turnOf(request.body.messages, principal.user, conversation ?? turnKey ?? null)
  return {
    endpoint,
    raw,
    request,
    writer,
    principal,
    knobs,
    model,
    turn: inToolLoop ? { ...turn, toolLoop: true } : turn,
    conversation,
  }
}
