import { z } from 'zod'
import { invalidRequest } from '../../errors.ts'
import type { Span } from '../chat.ts'
import { fieldError } from '../parse-chat.ts'
import { parseRawBody } from '../raw-body.ts'

/** A content block as far as it is read here; the rest passes to providers that speak the format. */
export interface Block {
  type: string
  text?: string
  [key: string]: unknown
}

export interface Turn {
  role: string
  content: string | Block[]
}

export interface MessagesTool {
  type?: string | null
  name?: string
  description?: string | null
  input_schema?: unknown
  strict?: boolean | null
  [key: string]: unknown
}

/** The fields of a Messages request that the gateway reads (Anthropic, `POST /v1/messages`). */
export interface MessagesBody {
  model: string
  messages: Turn[]
  max_tokens?: number
  system?: string | Block[] | null
  stream?: boolean | null
  temperature?: number | null
  top_p?: number | null
  stop_sequences?: string[] | null
  tools?: MessagesTool[] | null
  tool_choice?: { type: string; name?: string; disable_parallel_tool_use?: boolean | null } | null
  thinking?: { type: string; budget_tokens?: number | null } | null
  output_config?: { effort?: string | null; format?: { type: string; schema?: unknown } | null } | null
  metadata?: { user_id?: string | null } | null
  [key: string]: unknown
}

// Types only: ranges and unknown blocks are the provider's business.
const number = z.custom<number>((value) => typeof value === 'number', 'Expected number')
const block = z.looseObject({ type: z.string(), text: z.string().optional() })
const content = z.union([z.string(), z.array(block)])
const schema = z.looseObject({
  model: z.string().min(1).max(256),
  messages: z.array(z.looseObject({ role: z.enum(['user', 'assistant', 'system']), content })).min(1),
  max_tokens: z.number().int().positive(),
  system: content.nullish(),
  stream: z.boolean().nullish(),
  temperature: number.nullish(),
  top_p: number.nullish(),
  stop_sequences: z.array(z.string()).nullish(),
  tools: z.array(z.looseObject({ type: z.string().nullish(), name: z.string().optional() })).nullish(),
  tool_choice: z.looseObject({ type: z.string(), name: z.string().optional() }).nullish(),
  thinking: z.looseObject({ type: z.string(), budget_tokens: number.nullish() }).nullish(),
  output_config: z
    .looseObject({ effort: z.string().nullish(), format: z.looseObject({ type: z.string() }).nullish() })
    .nullish(),
  metadata: z.looseObject({ user_id: z.string().nullish() }).nullish(),
})
/** Counting tokens needs no limit of an answer. */
const countSchema = schema.extend({ max_tokens: z.number().int().positive().optional() })

export interface ParsedMessages {
  body: MessagesBody
  raw: Buffer
  spans: ReadonlyMap<string, Span>
}

/**
 * Reads a Messages request. Fields that we do not know pass.
 *
 * @param model what the request's path says; it wins over the body's
 * @throws GatewayError 400 with `param` naming the field
 */
export function parseMessages(raw: Buffer, { model, counts = false }: { model?: string; counts?: boolean } = {}) {
  const { json, spans } = parseRawBody(raw)
  if (model !== undefined) json.model = model
  const parsed = (counts ? countSchema : schema).safeParse(json)
  if (!parsed.success) throw fieldError(parsed.error.issues[0])
  // Not parsed.data: the schema must not be able to drop or change a field.
  const body = json as unknown as MessagesBody
  if (!body.messages.some(({ content: said }) => said.length > 0)) throw saysNothing()
  return { body, raw, spans } satisfies ParsedMessages
}

export const saysNothing = () =>
  invalidRequest("Invalid 'messages': expected at least one that says something.", 'messages')

export const blocksOf = (said: string | readonly Block[] | null | undefined): readonly Block[] =>
  typeof said === 'string' ? (said === '' ? [] : [{ type: 'text', text: said }]) : (said ?? [])
