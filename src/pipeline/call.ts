import { type ModelChoice, resolveModel, type UserIds } from '../candidates/tenants.ts'
import type { ChatRequest } from '../openai/chat.ts'
import { parseChat } from '../openai/parse-chat.ts'
import { readBody } from '../server/body.ts'
import type { Exchange } from './context.ts'
import { type Turn, turnOf } from './conversation.ts'
import { type Knobs, readKnobs } from './knobs.ts'
import { type Asker, askerOf } from './principal.ts'

/** A valid chat completion request: what is asked, by whom, of which models, where in which conversation. */
export interface Asked {
  request: ChatRequest
  asker: Asker
  knobs: Knobs
  model: ModelChoice
  turn: Turn
  /** Stored id of the conversation that the client named, or null. */
  conversation: string | null
}

/** @throws GatewayError 400, 401, 404, 408, 413 */
export async function readRequest(exchange: Exchange, userIds: UserIds): Promise<Asked> {
  const { live, incoming } = exchange
  const { max_body_bytes, body_timeout_ms } = live.config.server
  const request = parseChat(await readBody(incoming, max_body_bytes, body_timeout_ms))
  const asker = askerOf(live, userIds, exchange.caller, incoming, request.body)
  const knobs = readKnobs(incoming)
  const model = resolveModel(request.body.model, asker.allowed)
  const conversation = userIds.conversation(asker.tenant.config, asker.user, knobs.conversation)
  return { request, asker, knobs, model, turn: turnOf(request.body.messages, asker.user, conversation), conversation }
}
