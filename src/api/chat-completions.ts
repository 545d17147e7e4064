import type { IncomingMessage } from 'node:http'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Parts } from '../parts.ts'
import { beginExchange } from '../pipeline/begin-exchange.ts'
import { completeChat } from '../pipeline/chat.ts'
import type { Exchange } from '../pipeline/context.ts'
import type { Shortcut } from '../server/http-server.ts'
import { sendError } from '../server/send-error.ts'

/** Answers on Node's own response: no web stream between the provider's bytes and the client's socket. */
export async function chatCompletions(parts: Parts, exchange: Exchange): Promise<Response> {
  try {
    await completeChat(parts, exchange)
  } catch (error) {
    try {
      sendError(parts, exchange, error)
    } catch (failed) {
      // Telling an error is what went wrong. Not left to the app: not every request comes by it.
      sendError(parts, exchange, failed)
    }
  }
  return RESPONSE_ALREADY_SENT
}

/** What Hono's adapter takes for a host without asking a URL parser. */
const PLAIN_HOST = /^[a-z0-9._-]+(?::(?:[1-5]\d{3,4}|[6-9]\d{3}))?$/

/** Of the usual shape. What is odd or wrong about a request is the app's to find. */
const isPlainCompletion = ({ method, url, headers }: IncomingMessage) =>
  url === '/v1/chat/completions' &&
  method === 'POST' &&
  headers['content-encoding'] === undefined &&
  PLAIN_HOST.test(headers.host ?? '')

/** The app's road to `chatCompletions`, for most requests, without what the app costs on the way (docs/profile.md). */
export const directly = (parts: Parts): Shortcut =>
  async function answer(incoming, outgoing) {
    if (!isPlainCompletion(incoming)) return false
    let exchange: Exchange
    try {
      const begun = beginExchange(parts, incoming, outgoing)
      exchange = begun instanceof Promise ? await begun : begun
    } catch {
      return false
    }
    await chatCompletions(parts, exchange)
    return true
  }
