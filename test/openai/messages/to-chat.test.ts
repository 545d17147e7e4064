import { describe, expect, test } from 'vitest'
import { dialectFor } from '../../../src/candidates/dialect.ts'
import { type MessagesBody, parseMessages } from '../../../src/openai/messages/body.ts'
import { namedBy } from '../../../src/openai/messages/identity.ts'
import { sealThought } from '../../../src/openai/messages/thoughts.ts'
import { toChat } from '../../../src/openai/messages/to-chat.ts'
import { candidate } from '../../support/relay-harness.ts'

const parse = (fields: Record<string, unknown>) =>
  parseMessages(
    Buffer.from(
      JSON.stringify({ model: 'auto', max_tokens: 64, messages: [{ role: 'user', content: 'Hi' }], ...fields }),
    ),
  ).body
const other = candidate('other', 'p')
const chat = (fields: Record<string, unknown>, to = other) => toChat(parse(fields), to)
const messages = (fields: Record<string, unknown>, to = other) => chat(fields, to).request.body.messages
const user = (content: unknown) => ({ messages: [{ role: 'user', content }] })

describe('turns', () => {
  test('text as a string and as blocks, and a system prompt of several', () => {
    expect(
      messages({
        system: [
          { type: 'text', text: 'x-anthropic-billing-header: cc_version=2.1;' },
          { type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } },
          { type: 'text', text: 'Be kind.' },
        ],
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text: 'One' },
              { type: 'text', text: 'Two' },
            ],
          },
          { role: 'assistant', content: 'Three' },
          { role: 'user', content: 'Four' },
        ],
      }),
    ).toEqual([
      { role: 'system', content: 'Be brief.\n\nBe kind.' },
      { role: 'user', content: 'One\n\nTwo' },
      { role: 'assistant', content: 'Three' },
      { role: 'user', content: 'Four' },
    ])
  })

  test('marks of a cache stay for a Claude that is served by others', () => {
    const claude = candidate('claude', 'openrouter', { vendor: 'anthropic' })
    const marked = { type: 'text', text: 'Long.', cache_control: { type: 'ephemeral' } }
    expect(messages({ system: [marked] }, claude)[0]).toEqual({ role: 'system', content: [marked] })
  })

  test('images and documents', () => {
    const content = [
      { type: 'text', text: 'Look' },
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
      { type: 'image', source: { type: 'url', url: 'https://example.com/a.png' } },
      { type: 'document', title: 'Plan', source: { type: 'base64', media_type: 'application/pdf', data: 'BBBB' } },
      { type: 'document', title: 'Note', source: { type: 'text', media_type: 'text/plain', data: 'of text' } },
      { type: 'document', source: { type: 'content', content: [{ type: 'text', text: 'inner' }] } },
      { type: 'search_result', title: 'T', source: 'https://example.com', content: [{ type: 'text', text: 'found' }] },
    ]
    const { request, problem } = chat(user(content))
    expect(problem).toBeNull()
    expect(request.needs.has('vision')).toBe(true)
    expect(request.body.messages[0]?.content).toEqual([
      { type: 'text', text: 'Look' },
      { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
      { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
      { type: 'file', file: { filename: 'Plan.pdf', file_data: 'data:application/pdf;base64,BBBB' } },
      { type: 'text', text: 'Note:\nof text' },
      { type: 'text', text: 'inner' },
      { type: 'text', text: 'T https://example.com' },
      { type: 'text', text: 'found' },
    ])
  })

  test.each([
    ['image', { type: 'image', source: { type: 'file', file_id: 'file_1' } }],
    ['document', { type: 'document', source: { type: 'url', url: 'https://example.com/a.pdf' } }],
  ])('an %s that lies elsewhere is for the native format alone', (_, block) => {
    expect(chat(user([block, { type: 'text', text: 'What is it?' }])).problem).toMatchObject({
      status: 400,
      code: 'unsupported_parameter',
    })
    // Nothing is left of it, and yet the router has something to look at.
    expect(toChat(parse(user([block])), null).request.body.messages).toHaveLength(1)
  })

  test('a tool loop: calls, results as messages of their own, errors told, images beside', () => {
    expect(
      messages({
        messages: [
          { role: 'user', content: 'Weather?' },
          {
            role: 'assistant',
            content: [
              { type: 'thinking', thinking: 'hm', signature: 'real' },
              { type: 'text', text: 'I look.' },
              { type: 'tool_use', id: 'toolu_1', name: 'get', input: { city: 'Oslo' } },
              { type: 'tool_use', id: 'toolu_2', name: 'shot', input: {} },
              { type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: { query: 'x' } },
            ],
          },
          {
            role: 'user',
            content: [
              { type: 'text', text: 'Go on.' },
              { type: 'tool_result', tool_use_id: 'toolu_1', content: 'no such city', is_error: true },
              {
                type: 'tool_result',
                tool_use_id: 'toolu_2',
                content: [
                  { type: 'text', text: 'done' },
                  { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
                ],
              },
            ],
          },
        ],
      }).slice(1),
    ).toEqual([
      {
        role: 'assistant',
        content: 'I look.',
        tool_calls: [
          { id: 'toolu_1', type: 'function', function: { name: 'get', arguments: '{"city":"Oslo"}' } },
          { id: 'toolu_2', type: 'function', function: { name: 'shot', arguments: '{}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'toolu_1', content: 'Error: no such city' },
      { role: 'tool', tool_call_id: 'toolu_2', content: 'done' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Go on.' },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
        ],
      },
    ])
  })

  test('thoughts go back to whose they are, in its own words, and to nobody else', () => {
    const turns = (block: unknown) => ({
      messages: [
        { role: 'user', content: 'Hi' },
        { role: 'assistant', content: [block, { type: 'text', text: 'Ho' }] },
        { role: 'user', content: 'And?' },
      ],
    })
    const plain = turns(sealThought('other', { text: 'so' }))
    expect(messages(plain)[1]).toEqual({ role: 'assistant', content: 'Ho', reasoning_content: 'so' })
    expect(messages(plain, candidate('third', 'p'))[1]).toEqual({ role: 'assistant', content: 'Ho' })
    expect(messages(turns(sealThought('other', { text: 'so', signature: 's' })))[1]).toEqual({
      role: 'assistant',
      content: 'Ho',
      reasoning_details: [{ type: 'reasoning.text', text: 'so', signature: 's', index: 0 }],
    })
    expect(messages(turns(sealThought('other', { data: 'secret' })))[1]).toMatchObject({
      reasoning_details: [{ type: 'reasoning.encrypted', data: 'secret', index: 0 }],
    })
    for (const foreign of [
      { type: 'thinking', thinking: 'so', signature: 'EqQB' },
      { type: 'thinking', thinking: 'so', signature: 'persona-router:!!' },
      { type: 'redacted_thinking', data: 'EqQB' },
    ])
      expect(messages(turns(foreign))[1]).toEqual({ role: 'assistant', content: 'Ho' })
  })
})

describe('fields', () => {
  const weather = { name: 'get', description: 'Weather', input_schema: { type: 'object', properties: {} } }

  test('tools; those that Anthropic runs are left out and told', () => {
    const { request } = chat({
      tools: [weather, { ...weather, name: 'x', type: 'custom' }, { type: 'web_search_20250305', name: 'web_search' }],
    })
    expect(request.body.tools).toEqual([
      { type: 'function', function: { name: 'get', description: 'Weather', parameters: weather.input_schema } },
      { type: 'function', function: { name: 'x', description: 'Weather', parameters: weather.input_schema } },
    ])
    expect(request.dropped).toEqual(['tools.web_search_20250305'])
    expect(
      chat({ tools: [{ type: 'bash_20250124', name: 'bash' }], tool_choice: { type: 'any' } }).request.body,
    ).not.toHaveProperty('tool_choice')
  })

  test.each([
    [{ type: 'auto' }, undefined],
    [{ type: 'any' }, 'required'],
    [{ type: 'none' }, 'none'],
    [
      { type: 'tool', name: 'get' },
      { type: 'function', function: { name: 'get' } },
    ],
    [{ type: 'tool', name: 'gone' }, undefined],
  ])('tool_choice %j', (tool_choice, expected) => {
    expect(chat({ tools: [weather], tool_choice }).request.body.tool_choice).toEqual(expected)
    const single = chat({ tools: [weather], tool_choice: { ...tool_choice, disable_parallel_tool_use: true } })
    expect(single.request.body.parallel_tool_calls).toBe(false)
  })

  test('a bound that an answer need not reach leaves nobody out', () => {
    const big = { max_tokens: 64_000 }
    expect(toChat(parse(big), null).request.body.max_completion_tokens).toBeUndefined()
    const short = candidate('short', 'p', { maxOutputTokens: 8_192, contextWindow: 128_000 })
    expect(chat(big, short).request.body.max_completion_tokens).toBe(8_192)
    const narrow = candidate('narrow', 'p', { contextWindow: 32_768 })
    expect(toChat(parse(big), narrow, { promptTokens: 1_000 }).request.body.max_completion_tokens).toBe(31_768)
    expect(toChat(parse({ max_tokens: 64 }), null).request.body.max_completion_tokens).toBe(64)
  })

  test('stops, sampling, formats, streams', () => {
    const schema = { type: 'object', properties: {}, additionalProperties: false }
    expect(
      chat({
        stop_sequences: ['END'],
        temperature: 0.5,
        top_p: 0.9,
        top_k: 5,
        stream: true,
        output_config: { format: { type: 'json_schema', schema } },
      }).request,
    ).toMatchObject({
      stream: true,
      wantsUsage: true,
      dropped: [],
      body: { stop: ['END'], temperature: 0.5, top_p: 0.9, top_k: 5, response_format: { json_schema: { schema } } },
    })
  })

  test.each([
    [{ thinking: { type: 'enabled', budget_tokens: 2_000 } }, 'low'],
    [{ thinking: { type: 'enabled', budget_tokens: 10_000 } }, 'medium'],
    [{ thinking: { type: 'enabled', budget_tokens: 31_999 } }, 'high'],
    [{ thinking: { type: 'adaptive' }, output_config: { effort: 'medium' } }, 'medium'],
    [{ thinking: { type: 'adaptive' }, output_config: { effort: 'max' } }, 'xhigh'],
    [{ thinking: { type: 'adaptive' } }, undefined],
    [{ thinking: { type: 'disabled' }, output_config: { effort: 'high' } }, 'none'],
  ])('%j: an effort of %s where the candidate thinks', (fields, effort) => {
    const dialect = dialectFor({ models: [], fields: { reasoning_effort: 'keep' } }, 'thinks')
    const thinks = candidate('thinks', 'p', { reasoning: true, dialect })
    expect(chat(fields, thinks).request.body.reasoning_effort).toBe(effort)
    expect(chat(fields).request.body.reasoning_effort).toBeUndefined()
  })
})

test.each([
  ['no messages', { messages: [] }, 'messages'],
  ['no limit', { max_tokens: undefined }, 'max_tokens'],
  ['an odd role', { messages: [{ role: 'tool', content: 'x' }] }, 'messages.0.role'],
  ['content of numbers', { messages: [{ role: 'user', content: [1] }] }, 'messages.0.content'],
  ['nothing said', { messages: [{ role: 'user', content: '' }] }, 'messages'],
  ['text that is none', user([{ type: 'text', text: 3 }]), 'messages.0.content'],
])('%s is told as %s', (_, fields, param) => {
  expect(() => parse(fields as Partial<MessagesBody>)).toThrow(expect.objectContaining({ status: 400, param }))
})

describe('metadata.user_id', () => {
  const hash = 'ab12'.repeat(16)
  const account = '11111111-2222-3333-4444-555555555555'
  const session = '99999999-8888-7777-6666-555555555555'
  test.each([
    ['ann', { user: 'ann' }],
    [null, {}],
    ['', {}],
    [`user_${hash}_account_${account}_session_${session}`, { user: account, conversation: session }],
    [`user_${hash}_account__session_${session}`, { conversation: session }],
    [
      JSON.stringify({ device_id: hash, account_uuid: account, session_id: session }),
      { user: account, conversation: session },
    ],
    [JSON.stringify({ device_id: hash, account_uuid: '', session_id: session }), { conversation: session }],
    ['{"id": 3}', { user: '{"id": 3}' }],
    ['{broken', { user: '{broken' }],
  ])('%s', (id, expected) => expect(namedBy(id)).toEqual(expected))
})
