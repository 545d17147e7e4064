import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { completeChat } from '../gateway.ts'
import type { Parts } from '../parts.ts'
import type { Exchange } from '../request/exchange.ts'
import { sendError } from './send-error.ts'

/** Answers on Node's own response: no web stream between the provider's bytes and the client's socket. */
export async function chatCompletions(parts: Parts, exchange: Exchange): Promise<Response> {
  try {
    await completeChat(parts, exchange)
  } catch (error) {
    sendError(parts, exchange, error)
  }
  return RESPONSE_ALREADY_SENT
}
