import { z } from 'zod'
import type { Capability } from '../candidates/candidate.ts'
import { invalidRequest } from '../errors.ts'
import type { ChatBody, ChatMessage, ChatRequest } from './chat.ts'
import { refuseLookAlikes } from './field-names.ts'
import { isPlainChat } from './plain-chat.ts'
import { parseRawBody } from './raw-body.ts'
import { type Quoted, serialised } from './serialised.ts'

// Types only: ranges are the provider's business, and differ. Infinity passes, since 1e400 is forwarded as it came.
const num = z.custom<number>((value) => typeof value === 'number', 'Expected number')
const count = z.custom<number>((value) => typeof value === 'number' && value >= 1, 'Expected a positive integer')
const part = z.looseObject({ type: z.string(), text: z.string().optional() })
const message = z.looseObject({
  role: z.string(),
  content: z.union([z.string(), z.array(part)]).nullish(),
  tool_calls: z.array(z.looseObject({})).nullish(),
})

const chatSchema = z.looseObject({
  model: z.string().min(1).max(256),
  messages: z.array(message).min(1),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  temperature: num.nullish(),
  top_p: num.nullish(),
  n: count.nullish(),
  max_tokens: count.nullish(),
  max_completion_tokens: count.nullish(),
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  presence_penalty: num.nullish(),
  frequency_penalty: num.nullish(),
  seed: num.nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: num.nullish(),
  tools: z.array(z.looseObject({ type: z.string() })).nullish(),
  functions: z.array(z.looseObject({})).nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  response_format: z.looseObject({ type: z.string() }).nullish(),
  modalities: z.array(z.string()).nullish(),
  user: z.string().nullish(),
  safety_identifier: z.string().nullish(),
})

/**
 * Reads a chat completion request: `POST /v1/chat/completions` of OpenAI's API. Fields that we do not know pass.
 *
 * @param model what the request's path says; it wins over the body's
 * @throws GatewayError 400 with `param` naming the field
 */
export function parseChat(raw: Buffer, model?: string): ChatRequest {
  const { json, spans } = parseRawBody(raw)
  if (model !== undefined) json.model = model
  return requestOf(json, { raw, spans })
}

/**
 * A chat completion request that was made here, of another format's: as `parseChat` reads what `JSON.stringify` makes
 * of it. What of a client's lies deeper in it has been parsed or, where it was kept, counted: it is bounded.
 *
 * @param quoted what is known of its strings
 * @throws GatewayError 400 with `param` naming the field
 */
export function chatOf(chat: Record<string, unknown>, quoted?: Quoted): ChatRequest {
  refuseLookAlikes(chat)
  return requestOf(chat, serialised(chat, quoted))
}

function requestOf(json: Record<string, unknown>, { raw, spans }: Pick<ChatRequest, 'raw' | 'spans'>): ChatRequest {
  if (!isPlainChat(json)) {
    const parsed = chatSchema.safeParse(json)
    if (!parsed.success) throw fieldError(parsed.error.issues[0])
  }
  // Not parsed.data: the schema must not be able to drop or change a field.
  const body = json as unknown as ChatBody
  const sizeOf = (field: string) => {
    const span = spans.get(field)
    return span ? span.end - span.start : 0
  }
  return {
    body,
    raw,
    spans,
    stream: body.stream === true,
    wantsUsage: body.stream_options?.include_usage === true,
    needs: needsOf(body),
    promptTokens: estimatePromptTokens(body, sizeOf),
  }
}

/** The first zod issue as OpenAI words it. */
export function fieldError(issue: z.core.$ZodIssue | undefined) {
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : []
  const path = [...(issue?.path ?? []), ...unknown].map(String).join('.')
  const param = path === '' ? null : path
  return invalidRequest(param === null ? 'Invalid request body.' : `Invalid '${param}': ${issue?.message}.`, param)
}

function needsOf(body: ChatBody): Set<Capability> {
  const needs = new Set<Capability>()
  if (body.tools?.length || (Array.isArray(body.functions) && body.functions.length)) needs.add('tools')
  if ((body.response_format as { type?: string } | null | undefined)?.type === 'json_schema') needs.add('json_schema')
  if (body.logprobs === true) needs.add('logprobs')
  if (Array.isArray(body.modalities) && body.modalities.includes('audio')) needs.add('audio')
  for (const { content } of body.messages) {
    if (!Array.isArray(content)) continue
    for (const { type } of content) {
      if (type === 'image_url') needs.add('vision')
      else if (type === 'input_audio') needs.add('audio')
    }
  }
  return needs
}

/** UTF-8 bytes, so that scripts of three bytes a character count nearly a token a character. */
const BYTES_PER_TOKEN = 4
const TOKENS_PER_MESSAGE = 4
/** A 1024 x 1024 image in OpenAI's high detail. */
const TOKENS_PER_IMAGE = 765

/** Of a chat completion request, estimated. */
export const promptTokensOf = (chat: Record<string, unknown>): number =>
  estimatePromptTokens(chat as unknown as ChatBody, (field) =>
    chat[field] === undefined ? 0 : Buffer.byteLength(JSON.stringify(chat[field])),
  )

/** @param sizeOf bytes of a field's value */
function estimatePromptTokens(body: ChatBody, sizeOf: (field: string) => number): number {
  let bytes = 0
  for (const field of ['tools', 'functions', 'response_format']) bytes += sizeOf(field)
  let tokens = 0
  for (const entry of body.messages) {
    tokens += TOKENS_PER_MESSAGE
    bytes += textBytes(entry)
    if (Array.isArray(entry.content)) {
      for (const { type } of entry.content) if (type === 'image_url') tokens += TOKENS_PER_IMAGE
    }
  }
  return tokens + Math.ceil(bytes / BYTES_PER_TOKEN)
}

function textBytes({ content, tool_calls }: ChatMessage): number {
  const calls = tool_calls ? Buffer.byteLength(JSON.stringify(tool_calls)) : 0
  if (typeof content === 'string') return calls + Buffer.byteLength(content)
  if (!Array.isArray(content)) return calls
  return content.reduce((bytes, { text }) => bytes + (text ? Buffer.byteLength(text) : 0), calls)
}
