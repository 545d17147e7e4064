import { openaiAnswer, openaiEvents } from './answers.ts'
import type { Body, Emulator, Refusal } from './emulator.ts'
import {
  answeredCalls,
  choiceOf,
  has,
  hasCustom,
  isBlank,
  letters,
  messagesOf,
  partIn,
  roleIn,
  someNode,
  toolsOf,
} from './rules.ts'

const refuse = (message: string, status = 422): Refusal => ({ status, body: { id: letters(12), message } })
const unsupported = (field: string) => refuse(`unprocessable entity: ${field} is not supported`)

const DOCS = 'docs: docs.cohere.com/docs/compatibility-api (its source: cohere-ai/cohere-developer-experience)'
const TAKEN = new Set([
  ...['model', 'messages', 'stream', 'reasoning_effort', 'response_format', 'tools', 'temperature', 'max_tokens'],
  ...['stop', 'seed', 'top_p', 'frequency_penalty', 'presence_penalty'],
])

const formatOf = (body: Body) => body.response_format as { type?: string; schema?: unknown } | undefined
const UNSUPPORTED = ['allOf', 'oneOf', 'not', 'minimum', 'maximum', 'minItems', 'maxItems', 'minLength', 'maxLength']

/** api.cohere.ai, the endpoint that speaks OpenAI's format. */
export const cohere: Emulator = {
  name: 'cohere',
  base: '/compatibility/v1',
  path: '/chat/completions',
  rules: [
    {
      source: `${DOCS}: supported parameters; report: davidmigloz/ai_clients_dart#26 (422 for n)`,
      check: (body) => {
        const odd = Object.keys(body).find((field) => !TAKEN.has(field))
        return odd && unsupported(odd)
      },
    },
    {
      source: `${DOCS}: reasoning_effort is none or high`,
      check: (body) =>
        has(body, 'reasoning_effort') &&
        !['none', 'high'].includes(String(body.reasoning_effort)) &&
        refuse('invalid request: reasoning_effort must be one of none, high', 400),
    },
    {
      source: 'report: koharu-rs/koharu#1128: json_schema of OpenAI’s shape',
      check: (body) =>
        formatOf(body)?.type === 'json_schema' &&
        refuse(
          "invalid request: response_format validation: invalid 'json_schema' provided: missing required field 'type'",
          400,
        ),
    },
    {
      source: `${DOCS}: structured outputs are { type: json_object, schema }; docs.cohere.com/docs/structured-outputs: which keywords`,
      check: (body) => {
        const odd = UNSUPPORTED.find((keyword) => someNode(formatOf(body)?.schema, (node) => keyword in node))
        return odd && refuse(`invalid request: response_format validation: '${odd}' is not supported`, 400)
      },
    },
    {
      source: 'report: promptfoo/promptfoo#914 (p at most 0.99); docs: docs.cohere.com/reference/chat: penalties 0..1',
      check: (body) => {
        const p = body.top_p
        if (typeof p === 'number' && (p < 0.01 || p > 0.99))
          return refuse('invalid request: p must be between 0.01 and 0.99', 400)
        const odd = ['frequency_penalty', 'presence_penalty'].find(
          (field) => Number(body[field] ?? 0) < 0 || Number(body[field] ?? 0) > 1,
        )
        return odd && refuse(`invalid request: ${odd} must be between 0 and 1`, 400)
      },
    },
    {
      source:
        'report: langchain-ai/langchain-cohere#161: other words for tool_choice; the others inferred from its docs',
      check: (body) => {
        const form = choiceOf(body)
        if (hasCustom(body)) return refuse('invalid request: tools must be functions', 400)
        return form !== null && form !== 'auto' && refuse(`unrecognized tool choice option '${form}'`)
      },
    },
    {
      source: 'docs: docs.cohere.com/reference/chat: at most five stop sequences',
      check: (body) =>
        Array.isArray(body.stop) && body.stop.length > 5 && refuse('invalid request: too many stop sequences', 400),
    },
    {
      source: 'inferred: roles and parts beyond those of its documentation, turns that say nothing',
      check: (body) => {
        if (roleIn(body, 'function')) return refuse('invalid request: unknown role', 400)
        if (partIn(body, 'file', 'input_audio', 'refusal', 'image_url'))
          return refuse('invalid request: unsupported content', 400)
        const isEmpty = messagesOf(body).some((one) => one.role !== 'tool' && isBlank(one) && !one.tool_calls?.length)
        return isEmpty && refuse('invalid request: message must be at least 1 token long', 400)
      },
    },
    {
      source: 'inferred: parameters are an object schema',
      check: (body) =>
        toolsOf(body).some((tool) => tool.function?.parameters?.type !== 'object') &&
        refuse("invalid request: tool parameters must have 'type': 'object'", 400),
    },
    answeredCalls('inferred', (message) => refuse(`invalid request: ${message}`, 400)),
  ],
  answer: openaiAnswer(() => `get_${letters(8)}0`),
  events: openaiEvents(() => `get_${letters(8)}0`, 'always'),
  done: true,
}
