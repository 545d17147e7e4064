import { Readable } from 'node:stream'
import type Anthropic from '@anthropic-ai/sdk'
import { describe, expect, test } from 'vitest'
import type { ChatBody } from '../../../src/openai/chat.ts'
import { messagesBody } from '../../../src/providers/kinds/anthropic/request.ts'
import { completionOf } from '../../../src/providers/kinds/anthropic/response.ts'
import { openaiStream } from '../../../src/providers/kinds/anthropic/stream.ts'
import { candidate } from '../../support/relay-harness.ts'

/** What other producers of Anthropic's formats do than Anthropic's own servers, and what its API refuses. */

interface Delta {
  content?: string
  reasoning_details?: unknown[]
  tool_calls?: { index: number; id?: string; function: { name?: string; arguments: string } }[]
}

async function streamed(events: unknown[]) {
  const bytes = events.map((event) => Buffer.from(`event: x\ndata: ${JSON.stringify(event)}\n\n`))
  let text = ''
  for await (const part of openaiStream(Readable.from(bytes), 1)) text += part
  const chunks = text
    .split('\n\n')
    .filter((line) => line.startsWith('data: {'))
    .map(
      (line) =>
        JSON.parse(line.slice(6)) as { choices: { delta: Delta; finish_reason: string | null }[]; usage?: unknown },
    )
  const deltas = chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta))
  const calls: string[] = []
  for (const { tool_calls } of deltas) {
    for (const { index, function: called } of tool_calls ?? []) {
      calls[index] = `${calls[index] ?? ''}${called.name ?? ''}${called.name ? ':' : ''}${called.arguments}`
    }
  }
  return {
    text: deltas.map(({ content }) => content ?? '').join(''),
    calls,
    finish: chunks.flatMap(({ choices }) => choices).find(({ finish_reason }) => finish_reason !== null)?.finish_reason,
    isDone: text.endsWith('data: [DONE]\n\n'),
    usage: chunks.find(({ usage }) => usage)?.usage,
  }
}

const start = { type: 'message_start', message: { id: 'msg_1', model: 'm', content: [], role: 'assistant' } }
const tool = (index: number, name: string, input: unknown = {}) => ({
  type: 'content_block_start',
  index,
  content_block: { type: 'tool_use', id: `toolu_${index}`, name, input },
})
const json = (index: number, partial_json: string) => ({
  type: 'content_block_delta',
  index,
  delta: { type: 'input_json_delta', partial_json },
})
const stop = (index: number) => ({ type: 'content_block_stop', index })
const said = (stop_reason: string | null) => ({ type: 'message_delta', delta: { stop_reason } })
const end = { type: 'message_stop' }

describe('streams of compatible servers', () => {
  test("a tool's whole input at its block's start", async () => {
    const seen = await streamed([start, tool(0, 'read', { path: '/etc/hosts' }), stop(0), said('tool_use'), end])
    expect(seen).toMatchObject({ calls: ['read:{"path":"/etc/hosts"}'], finish: 'tool_calls', isDone: true })
  })

  test('blocks side by side, and a delta after another block began', async () => {
    const seen = await streamed([
      start,
      tool(0, 'a'),
      tool(1, 'b'),
      json(0, '{"p":'),
      json(1, '{"q":1'),
      { type: 'content_block_start', index: 2, content_block: { type: 'text', text: 'so' } },
      json(0, '"a"}'),
      json(1, '}'),
      stop(0),
      stop(1),
      said('tool_use'),
      end,
    ])
    expect(seen).toMatchObject({ calls: ['a:{"p":"a"}', 'b:{"q":1}'], text: 'so' })
  })

  test('neither usage nor an end in words, nor a stop of each block: the answer is whole all the same', async () => {
    const seen = await streamed([start, tool(0, 'a'), end])
    expect(seen).toMatchObject({ calls: ['a:{}'], finish: 'tool_calls', isDone: true })
    expect(seen.usage).toBeUndefined()
    const counted = await streamed([
      { ...start, message: { ...start.message, usage: { input_tokens: 3 } } },
      { type: 'content_block_start', index: 0, content_block: { type: 'text' } },
      { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'hi' } },
      { type: 'content_block_delta', index: 0, delta: { type: 'citations_delta', citation: {} } },
      {
        type: 'content_block_start',
        index: 1,
        content_block: { type: 'server_tool_use', id: 's', name: 'web', input: {} },
      },
      { type: 'something_new' },
      said('end_turn'),
      end,
    ])
    expect(counted).toMatchObject({ text: 'hi', finish: 'stop', usage: { prompt_tokens: 3 } })
  })

  test('a plain message without usage, without input, with blocks that nobody knows', () => {
    const message = {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'm',
      content: [{ type: 'novel' }, { type: 'text' }, { type: 'tool_use', id: 'toolu_1', name: 'f' }],
      stop_reason: null,
    } as unknown as Anthropic.Message
    const { choices, ...rest } = completionOf(message, 1)
    expect(rest).not.toHaveProperty('usage')
    expect(choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { tool_calls: [{ function: { name: 'f', arguments: '{}' } }] },
    })
  })
})

const of = (model: string) => candidate('c', 'p', { model })
const body = (fields: Record<string, unknown>, who = of('claude-sonnet-4-5')) =>
  messagesBody({ model: 'auto', messages: [{ role: 'user', content: 'Hi' }], ...fields } as ChatBody, who)

describe("rules of Anthropic's API", () => {
  test('text of white space alone goes nowhere: messages, parts, results, system', () => {
    const sent = body({
      messages: [
        { role: 'system', content: '\n' },
        {
          role: 'user',
          content: [
            { type: 'text', text: ' ' },
            { type: 'text', text: 'Go' },
          ],
        },
        {
          role: 'assistant',
          content: '\n\n',
          tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '' } }],
        },
        { role: 'tool', tool_call_id: 'c1', content: ' ' },
      ],
    })
    expect(sent).not.toHaveProperty('system')
    expect(JSON.stringify(sent.messages)).not.toMatch(/"text":"(?:\s|\\n)*"/)
    expect(sent.messages.map(({ content }) => (content as unknown[]).length)).toEqual([1, 1, 1])
  })

  test.each([
    ['89504e470d0a1a0a0000000d49484452', 'image/png'],
    ['ffd8ffe000104a464946000101000001', 'image/jpeg'],
    ['47494638396101000100800000000000', 'image/gif'],
    ['52494646240000005745425056503820', 'image/webp'],
  ])('an image is what its first bytes say: %s', (hex, type) => {
    const url = `data:image/bmp;base64,${Buffer.from(hex, 'hex').toString('base64')}`
    const sent = body({ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }] })
    expect(sent.messages[0]?.content).toMatchObject([{ source: { media_type: type } }])
  })

  test('ids of tool calls that the API does not take, and the same id twice, are translated with their results', () => {
    const calls = (...ids: string[]) =>
      ids.map((id) => ({ id, type: 'function', function: { name: 'f', arguments: '{}' } }))
    const sent = body({
      messages: [
        { role: 'user', content: 'Go' },
        { role: 'assistant', content: null, tool_calls: calls('functions.read:0', 'call_0') },
        { role: 'tool', tool_call_id: 'call_0', content: 'one' },
        { role: 'tool', tool_call_id: 'functions.read:0', content: 'two' },
        { role: 'assistant', content: null, tool_calls: calls('call_0', '') },
        { role: 'tool', tool_call_id: '', content: 'four' },
        { role: 'tool', tool_call_id: 'call_0', content: 'three' },
      ],
    })
    const blocks = sent.messages.flatMap(
      ({ content }) =>
        content as unknown as { type: string; id: string; tool_use_id: string; content: { text: string }[] }[],
    )
    const made = blocks.filter(({ type }) => type === 'tool_use').map(({ id }) => id)
    expect(new Set(made).size).toBe(4)
    for (const id of made) expect(id).toMatch(/^[a-zA-Z0-9_-]+$/)
    const results = blocks.filter(({ type }) => type === 'tool_result')
    expect(results.map(({ tool_use_id, content }) => [made.indexOf(tool_use_id), content[0]?.text])).toEqual([
      [1, 'one'],
      [0, 'two'],
      [3, 'four'],
      [2, 'three'],
    ])
  })

  test('thoughts that others made are left out', () => {
    const sent = body({
      messages: [
        { role: 'user', content: 'Go' },
        {
          role: 'assistant',
          content: 'so',
          reasoning_details: [
            { type: 'reasoning.encrypted', data: 'xx', format: 'openai-responses-v1' },
            { type: 'reasoning.encrypted', data: 'yy' },
            { type: 'reasoning.text', text: 'hm', signature: 'sig', format: 'google-gemini-v1' },
          ],
        },
        { role: 'user', content: 'And?' },
      ],
    })
    expect(sent.messages[1]?.content).toEqual([{ type: 'text', text: 'so' }])
  })

  const tools = (parameters: unknown, strict?: boolean) => [
    { type: 'function', function: { name: 'f', parameters, ...(strict && { strict }) } },
  ]

  test.each([
    [{}, { type: 'object', properties: {} }],
    [null, { type: 'object', properties: {} }],
    [{ properties: { a: { type: 'string' } } }, { type: 'object', properties: { a: { type: 'string' } } }],
    [
      {
        anyOf: [
          { properties: { a: {}, b: {} }, required: ['a', 'b'] },
          { properties: { a: {}, c: {} }, required: ['a'] },
        ],
      },
      { type: 'object', properties: { a: {}, b: {}, c: {} }, required: ['a'] },
    ],
  ])('parameters %j become an object schema', (parameters, schema) => {
    expect(body({ tools: tools(parameters) }).tools).toMatchObject([{ input_schema: schema }])
    expect(JSON.stringify(body({ tools: tools(parameters) }).tools)).not.toMatch(/"(?:anyOf|oneOf|allOf)":/)
  })

  test('strict: constraints go into words; before 4.5, and for maps, the flag is left off', () => {
    const bounded = { type: 'object', properties: { n: { type: 'integer', minimum: 1 } } }
    const [strict] = body({ tools: tools(bounded, true) }).tools as unknown as [
      { strict: boolean; input_schema: unknown },
    ]
    expect(strict).toMatchObject({ strict: true, input_schema: { additionalProperties: false } })
    expect(JSON.stringify(strict)).not.toContain('"minimum":')
    expect(body({ tools: tools(bounded, true) }, of('claude-3-5-haiku-20241022')).tools?.[0]).toEqual({
      name: 'f',
      input_schema: bounded,
    })
    const map = { type: 'object', properties: { m: { type: 'object', additionalProperties: { type: 'string' } } } }
    expect(body({ tools: tools(map, true) }).tools?.[0]).toEqual({ name: 'f', input_schema: map })
  })

  test('an answer schema with a map is asked for by a tool, since a closed object would be empty', () => {
    const schema = { type: 'object', additionalProperties: { type: 'number' } }
    const sent = body({ response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } })
    expect(sent.output_config).toBeUndefined()
    expect(sent.tools).toMatchObject([{ input_schema: schema }])
  })

  test("no going on with an assistant's message from 4.6 on", () => {
    const messages = [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: 'It' },
    ]
    expect(body({ messages }).messages).toHaveLength(2)
    expect(() => body({ messages }, of('claude-sonnet-4-6'))).toThrow(/assistant/)
  })

  test("max_tokens is the model's own where none was asked for", () => {
    expect(body({}, candidate('c', 'p', { model: 'claude-sonnet-4-5', maxOutputTokens: 64_000 })).max_tokens).toBe(
      64_000,
    )
    expect(body({}).max_tokens).toBe(4_096)
  })
})
