import type { UserIds } from '../candidates/tenants.ts'
import { type Call, parseCall } from '../pipeline/call.ts'
import { type ChatDeps, complete } from '../pipeline/chat.ts'
import type { RequestContext } from '../pipeline/context.ts'
import type { Endpoint } from '../pipeline/endpoint.ts'
import { readJsonBody } from './body.ts'

export interface AnswerDeps extends ChatDeps {
  userIds: UserIds
}

/**
 * A request for an answer, `POST /v1/chat/completions` or another endpoint: answered on Node's own response, with no
 * web stream between the provider's bytes and the client's socket.
 *
 * @throws GatewayError while nothing has been sent
 */
export async function answerBy(endpoint: Endpoint, deps: AnswerDeps, context: RequestContext): Promise<void> {
  await complete(deps, context, await readCall(context, deps.userIds, endpoint))
}

/** @throws GatewayError 400, 401, 404, 408, 413, 415 */
export async function readCall(context: RequestContext, userIds: UserIds, endpoint: Endpoint): Promise<Call> {
  const body = await readJsonBody(context)
  return parseCall(context, userIds, endpoint, body)
}
