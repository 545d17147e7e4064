import { UnsupportedRequest } from '../errors.ts'
import type { ChatBody, ChatRequest, Span } from '../openai/chat.ts'

/**
 * Fields with which a client would choose the model, the price, the place or the storage at a provider, past what was
 * authorised and reserved; each with the values that change none of these. Left off unless the provider's `pass` names
 * the field. Null is always harmless.
 */
export type Guards = Readonly<Record<string, readonly unknown[]>>

const NEVER: readonly unknown[] = []

/** Fields of servers that speak OpenAI's format, by who takes them. */
export const OPENAI_GUARDS = {
  // OpenAI: https://platform.openai.com/docs/api-reference/chat/create
  service_tier: ['auto', 'default'],
  store: [false],
  web_search_options: NEVER,
  // OpenRouter: https://openrouter.ai/docs/api-reference/parameters
  models: NEVER,
  provider: NEVER,
  providers: NEVER,
  route: NEVER,
  plugins: NEVER,
  transforms: NEVER,
  preset: NEVER,
  // Azure OpenAI "on your data": the provider fetches an address under its own identity.
  data_sources: NEVER,
  // LiteLLM's proxy, and servers that forward.
  api_base: NEVER,
  api_url: NEVER,
  base_url: NEVER,
  endpoint: NEVER,
  proxy: NEVER,
  webhook_url: NEVER,
  api_key: NEVER,
  api_version: NEVER,
  api_type: NEVER,
  organization: NEVER,
  custom_llm_provider: NEVER,
  fallbacks: NEVER,
  context_window_fallback_dict: NEVER,
  content_policy_fallbacks: NEVER,
  model_list: NEVER,
  extra_headers: NEVER,
  extra_body: NEVER,
  headers: NEVER,
  guardrails: NEVER,
  mock_response: NEVER,
  num_retries: NEVER,
  caching: NEVER,
  cache: NEVER,
  // vLLM, SGLang, llama.cpp: templates run on the server, and these make answers longer or jump the queue.
  chat_template: NEVER,
  ignore_eos: [false],
  min_tokens: [0],
  priority: [0],
  kv_transfer_params: NEVER,
  lora_path: NEVER,
  id_slot: [-1],
  // Searches that are billed apart: xAI, Qwen.
  search_parameters: NEVER,
  enable_search: [false],
  // Where a model keeps its place in memory: Ollama.
  keep_alive: NEVER,
} satisfies Guards

/** Fields of Anthropic's Messages API: https://platform.claude.com/docs/en/api/messages */
export const ANTHROPIC_GUARDS = {
  service_tier: ['auto', 'standard_only'],
  speed: ['standard'],
  inference_geo: NEVER,
  mcp_servers: NEVER,
  container: NEVER,
} satisfies Guards

/** A kind's guards without those that its configuration opens. */
export const without = (guards: Guards, pass: readonly string[]): Guards =>
  Object.fromEntries(Object.entries(guards).filter(([field]) => !pass.includes(field)))

/**
 * The request without guarded fields; they are told in `dropped`. Where it has none, the very request.
 *
 * @param strict nothing may be left off
 * @throws UnsupportedRequest
 */
export function withoutGuarded(request: ChatRequest, guards: Guards, candidate: string, strict: boolean): ChatRequest {
  const { native } = request
  if (native) {
    const found = guardedIn(native.spans, guards, (span) => valueAt(native.raw, span), OF_RESPONSES[native.api])
    if (found.length === 0) return request
    refuseIf(strict, found, candidate)
    return { ...request, native: { ...native, ...cut(native, found) }, dropped: merged(request.dropped, found) }
  }
  const { body } = request
  const found = guardedIn(request.spans, guards, (_, field) => body[field])
  if (found.length === 0) return request
  refuseIf(strict, found, candidate)
  const left = { ...body }
  for (const field of found) delete left[field]
  return { ...request, ...cut(request, found), body: left as ChatBody, dropped: merged(request.dropped, found) }
}

/** What a configuration rules in another way: responses are kept where `responses.store` lets them. */
const OF_RESPONSES: Readonly<Record<string, string | undefined>> = { responses: 'store' }

function guardedIn(
  spans: ReadonlyMap<string, Span>,
  guards: Guards,
  read: (span: Span, field: string) => unknown,
  except?: string,
): string[] {
  const found: string[] = []
  for (const [field, span] of spans) {
    if (!Object.hasOwn(guards, field) || field === except) continue
    const value = read(span, field)
    if (value !== null && value !== undefined && !guards[field]?.includes(value)) found.push(field)
  }
  return found
}

function refuseIf(strict: boolean, fields: readonly string[], candidate: string): void {
  if (!strict) return
  const names = fields.join(', ')
  throw new UnsupportedRequest(`${candidate}: ${names} is not open to clients here.`, fields[0] as string)
}

const valueAt = (raw: Uint8Array, { start, end }: Span): unknown =>
  JSON.parse(Buffer.from(raw.buffer, raw.byteOffset + start, end - start).toString('utf8'))

const merged = (dropped: readonly string[] | undefined, more: readonly string[]) => [
  ...new Set([...(dropped ?? []), ...more]),
]

interface Bytes {
  raw: Uint8Array
  spans: ReadonlyMap<string, Span>
}

/** The other fields, each value the client's own bytes. */
function cut({ raw, spans }: Bytes, fields: readonly string[]): Bytes {
  const pieces: Uint8Array[] = []
  const kept = new Map<string, Span>()
  let length = 0
  for (const [field, span] of spans) {
    if (fields.includes(field)) continue
    const name = Buffer.from(`${length === 0 ? '{' : ','}${JSON.stringify(field)}:`)
    const start = length + name.length
    length = start + span.end - span.start
    kept.set(field, { start, end: length })
    pieces.push(name, raw.subarray(span.start, span.end))
  }
  pieces.push(Buffer.from(length === 0 ? '{}' : '}'))
  return { raw: Buffer.concat(pieces), spans: kept }
}
