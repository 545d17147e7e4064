import type { UserIds } from '../candidates/tenants.ts'
import { parseChat } from '../openai/parse-chat.ts'
import { type Call, callOf } from '../pipeline/call.ts'
import { type ChatDeps, completeChat } from '../pipeline/chat.ts'
import type { RequestContext } from '../pipeline/context.ts'
import { readBody } from './body.ts'

export interface ChatCompletionsDeps extends ChatDeps {
  userIds: UserIds
}

/**
 * `POST /v1/chat/completions`: answers on Node's own response, with no web stream between the provider's bytes and the
 * client's socket.
 *
 * @throws GatewayError while nothing has been sent
 */
export async function chatCompletions(deps: ChatCompletionsDeps, context: RequestContext): Promise<void> {
  await completeChat(deps, context, await readCall(context, deps.userIds))
}

/** @throws GatewayError 400, 401, 404, 408, 413, 415 */
export async function readCall(context: RequestContext, userIds: UserIds): Promise<Call> {
  const { max_body_bytes, body_timeout_ms } = context.snapshot.config.server
  return callOf(context, userIds, parseChat(await readBody(context.incoming, max_body_bytes, body_timeout_ms)))
}
