import type { IncomingMessage } from 'node:http'
import { type ChatCompletionsDeps, chatCompletions } from '../api/chat-completions.ts'
import { type BeginDeps, beginRequest, type RequestContext } from '../pipeline/context.ts'
import { type ErrorDeps, type ErrorShape, report, sendError } from './errors.ts'
import type { Shortcut } from './http-server.ts'

/** Runs a handler that answers on Node's own response; an error that it throws becomes the answer. */
export async function answerOnNode(
  deps: ErrorDeps,
  { incoming, outgoing, requestId }: RequestContext,
  handler: () => Promise<void>,
  shape?: ErrorShape,
): Promise<void> {
  const fail = (error: unknown) => sendError(outgoing, report(deps, error, requestId, shape), incoming)
  try {
    await handler()
  } catch (error) {
    try {
      fail(error)
    } catch (failed) {
      // The report itself went wrong. Not left to the app: the shortcut does not pass by it.
      fail(failed)
    }
  }
}

/** The hosts that Hono's adapter takes without asking a URL parser. */
const PLAIN_HOST = /^[a-z0-9._-]+(?::(?:[1-5]\d{3,4}|[6-9]\d{3}))?$/

/** Of the usual shape: all that is odd or wrong about a request is left to the app. */
const isPlainCompletion = ({ method, url, headers }: IncomingMessage) =>
  url === '/v1/chat/completions' &&
  method === 'POST' &&
  headers['content-encoding'] === undefined &&
  PLAIN_HOST.test(headers.host ?? '')

/** The app's road to `chatCompletions`, for most requests, without what the app costs on the way (docs/profile.md). */
export const directly = (deps: BeginDeps & ChatCompletionsDeps & ErrorDeps): Shortcut =>
  async function answer(incoming, outgoing) {
    if (!isPlainCompletion(incoming)) return false
    let context: RequestContext
    try {
      const begun = beginRequest(deps, incoming, outgoing)
      context = begun instanceof Promise ? await begun : begun
    } catch {
      return false
    }
    await answerOnNode(deps, context, () => chatCompletions(deps, context))
    return true
  }
