import type { IncomingMessage } from 'node:http'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Services } from '../parts.ts'
import { beginRequest } from '../pipeline/begin-exchange.ts'
import { complete } from '../pipeline/chat.ts'
import type { RequestContext } from '../pipeline/context.ts'
import { chatEndpoint, type Endpoint } from '../pipeline/endpoint.ts'
import type { Shortcut } from '../server/http-server.ts'
import { sendError } from '../server/send-error.ts'

/** Answers on Node's own response: no web stream between the provider's bytes and the client's socket. */
export async function answerBy(endpoint: Endpoint, services: Services, context: RequestContext): Promise<Response> {
  try {
    await complete(services, context, endpoint)
  } catch (error) {
    try {
      sendError(services, context, error, endpoint)
    } catch (failed) {
      // Telling an error is what went wrong. Not left to the app: not every request comes by it.
      sendError(services, context, failed, endpoint)
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

/** The app's road to chat completions, for most requests, without what the app costs on the way (docs/profile.md). */
export const directly = (services: Services): Shortcut =>
  async function answer(incoming, outgoing) {
    if (!isPlainCompletion(incoming)) return false
    let context: RequestContext
    try {
      const begun = beginRequest(services, incoming, outgoing)
      context = begun instanceof Promise ? await begun : begun
    } catch {
      return false
    }
    await answerBy(chatEndpoint, services, context)
    return true
  }
