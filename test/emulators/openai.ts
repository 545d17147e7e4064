import { openaiAnswer, openaiEvents } from './answers.ts'
import type { Body, Emulator } from './emulator.ts'
import {
  answeredCalls,
  callsOf,
  has,
  messagesOf,
  OPENAI_FIELDS,
  openaiError,
  partsOf,
  toolsOf,
  unknownFields,
} from './rules.ts'

const isReasoning = ({ model }: Body) => /^(gpt-5|o[134])/.test(model)
const id = () => `call_${Math.random().toString(36).slice(2, 14)}`

const unsupportedValue = (field: string, value: unknown) =>
  openaiError(
    400,
    `Unsupported value: '${field}' does not support ${JSON.stringify(value)} with this model. Only the default (1) value is supported.`,
    field,
    'unsupported_value',
  )
const unsupported = (field: string, hint = '') =>
  openaiError(
    400,
    `Unsupported parameter: '${field}' is not supported with this model.${hint}`,
    field,
    'unsupported_parameter',
  )

/** api.openai.com, chat completions. */
export const openai: Emulator = {
  name: 'openai',
  base: '/v1',
  path: '/chat/completions',
  rules: [
    unknownFields(OPENAI_FIELDS, 'API reference: other arguments are refused', (field) =>
      openaiError(400, `Unrecognized request argument supplied: ${field}`),
    ),
    {
      source: 'decolua/9router#560, labring/aiproxy#337: max_tokens with gpt-5 and the o-series',
      check: (body) =>
        isReasoning(body) &&
        has(body, 'max_tokens') &&
        unsupported('max_tokens', " Use 'max_completion_tokens' instead."),
    },
    {
      source: 'mnfst/llm-gateway#1878, decolua/9router#846: sampling with gpt-5 and the o-series',
      check: (body) => {
        if (!isReasoning(body)) return null
        const odd = (['temperature', 'top_p'] as const).find((field) => has(body, field) && body[field] !== 1)
        return odd && unsupportedValue(odd, body[odd])
      },
    },
    {
      source: 'guides/reasoning: penalties, logprobs, logit_bias and stop are not taken by reasoning models',
      check: (body) => {
        if (!isReasoning(body)) return null
        const odd = ['presence_penalty', 'frequency_penalty', 'logprobs', 'top_logprobs', 'logit_bias', 'stop'].find(
          (field) => has(body, field) && body[field] !== 0 && body[field] !== false,
        )
        return odd && unsupported(odd)
      },
    },
    {
      source: 'langchain_dart#712, tg-spam#304: reasoning_effort with models that do not reason',
      check: (body) =>
        !isReasoning(body) &&
        has(body, 'reasoning_effort') &&
        openaiError(400, 'Unrecognized request argument supplied: reasoning_effort'),
    },
    {
      source: 'API reference, reasoning_effort: values by model',
      check: (body) => {
        if (!has(body, 'reasoning_effort')) return null
        const values = /^gpt-5\.\d/.test(body.model)
          ? ['none', 'low', 'medium', 'high', 'xhigh']
          : /^gpt-5/.test(body.model)
            ? ['minimal', 'low', 'medium', 'high']
            : ['low', 'medium', 'high']
        return (
          !values.includes(body.reasoning_effort as string) &&
          openaiError(
            400,
            `Unsupported value: 'reasoning_effort' does not support '${body.reasoning_effort}' with this model. Supported values are: ${values.join(', ')}.`,
            'reasoning_effort',
            'unsupported_value',
          )
        )
      },
    },
    {
      source: 'API reference, verbosity: values other than medium need gpt-5',
      check: (body) =>
        has(body, 'verbosity') &&
        body.verbosity !== 'medium' &&
        !/^gpt-5/.test(body.model) &&
        openaiError(
          400,
          `Unsupported value: 'verbosity' does not support '${body.verbosity}' with this model. Supported values are: 'medium'.`,
          'verbosity',
          'unsupported_value',
        ),
    },
    {
      source: 'API reference: stop has at most four sequences',
      check: (body) =>
        Array.isArray(body.stop) &&
        body.stop.length > 4 &&
        openaiError(
          400,
          "Invalid 'stop': array too long. Expected an array with maximum length 4.",
          'stop',
          'array_above_max_length',
        ),
    },
    {
      source: 'agno-agi/agno#5382, vercel/ai#5171: ids of tool calls have at most 40 characters',
      check: (body) =>
        messagesOf(body)
          .flatMap(callsOf)
          .some((call) => call.id.length > 40) &&
        openaiError(
          400,
          "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40.",
          'messages[1].tool_calls[0].id',
          'string_above_max_length',
        ),
    },
    answeredCalls('API reference, tool messages', (message) =>
      openaiError(400, `Invalid parameter: ${message}`, 'messages'),
    ),
    {
      source: 'guides/structured-outputs: strict functions have closed parameters',
      check: (body) => {
        const odd = toolsOf(body).find(
          (tool) => tool.function?.strict === true && tool.function.parameters?.additionalProperties !== false,
        )
        return (
          odd &&
          openaiError(
            400,
            `Invalid schema for function '${odd.function?.name}': In context=(), 'additionalProperties' is required to be supplied and to be false.`,
            'tools[0].function.parameters',
            'invalid_function_parameters',
          )
        )
      },
    },
    {
      source: 'guides/audio: audio needs an audio model',
      check: (body) =>
        (messagesOf(body).some((message) => partsOf(message).some(({ type }) => type === 'input_audio')) ||
          has(body, 'audio')) &&
        openaiError(400, 'This model does not support audio.', 'messages', 'unsupported_value'),
    },
  ],
  answer: openaiAnswer(id),
  events: openaiEvents(id),
  done: true,
}
