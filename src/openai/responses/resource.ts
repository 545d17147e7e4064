import type { Usage } from '../../candidates/usage.ts'
import type { OpenAIError } from '../error.ts'
import type { ResponsesBody } from './body.ts'
import type { InputItem } from './items.ts'
import type { Tools } from './tools.ts'

export type Status = 'in_progress' | 'completed' | 'incomplete' | 'failed'

/** `ResponseResource` of the Open Responses specification. */
export interface ResponseResource {
  id: string
  object: 'response'
  /** Unix seconds. */
  created_at: number
  completed_at: number | null
  status: Status
  incomplete_details: { reason: string } | null
  error: { code: string; message: string } | null
  model: string
  output: InputItem[]
  usage: ResponseUsage | null
  store: boolean
  [field: string]: unknown
}

export interface ResponseUsage {
  input_tokens: number
  input_tokens_details: { cached_tokens: number }
  output_tokens: number
  output_tokens_details: { reasoning_tokens: number }
  total_tokens: number
}

export interface ResourceHead {
  id: string
  createdAt: number
  model: string
  store: boolean
  /** The provider's, where it says. */
  serviceTier?: string | undefined
}

/** A response before anything of it is there: every field of the resource, as it took effect. */
export function resourceOf(body: ResponsesBody, tools: Tools, thinks: boolean, head: ResourceHead): ResponseResource {
  return {
    id: head.id,
    object: 'response',
    created_at: head.createdAt,
    completed_at: null,
    status: 'in_progress',
    background: false,
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    max_tool_calls: body.max_tool_calls ?? null,
    model: head.model,
    output: [],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: body.previous_response_id ?? null,
    prompt_cache_key: body.prompt_cache_key ?? null,
    reasoning: { effort: (thinks && body.reasoning?.effort) || null, summary: body.reasoning?.summary ?? null },
    safety_identifier: body.safety_identifier ?? null,
    service_tier: head.serviceTier ?? 'default',
    store: head.store,
    temperature: body.temperature ?? 1,
    presence_penalty: body.presence_penalty ?? 0,
    frequency_penalty: body.frequency_penalty ?? 0,
    text: textOf(body),
    tool_choice: tools.keptChoice ?? 'auto',
    tools: tools.kept.map((tool) =>
      tool.type === 'function'
        ? {
            ...tool,
            description: tool.description ?? null,
            parameters: tool.parameters ?? null,
            strict: tool.strict ?? null,
          }
        : tool,
    ),
    top_logprobs: body.top_logprobs ?? 0,
    top_p: body.top_p ?? 1,
    truncation: body.truncation === 'auto' ? 'auto' : 'disabled',
    usage: null,
    metadata: body.metadata ?? {},
    ...(typeof body.user === 'string' && { user: body.user }),
  }
}

function textOf({ text }: ResponsesBody) {
  const { format, verbosity } = text ?? {}
  const schema = format?.type === 'json_schema'
  return {
    format: schema
      ? {
          type: 'json_schema',
          name: format.name ?? 'answer',
          description: format.description ?? null,
          schema: format.schema ?? null,
          strict: format.strict ?? false,
        }
      : { type: format?.type === 'json_object' ? 'json_object' : 'text' },
    ...(typeof verbosity === 'string' && { verbosity }),
  }
}

/** Why the model stopped, in the words of the Responses format. */
export function ending(finishReason: string | null): Pick<ResponseResource, 'status' | 'incomplete_details'> {
  if (finishReason === 'length') return { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }
  if (finishReason === 'content_filter')
    return { status: 'incomplete', incomplete_details: { reason: 'content_filter' } }
  return { status: 'completed', incomplete_details: null }
}

export const usageOf = (usage: Usage): ResponseUsage => ({
  input_tokens: usage.promptTokens,
  input_tokens_details: { cached_tokens: usage.cachedTokens },
  output_tokens: usage.completionTokens,
  output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
  total_tokens: usage.promptTokens + usage.completionTokens,
})

/** Errors of a response have a code, always; OpenAI's own for what it has no name for. */
export const responseError = ({ code, message }: OpenAIError) => ({ code: code ?? 'server_error', message })
