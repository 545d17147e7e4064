import type { Body, Refusal, Route } from './emulator.ts'
import { openaiError } from './rules.ts'

interface Item {
  type?: string
  id?: string
  role?: string
  call_id?: string
  encrypted_content?: string
  content?: unknown
  output?: unknown
}

/** https://developers.openai.com/api/docs/models: "available in the Responses API only" */
export const isResponsesOnly = (model: string) => /-pro$|-pro-20|codex|deep-research/.test(model)

const isReasoning = ({ model }: Body) => /^(gpt-5(?!-chat)|o[134]|codex)/.test(model)
const itemsOf = ({ input }: Body): Item[] => (Array.isArray(input) ? (input as Item[]) : [])
const unsupported = (field: string): Refusal =>
  openaiError(400, `Unsupported parameter: '${field}' is not supported with this model.`, field)
const effortOf = (body: Body) => (body.reasoning as { effort?: string } | null | undefined)?.effort
const valuesOf = (model: string) =>
  /^gpt-5-pro/.test(model)
    ? ['high']
    : /^gpt-5\.\d-pro/.test(model)
      ? ['medium', 'high', 'xhigh']
      : /^gpt-5\.[23]-codex|codex-max/.test(model)
        ? ['low', 'medium', 'high', 'xhigh']
        : /codex/.test(model)
          ? ['low', 'medium', 'high']
          : generalValuesOf(model)
const generalValuesOf = (model: string) =>
  /^gpt-5\.\d/.test(model)
    ? ['none', 'low', 'medium', 'high', 'xhigh']
    : /^gpt-5/.test(model)
      ? ['minimal', 'low', 'medium', 'high']
      : ['low', 'medium', 'high']

/**
 * https://platform.openai.com/docs/api-reference/responses/create, and `client_metadata`, which Codex sends there
 * (openai/codex, codex-rs).
 */
const FIELDS = new Set(
  `background client_metadata context_management conversation frequency_penalty include input instructions max_output_tokens
  max_tool_calls metadata model moderation parallel_tool_calls presence_penalty previous_response_id prompt
  prompt_cache_key prompt_cache_options prompt_cache_retention reasoning safety_identifier service_tier store stream
  stream_options temperature text tool_choice tools top_logprobs top_p truncation user`.split(/\s+/),
)
const IDS: Record<string, RegExp> = {
  message: /^msg/,
  function_call: /^fc/,
  reasoning: /^rs/,
  custom_tool_call: /^ctc/,
}

let answered = 0

function resourceOf(body: Body, status: string, output: unknown[]) {
  const usage = {
    input_tokens: 9,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 3,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 12,
  }
  return {
    id: `resp_${++answered}`,
    object: 'response',
    created_at: 1_790_000_000,
    status,
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    metadata: body.metadata ?? {},
    model: body.model,
    output,
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    temperature: body.temperature ?? 1,
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    top_p: body.top_p ?? 1,
    usage: status === 'completed' ? usage : null,
  }
}

/** The tool that must be called. */
function calledBy(body: Body): Record<string, unknown> | null {
  const tools = (body.tools ?? []) as Record<string, unknown>[]
  const choice = body.tool_choice as string | { type: string; name?: string; mode?: string; tools?: { name: string }[] }
  const name =
    typeof choice === 'object' ? (choice.name ?? (choice.mode === 'required' && choice.tools?.[0]?.name)) : ''
  const tool = choice === 'required' ? tools[0] : tools.find((one) => one.name === name)
  if (!tool) return null
  const id = `call_${answered}`
  return tool.type === 'custom'
    ? { id: `ctc_${answered}`, type: 'custom_tool_call', call_id: id, name: tool.name, input: 'a' }
    : {
        id: `fc_${answered}`,
        type: 'function_call',
        call_id: id,
        name: tool.name,
        arguments: '{}',
        status: 'completed',
      }
}

/** Thoughts, where they are asked for, and what is said or called. */
function outputOf(body: Body): Record<string, unknown>[] {
  const seals = ((body.include ?? []) as string[]).includes('reasoning.encrypted_content')
  const sealed = { id: `rs_${answered}`, type: 'reasoning', summary: [], encrypted_content: `openai-${answered}` }
  const said = messageOf('completed', [partOf(isJson(body) ? '{"ok":true}' : 'Understood.')])
  return [...(seals ? [sealed] : []), calledBy(body) ?? said]
}

const isJson = (body: Body) =>
  (body.text as { format?: { type?: string } } | undefined)?.format?.type?.startsWith('json') === true
const partOf = (text: string) => ({ type: 'output_text', text, annotations: [], logprobs: [] })
const messageOf = (status: string, content: unknown[]) => ({
  id: `msg_${answered}`,
  type: 'message',
  role: 'assistant',
  status,
  content,
})

/** api.openai.com, responses. */
export const openaiResponses: Route = {
  path: '/responses',
  rules: [
    {
      source:
        'report: OpenHands/software-agent-sdk#755, lobehub/lobehub#8116: arguments of chat completions; of others inferred',
      check: (body) => {
        const odd = Object.keys(body).find((field) => !FIELDS.has(field))
        return odd && openaiError(400, `Unknown parameter: '${odd}'.`, odd, 'unknown_parameter')
      },
    },
    {
      source: 'inferred: sampling with gpt-5 and the o-series, as by chat completions',
      check: (body) => {
        const odd =
          isReasoning(body) && ['temperature', 'top_p'].find((field) => body[field] != null && body[field] !== 1)
        return odd && unsupported(odd)
      },
    },
    {
      source: 'report: BoundaryML/baml#2708, BerriAI/litellm#38842: reasoning.effort with models that do not reason',
      check: (body) =>
        !isReasoning(body) && body.reasoning != null && effortOf(body) != null && unsupported('reasoning.effort'),
    },
    {
      source:
        'docs: ReasoningEffort of openai/openai-openapi and learn.microsoft.com (@azure/ai-projects), developers.openai.com/api/docs/models: values by model',
      check: (body) => {
        const effort = effortOf(body)
        const values = valuesOf(body.model)
        return (
          isReasoning(body) &&
          effort != null &&
          !values.includes(effort) &&
          openaiError(
            400,
            `Unsupported value: '${effort}' is not supported with the '${body.model}' model. Supported values are: ${values.join(', ')}.`,
            'reasoning.effort',
            'unsupported_value',
          )
        )
      },
    },
    {
      source: 'report: community.openai.com/t/1341049: values of text.verbosity other than medium need gpt-5',
      check: (body) => {
        const { verbosity } = (body.text ?? {}) as { verbosity?: string }
        return (
          verbosity !== undefined &&
          verbosity !== 'medium' &&
          !/^gpt-5/.test(body.model) &&
          openaiError(
            400,
            `Unsupported value: '${verbosity}' is not supported with the '${body.model}' model. Supported values are: 'medium'.`,
            'text.verbosity',
            'unsupported_value',
          )
        )
      },
    },
    {
      source: 'report: Arize-ai/openinference#2083: custom tools came with gpt-5; inferred: others refuse them',
      check: (body) =>
        ((body.tools ?? []) as { type: string }[]).some(({ type }) => type === 'custom') &&
        !/^gpt-5/.test(body.model) &&
        openaiError(400, "Tool 'custom' is not supported with this model.", 'tools'),
    },
    {
      source: 'report: nextcloud/context_agent#140: calls and their outputs come together',
      check: (body) => {
        const of = (suffix: string) =>
          new Set(
            itemsOf(body)
              .filter(({ type }) => type?.endsWith(suffix))
              .map(({ call_id: id }) => id),
          )
        const [calls, outputs] = [of('_call'), of('_call_output')]
        const open = [...calls].find((id) => !outputs.has(id))
        if (open) return openaiError(400, `No tool output found for function call ${open}.`, 'input')
        const lone = [...outputs].find((id) => !calls.has(id))
        return lone && openaiError(400, `No tool call found for function call output with call_id ${lone}.`, 'input')
      },
    },
    {
      source:
        'report: openai/codex#33176, BerriAI/litellm#27333, Wei-Shaw/sub2api#3981: ids of items begin with their kind',
      check: (body) => {
        const odd = itemsOf(body).findIndex(
          ({ id, type = 'message' }) => id != null && IDS[type] && !IDS[type].test(id),
        )
        return (
          odd >= 0 &&
          openaiError(
            400,
            `Invalid 'input[${odd}].id': '${itemsOf(body)[odd]?.id}'.`,
            `input[${odd}].id`,
            'invalid_value',
          )
        )
      },
    },
    {
      source: 'report: openai/codex#8138, Wei-Shaw/sub2api#2863: encrypted thoughts are its own',
      check: (body) =>
        itemsOf(body).some(({ encrypted_content: text }) => text != null && !text.startsWith('openai-')) &&
        openaiError(400, 'The encrypted content could not be verified.', null, 'invalid_encrypted_content'),
    },
    {
      source: 'inferred: sealed thoughts of models that do not think',
      check: (body) =>
        !isReasoning(body) &&
        ((body.include ?? []) as string[]).includes('reasoning.encrypted_content') &&
        openaiError(400, 'Encrypted content is not supported with this model.', 'include'),
    },
    {
      source: 'docs: guides/migrate-to-responses: parts are input_… and output_…, functions are flat',
      check: (body) => {
        const parts = itemsOf(body).flatMap(({ content, output }) => [content, output].flat())
        const types = parts.map((part) => (part as { type?: string } | undefined)?.type)
        const odd = types.find((type) => type && !/^(input|output)_|^refusal$|^summary_text$/.test(type))
        if (odd) return openaiError(400, `Invalid value: '${odd}'.`, 'input[0].content[0].type', 'invalid_value')
        const isNested = ((body.tools ?? []) as { function?: unknown }[]).some((tool) => tool.function !== undefined)
        return isNested && openaiError(400, "Missing required parameter: 'tools[0].name'.", 'tools[0].name')
      },
    },
    {
      source: 'docs: openai/openai-openapi (CreateResponse): max_output_tokens is at least 16',
      check: (body) =>
        Number(body.max_output_tokens ?? 16) < 16 &&
        openaiError(
          400,
          "Invalid 'max_output_tokens': integer below minimum value.",
          'max_output_tokens',
          'integer_below_min_value',
        ),
    },
  ],
  answer: (body) => resourceOf(body, 'completed', outputOf(body)),
  events: (body) => {
    const response = resourceOf(body, 'in_progress', [])
    const output = outputOf(body)
    const all: { type: string; [field: string]: unknown }[] = [
      { type: 'response.created', response },
      { type: 'response.in_progress', response },
      ...output.flatMap(eventsOf),
      { type: 'response.completed', response: { ...resourceOf(body, 'completed', output), id: response.id } },
    ]
    return all.map((data, sequence_number) => ({ event: data.type, data: { ...data, sequence_number } }))
  },
  done: false,
}

/** How an item of the output is told. */
function eventsOf(item: Record<string, unknown>, output_index: number): { type: string; [field: string]: unknown }[] {
  const at = { item_id: item.id, output_index }
  const added = (begun: object) => ({ type: 'response.output_item.added', output_index, item: { ...item, ...begun } })
  const done = { type: 'response.output_item.done', output_index, item }
  switch (item.type) {
    case 'message': {
      const [part] = item.content as { text: string }[]
      const text = part?.text ?? ''
      const place = { ...at, content_index: 0 }
      const deltas = [...text.matchAll(/.{1,6}/gs)].map(([delta]) => delta)
      return [
        added({ content: [], status: 'in_progress' }),
        { type: 'response.content_part.added', ...place, part: partOf('') },
        ...deltas.map((delta) => ({ type: 'response.output_text.delta', ...place, delta, logprobs: [] })),
        { type: 'response.output_text.done', ...place, text, logprobs: [] },
        { type: 'response.content_part.done', ...place, part },
        done,
      ]
    }
    case 'function_call': {
      const event = 'response.function_call_arguments'
      const { arguments: all } = item
      return [
        added({ arguments: '' }),
        { type: `${event}.delta`, ...at, delta: all },
        { type: `${event}.done`, ...at, arguments: all },
        done,
      ]
    }
    case 'custom_tool_call': {
      const event = 'response.custom_tool_call_input'
      const { input } = item
      return [
        added({ input: '' }),
        { type: `${event}.delta`, ...at, delta: input },
        { type: `${event}.done`, ...at, input },
        done,
      ]
    }
    default:
      return [added({}), done]
  }
}
