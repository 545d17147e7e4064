import type { Candidate } from '../candidates/candidate.ts'
import { answerText } from '../openai/answer-text.ts'
import type { ChatRequest } from '../openai/chat.ts'
import { errorBody, type OpenAIError } from '../openai/error.ts'
import { parseChat } from '../openai/parse-chat.ts'
import type { AnswerWriter } from '../providers/relay/writer.ts'
import type { RequestContext } from './context.ts'
import type { Principal } from './principal.ts'

/**
 * A format in which clients ask for answers. Inside there is one request, a chat completion, and one road for it:
 * an endpoint turns its own requests into that, and tells the answers in its own words.
 */
export interface Endpoint {
  readonly name: 'chat' | 'responses' | 'messages' | 'completions' | 'embeddings' | 'passthrough'
  /**
   * @param model what the request's path says; it wins over the body's
   * @throws GatewayError 400 with `param` naming the field
   */
  read(raw: Buffer, model?: string): EndpointRequest
  /** The body of an answer that is an error. */
  errorBody(error: OpenAIError): string
  /** The text of an answer, from the bytes that the client got; '' where it has none. */
  answerText(body: Buffer, stream: boolean): string
}

/** A request in an endpoint's own format, valid as far as can be told without knowing who asks. */
export interface EndpointRequest {
  /** The client's bytes. */
  raw: Uint8Array
  /** Which model, and on whose behalf. */
  names: { model: string; safety_identifier?: unknown; user?: unknown; conversation?: string }
  /**
   * The request as a chat completion.
   *
   * @param candidates that may answer it
   * @throws GatewayError
   */
  toChat(context: RequestContext, principal: Principal, candidates: readonly Candidate[]): ChatCall | Promise<ChatCall>
}

export interface ChatCall {
  request: ChatRequest
  /** Key of the conversation that the request goes on with, where the endpoint knows it. */
  turnKey?: string | undefined
  /** The request brings a tool's result: the model that called the tool must go on. */
  inToolLoop?: boolean
  /** Given the key of the conversation. Null where the provider's bytes go through. */
  writer: ((turnKey: string) => AnswerWriter) | null
}

/** Chat completions: what is inside is what came. */
export const chatEndpoint: Endpoint = {
  name: 'chat',
  read(bytes, model) {
    const request = parseChat(bytes, model)
    return { raw: request.raw, names: request.body, toChat: () => ({ request, writer: null }) }
  },
  errorBody,
  answerText,
}
