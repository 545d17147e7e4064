import { describe, expect, test } from 'vitest'
import { parseResponses } from '../../../src/openai/responses/body.ts'
import { messagesOf } from '../../../src/openai/responses/messages.ts'
import { told, written } from '../../../src/openai/responses/to-chat.ts'
import { chatTools } from '../../../src/openai/responses/tools.ts'
import type { Json } from '../../support/responses-spec.ts'

const parsed = (body: Json) => parseResponses(Buffer.from(JSON.stringify(body)))
const messages = (input: unknown, instructions?: string) => {
  const { items } = parsed({ model: 'one', input })
  return messagesOf(instructions, items, ({ encrypted_content: text }) =>
    text ? { reasoning_content: text, reasoning_details: [{ data: text }] } : null,
  )
}

describe('a conversation as a chat', () => {
  test('what a model thought, said and called in one turn is one message', () => {
    expect(
      messages([
        { role: 'user', content: 'x' },
        { type: 'reasoning', summary: [], encrypted_content: 'thought' },
        { role: 'assistant', content: [{ type: 'output_text', text: 'I look.' }] },
        { type: 'function_call', call_id: 'a', name: 'f', arguments: '{}' },
        { type: 'custom_tool_call', call_id: 'b', name: 'shell', input: 'ls' },
        { type: 'function_call_output', call_id: 'a', output: 'one' },
        { type: 'custom_tool_call_output', call_id: 'b', output: [{ type: 'input_text', text: 'two' }] },
      ]).messages,
    ).toEqual([
      { role: 'user', content: 'x' },
      {
        role: 'assistant',
        content: 'I look.',
        reasoning_content: 'thought',
        reasoning_details: [{ data: 'thought' }],
        tool_calls: [
          { id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } },
          { id: 'b', type: 'function', function: { name: 'shell', arguments: '{"input":"ls"}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'a', content: 'one' },
      { role: 'tool', tool_call_id: 'b', content: 'two' },
    ])
  })

  test('words after calls begin the next turn, thoughts alone are no turn', () => {
    const roles = messages([
      { role: 'user', content: 'x' },
      { type: 'function_call', call_id: 'a', name: 'f', arguments: '{}' },
      { type: 'function_call_output', call_id: 'a', output: '1' },
      { role: 'assistant', content: 'Done.' },
      { type: 'reasoning', summary: [], encrypted_content: 'thought' },
    ]).messages.map(({ role }) => role)
    expect(roles).toEqual(['user', 'assistant', 'tool', 'assistant'])
  })

  test('system messages at the beginning are one; later ones stay where they are', () => {
    expect(
      messages(
        [
          { role: 'developer', content: 'B' },
          { role: 'system', content: 'C' },
          { role: 'user', content: 'x' },
          { role: 'developer', content: 'D' },
        ],
        'A',
      ).messages,
    ).toEqual([
      { role: 'system', content: 'A\n\nB\n\nC' },
      { role: 'user', content: 'x' },
      { role: 'system', content: 'D' },
    ])
  })

  test('pictures that a tool returned are shown after all results', () => {
    const image = { type: 'input_image', image_url: 'data:image/png;base64,AA==' }
    expect(
      messages([
        { type: 'function_call', call_id: 'a', name: 'f', arguments: '{}' },
        { type: 'function_call', call_id: 'b', name: 'f', arguments: '{}' },
        { type: 'function_call_output', call_id: 'a', output: [image] },
        { type: 'function_call_output', call_id: 'b', output: 'two' },
        { role: 'user', content: 'y' },
      ]).messages.slice(1),
    ).toEqual([
      { role: 'tool', tool_call_id: 'a', content: '(see the next message)' },
      { role: 'tool', tool_call_id: 'b', content: 'two' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What the tool call a returned:' },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } },
        ],
      },
      { role: 'user', content: 'y' },
    ])
  })

  test('items of hosted tools are left out, and told', () => {
    const {
      messages: left,
      dropped,
      problem,
    } = messages([
      { role: 'user', content: 'x' },
      { type: 'web_search_call', id: 'ws_1', status: 'completed' },
      { type: 'something_new', data: 1 },
    ])
    expect([left.length, dropped, problem]).toEqual([1, ['input.web_search_call', 'input.something_new'], null])
  })

  test.each([
    [
      'a picture by its id',
      { role: 'user', content: [{ type: 'input_image', file_id: 'file_1' }] },
      'input.0.content.0',
    ],
    [
      'a file by its address',
      { role: 'user', content: [{ type: 'input_file', file_url: 'https://a.example' }] },
      'input.0.content.0',
    ],
    ['a compacted conversation', { type: 'compaction', encrypted_content: 'x' }, 'input.0'],
    ['a part that nobody knows', { role: 'user', content: [{ type: 'input_smell' }] }, 'input.0.content.0.type'],
  ])('%s is not left out: another candidate may take it', (_, item, param) => {
    expect(messages([item, { role: 'user', content: 'x' }]).problem).toMatchObject({ status: 400, param })
  })
})

describe('tools', () => {
  test('of text become functions of one text, grammar told', () => {
    const { tools, named } = chatTools({
      tools: [
        {
          type: 'custom',
          name: 'patch',
          description: 'Edits.',
          format: { type: 'grammar', syntax: 'lark', definition: 'start: "x"' },
        },
      ],
    })
    expect(named('patch')).toEqual({ name: 'patch', isCustom: true })
    expect(tools[0]?.function).toMatchObject({
      name: 'patch',
      description: expect.stringContaining('start: "x"'),
      parameters: { required: ['input'] },
    })
  })

  test('of a namespace become functions with its name before theirs, told once what it is about', () => {
    const look = { type: 'function', name: 'look', description: 'Looks.', parameters: { type: 'object' } }
    const patch = { type: 'custom', name: 'patch' }
    const { tools, named, hosted, toolChoice } = chatTools({
      tools: [
        { type: 'namespace', name: 'mcp__files__', description: 'Files.', tools: [look, patch, { type: 'odd' }] },
        { type: 'namespace', name: 'a b.c', tools: [look] },
        { type: 'namespace', name: 'n'.repeat(64), tools: [look] },
        { type: 'namespace', name: 'empty', tools: [] },
        look,
      ],
      tool_choice: { type: 'custom', name: 'patch', namespace: 'mcp__files__' },
    })
    const names = tools.map(({ function: { name } }) => name)
    expect(names.slice(0, 2)).toEqual(['mcp__files__look', 'mcp__files__patch'])
    expect(names.at(-1)).toBe('look')
    for (const name of names) expect(name).toMatch(/^[A-Za-z0-9_-]{1,64}$/)
    expect(new Set(names).size).toBe(5)
    expect(tools.map(({ function: { description } }) => description)).toEqual([
      'Files.\n\nLooks.',
      undefined,
      'Looks.',
      'Looks.',
      'Looks.',
    ])
    expect(names.map(named)).toEqual([
      { name: 'look', namespace: 'mcp__files__', isCustom: false },
      { name: 'patch', namespace: 'mcp__files__', isCustom: true },
      { name: 'look', namespace: 'a b.c', isCustom: false },
      { name: 'look', namespace: 'n'.repeat(64), isCustom: false },
      { name: 'look', isCustom: false },
    ])
    expect(hosted).toEqual(['namespace'])
    expect(toolChoice).toEqual({ type: 'function', function: { name: 'mcp__files__patch' } })
    // A call of a tool that is not offered any more has the same name as when it was.
    const { messages } = messagesOf(
      null,
      [
        { type: 'function_call', call_id: 'a', name: 'look', namespace: 'a b.c', arguments: '{}' },
        { type: 'function_call_output', call_id: 'a', output: 'x' },
      ],
      () => null,
    )
    expect(messages[0]).toMatchObject({ tool_calls: [{ function: { name: names[2] } }] })
  })

  test('nested as chat completions have them are the same', () => {
    const look = { name: 'look', parameters: { type: 'object' } }
    const { tools, kept, hosted } = chatTools({ tools: [{ type: 'function', function: look }] })
    expect(tools).toEqual([{ type: 'function', function: look }])
    expect(kept).toEqual([{ ...look, type: 'function' }])
    expect(hosted).toEqual([])
  })

  test('allowed by name and namespace', () => {
    const look = { type: 'function', name: 'look' }
    const offered = (entry: object) =>
      chatTools({
        tools: [{ type: 'namespace', name: 'a', tools: [look] }, { type: 'namespace', name: 'b', tools: [look] }, look],
        tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [entry] },
      }).tools.map(({ function: { name } }) => name)
    expect(offered({ type: 'namespace', name: 'a' })).toEqual(['a__look'])
    expect(offered({ type: 'function', name: 'look', namespace: 'b' })).toEqual(['b__look'])
    expect(offered(look)).toEqual(['a__look', 'b__look', 'look'])
  })

  test('a choice that nothing is left of is no choice', () => {
    for (const tool_choice of ['required', { type: 'web_search' }, { type: 'function', name: 'none' }]) {
      expect(chatTools({ tools: [{ type: 'web_search' }], tool_choice })).toMatchObject({
        tools: [],
        keptChoice: undefined,
      })
    }
  })
})

test('fields that chat completions have go through; those that would be refused by all do not', () => {
  const { body, items } = parsed({
    model: 'one',
    input: 'x',
    stream: true,
    max_output_tokens: 5,
    reasoning: { effort: 'high', summary: 'auto' },
    text: { verbosity: 'low', format: { type: 'json_schema', name: 'n', schema: {}, strict: true } },
    top_logprobs: 2,
    user: 'u',
    metadata: { a: 'b' },
    store: true,
    include: ['message.output_text.logprobs'],
  })
  const { request } = written(told({ body, items }, null, () => null))
  expect(request.body).toEqual({
    model: 'one',
    messages: [{ role: 'user', content: 'x' }],
    stream: true,
    stream_options: { include_usage: true },
    max_completion_tokens: 5,
    reasoning_effort: 'high',
    verbosity: 'low',
    response_format: { type: 'json_schema', json_schema: { name: 'n', schema: {}, strict: true } },
    logprobs: true,
    top_logprobs: 2,
    user: 'u',
  })
})

test.each([
  [{ input: 5 }, 'input'],
  [{ input: [5] }, 'input.0'],
  [{ input: [{ role: 'robot', content: 'x' }] }, 'input.0.role'],
  [{ input: [{ role: 'user', content: 5 }] }, 'input.0.content'],
  [{ input: [{ role: 'user', content: [{ text: 'x' }] }] }, 'input.0.content.0.type'],
  [{ input: [{ type: 'function_call', name: 'f' }] }, 'input.0.call_id'],
  [{ input: [{ type: 'function_call_output', call_id: 'a' }] }, 'input.0.output'],
  [{ input: [{ type: 'item_reference' }] }, 'input.0.id'],
  [{ input: [{ type: 7 }] }, 'input.0.type'],
  [{ model: 5 }, 'model'],
  [{ instructions: 5 }, 'instructions'],
  [{ previous_response_id: 5 }, 'previous_response_id'],
  [{ tools: {} }, 'tools'],
  [{ tools: [{ name: 'f' }] }, 'tools.0.type'],
  [{ tool_choice: 5 }, 'tool_choice'],
  [{ text: { format: 'json' } }, 'text.format'],
  [{ reasoning: 'high' }, 'reasoning'],
  [{ reasoning: { effort: 5 } }, 'reasoning.effort'],
  [{ temperature: 'hot' }, 'temperature'],
  [{ max_output_tokens: 0 }, 'max_output_tokens'],
  [{ stream: 'yes' }, 'stream'],
  [{ store: 1 }, 'store'],
  [{ metadata: 'x' }, 'metadata'],
  [{ include: 'all' }, 'include'],
  [{ background: true }, 'background'],
  [{ conversation: 'conv_1' }, 'conversation'],
])('%j is refused, and the field named', (fields, param) => {
  expect(() => parsed({ model: 'one', input: 'x', ...fields })).toThrow(expect.objectContaining({ status: 400, param }))
})
