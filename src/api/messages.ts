import type { IncomingMessage } from 'node:http'
import { createParser } from 'eventsource-parser'
import type { Candidate } from '../candidates/candidate.ts'
import { resolveModel, type UserIds } from '../candidates/tenants.ts'
import type { ChatRequest } from '../openai/chat.ts'
import { parseJson, readError } from '../openai/error.ts'
import { estimateUsage } from '../openai/estimate-tokens.ts'
import { isObject } from '../openai/is-object.ts'
import { blocksOf, type ParsedMessages, parseMessages } from '../openai/messages/body.ts'
import { messagesError, messagesErrorBody } from '../openai/messages/error.ts'
import { namedBy } from '../openai/messages/identity.ts'
import { nativeRequest } from '../openai/messages/native.ts'
import { chatAsMessage } from '../openai/messages/plain.ts'
import { stopsOf } from '../openai/messages/resource.ts'
import { eventFrame, MessageStream } from '../openai/messages/stream.ts'
import { needsMessages, type Told, toChat, told, written } from '../openai/messages/to-chat.ts'
import { promptTokensOf } from '../openai/parse-chat.ts'
import { converted, LARGE_BYTES } from '../openai/parse-thread.ts'
import { type Quoted, quotedIn } from '../openai/serialised.ts'
import { deploymentOf } from '../pipeline/address.ts'
import type { Admission } from '../pipeline/admission.ts'
import type { RequestContext } from '../pipeline/context.ts'
import type { ChatCall, Endpoint } from '../pipeline/endpoint.ts'
import { headerText, principalOf } from '../pipeline/principal.ts'
import type { Quota } from '../pipeline/quota/quota.ts'
import { withoutGuarded } from '../providers/guarded.ts'
import type { AnswerWriter } from '../providers/relay/writer.ts'
import { fairTimeout } from '../runtime/fair-timer.ts'
import { readJsonBody } from './body.ts'

/**
 * `POST /v1/messages`: Anthropic's Messages API. A candidate whose provider speaks it gets the client's bytes, and the
 * client gets the provider's; for the others the request is told as a chat completion, and the answer as a message.
 */
export const messagesEndpoint: Endpoint = {
  name: 'messages',
  read(bytes, model) {
    const parsed = parseMessages(bytes, model === undefined ? {} : { model })
    const { body, raw } = parsed
    return {
      raw,
      names: { model: body.model, ...namedBy(body.metadata?.user_id) },
      toChat: ({ incoming }) => {
        const call = (quoted?: Quoted): ChatCall => ({
          request: chatRequest(parsed, common, formatHeaders(incoming), quoted),
          inToolLoop: answersTool(parsed),
          writer: () => writer,
        })
        const common = told(body, null)
        return raw.length > LARGE_BYTES ? quotedIn(common.chat).then(call) : call()
      },
    }
  },
  errorBody: messagesErrorBody,
  answerText,
}

/** Where Anthropic's SDKs look for a request's id. */
export const tellRequestId = ({ outgoing, requestId }: RequestContext) => outgoing.setHeader('request-id', requestId)

export interface CountTokensDeps {
  userIds: UserIds
  admission: Admission
  quota: Quota
}

/**
 * `POST /v1/messages/count_tokens`: as a provider of the Messages API counts, where the model's name stands for one of
 * its models; else as we estimate.
 *
 * @throws GatewayError
 */
export async function countTokens({ userIds, admission, quota }: CountTokensDeps, context: RequestContext) {
  const { snapshot, caller, incoming, requestId, signal } = context
  const raw = await readJsonBody(context)
  const deployment = deploymentOf(incoming)
  const parsed = parseMessages(raw, { counts: true, ...(deployment !== undefined && { model: deployment }) })
  const { body } = parsed
  const principal = principalOf(snapshot, userIds, caller, incoming, namedBy(body.metadata?.user_id))
  const { candidates } = resolveModel(body.model, principal.allowed, principal.tenant.aliases)
  const common = told(body, null)
  const promptTokens = promptTokensOf(common.chat)
  quota.refuseKnown(context, principal)
  const grant = await quota.reserveRequest(context, principal)
  try {
    return await admission.run(principal.tenant.config.priority, signal, async () => {
      const candidate = candidates.find(({ apis }) => apis?.has('messages'))
      const provider = candidate && snapshot.providers.get(candidate.provider)
      if (!candidate || !provider?.countTokens) return { input_tokens: promptTokens }
      const quoted = raw.length > LARGE_BYTES ? await quotedIn(common.chat) : undefined
      const request = { ...written(common, quoted).request, native: nativeRequest(parsed, formatHeaders(incoming)) }
      const strict = headerText(incoming, 'x-router-strict')?.toLowerCase() === 'on'
      const { native } = withoutGuarded(request, provider.guards ?? {}, candidate.name, strict)
      const within = AbortSignal.any([signal, fairTimeout(COUNT_WITHIN_MS)])
      const count = native && provider.countTokens({ candidate, native, signal: within, requestId })
      const counted = await count?.catch(() => null)
      return { input_tokens: counted ?? promptTokens }
    })
  } finally {
    grant.settle()
  }
}

/** An estimate in time is of more use than a count. */
const COUNT_WITHIN_MS = 5_000

/**
 * The header that changes the meaning of a request's fields: it goes where the bytes go, as far as the provider's
 * guards let it. The version is the gateway's own, which reads along.
 */
function formatHeaders({ headers }: IncomingMessage): Record<string, string> {
  const beta = headers['anthropic-beta']
  return typeof beta === 'string' && beta !== '' ? { 'anthropic-beta': beta } : {}
}

/** @param common the same for all candidates */
function chatRequest(
  parsed: ParsedMessages,
  common: Told,
  headers: Record<string, string>,
  quoted: Quoted | undefined,
): ChatRequest {
  const { body } = parsed
  const { request } = written(common, quoted)
  const { promptTokens } = request
  return {
    ...request,
    asGiven: body,
    ...(needsMessages(body) && { prefers: 'messages' as const }),
    forCandidate(candidate: Candidate): ChatRequest {
      if (candidate.apis?.has('messages')) return { ...request, dropped: [], native: nativeRequest(parsed, headers) }
      const { request: converted, problem } = toChat(body, candidate, { promptTokens, common, quoted })
      if (problem) throw problem
      return converted
    },
  }
}

/** Agents send a reminder beside a tool's result: as a chat, the last message is then the user's. */
function answersTool({ body }: ParsedMessages): boolean {
  const last = body.messages.at(-1)
  return last?.role === 'user' && blocksOf(last.content).some(({ type }) => type === 'tool_result')
}

const writer: AnswerWriter = {
  async plain({ request, candidate, status, body, usage, outputChars }, tenant) {
    if (status >= 400) return Buffer.from(messagesErrorBody(readError(status, parseJson(body))))
    if (request.native?.api === 'messages') return body
    const counted = usage ?? estimateUsage(request.promptTokens, outputChars)
    const told = { usage: counted, candidate: candidate.name, stops: stopsOf(request.body) }
    return (await converted(chatAsMessage, body, told, tenant)).body
  },
  stream({ request, candidate, observer }) {
    if (request.native?.api === 'messages') {
      return {
        push: (bytes) => bytes,
        end: () => null,
        fail(error) {
          // The provider's own word for what went wrong has gone out already.
          if (observer.error !== null) return null
          const { type, ...fields } = messagesError(error)
          return Buffer.from(eventFrame(type, fields))
        },
      }
    }
    return new MessageStream({
      candidate: candidate.name,
      promptTokens: request.promptTokens,
      usage: () => observer.usage ?? estimateUsage(request.promptTokens, observer.outputBytes, observer.outputEvents),
      finishReason: () => observer.finishReason,
      stops: stopsOf(request.body),
    })
  },
}

function answerText(body: Buffer, stream: boolean): string {
  if (!stream) return textOf(parseJson(body), 'content')
  let text = ''
  const parser = createParser({
    onEvent({ data }) {
      text += textOf(parseJson(Buffer.from(data)), 'delta')
    },
  })
  parser.feed(body.toString('utf8'))
  return text
}

function textOf(json: unknown, field: 'content' | 'delta'): string {
  const found = isObject(json) ? [json[field]].flat() : []
  return found.map((block) => (isObject(block) && typeof block.text === 'string' ? block.text : '')).join('')
}
