import type { Body, Refusal, Route } from './emulator.ts'
import { openaiError } from './rules.ts'

interface Item {
  type?: string
  id?: string
  role?: string
  call_id?: string
  encrypted_content?: string
}

const isReasoning = ({ model }: Body) => /^(gpt-5|o[134])/.test(model)
const itemsOf = ({ input }: Body): Item[] => (Array.isArray(input) ? (input as Item[]) : [])
const unsupported = (field: string): Refusal =>
  openaiError(400, `Unsupported parameter: '${field}' is not supported with this model.`, field)
const effortOf = (body: Body) => (body.reasoning as { effort?: string } | null | undefined)?.effort
const valuesOf = (model: string) =>
  /^gpt-5\.\d/.test(model)
    ? ['none', 'low', 'medium', 'high', 'xhigh']
    : /^gpt-5/.test(model)
      ? ['minimal', 'low', 'medium', 'high']
      : ['low', 'medium', 'high']

/** https://platform.openai.com/docs/api-reference/responses/create */
const FIELDS = new Set(
  `background context_management conversation frequency_penalty include input instructions max_output_tokens
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
      source: 'unread: API reference: other arguments are refused',
      check: (body) => {
        const odd = Object.keys(body).find((field) => !FIELDS.has(field))
        return odd && openaiError(400, `Unknown parameter: '${odd}'.`, odd, 'unknown_parameter')
      },
    },
    {
      source: 'unread: guides/reasoning: sampling with gpt-5 and the o-series',
      check: (body) => {
        const odd =
          isReasoning(body) && ['temperature', 'top_p'].find((field) => body[field] != null && body[field] !== 1)
        return odd && unsupported(odd)
      },
    },
    {
      source: 'unread: guides/reasoning: reasoning.effort with models that do not reason',
      check: (body) =>
        !isReasoning(body) && body.reasoning != null && effortOf(body) != null && unsupported('reasoning.effort'),
    },
    {
      source: 'unread: API reference, reasoning.effort: values by model',
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
      source: 'unread: API reference, text.verbosity: values other than medium need gpt-5',
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
      source: 'unread: guides/function-calling: custom tools from gpt-5 on',
      check: (body) =>
        ((body.tools ?? []) as { type: string }[]).some(({ type }) => type === 'custom') &&
        !/^gpt-5/.test(body.model) &&
        openaiError(400, "Tool 'custom' is not supported with this model.", 'tools'),
    },
    {
      source: 'unread: guides/function-calling: calls and their outputs come together',
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
      source: 'unread: API reference: max_output_tokens is at least 16',
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
  answer: (body) =>
    resourceOf(body, 'completed', [messageOf('completed', [partOf(isJson(body) ? '{"ok":true}' : 'Understood.')])]),
  events: (body) => {
    const text = isJson(body) ? '{"ok":true}' : 'Understood.'
    const response = resourceOf(body, 'in_progress', [])
    const at = { item_id: `msg_${answered}`, output_index: 0, content_index: 0 }
    const done = messageOf('completed', [partOf(text)])
    const all: { type: string; [field: string]: unknown }[] = [
      { type: 'response.created', response },
      { type: 'response.in_progress', response },
      { type: 'response.output_item.added', output_index: 0, item: messageOf('in_progress', []) },
      { type: 'response.content_part.added', ...at, part: partOf('') },
      ...[...text.matchAll(/.{1,6}/gs)].map(([delta]) => ({
        type: 'response.output_text.delta',
        ...at,
        delta,
        logprobs: [],
      })),
      { type: 'response.output_text.done', ...at, text, logprobs: [] },
      { type: 'response.content_part.done', ...at, part: partOf(text) },
      { type: 'response.output_item.done', output_index: 0, item: done },
      { type: 'response.completed', response: { ...resourceOf(body, 'completed', [done]), id: response.id } },
    ]
    return all.map((data, sequence_number) => ({ event: data.type, data: { ...data, sequence_number } }))
  },
  done: false,
}
