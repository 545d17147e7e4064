import { type Candidate, takesNoEffort } from '../../candidates/candidate.ts'
import { insteadOf } from '../../candidates/dialect.ts'
import type { UnsupportedRequest } from '../../errors.ts'
import type { ChatRequest } from '../chat.ts'
import { chatOf } from '../parse-chat.ts'
import type { Quoted } from '../serialised.ts'
import { type MessagesBody, type MessagesTool, saysNothing } from './body.ts'
import { type Converted, messagesOf } from './turns.ts'

export interface ChatVersion {
  request: ChatRequest
  /** Why no candidate can take it through chat completions, or null. */
  problem: UnsupportedRequest | null
}

/** A limit up to this is the client's wish; above, it is a bound, which the Messages API demands of every request. */
const WISHED_TOKENS = 4_096

/** A Messages request as a chat completion that has not been written down yet. */
export interface Told extends Pick<ChatVersion, 'problem'> {
  chat: Record<string, unknown>
  dropped: string[]
  /** Its conversation alone. */
  converted: Converted
}

/**
 * A Messages request as a chat completion for one candidate, or (null) as far as it is the same for all.
 *
 * @param known its parts that are known already: estimated tokens, what all candidates are told, long strings
 * @throws GatewayError 400 where no message is left
 */
export const toChat = (
  body: MessagesBody,
  candidate: Candidate | null,
  { promptTokens, common, quoted }: { promptTokens?: number; common?: Told; quoted?: Quoted | undefined } = {},
): ChatVersion => written(told(body, candidate, promptTokens, common), quoted)

/** @throws GatewayError 400 */
export function written({ chat, dropped, problem }: Told, quoted?: Quoted): ChatVersion {
  return { request: { ...chatOf(chat, quoted), format: 'messages', dropped }, problem }
}

/** @param common what all are told, where it is known. @throws GatewayError 400 where no message is left */
export function told(body: MessagesBody, candidate: Candidate | null, promptTokens = 0, common?: Told): Told {
  const options = { candidate: candidate?.name ?? null, keepsCacheMarks: candidate?.vendor === 'anthropic' }
  const converted = common && !common.converted.differs ? common.converted : messagesOf(body, options)
  const { messages, dropped, problem } = converted
  if (messages.length === 0) {
    // Of what only the native format can say, the router sees nothing.
    if (!problem) throw saysNothing()
    messages.push({ role: 'user', content: '' })
  }
  const tools = (body.tools ?? []).flatMap(functionOf)
  const chat = given({
    model: body.model,
    messages,
    stream: body.stream === true ? true : undefined,
    // The last events hold the counts.
    stream_options: body.stream === true ? { include_usage: true } : undefined,
    ...toolFields(body, tools),
    max_completion_tokens: answerLimit(body, candidate, promptTokens),
    stop: body.stop_sequences?.length ? body.stop_sequences : undefined,
    temperature: body.temperature,
    top_p: body.top_p,
    top_k: body.top_k,
    response_format: formatOf(body),
    reasoning_effort: candidate === null ? undefined : effortFor(body, candidate),
  })
  return { chat, dropped: [...dropped, ...droppedFields(body, candidate)], problem, converted }
}

/** No candidate is left out for a bound that it need not reach: it gets a nearer one. */
function answerLimit({ max_tokens: most }: MessagesBody, candidate: Candidate | null, promptTokens: number) {
  if (most === undefined) return undefined
  if (candidate === null) return most <= WISHED_TOKENS ? most : undefined
  const room = candidate.contextWindow - promptTokens
  return Math.min(most, candidate.maxOutputTokens ?? most, room > WISHED_TOKENS ? room : most)
}

/** Tools that Anthropic runs, or knows by their type alone, have no counterpart. */
const isFunction = ({ type }: MessagesTool) => type === undefined || type === null || type === 'custom'

function functionOf(tool: MessagesTool): Record<string, unknown>[] {
  if (!isFunction(tool)) return []
  const { name, description, input_schema: parameters, strict } = tool
  return [
    {
      type: 'function',
      function: given({ name, description, parameters: parameters ?? { type: 'object', properties: {} }, strict }),
    },
  ]
}

function toolFields({ tool_choice: choice }: MessagesBody, tools: readonly Record<string, unknown>[]) {
  if (tools.length === 0) return {}
  const names = tools.map((tool) => (tool.function as { name?: unknown }).name)
  return {
    tools,
    tool_choice:
      choice?.type === 'any'
        ? 'required'
        : choice?.type === 'none'
          ? 'none'
          : choice?.type === 'tool' && names.includes(choice.name)
            ? { type: 'function', function: { name: choice.name } }
            : undefined,
    parallel_tool_calls: choice?.disable_parallel_tool_use === true ? false : undefined,
  }
}

function formatOf({ output_config: output }: MessagesBody): Record<string, unknown> | undefined {
  if (output?.format?.type !== 'json_schema') return undefined
  return { type: 'json_schema', json_schema: { name: 'answer', schema: output.format.schema ?? {} } }
}

/** Tokens of thought up to which it counts as so much effort. */
const [LOW_BUDGET, MEDIUM_BUDGET] = [4_096, 16_384]

/**
 * How much a candidate is asked to think, where it is known to. Not to think is told where it is known how: others
 * would refuse the field; and of whom nobody knows whether they think, those that are told it by another field.
 */
function effortFor(body: MessagesBody, candidate: Candidate): string | undefined {
  const { reasoning, dialect } = candidate
  const effort = effortOf(body)
  if (effort === 'none' && reasoning === true) return takesNoEffort(candidate) ? effort : undefined
  if (reasoning === true) return effort
  return effort === 'none' && reasoning === undefined && dialect && insteadOf(dialect, 'reasoning_effort', effort)
    ? effort
    : undefined
}

function effortOf({ thinking, output_config: output }: MessagesBody): string | undefined {
  if (thinking?.type === 'disabled') return 'none'
  const stated = output?.effort
  if (stated) return stated === 'max' ? 'xhigh' : stated
  const budget = thinking?.type === 'enabled' ? thinking.budget_tokens : undefined
  if (typeof budget !== 'number') return undefined
  return budget <= LOW_BUDGET ? 'low' : budget <= MEDIUM_BUDGET ? 'medium' : 'high'
}

/** Fields that would change the answer, and that chat completions have no word for. */
function droppedFields(body: MessagesBody, candidate: Candidate | null): string[] {
  const tools = (body.tools ?? []).filter((tool) => !isFunction(tool)).map(({ type }) => `tools.${type}`)
  const wantsThoughts = body.thinking?.type === 'enabled' || body.thinking?.type === 'adaptive'
  return [
    ...tools,
    ...(wantsThoughts && candidate !== null && candidate.reasoning !== true ? ['thinking'] : []),
    ...(effortOf(body) === 'none' && candidate?.reasoning === true && !takesNoEffort(candidate) ? ['thinking'] : []),
    ...['metadata', 'context_management', 'container', 'mcp_servers', 'inference_geo', 'speed'].filter(
      (field) => (body[field] ?? null) !== null,
    ),
  ]
}

/** What only a provider of the Messages API can do: it is preferred, where there is one. */
export const needsMessages = (body: MessagesBody): boolean =>
  (body.tools ?? []).some((tool) => !isFunction(tool)) ||
  ['container', 'mcp_servers'].some((field) => (body[field] ?? null) !== null)

const given = (fields: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== null))
