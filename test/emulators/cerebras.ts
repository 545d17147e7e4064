import { openaiAnswer, openaiEvents } from './answers.ts'
import type { Body, Emulator, Refusal } from './emulator.ts'
import {
  answeredCalls,
  choiceOf,
  has,
  hasCustom,
  letters,
  messagesOf,
  partIn,
  roleIn,
  someNode,
  toolsOf,
} from './rules.ts'

const refuse = (message: string, param: string, status = 400): Refusal => ({
  status,
  body: { message, type: 'invalid_request_error', param, code: 'wrong_api_format' },
})
const unsupported = (place: string) => refuse(`${place}: property '${place}' is unsupported`, 'validation_error')

/** Fields of OpenAI's that it takes; beside them `reasoning_format` and others of its own. */
const TAKEN = new Set([
  ...['model', 'messages', 'stream', 'stream_options', 'temperature', 'top_p', 'max_tokens', 'max_completion_tokens'],
  ...[
    'stop',
    'seed',
    'tools',
    'tool_choice',
    'response_format',
    'logprobs',
    'top_logprobs',
    'reasoning_effort',
    'user',
  ],
])
const IN_MESSAGES = new Set(['role', 'content', 'name', 'tool_calls', 'tool_call_id', 'reasoning'])

const strictOf = (body: Body) => toolsOf(body).map((tool) => tool.function?.strict === true)

/** api.cerebras.ai */
export const cerebras: Emulator = {
  name: 'cerebras',
  base: '/v1',
  path: '/chat/completions',
  rules: [
    {
      source:
        'docs: inference-docs.cerebras.ai/resources/openai, as hexdocs.pm/req_llm/cerebras.html quotes it: penalties, logit_bias, parallel_tool_calls and service_tier are a 400',
      check: (body) => {
        const fields = ['frequency_penalty', 'logit_bias', 'presence_penalty', 'parallel_tool_calls', 'service_tier']
        const odd = fields.find((field) => field in body)
        return odd && unsupported(odd)
      },
    },
    {
      source: 'report: proxysoul/Empryo#209 (reasoning, enable_thinking: measured); of OpenAI’s other fields inferred',
      check: (body) => {
        const odd = Object.keys(body).find((field) => !TAKEN.has(field))
        return odd && unsupported(odd)
      },
    },
    {
      source: 'report: QwenLM/qwen-code#11045, egoist/chatwise-releases#1442: reasoning_content in messages',
      check: (body) => {
        for (const [index, message] of messagesOf(body).entries()) {
          const odd = Object.keys(message).find((field) => !IN_MESSAGES.has(field))
          if (odd) return unsupported(`messages.${index}.${message.role}.${odd}`)
        }
        return null
      },
    },
    {
      source: 'docs: inference-docs.cerebras.ai/resources/openai: there is no developer role',
      check: (body) => roleIn(body, 'developer', 'function') && refuse('messages.0.role: invalid role', 'messages'),
    },
    {
      source:
        'report: RooCodeInc/Roo-Code#10334, mpfaffenberger/code_puppy#368: tools are all strict or none; livekit/agents#3134: some models take no strict ones',
      check: (body) => {
        const strict = strictOf(body)
        if (strict.includes(true) && strict.includes(false)) {
          const message =
            "Tools with mixed values for 'strict' are not allowed. Please set all tools to 'strict: true' or 'strict: false'"
          return refuse(message, 'tools', 422)
        }
        return strict.includes(true) && refuse('Tools with strict=True are not supported by this model', 'tools')
      },
    },
    {
      source: 'docs: hexdocs.pm/req_llm/cerebras.html: tool_choice is auto or none; tools are functions inferred',
      check: (body) => {
        const form = choiceOf(body)
        if (hasCustom(body)) return refuse('tools.0.type: must be function', 'tools')
        return (
          form !== null &&
          !['auto', 'none'].includes(form) &&
          refuse('tool_choice: must be auto or none', 'tool_choice')
        )
      },
    },
    {
      source:
        'docs: inference-docs.cerebras.ai/capabilities/structured-outputs: "tools and response_format cannot be used in the same request"',
      check: (body) =>
        ((body.tools as unknown[] | undefined)?.length ?? 0) > 0 &&
        (body.response_format as { type?: string } | undefined)?.type?.startsWith('json') === true &&
        refuse('tools and response_format cannot be used in the same request', 'response_format'),
    },
    {
      source: 'report: musistudio/claude-code-router#708: keywords of schemas in response_format',
      check: (body) => {
        const format = body.response_format as { json_schema?: { schema?: unknown } } | undefined
        return (
          someNode(
            format?.json_schema?.schema,
            (node) => 'minItems' in node || 'maxItems' in node || 'pattern' in node,
          ) && refuse("Unsupported JSON schema fields: {'minItems', 'items'}", 'response_format')
        )
      },
    },
    {
      source: 'docs: promptfoo.dev/docs/providers/cerebras: temperature is at most 1.5',
      check: (body) => Number(body.temperature ?? 0) > 1.5 && refuse('temperature: must be at most 1.5', 'temperature'),
    },
    {
      source: 'docs: pipedream.com/apps/cerebras: up to four stop sequences',
      check: (body) => Array.isArray(body.stop) && body.stop.length > 4 && refuse('stop: at most 4 sequences', 'stop'),
    },
    {
      source: 'inferred: models of text take text; only those that think take an effort',
      check: (body) => {
        if (partIn(body, 'image_url', 'file', 'input_audio', 'refusal'))
          return refuse('messages: only text is taken', 'messages')
        return has(body, 'reasoning_effort') && !/gpt-oss|glm/.test(body.model) && unsupported('reasoning_effort')
      },
    },
    answeredCalls('inferred', (message) => refuse(message, 'messages')),
  ],
  answer: openaiAnswer(() => letters(9)),
  events: openaiEvents(() => letters(9)),
  done: true,
}
