import type { IncomingMessage } from 'node:http'
import { createParser } from 'eventsource-parser'
import type { Candidate } from '../candidates/candidate.ts'
import type { ChatRequest } from '../openai/chat.ts'
import { parseJson, readError } from '../openai/error.ts'
import { estimateUsage } from '../openai/estimate-tokens.ts'
import { isObject } from '../openai/is-object.ts'
import { blocksOf, type ParsedMessages, parseMessages } from '../openai/messages/body.ts'
import { messagesError, messagesErrorBody } from '../openai/messages/error.ts'
import { namedBy } from '../openai/messages/identity.ts'
import { nativeRequest } from '../openai/messages/native.ts'
import { messageOf } from '../openai/messages/plain.ts'
import { eventFrame, MessageStream } from '../openai/messages/stream.ts'
import { needsMessages, toChat } from '../openai/messages/to-chat.ts'
import type { Endpoint } from '../pipeline/endpoint.ts'
import type { AnswerWriter } from '../providers/relay/writer.ts'

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
      toChat: ({ incoming }) => ({
        request: chatRequest(parsed, formatHeaders(incoming)),
        inToolLoop: answersTool(parsed),
        writer: () => writer,
      }),
    }
  },
  errorBody: messagesErrorBody,
  answerText,
}

/** Headers that change the meaning of a request's fields: they go where the bytes go. */
function formatHeaders({ headers }: IncomingMessage): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of ['anthropic-version', 'anthropic-beta']) {
    const value = headers[name]
    if (typeof value === 'string') found[name] = value
  }
  return found
}

function chatRequest(parsed: ParsedMessages, headers: Record<string, string>): ChatRequest {
  const { body } = parsed
  const { request } = toChat(body, null)
  return {
    ...request,
    ...(needsMessages(body) && { prefers: 'messages' as const }),
    forCandidate(candidate: Candidate): ChatRequest {
      if (candidate.apis?.has('messages')) return { ...request, dropped: [], native: nativeRequest(parsed, headers) }
      const { request: converted, problem } = toChat(body, candidate, request.promptTokens)
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
  plain({ request, candidate, status, body, usage, outputChars }) {
    const json = parseJson(body)
    if (status >= 400) return Buffer.from(messagesErrorBody(readError(status, json)))
    if (request.native?.api === 'messages') return body
    const counted = usage ?? estimateUsage(request.promptTokens, outputChars)
    return Buffer.from(JSON.stringify(messageOf(isObject(json) ? json : {}, counted, candidate.name)))
  },
  stream({ request, candidate, observer }) {
    if (request.native?.api === 'messages') {
      return {
        push: (bytes) => bytes,
        end: () => null,
        fail(error) {
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
