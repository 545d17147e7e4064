import { z } from 'zod'
import { invalidRequest } from '../../errors.ts'
import { fieldError } from '../parse-chat.ts'
import { parseRawBody, type RawBody } from '../raw-body.ts'
import type { InputItem } from './items.ts'

const num = z.custom<number>((value) => typeof value === 'number', 'Expected number')
const count = z.custom<number>((value) => typeof value === 'number' && value >= 1, 'Expected a positive integer')

/** A string, or a list: what is wrong inside of the list is told by its place, which a union would not do. */
const textOr = <T extends z.ZodType>(list: T) =>
  z.custom<string | z.output<T>>().check((context) => {
    const { value } = context
    const parsed = typeof value === 'string' ? null : list.safeParse(value)
    for (const issue of parsed?.error?.issues ?? [])
      context.issues.push({ ...issue, input: value } as z.core.$ZodRawIssue)
  })

const parts = z.array(z.looseObject({ type: z.string() }))
const text = textOr(parts)
const callOutput = z.unknown().refine((value) => value !== undefined && value !== null, 'Expected a string or a list')

/** What must hold of an item of a known type; others pass, and so do fields that are not named here. */
const known: Record<string, z.ZodType> = {
  message: z.looseObject({
    role: z.enum(['user', 'assistant', 'system', 'developer', 'tool']),
    content: text.nullish(),
  }),
  function_call: z.looseObject({
    call_id: z.string().min(1),
    name: z.string().min(1),
    arguments: z.string().nullish(),
  }),
  function_call_output: z.looseObject({ call_id: z.string().min(1), output: callOutput }),
  custom_tool_call: z.looseObject({ call_id: z.string().min(1), name: z.string().min(1), input: z.string().nullish() }),
  custom_tool_call_output: z.looseObject({ call_id: z.string().min(1), output: callOutput }),
  reasoning: z.looseObject({ summary: z.array(z.looseObject({})).nullish(), encrypted_content: z.string().nullish() }),
  item_reference: z.looseObject({ id: z.string().min(1).max(256) }),
}

const bodySchema = z.looseObject({
  model: z.string().min(1).max(256).nullish(),
  input: textOr(z.array(z.looseObject({ type: z.string().nullish() }))).nullish(),
  instructions: z.string().nullish(),
  previous_response_id: z.string().min(1).max(256).nullish(),
  include: z.array(z.string()).nullish(),
  tools: z.array(z.looseObject({ type: z.string() })).nullish(),
  tool_choice: z.union([z.string(), z.looseObject({ type: z.string() })]).nullish(),
  metadata: z.looseObject({}).nullish(),
  text: z
    .looseObject({ format: z.looseObject({ type: z.string().nullish() }).nullish(), verbosity: z.string().nullish() })
    .nullish(),
  temperature: num.nullish(),
  top_p: num.nullish(),
  presence_penalty: num.nullish(),
  frequency_penalty: num.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({}).nullish(),
  background: z.boolean().nullish(),
  max_output_tokens: count.nullish(),
  max_tool_calls: count.nullish(),
  reasoning: z.looseObject({ effort: z.string().nullish(), summary: z.string().nullish() }).nullish(),
  safety_identifier: z.string().nullish(),
  prompt_cache_key: z.string().nullish(),
  user: z.string().nullish(),
  truncation: z.string().nullish(),
  store: z.boolean().nullish(),
  service_tier: z.string().nullish(),
  top_logprobs: num.nullish(),
})

/** The fields of a request to `POST /v1/responses` that the gateway reads. */
export type ResponsesBody = z.output<typeof bodySchema> & { input?: string | InputItem[] | null }

export interface ResponsesRequest extends Pick<RawBody, 'spans'> {
  body: ResponsesBody
  raw: Buffer
  /** `input` as items, each with its type. */
  items: InputItem[]
}

/**
 * Reads a request: `CreateResponseBody` of the Open Responses specification, and what OpenAI's SDKs send beyond it.
 * Nulls, empty objects and fields that we do not know pass.
 *
 * @throws GatewayError 400 with `param` naming the field
 */
export function parseResponses(raw: Buffer): ResponsesRequest {
  const { json, spans } = parseRawBody(raw)
  const parsed = bodySchema.safeParse(json)
  if (!parsed.success) throw fieldError(parsed.error.issues[0])
  const body = json as unknown as ResponsesBody
  if (body.background === true) throw notHere('background', "'background' responses: leave it out")
  if (body.conversation !== undefined && body.conversation !== null) {
    throw notHere('conversation', "the Conversations API: use 'previous_response_id'")
  }
  return { body, raw, spans, items: itemsOf(body.input) }
}

const notHere = (param: string, what: string) =>
  invalidRequest(`The gateway does not support ${what}.`, param, 'unsupported_parameter')

function itemsOf(input: ResponsesBody['input']): InputItem[] {
  if (typeof input === 'string') return [{ type: 'message', role: 'user', content: input }]
  return (input ?? []).map((item, index) => {
    const type = item.type ?? 'message'
    const parsed = known[type]?.safeParse(item)
    if (parsed && !parsed.success) throw itemError(index, parsed.error.issues[0])
    return { ...item, type }
  })
}

function itemError(index: number, issue: z.core.$ZodIssue | undefined) {
  const path = ['input', index, ...(issue?.path ?? [])]
  return fieldError(issue && { ...issue, path })
}
