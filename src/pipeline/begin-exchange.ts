import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Services } from '../parts.ts'
import type { Caller } from './authenticate.ts'
import type { RequestContext } from './context.ts'
import { refuseRepeatedHeaders } from './identity.ts'

/**
 * What each request below `/v1` begins with: whose it is.
 *
 * @throws GatewayError 400, 401
 */
export function beginRequest(
  services: Services,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): RequestContext | Promise<RequestContext> {
  const snapshot = services.snapshot()
  refuseRepeatedHeaders(incoming, snapshot.config.identity.headers)
  const begin = (caller: Caller) => services.requests.begin(incoming, outgoing, caller, snapshot)
  const caller = services.authenticator.authenticate(incoming.headers)
  return caller instanceof Promise ? caller.then(begin) : begin(caller)
}
