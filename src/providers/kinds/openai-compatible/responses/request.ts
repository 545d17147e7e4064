import type { Candidate } from '../../../../candidates/candidate.ts'
import type { ChatBody } from '../../../../openai/chat.ts'
import { isObject } from '../../../../openai/is-object.ts'
import { withDefaults } from '../../../../openai/with-defaults.ts'
import { type Input, itemsOf } from './items.ts'
import { unsupported } from './unsupported.ts'

/** Fields with a counterpart of another name or shape, made below. */
const CONVERTED = new Set(
  `messages max_tokens max_completion_tokens response_format verbosity reasoning_effort tools tool_choice logprobs
  stream store n stop seed logit_bias prediction functions function_call modalities audio web_search_options
  stream_options`.split(/\s+/),
)

export interface ResponsesBody {
  body: Record<string, unknown>
  input: Input
}

/** Without it a model's thoughts would be gone in the next turn: nothing is stored there. */
const THOUGHTS = 'reasoning.encrypted_content'

/**
 * A chat completion request as a body for `POST /v1/responses`. What has no counterpart and only tunes an answer (seed,
 * logit_bias, prediction) is left out; what would change it (n, stop, audio, web search) is refused.
 *
 * @throws UnsupportedRequest
 */
export function responsesBody(
  given: ChatBody,
  { model, defaults, dialect }: Pick<Candidate, 'model' | 'defaults' | 'dialect'>,
): ResponsesBody {
  const asked = withDefaults(given, defaults)
  refuse(asked)
  const input = itemsOf(asked.messages)
  const rest = Object.entries(asked).filter(([field, value]) => !CONVERTED.has(field) && value !== null)
  const most = asked.max_completion_tokens ?? asked.max_tokens ?? undefined
  const { reasoning_effort: effort, reasoning, verbosity, logprobs } = asked
  const format = formatOf(asked.response_format)
  const text = {
    ...(isObject(asked.text) && asked.text),
    ...(format && { format }),
    ...(typeof verbosity === 'string' && { verbosity }),
  }
  const include = [
    // Models that do not think refuse to be asked for it.
    ...((dialect?.overResponses ?? dialect)?.thoughts.has('reasoning_details') ? [THOUGHTS] : []),
    ...(logprobs === true ? ['message.output_text.logprobs'] : []),
  ]
  const tools = (asked.tools ?? []).map((tool, index) => toolOf(tool, `tools[${index}]`))
  const choice = choiceOf(asked.tool_choice)
  const body = {
    ...Object.fromEntries(rest),
    model,
    input: input.items,
    stream: asked.stream === true,
    // There it is kept unless told otherwise, as chat completions are not.
    store: asked.store === true,
    ...(include.length > 0 && { include }),
    ...(most !== undefined && { max_output_tokens: most }),
    ...(typeof effort === 'string' && { reasoning: { ...(isObject(reasoning) && reasoning), effort } }),
    ...(Object.keys(text).length > 0 && { text }),
    ...(tools.length > 0 && { tools }),
    ...(tools.length > 0 && choice !== undefined && { tool_choice: choice }),
  }
  return { body, input }
}

const isThere = (value: unknown) =>
  value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0)

function refuse(body: ChatBody): void {
  if ((body.n ?? 1) > 1) throw unsupported('more than one choice', 'n')
  if (isThere(body.stop)) throw unsupported('stop sequences', 'stop')
  if (isThere(body.functions)) throw unsupported("'functions': use 'tools'", 'functions')
  if (Array.isArray(body.modalities) && body.modalities.includes('audio')) throw unsupported('audio', 'modalities')
  if (isThere(body.web_search_options)) throw unsupported('web_search_options', 'web_search_options')
}

/** Nested in chat completions, flat here. */
function formatOf(format: unknown): Record<string, unknown> | undefined {
  if (!isObject(format) || format.type === 'text') return undefined
  const { type, json_schema: schema } = format
  return type === 'json_schema' && isObject(schema) ? { type, ...schema } : { ...format }
}

/** A function is strict there unless told otherwise, and here only where told. */
function toolOf(tool: unknown, param: string): Record<string, unknown> {
  if (isObject(tool) && tool.type === 'function' && isObject(tool.function)) {
    const { parameters, strict, ...named } = tool.function
    return {
      type: 'function',
      ...named,
      parameters: parameters ?? { type: 'object', properties: {} },
      strict: strict === true,
    }
  }
  if (isObject(tool) && tool.type === 'custom' && isObject(tool.custom)) {
    const { format, ...named } = tool.custom
    const { type, grammar } = isObject(format) ? format : {}
    const flat = type === 'grammar' && isObject(grammar) ? { type, ...grammar } : format
    return { type: 'custom', ...named, ...(flat ? { format: flat } : {}) }
  }
  throw unsupported('this type of tool', param)
}

function choiceOf(choice: unknown): unknown {
  if (choice === null || choice === undefined) return undefined
  if (!isObject(choice)) return choice
  if (choice.type === 'allowed_tools' && isObject(choice.allowed_tools)) {
    const { mode, tools } = choice.allowed_tools
    return { type: 'allowed_tools', mode, tools: Array.isArray(tools) ? tools.map(nameOf) : [] }
  }
  return nameOf(choice)
}

function nameOf(choice: unknown): unknown {
  if (!isObject(choice)) return choice
  const named = choice.type === 'custom' ? choice.custom : choice.function
  return isObject(named) ? { type: choice.type, name: named.name } : choice
}
