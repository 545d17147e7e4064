import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Parts } from '../parts.ts'
import type { Caller } from './authenticate.ts'
import type { Exchange } from './context.ts'
import { refuseRepeatedHeaders } from './identity.ts'

/**
 * What each request below `/v1` begins with: whose it is.
 *
 * @throws GatewayError 400, 401
 */
export function beginExchange(
  parts: Parts,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Exchange | Promise<Exchange> {
  const live = parts.live()
  refuseRepeatedHeaders(incoming, live.config.identity.headers)
  const begin = (caller: Caller) => parts.exchanges.begin(incoming, outgoing, caller, live)
  const caller = parts.authenticator.authenticate(incoming.headers.authorization)
  return caller instanceof Promise ? caller.then(begin) : begin(caller)
}
