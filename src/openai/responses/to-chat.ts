import { type Candidate, takesNoEffort } from '../../candidates/candidate.ts'
import { invalidRequest, type UnsupportedRequest } from '../../errors.ts'
import type { ChatRequest } from '../chat.ts'
import { chatOf } from '../parse-chat.ts'
import type { Quoted } from '../serialised.ts'
import type { ResponsesBody } from './body.ts'
import type { InputItem } from './items.ts'
import { type Messages, messagesOf } from './messages.ts'
import type { Thoughts } from './thoughts.ts'
import { chatTools, type Tools } from './tools.ts'

/** A conversation in the Responses format, whole: nothing in it refers to what is stored. */
export interface Conversation {
  body: ResponsesBody
  items: readonly InputItem[]
}

export interface ChatVersion {
  request: ChatRequest
  tools: Tools
  /** Why no candidate can take it through chat completions, or null. */
  problem: UnsupportedRequest | null
}

/** The request as a chat completion that has not been written down yet. */
export interface Told extends Omit<ChatVersion, 'request'> {
  chat: Record<string, unknown>
  dropped: string[]
  /** Its conversation alone. */
  converted: Messages
}

/** @param quoted what is known of its strings. @throws GatewayError 400 */
export function written({ chat, dropped, tools, problem }: Told, quoted?: Quoted): ChatVersion {
  return { request: { ...chatOf(chat, quoted), format: 'responses', dropped }, tools, problem }
}

/**
 * The request as a chat completion for one candidate, or (null) as far as it is the same for all.
 *
 * @param open thoughts that were this candidate's own; null where an item holds none
 * @param common what all are told of the same conversation, where it is known
 * @throws GatewayError 400 where no message is left
 */
export function told(
  { body, items }: Conversation,
  candidate: Candidate | null,
  open: (item: InputItem) => Thoughts | null,
  common?: Told,
): Told {
  const isSame = common && !items.some(({ encrypted_content: text }) => Boolean(text))
  const converted = isSame ? common.converted : messagesOf(body.instructions, items, open)
  const { messages, dropped, problem: unsupported } = converted
  if (messages.length === 0) throw invalidRequest("Invalid 'input': expected at least one message.", 'input')
  const tools = chatTools(body)
  const effort = effortFor(body, candidate)
  const chat = { ...fields(body, tools, effort), messages }
  const isUntold = effort === undefined && !(isOff(body) && candidate?.reasoning === undefined)
  return {
    chat,
    dropped: [...dropped, ...droppedFields(body, tools, isUntold)],
    tools,
    problem: unsupported,
    converted,
  }
}

const isOff = ({ reasoning }: ResponsesBody) => reasoning?.effort === 'none'

/** How much a candidate is asked to think. Not to think is told where it is known how: others would refuse it. */
function effortFor(body: ResponsesBody, candidate: Candidate | null): string | undefined {
  const isTold = candidate === null || (candidate.reasoning !== false && (!isOff(body) || takesNoEffort(candidate)))
  return isTold ? (body.reasoning?.effort ?? undefined) : undefined
}

function fields(body: ResponsesBody, { tools, toolChoice }: Tools, effort?: string): Record<string, unknown> {
  const { text, include } = body
  const format = formatOf(text?.format)
  const logprobs = include?.includes('message.output_text.logprobs') === true || Number(body.top_logprobs) > 0
  return given({
    model: body.model ?? 'auto',
    stream: body.stream === true ? true : undefined,
    // The last event holds the counts.
    stream_options: body.stream === true ? { include_usage: true } : undefined,
    tools: tools.length > 0 ? tools : undefined,
    tool_choice: toolChoice,
    parallel_tool_calls: tools.length > 0 ? body.parallel_tool_calls : undefined,
    response_format: format,
    verbosity: text?.verbosity,
    reasoning_effort: effort,
    max_completion_tokens: body.max_output_tokens,
    temperature: body.temperature,
    top_p: body.top_p,
    presence_penalty: body.presence_penalty,
    frequency_penalty: body.frequency_penalty,
    logprobs: logprobs ? true : undefined,
    top_logprobs: logprobs ? body.top_logprobs : undefined,
    user: body.user,
    safety_identifier: body.safety_identifier,
    prompt_cache_key: body.prompt_cache_key,
    service_tier: body.service_tier,
  })
}

/** Flat there, nested here; text is what all answers are. */
function formatOf(format: NonNullable<ResponsesBody['text']>['format']): Record<string, unknown> | undefined {
  if (format?.type === 'json_object') return { type: 'json_object' }
  if (format?.type !== 'json_schema') return undefined
  const { name, description, schema, strict } = format
  return { type: 'json_schema', json_schema: given({ name: name ?? 'answer', description, schema, strict }) }
}

const given = (fields: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null))

/** Fields that would change the answer, and that chat completions have no word for. */
function droppedFields(body: ResponsesBody, { hosted }: Tools, isEffortUntold: boolean): string[] {
  return [
    ...hosted.map((type) => `tools.${type}`),
    ...(body.max_tool_calls !== null && body.max_tool_calls !== undefined ? ['max_tool_calls'] : []),
    ...(isEffortUntold && body.reasoning?.effort ? ['reasoning.effort'] : []),
    ...['prompt', 'context_management', 'moderation'].filter((field) => (body[field] ?? null) !== null),
  ]
}
