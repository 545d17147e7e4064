import type { IncomingMessage } from 'node:http'
import { type AnswerDeps, answerBy } from '../api/chat-completions.ts'
import { errorBody } from '../openai/error.ts'
import { requireScope } from '../pipeline/authenticate.ts'
import { type BeginDeps, beginRequest, type RequestContext } from '../pipeline/context.ts'
import { chatEndpoint } from '../pipeline/endpoint.ts'
import type { Entry } from '../pipeline/entry.ts'
import { type ErrorDeps, type ErrorShape, report, sendError } from './errors.ts'
import type { Shortcut } from './http-server.ts'

/** Answers on Node's own response; an error becomes the answer, in the clients' shape. */
export async function answerOnNode(
  deps: ErrorDeps,
  context: RequestContext,
  shape: ErrorShape,
  answer: () => Promise<void>,
): Promise<void> {
  const { incoming, outgoing, requestId } = context
  const fail = (error: unknown) => sendError(outgoing, report(deps, error, requestId, shape), incoming)
  try {
    await answer()
  } catch (error) {
    try {
      fail(error)
    } catch (failed) {
      // The report itself failed. It is not left to the app, since the shortcut does not pass through it.
      fail(failed)
    }
  }
}

/** The hosts that Hono's adapter takes without asking a URL parser. */
const PLAIN_HOST = /^[a-z0-9._-]+(?::(?:[1-5]\d{3,4}|[6-9]\d{3}))?$/

/** Whether a request has the usual shape; odd and broken ones are left to the app. */
const isPlainCompletion = ({ method, url, headers }: IncomingMessage) =>
  url === '/v1/chat/completions' &&
  method === 'POST' &&
  headers['content-encoding'] === undefined &&
  PLAIN_HOST.test(headers.host ?? '')

const refused = new WeakMap<IncomingMessage, unknown>()

/** Throws again why a request was refused that the shortcut began, and left to the app. */
export function throwIfRefused(incoming: IncomingMessage): void {
  if (refused.has(incoming)) throw refused.get(incoming)
}

/** Answers most chat completions without the cost of the app (docs/profile.md). */
export const directly = (deps: BeginDeps & AnswerDeps & ErrorDeps & { entry: Entry }): Shortcut =>
  async function answer(incoming, outgoing) {
    if (!isPlainCompletion(incoming)) return false
    let context: RequestContext
    try {
      const begun = beginRequest(deps, incoming, outgoing)
      context = begun instanceof Promise ? await begun : begun
    } catch (error) {
      // Told by the app, which need not look up the key again.
      refused.set(incoming, error)
      return false
    }
    await answerOnNode(deps, context, errorBody, () => {
      requireScope(context.caller, '/v1/chat/completions')
      deps.entry.enterForAnswer(context)
      return answerBy(chatEndpoint, deps, context)
    })
    return true
  }
