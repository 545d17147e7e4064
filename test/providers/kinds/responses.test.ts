import { afterEach, expect, test } from 'vitest'
import type { Candidate } from '../../../src/candidates/candidate.ts'
import { dialectFor, dialectSchema } from '../../../src/candidates/dialect.ts'
import { configSchema } from '../../../src/config/schema.ts'
import { readAll } from '../../../src/providers/http/read-all.ts'
import { openProviders } from '../../../src/providers/kinds.ts'
import type { Provider } from '../../../src/providers/provider.ts'
import { chat } from '../../contracts/provider.ts'
import { candidate } from '../../support/relay-harness.ts'
import { startUpstream, type Upstream } from '../../support/upstream.ts'

// Models that are asked by the Responses API: chat completions converted there and back.

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

const dialect = dialectFor(dialectSchema.parse({ responses: 'always' }), 'm')
const CODEX = candidate('c', 'p', { model: 'gpt-5.3-codex', apis: new Set(['responses']), dialect })

async function open(answer: object | string, status = 200): Promise<{ upstream: Upstream; provider: Provider }> {
  const upstream = await startUpstream()
  const entry = { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, api_key: 'sk-test' }
  const provider = openProviders(configSchema.parse({ providers: { p: entry } })).get('p') as Provider
  closing.push(async () => {
    await provider.close()
    await upstream.close()
  })
  const type = typeof answer === 'string' ? 'text/event-stream' : 'application/json'
  upstream.play((exchange) => exchange.reply(status, answer, { 'content-type': type }))
  return { upstream, provider }
}

async function ask(fields: Record<string, unknown>, answer: object | string, who: Candidate = CODEX, status = 200) {
  const { upstream, provider } = await open(answer, status)
  const signal = new AbortController().signal
  const { body } = await provider.chat({ candidate: who, request: chat(fields), signal, requestId: 'r' })
  const text = (await readAll(body, 1e6)).toString()
  const [sent] = upstream.requests
  return { text, sent: JSON.parse(sent?.body.toString() ?? '{}'), path: sent?.path }
}

const response = (output: unknown[], more: object = {}) => ({
  id: 'resp_1',
  object: 'response',
  created_at: 1_790_000_000,
  status: 'completed',
  model: 'gpt-5.3-codex',
  output,
  ...more,
})
const message = (...content: unknown[]) => ({ id: 'msg_1', type: 'message', role: 'assistant', content })
const events = (...all: object[]) => all.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')
const chunksOf = (text: string) =>
  text
    .split('\n\n')
    .filter((event) => event.startsWith('data: {'))
    .map((event) => JSON.parse(event.slice(6)))

test('every part of a chat has its counterpart', async () => {
  const custom = { name: 'shell', format: { type: 'grammar', grammar: { syntax: 'lark', definition: 'start: "a"' } } }
  const { sent, path } = await ask(
    {
      messages: [
        { role: 'developer', content: 'Be brief.' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Look' },
            { type: 'image_url', image_url: { url: 'data:,' } },
          ],
        },
        {
          role: 'assistant',
          content: null,
          reasoning_details: [
            { type: 'reasoning.encrypted', id: 'rs_1', data: 'sealed', format: 'openai-responses-v1', index: 0 },
            { type: 'reasoning.text', text: 'hm', signature: 's', format: 'anthropic-claude-v1', index: 1 },
          ],
          tool_calls: [
            { id: 'call_1', type: 'function', function: { name: 'look', arguments: '{"at":1}' } },
            { id: 'call_2', type: 'custom', custom: { name: 'shell', input: 'ls' } },
          ],
        },
        { role: 'tool', tool_call_id: 'call_1', content: 'a cat' },
        { role: 'tool', tool_call_id: 'call_2', content: [{ type: 'text', text: 'b' }] },
      ],
      tools: [
        { type: 'function', function: { name: 'look', parameters: { type: 'object', properties: {} } } },
        { type: 'custom', custom },
      ],
      tool_choice: { type: 'function', function: { name: 'look' } },
      response_format: { type: 'json_schema', json_schema: { name: 'a', schema: { type: 'object' }, strict: true } },
      reasoning_effort: 'high',
      verbosity: 'low',
      max_tokens: 500,
      metadata: { team: 'a' },
    },
    response([message({ type: 'output_text', text: '{}' })]),
  )
  expect(path).toBe('/v1/responses')
  expect(sent).toEqual({
    model: 'gpt-5.3-codex',
    stream: false,
    store: false,
    include: ['reasoning.encrypted_content'],
    metadata: { team: 'a' },
    max_output_tokens: 500,
    reasoning: { effort: 'high' },
    text: { format: { type: 'json_schema', name: 'a', schema: { type: 'object' }, strict: true }, verbosity: 'low' },
    tools: [
      { type: 'function', name: 'look', parameters: { type: 'object', properties: {} }, strict: false },
      { type: 'custom', name: 'shell', format: { type: 'grammar', syntax: 'lark', definition: 'start: "a"' } },
    ],
    tool_choice: { type: 'function', name: 'look' },
    input: [
      { type: 'message', role: 'developer', content: 'Be brief.' },
      {
        type: 'message',
        role: 'user',
        content: [
          { type: 'input_text', text: 'Look' },
          { type: 'input_image', image_url: 'data:,', detail: 'auto' },
        ],
      },
      { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'sealed' },
      { type: 'function_call', call_id: 'call_1', name: 'look', arguments: '{"at":1}' },
      { type: 'custom_tool_call', call_id: 'call_2', name: 'shell', input: 'ls' },
      { type: 'function_call_output', call_id: 'call_1', output: 'a cat' },
      { type: 'custom_tool_call_output', call_id: 'call_2', output: [{ type: 'input_text', text: 'b' }] },
    ],
  })
})

test('an answer keeps its thoughts, sources, calls and counts', async () => {
  const cited = { type: 'url_citation', url: 'https://a.example', title: 'A', start_index: 0, end_index: 2 }
  const { text } = await ask(
    {},
    response(
      [
        { id: 'rs_1', type: 'reasoning', summary: [{ type: 'summary_text', text: 'hm' }], encrypted_content: 'sealed' },
        message({ type: 'output_text', text: 'So', annotations: [cited] }),
        { type: 'function_call', call_id: 'call_1', name: 'look', arguments: '{}' },
        { type: 'custom_tool_call', call_id: 'call_2', name: 'shell', input: 'ls' },
      ],
      {
        usage: { input_tokens: 9, input_tokens_details: { cached_tokens: 4 }, output_tokens: 3, total_tokens: 12 },
      },
    ),
  )
  expect(JSON.parse(text)).toMatchObject({
    id: 'resp_1',
    object: 'chat.completion',
    created: 1_790_000_000,
    choices: [
      {
        finish_reason: 'tool_calls',
        message: {
          content: 'So',
          refusal: null,
          annotations: [{ type: 'url_citation', url_citation: { url: 'https://a.example', end_index: 2 } }],
          reasoning_content: 'hm',
          reasoning_details: [
            { type: 'reasoning.encrypted', id: 'rs_1', data: 'sealed', format: 'openai-responses-v1', index: 0 },
          ],
          tool_calls: [
            { id: 'call_1', type: 'function', function: { name: 'look', arguments: '{}' } },
            { id: 'call_2', type: 'custom', custom: { name: 'shell', input: 'ls' } },
          ],
        },
      },
    ],
    usage: {
      prompt_tokens: 9,
      completion_tokens: 3,
      total_tokens: 12,
      prompt_tokens_details: { cached_tokens: 4 },
    },
  })
})

test.each([
  [{ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }, 'length'],
  [{ status: 'incomplete', incomplete_details: { reason: 'content_filter' } }, 'content_filter'],
])('an answer that was cut says so: %j', async (more, finish_reason) => {
  const cut = response([message({ type: 'refusal', refusal: 'No.' })], more)
  const plain = JSON.parse((await ask({}, cut)).text)
  expect(plain.choices[0]).toMatchObject({ finish_reason, message: { content: null, refusal: 'No.' } })
  const streamed = chunksOf((await ask({ stream: true }, events({ type: 'response.incomplete', response: cut }))).text)
  expect(streamed.map(({ choices }) => choices[0]?.delta.refusal ?? '').join('')).toBe('No.')
  expect(streamed.at(-1).choices[0].finish_reason).toBe(finish_reason)
})

test('a stream: items side by side, by their index, and what no delta told', async () => {
  const call = (index: number, input: string) => ({
    type: 'custom_tool_call',
    call_id: `call_${index}`,
    name: 'shell',
    input,
  })
  const delta = 'response.custom_tool_call_input.delta'
  const { text } = await ask(
    { stream: true },
    events(
      { type: 'response.created', response: response([], { status: 'in_progress' }) },
      { type: 'response.output_item.added', output_index: 0, item: call(0, '') },
      { type: 'response.output_item.added', output_index: 1, item: call(1, '') },
      { type: delta, output_index: 1, delta: 'pw' },
      { type: delta, output_index: 0, delta: 'ls' },
      { type: delta, output_index: 1, delta: 'd' },
      { type: 'response.output_item.done', output_index: 1, item: call(1, 'pwd') },
      // Nothing of the third was told before.
      { type: 'response.completed', response: response([call(0, 'ls'), call(1, 'pwd'), call(2, 'id')]) },
    ),
  )
  const inputs = ['', '', '']
  for (const { choices } of chunksOf(text))
    for (const { index, custom } of choices[0]?.delta.tool_calls ?? []) inputs[index] += custom.input
  expect(inputs).toEqual(['ls', 'pwd', 'id'])
  expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
})

interface Step {
  type: string
  item?: object
}

/** What a stream tells in all. */
function wholeOf(text: string) {
  const said = { content: '', thoughts: '', details: 0, inputs: [] as string[] }
  for (const { choices } of chunksOf(text)) {
    const {
      content,
      reasoning_content: thoughts,
      reasoning_details: details,
      tool_calls: calls,
    } = choices[0]?.delta ?? {}
    said.content += content ?? ''
    said.thoughts += thoughts ?? ''
    said.details += details?.length ?? 0
    for (const { index, function: { arguments: piece = '' } = {} } of calls ?? [])
      said.inputs[index] = (said.inputs[index] ?? '') + piece
  }
  return said
}

test('items are told once, however a server counts and names them', async () => {
  const thought = { id: 'rs_1', type: 'reasoning', summary: [{ text: 'hm' }], encrypted_content: 'sealed' }
  const words = message({ type: 'output_text', text: 'So' })
  const call = (n: number) => ({
    id: `fc_${n}`,
    type: 'function_call',
    call_id: `call_${n}`,
    name: 'look',
    arguments: `{"n":${n}}`,
  })
  const output = [thought, words, call(1), call(2)]
  const steps = [
    { type: 'response.reasoning_summary_text.delta', at: 0, delta: 'hm', item_id: 'rs_1' },
    { type: 'response.output_item.done', at: 0, item: thought },
    { type: 'response.output_item.added', at: 1, item: message() },
    { type: 'response.output_text.delta', at: 1, delta: 'So', item_id: 'msg_1' },
    { type: 'response.output_item.done', at: 1, item: words },
    { type: 'response.output_item.added', at: 2, item: { ...call(1), arguments: '' } },
    { type: 'response.function_call_arguments.delta', at: 2, delta: '{"n":1}', item_id: 'fc_1' },
    { type: 'response.output_item.done', at: 2, item: call(1) },
    { type: 'response.output_item.added', at: 3, item: { ...call(2), arguments: '' } },
    { type: 'response.function_call_arguments.delta', at: 3, delta: '{"n":2}', item_id: 'fc_2' },
  ]
  const without = (object: object, ...names: string[]) =>
    Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)))
  let made = 0
  const nameless = (one: Step) => without({ ...one, ...(one.item && { item: without(one.item, 'id') }) }, 'item_id')
  const renamed = (one: Step) => ({
    ...one,
    item_id: `x${made++}`,
    ...(one.item && { item: { ...one.item, id: `x${made++}` } }),
  })
  const indexed = ({ at: _, ...one }: Step & { at: number }, index: number | undefined) => ({
    ...one,
    ...(index !== undefined && { output_index: index }),
  })
  const ways: Record<string, [steps: object[], output: object[]]> = {
    'by the book': [steps.map((one) => indexed(one, one.at)), output],
    'from one': [steps.map((one) => indexed(one, one.at + 1)), output],
    'all of them the first': [steps.map((one) => indexed(one, 0)), output],
    'not at all': [steps.map((one) => indexed(one, undefined)), output],
    'without ids': [steps.map((one) => nameless(indexed(one, one.at))), output.map((item) => without(item, 'id'))],
    'without either': [
      steps.map((one) => nameless(indexed(one, undefined))),
      output.map((item) => without(item, 'id')),
    ],
    'another id each time': [steps.map((one) => renamed(indexed(one, one.at))), output],
  }
  for (const [way, [told, whole]] of Object.entries(ways)) {
    const stream = events(...told, { type: 'response.completed', response: response(whole) })
    const { text } = await ask({ stream: true }, stream)
    expect(wholeOf(text), way).toEqual({ content: 'So', thoughts: 'hm', details: 1, inputs: ['{"n":1}', '{"n":2}'] })
  }
})

test('the last event counts without the blank line after it', async () => {
  const stream = events(
    { type: 'response.output_text.delta', output_index: 0, delta: 'So' },
    { type: 'response.completed', response: response([message({ type: 'output_text', text: 'So' })]) },
  )
  for (const end of ['', '\n']) {
    const { text } = await ask({ stream: true }, `${stream.trimEnd()}${end}`)
    expect(wholeOf(text).content).toBe('So')
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true)
  }
})

test('an error names the field as the client wrote it, and none is taken for an answer', async () => {
  const error = { message: "Unsupported value: 'reasoning.effort'.", type: 'invalid_request_error', code: 'x' }
  const refused = await ask({ reasoning_effort: 'low' }, { error: { ...error, param: 'reasoning.effort' } }, CODEX, 400)
  expect(JSON.parse(refused.text).error).toMatchObject({
    message: "Unsupported value: 'reasoning_effort'.",
    param: 'reasoning_effort',
  })
  const placed = await ask({}, { error: { ...error, param: 'input[0].content' } }, CODEX, 400)
  expect(JSON.parse(placed.text).error.param).toBe('messages[0].content')
  const told = { code: 'server_error', message: 'It broke.' }
  const failed = await ask({}, response([], { status: 'failed', error: told }))
  expect(JSON.parse(failed.text).error).toMatchObject({ message: 'It broke.', code: 'server_error' })
  const broken = { type: 'response.failed', response: response([], { status: 'failed', error: told }) }
  expect(chunksOf((await ask({ stream: true }, events(broken))).text)).toMatchObject([
    { error: { message: 'It broke.', type: 'server_error' } },
  ])
  await expect(ask({}, response([], { status: 'queued' }))).rejects.toMatchObject({ fault: 'protocol' })
})

test('what would change the answer is refused, unless chat completions are taken, too', async () => {
  await expect(ask({ n: 2 }, response([]))).rejects.toMatchObject({ param: 'n' })
  const tools = [{ type: 'function', function: { name: 'look' } }]
  const both = candidate('c', 'p', {
    model: 'gpt-5.6-sol',
    apis: new Set(['chat', 'responses']),
    dialect: dialectFor(dialectSchema.parse({ responses: 'with_tools' }), 'm'),
  })
  expect((await ask({ tools }, response([]), both)).path).toBe('/v1/responses')
  expect((await ask({}, response([]), both)).path).toBe('/v1/chat/completions')
  expect((await ask({ tools, n: 2 }, response([]), both)).path).toBe('/v1/chat/completions')
})

test('the client’s wishes win over a candidate’s defaults, under whichever name', async () => {
  const who = {
    ...CODEX,
    defaults: {
      max_completion_tokens: 32_000,
      reasoning_effort: 'high',
      reasoning: { effort: 'high', summary: 'auto' },
      verbosity: 'high',
    },
  }
  const { sent } = await ask({ max_tokens: 200, reasoning_effort: 'low', verbosity: 'low' }, response([]), who)
  expect(sent).toMatchObject({
    max_output_tokens: 200,
    reasoning: { effort: 'low', summary: 'auto' },
    text: { verbosity: 'low' },
  })
  const own = await ask({ max_completion_tokens: 200, max_tokens: null }, response([]), who)
  expect(own.sent).toMatchObject({ max_output_tokens: 200, reasoning: { effort: 'high' }, text: { verbosity: 'high' } })
  expect((await ask({}, response([]), who)).sent.max_output_tokens).toBe(32_000)
})

test('an error larger than any that is of use is not read to its end', async () => {
  const error = { message: 'no '.repeat(100_000) }
  await expect(ask({}, { error }, CODEX, 500)).rejects.toMatchObject({ fault: 'protocol' })
})

test('who configures a provider is told that either format will do', () => {
  const entry = { kind: 'openai-compatible', base_url: 'http://127.0.0.1:1/v1', api: ['completions'] }
  expect(() => configSchema.parse({ providers: { p: entry } })).toThrow("'chat' or 'responses' must be among them")
})
