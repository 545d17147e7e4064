import { describe, expect, test } from 'vitest'
import { dialectFor } from '../../../src/candidates/dialect.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { parseMessages } from '../../../src/openai/messages/body.ts'
import { toChat as messagesToChat } from '../../../src/openai/messages/to-chat.ts'
import { parseChat } from '../../../src/openai/parse-chat.ts'
import { parseResponses } from '../../../src/openai/responses/body.ts'
import { told as conversationOf, written } from '../../../src/openai/responses/to-chat.ts'
import { adapt } from '../../../src/providers/dialect/adapt.ts'
import { Learned } from '../../../src/providers/dialect/learned.ts'
import { candidate } from '../../support/relay-harness.ts'

/** How much a model is asked to think, told by another API, in the words of each. */

const { dialects } = loadConfig('config/gateway.yaml', {}).config
const bytes = (body: object) => Buffer.from(JSON.stringify(body))
const model = (provider: string, name: string, reasoning: boolean | null = true) =>
  candidate('c', provider, {
    model: name,
    dialect: dialectFor(dialects[provider]!, name),
    ...(reasoning !== null && { reasoning }),
  })

const FIELDS = ['reasoning_effort', 'reasoning', 'thinking', 'chat_template_kwargs'] as const
type Sent = Partial<Record<(typeof FIELDS)[number], unknown>>

function told(request: Parameters<typeof adapt>[0], asked: ReturnType<typeof candidate>): Sent {
  const { body } = adapt(request, asked, undefined, false)
  return Object.fromEntries(FIELDS.filter((field) => field in body).map((field) => [field, body[field]]))
}

const byMessages = (asked: ReturnType<typeof candidate>, fields: object) => {
  const body = { model: 'auto', max_tokens: 50, messages: [{ role: 'user', content: 'Hi' }], ...fields }
  return told(messagesToChat(parseMessages(bytes(body)).body, asked).request, asked)
}

const byResponses = (asked: ReturnType<typeof candidate>, reasoning: object) => {
  const { body } = parseResponses(bytes({ model: 'auto', input: 'Hi', reasoning }))
  const items = [{ type: 'message', role: 'user', content: 'Hi' }]
  return told(written(conversationOf({ body, items }, asked, () => null)).request, asked)
}

const CASES: [provider: string, model: string, none: Sent, high: Sent][] = [
  ['openai', 'gpt-5', { reasoning_effort: 'minimal' }, { reasoning_effort: 'high' }],
  ['openai', 'gpt-5.2', { reasoning_effort: 'none' }, { reasoning_effort: 'high' }],
  ['openai', 'o4-mini', { reasoning_effort: 'low' }, { reasoning_effort: 'high' }],
  ['openai', 'gpt-4.1', {}, {}],
  ['google', 'gemini-2.5-flash', { reasoning_effort: 'none' }, { reasoning_effort: 'high' }],
  ['google', 'gemini-3-pro-preview', { reasoning_effort: 'low' }, { reasoning_effort: 'high' }],
  ['openrouter', 'deepseek/deepseek-r1', { reasoning: { effort: 'none' } }, { reasoning_effort: 'high' }],
  ['groq', 'openai/gpt-oss-120b', { reasoning_effort: 'low' }, { reasoning_effort: 'high' }],
  ['groq', 'qwen/qwen3-32b', { reasoning_effort: 'none' }, { reasoning_effort: 'default' }],
  ['deepseek', 'deepseek-v4-pro', { thinking: { type: 'disabled' } }, {}],
  ['together', 'Qwen/Qwen3.5-9B', { reasoning: { enabled: false } }, {}],
  ['fireworks', 'accounts/fireworks/models/gpt-oss-120b', { reasoning_effort: 'low' }, { reasoning_effort: 'high' }],
  ['fireworks', 'accounts/fireworks/models/glm-4p6', { reasoning_effort: 'none' }, { reasoning_effort: 'high' }],
  ['xai', 'grok-4.3', { reasoning_effort: 'none' }, { reasoning_effort: 'high' }],
  [
    'vllm',
    'Qwen/Qwen3-8B',
    { chat_template_kwargs: { enable_thinking: false, thinking: false } },
    { reasoning_effort: 'high' },
  ],
  ['vllm', 'openai/gpt-oss-20b', { reasoning_effort: 'low' }, { reasoning_effort: 'high' }],
  ['llamacpp', 'gpt-oss-20b-mxfp4', { reasoning_effort: 'low' }, { reasoning_effort: 'high' }],
  ['fireworks', 'accounts/fireworks/models/deepseek-r1', {}, { reasoning_effort: 'high' }],
  ['ollama', 'qwen3:8b', { reasoning_effort: 'none' }, { reasoning_effort: 'high' }],
]

describe.each(CASES)('%s, %s', (provider, name, none, high) => {
  const asked = model(provider, name)
  test('Messages: thinking that is off, a budget, an effort', () => {
    expect(byMessages(asked, { thinking: { type: 'disabled' } })).toEqual(none)
    expect(byMessages(asked, { thinking: { type: 'enabled', budget_tokens: 20_000 }, max_tokens: 30_000 })).toEqual(
      high,
    )
    expect(byMessages(asked, { thinking: { type: 'adaptive' }, output_config: { effort: 'high' } })).toEqual(high)
  })
  test('Responses: reasoning.effort', () => {
    expect(byResponses(asked, { effort: 'none' })).toEqual(none)
    expect(byResponses(asked, { effort: 'high' })).toEqual(high)
  })
})

test('who has no word for it is not told, and the client hears that', () => {
  const asked = candidate('c', 'own', { model: 'thinker', reasoning: true })
  const body = { model: 'auto', max_tokens: 50, messages: [{ role: 'user', content: 'Hi' }] }
  const { request } = messagesToChat(parseMessages(bytes({ ...body, thinking: { type: 'disabled' } })).body, asked)
  expect([request.body.reasoning_effort, request.dropped]).toEqual([undefined, ['thinking']])
  expect(byMessages(asked, { output_config: { effort: 'low' } })).toEqual({ reasoning_effort: 'low' })
  expect(byResponses(asked, { effort: 'none' })).toEqual({})
  expect(byResponses(asked, { effort: 'low' })).toEqual({ reasoning_effort: 'low' })
})

test('what a value is told by is left off once it has been refused', () => {
  const off = parseChat(bytes({ model: 'auto', messages: [{ role: 'user', content: 'Hi' }], reasoning_effort: 'none' }))
  const sent = (asked: ReturnType<typeof candidate>, refused: string) => {
    const { body, dropped } = adapt(off, asked, new Learned([refused]), false)
    return [FIELDS.filter((field) => field in body), dropped]
  }
  const dropped = [[], ['reasoning_effort']]
  expect(sent(model('openrouter', 'openai/o3'), 'reasoning')).toEqual(dropped)
  expect(sent(model('openrouter', 'openai/o3'), 'reasoning_effort="none"')).toEqual(dropped)
  expect(sent(model('groq', 'openai/gpt-oss-20b'), 'reasoning_effort="low"')).toEqual(dropped)
  expect(() => adapt(off, model('openrouter', 'openai/o3'), new Learned(['reasoning']), true)).toThrow('does not take')
})

test('of whom nobody knows whether they think, those are told not to that have a word for it', () => {
  const off = { thinking: { type: 'disabled' } }
  expect(byMessages(model('vllm', 'Qwen/Qwen3-8B', null), off)).toHaveProperty('chat_template_kwargs')
  expect(byMessages(model('vllm', 'meta-llama/Llama-3-8B', null), off)).toEqual({})
  expect(byMessages(model('deepseek', 'deepseek-v4-pro', false), off)).toEqual({})
})

test('a model that is told not to think goes on with calls that another has made, whoever told it', () => {
  const calls = [{ id: 'call_1', type: 'function', function: { name: 'look', arguments: '{}' } }]
  const body = {
    model: 'auto',
    messages: [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: '', tool_calls: calls },
      { role: 'tool', tool_call_id: 'call_1', content: 'Seen.' },
    ],
  }
  const asked = model('deepseek', 'deepseek-v4-pro')
  expect(() => adapt(parseChat(bytes(body)), asked, undefined, false)).toThrow('can not read the tool calls')
  expect(told(parseChat(bytes({ ...body, reasoning_effort: 'none' })), asked)).toEqual({
    thinking: { type: 'disabled' },
  })
})

describe('JSON by a schema', () => {
  const schema = { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'object' } } }
  const tools = [{ type: 'function', function: { name: 'look', parameters: { type: 'object', properties: {} } } }]
  const ask = (provider: string, name: string, more: object) => () =>
    adapt(
      parseChat(bytes({ model: 'auto', messages: [{ role: 'user', content: 'JSON' }], ...more })),
      model(provider, name),
      undefined,
      false,
    )
  test.each([
    ['groq', 'openai/gpt-oss-20b', { response_format: schema, stream: true }, 'beside stream'],
    ['groq', 'openai/gpt-oss-20b', { response_format: schema, tools }, 'beside tools'],
    ['groq', 'llama-3.3-70b-versatile', { response_format: schema }, 'json_schema'],
    ['cerebras', 'gpt-oss-120b', { response_format: schema, tools }, 'beside tools'],
    ['perplexity', 'sonar', { response_format: { type: 'json_object' } }, 'json_object'],
    ['xai', 'grok-3', { response_format: schema, tools }, 'beside tools'],
  ] as const)('%s, %s: another candidate is asked', (provider, name, more, why) => {
    expect(ask(provider, name, more)).toThrow(why)
  })
  test.each([
    ['groq', 'openai/gpt-oss-20b', {}],
    ['cerebras', 'gpt-oss-120b', { stream: true }],
    ['perplexity', 'sonar', {}],
    ['xai', 'grok-4', { tools }],
    ['fireworks', 'accounts/fireworks/models/kimi-k2p5', { stream: true }],
    ['together', 'Qwen/Qwen3.5-9B', {}],
  ] as const)('%s, %s: as it was asked for', (provider, name, more) => {
    expect(ask(provider, name, { response_format: schema, ...more })().body.response_format).toEqual(schema)
  })
})
