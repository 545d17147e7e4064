import { expect, test } from 'vitest'
import { dialectFor } from '../../src/candidates/dialect.ts'
import { loadConfig } from '../../src/config/load.ts'
import { parseChat } from '../../src/openai/parse-chat.ts'
import { adapt } from '../../src/providers/dialect/adapt.ts'
import { responsesBody } from '../../src/providers/kinds/openai-compatible/responses/request.ts'
import { candidate } from '../support/relay-harness.ts'

const { dialects } = loadConfig('config/gateway.yaml', {}).config

const READ = { type: 'function', function: { name: 'read', parameters: { type: 'object', properties: {} } } }

/** A request as a model of the shipped configuration gets it; what it can't take is an error. */
function asked(provider: string, model: string, fields: Record<string, unknown>, strict = false) {
  const request = parseChat(
    Buffer.from(JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hi' }], ...fields })),
  )
  const sent = adapt(
    request,
    candidate('c', provider, { model, dialect: dialectFor(dialects[provider]!, model) }),
    undefined,
    strict,
  )
  const { model: _, messages, ...rest } = JSON.parse(Buffer.from(sent.raw).toString()) as Record<string, unknown>
  return { rest, messages: messages as Record<string, unknown>[], dropped: sent.dropped ?? [] }
}

test.each([
  ['openai', 'gpt-4.1-mini', { temperature: 0.2 }, { temperature: 0.2 }, []],
  ['openai', 'gpt-5-mini', { temperature: 0.2, top_p: 1 }, { top_p: 1 }, ['temperature']],
  ['openai', 'o3-mini', { max_tokens: 5 }, { max_completion_tokens: 5 }, []],
  ['openai', 'gpt-5', { reasoning_effort: 'none' }, { reasoning_effort: 'minimal' }, []],
  ['openai', 'gpt-5.1', { reasoning_effort: 'none' }, { reasoning_effort: 'none' }, []],
  ['openai', 'gpt-4o-mini', { reasoning_effort: 'low', verbosity: 'low' }, {}, ['reasoning_effort', 'verbosity']],
  ['anthropic', 'claude-sonnet-4-5', { temperature: 0.2 }, { temperature: 0.2 }, []],
  ['anthropic', 'claude-sonnet-4-5-20250929', { temperature: 1.5 }, { temperature: 1 }, []],
  ['anthropic', 'claude-opus-4-7', { temperature: 0.2 }, {}, ['temperature']],
  ['anthropic', 'claude-haiku-4-5', { seed: 1, store: false, n: 1 }, {}, ['seed']],
  [
    'mistral',
    'mistral-small-latest',
    { seed: 1, max_completion_tokens: 5, n: 1, user: 'u' },
    { random_seed: 1, max_tokens: 5 },
    ['user'],
  ],
  ['google', 'gemini-2.5-flash', { presence_penalty: 0, parallel_tool_calls: true, user: null }, {}, []],
  ['deepseek', 'deepseek-chat', { max_completion_tokens: 5, max_tokens: 5 }, { max_tokens: 5 }, []],
  ['groq', 'openai/gpt-oss-120b', { reasoning_effort: 'minimal' }, { reasoning_effort: 'low' }, []],
  // What says nothing where there are no tools, or no stream.
  ['openai', 'gpt-4o-mini', { tools: [], tool_choice: 'auto', parallel_tool_calls: false, stream_options: {} }, {}, []],
  ['openai', 'gpt-4o-mini', { prediction: { type: 'content', content: 'x' }, n: 2 }, { n: 2 }, ['prediction']],
  // Fields of other servers: left off and told where they are refused, kept where nobody knows.
  ['openai', 'gpt-4o-mini', { top_k: 4, enable_thinking: true }, {}, ['top_k', 'enable_thinking']],
  ['openai', 'gpt-4o-mini', { brand_new: 1 }, { brand_new: 1 }, []],
  ['mistral', 'mistral-small-latest', { brand_new: 1 }, {}, ['brand_new']],
  ['anthropic', 'claude-haiku-4-5', { brand_new: 1, top_k: 4 }, { top_k: 4 }, ['brand_new']],
  ['together', 'x', { top_k: 4 }, { top_k: 4 }, []],
  ['xai', 'grok-4', { presence_penalty: 0.5, n: 2 }, { n: 2 }, ['presence_penalty']],
  ['perplexity', 'sonar', { max_completion_tokens: 5, seed: 1 }, { max_tokens: 5 }, ['seed']],
] as const)('%s %s: %j', (provider, model, fields, rest, dropped) => {
  expect(asked(provider, model, fields)).toMatchObject({ rest, dropped })
  expect(Object.keys(asked(provider, model, fields).rest).sort()).toEqual(Object.keys(rest).sort())
})

test.each([
  ['groq', 'llama-3.1-8b-instant', { n: 2 }],
  ['groq', 'llama-3.1-8b-instant', { max_tokens: 16_000 }],
  ['openai', 'gpt-5', { stop: ['x'] }],
  ['google', 'gemini-2.5-pro', { parallel_tool_calls: false, tools: [READ] }],
  ['google', 'gemini-2.5-pro', { tools: [{ type: 'function', function: { name: '3d' } }] }],
  ['openai', 'gpt-4o-mini', { audio: { voice: 'alloy', format: 'wav' }, modalities: ['text', 'audio'] }],
  ['openai', 'gpt-4o-mini', { tools: [READ, { type: 'custom', custom: { name: 'sh' } }] }],
  ['openai', 'gpt-4o-search-preview', { n: 2 }],
  ['xai', 'grok-4', { stop: 'x' }],
  ['perplexity', 'sonar', { tools: [READ] }],
  ['anthropic', 'claude-haiku-4-5', { messages: [{ role: 'user', content: ' ' }] }],
  ['anthropic', 'claude-haiku-4-5', { guided_json: { type: 'object' } }],
  ['anthropic', 'claude-haiku-4-5', { web_search_options: {} }],
  ['groq', 'llama-3.3-70b', { messages: [{ role: 'assistant', content: null, audio: { id: 'a' } }] }],
  ['openrouter', 'x', { messages: [{ role: 'user', content: [{ type: 'file', file: { file_id: 'file-1' } }] }] }],
  [
    'ollama',
    'x',
    { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://x.example/a.png' } }] }] },
  ],
  ['ollama', 'x', { tools: [READ], tool_choice: 'required' }],
  ['anthropic', 'claude-sonnet-4-5', { stop: '\n' }],
  ['deepseek', 'deepseek-chat', { messages: [{ role: 'user', content: [{ type: 'file', file: {} }] }] }],
  [
    'anthropic',
    'claude-sonnet-4-6',
    {
      messages: [
        { role: 'user', content: 'x' },
        { role: 'assistant', content: 'y' },
      ],
    },
  ],
  ['mistral', 'mistral-small-latest', { tools: [{ type: 'custom', custom: { name: 'x' } }] }],
] as const)('%s %s can not take %j', (provider, model, fields) => {
  expect(() => asked(provider, model, fields)).toThrow(/does not|needs a message/)
})

test('strict: what would be left off is not asked', () => {
  expect(() => asked('openai', 'gpt-5', { temperature: 0.2 }, true)).toThrow(/temperature/)
  expect(() =>
    asked('groq', 'llama-3.1-8b-instant', { messages: [{ role: 'user', name: 'ann', content: 'x' }] }, true),
  ).toThrow(/messages\.name/)
  expect(asked('mistral', 'mistral-small-latest', { seed: 1 }, true).rest).toEqual({ random_seed: 1 })
})

const loop = (call: Record<string, unknown>, message: Record<string, unknown> = {}) => ({
  messages: [
    { role: 'developer', content: 'Be brief.' },
    { role: 'user', content: 'Go' },
    {
      role: 'assistant',
      content: null,
      tool_calls: [{ type: 'function', function: { name: 'f', arguments: '{}' }, ...call }],
      ...message,
    },
    { role: 'tool', tool_call_id: call.id, content: 'ok' },
  ],
})

test('history: ids in the form that a model takes, the same each time; thoughts of others are left out', () => {
  const made = loop(
    { id: 'call_abcdefgh', extra_content: { google: { thought_signature: 's' } } },
    { reasoning_content: 'hm', reasoning_details: [{}] },
  )
  const { messages, dropped } = asked('mistral', 'mistral-small-latest', made)
  const [, , assistant, result] = messages as [
    unknown,
    unknown,
    { tool_calls: { id: string }[] },
    { tool_call_id: string },
  ]
  expect(assistant.tool_calls[0]?.id).toMatch(/^[a-zA-Z0-9]{9}$/)
  expect(result.tool_call_id).toBe(assistant.tool_calls[0]?.id)
  expect(Object.keys(assistant).sort()).toEqual(['content', 'role', 'tool_calls'])
  expect(Object.keys(assistant.tool_calls[0]!).sort()).toEqual(['function', 'id', 'type'])
  expect(messages[0]).toEqual({ role: 'system', content: 'Be brief.' })
  expect(dropped).toEqual([])
  expect(asked('mistral', 'mistral-small-latest', made).messages).toEqual(messages)
  // Their maker gets them back.
  expect(asked('google', 'gemini-2.5-pro', made).messages[2]).toMatchObject({
    tool_calls: [{ extra_content: { google: {} } }],
  })
  expect(asked('anthropic', 'claude-sonnet-4-5', made).messages[2]).toMatchObject({ reasoning_details: [{}] })
})

test("inside a loop, a model that wants its own thoughts back is not given another's calls", () => {
  expect(() => asked('google', 'gemini-3-pro', loop({ id: 'call_1' }))).toThrow(/can not read|does not/)
  expect(() => asked('deepseek', 'deepseek-v4', loop({ id: 'call_1' }))).toThrow(/can not read|does not/)
  const own = loop({ id: 'call_1', extra_content: { google: { thought_signature: 's' } } })
  expect(asked('google', 'gemini-3-pro', own).messages).toHaveLength(4)
  expect(
    asked('deepseek', 'deepseek-v4', loop({ id: 'call_1' }, { reasoning_content: 'hm' })).messages[2],
  ).toMatchObject({ reasoning_content: 'hm' })
})

test('bytes that no rule touches are the client’s own', () => {
  const raw = Buffer.from(
    '{"model":"auto","seed":12345678901234567890,"messages":[{"role":"user","content":"x"}],"top_p":1e400,"store":true}',
  )
  const who = candidate('c', 'mistral', {
    model: 'mistral-small-latest',
    dialect: dialectFor(dialects.mistral!, 'mistral-small-latest'),
  })
  const sent = Buffer.from(adapt(parseChat(raw), who, undefined, false).raw).toString()
  expect(sent).toBe(
    '{"model":"auto","random_seed":12345678901234567890,"messages":[{"role":"user","content":"x"}],"top_p":1e400}',
  )
})

test.each([
  ['gpt-5', true],
  ['gpt-5-chat-latest', false],
  ['gpt-5.1-chat-latest', true],
  ['gpt-5.6-sol', true],
  ['gpt-5-pro', true],
  ['gpt-5.3-codex', true],
  ['codex-mini-latest', true],
  ['o1-pro', true],
  ['o3', true],
  ['o4-mini-deep-research', true],
  ['gpt-4o', false],
  ['gpt-4.1-mini', false],
])('%s is asked for its sealed thoughts by the Responses API: %s', (model, thinks) => {
  const dialect = dialectFor(dialects.openai!, model)
  const { body } = parseChat(Buffer.from(JSON.stringify({ model, messages: [{ role: 'user', content: 'Hi' }] })))
  const { include } = responsesBody(body, { model, dialect }).body
  expect(include).toEqual(thinks ? ['reasoning.encrypted_content'] : undefined)
})
