import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { call, openai } from '../support/clients.ts'
import { answering, frames, type OddAndGood, startOddAndGood } from '../support/odd-and-good.ts'
import { readBy, type Said, WAYS } from '../support/read-answers.ts'
import { chunkOf, completionBody, type Exchange, type Script, usageChunk } from '../support/upstream.ts'

/**
 * Answers as servers were reported to give them (owner/repo#n): calls told in odd pieces, counts in odd places, streams
 * of other formats with parts left out. The official SDKs read all of it by each endpoint, or the next one answers.
 */

let both: OddAndGood
beforeAll(async () => {
  both = await startOddAndGood(({ origin }) => ({
    providers: {
      thinker: { kind: 'openai-compatible', base_url: `${origin}/v1`, key_required: false, api: ['responses'] },
      anthropic: { kind: 'anthropic', base_url: `${origin}/v1`, key_required: false },
    },
    candidates: ['thinker', 'anthropic'].map((provider) => ({
      name: provider,
      provider,
      price: { input: 1, output: 2 },
      capabilities: ['tools'],
      explore: false,
    })),
    timeouts: { ending_ms: 300, content_idle_ms: 60_000, comments_ms: 60_000 },
    embeddings: [{ name: 'embed', provider: 'odd', price: { input: 1 } }],
  }))
}, 60_000)
afterAll(() => both?.close())

const SSE = { 'content-type': 'text/event-stream' }
const DONE = 'data: [DONE]\n\n'
const role = { role: 'assistant', content: '' }
const ask = [{ role: 'user' as const, content: 'Hi' }]

/** A stream of these deltas; to a request that is none, the whole answer. */
const told =
  (deltas: readonly object[], message: object, end = 'stop', choice: object = {}, usage: object = {}): Script =>
  (exchange) => {
    const counts = { prompt_tokens: 11, completion_tokens: 3, ...usage }
    if (exchange.json.stream !== true) {
      const choices = [
        { index: 0, message: { role: 'assistant', content: null, ...message }, finish_reason: end, ...choice },
      ]
      exchange.reply(200, completionBody('', { choices, usage: counts }))
      return
    }
    const last = chunkOf({}, end)
    const events = [
      chunkOf(role),
      ...deltas.map((delta) => chunkOf({ ...delta })),
      { ...last, choices: last.choices.map((one) => ({ ...one, ...choice })) },
      { ...usageChunk, usage: counts },
    ]
    exchange.reply(200, frames(events) + DONE, SSE)
  }

const named = (name: string | undefined, args: string, more: object = {}) => ({
  ...more,
  function: { ...(name !== undefined && { name }), arguments: args },
})
const first = { index: 0, id: 'call_1', type: 'function' }
const look = [{ name: 'look', args: { at: 1 } }]
const seen = [...look, { name: 'see', args: { at: 2 } }]
const whole = (...calls: [name: string, args: string][]) => ({
  tool_calls: calls.map(([name, args], at) => ({
    id: `call_${at + 1}`,
    type: 'function',
    function: { name, arguments: args },
  })),
})
const lookWhole = whole(['look', '{"at":1}'])

/** A whole item of text, as the Responses API has it. */
const text = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  status: 'completed',
  content: [{ type: 'output_text', text: 'Hello', annotations: [] }],
}

describe('calls', () => {
  const pieces = (...calls: object[]) => calls.map((one) => ({ tool_calls: [one] }))
  const cases: [report: string, Script, Partial<Said>, tools: string[]][] = [
    [
      'the name again with each piece (NousResearch/hermes-agent#11984, weicj/vLLM-2080Ti-Definitive#127)',
      told(
        pieces(
          named('look', '', first),
          named('look', '{"at"', { index: 0 }),
          named('look', ':1}', { index: 0 }),
          named('look', '', { index: 0 }),
        ),
        lookWhole,
        'tool_calls',
      ),
      { calls: look },
      ['look'],
    ],
    [
      'the name in pieces (continuedev/continue#5849)',
      told(
        pieces(named('lo', '', first), named('ok', '', { index: 0 }), named(undefined, '{"at":1}', { index: 0 })),
        lookWhole,
        'tool_calls',
      ),
      { calls: look },
      ['look'],
    ],
    [
      'all arguments again at the end (lidge-jun/opencodex#361)',
      told(
        pieces(
          named('look', '', first),
          named(undefined, '{"at":1}', { index: 0 }),
          named(undefined, '{"at":1}', { index: 0 }),
        ),
        lookWhole,
        'tool_calls',
      ),
      { calls: look },
      ['look'],
    ],
    [
      'places that begin at 1 (aws-samples/bedrock-access-gateway#134, labring/FastGPT#5811)',
      told(
        pieces(
          named('look', '', { ...first, index: 1 }),
          named(undefined, '{"at":1}', { index: 1 }),
          named('see', '{"at":2}', { index: 2, id: 'call_2', type: 'function' }),
        ),
        whole(['look', '{"at":1}'], ['see', '{"at":2}']),
        'tool_calls',
      ),
      { calls: seen },
      ['look', 'see'],
    ],
    [
      'a place, then none (vercel/ai#18333)',
      told(pieces(named('look', '{"at"', { ...first, index: 7 }), named(undefined, ':1}')), lookWhole, 'tool_calls'),
      { calls: look },
      ['look'],
    ],
    [
      'arguments before the name (StacDev/flow_ui#45)',
      told(
        pieces({ index: 0, function: { arguments: '{"at"' } }, named('look', ':1}', first)),
        lookWhole,
        'tool_calls',
      ),
      { calls: look },
      ['look'],
    ],
    [
      'text and calls in one piece (earendil-works/pi#4228)',
      told(
        [{ content: 'So', tool_calls: [named('look', '{"at":1}', first)] }],
        { content: 'So', ...lookWhole },
        'tool_calls',
      ),
      { text: 'So', calls: look },
      ['look'],
    ],
  ]
  describe.each(cases)('%s', (_, script, said, tools) => {
    test.each(WAYS)('$reader, streamed: $stream', async (way) => {
      both.odd.play(script)
      expect(await readBy(both.gateway, way, { tools })).toMatchObject(said)
    })
  })

  test.each(['chat', 'responses', 'messages'] as const)(
    'text in one choice, calls in the next, neither with an index: %s (SecretiveShell/MCP-Bridge#48)',
    async (reader) => {
      const choices = [
        { finish_reason: 'tool_calls', message: { role: 'assistant', content: 'So' } },
        { finish_reason: 'tool_calls', message: { role: 'assistant', ...lookWhole } },
      ]
      both.odd.play((exchange) => exchange.reply(200, completionBody('', { choices })))
      const said = await readBy(both.gateway, { reader, stream: false }, { tools: ['look'] })
      expect(said).toMatchObject({ text: 'So', calls: look })
    },
  )
})

describe('an answer of nothing is none: the next answers', () => {
  const nothing = told([], { content: null })
  test.each(WAYS)(
    '$reader, streamed: $stream (sipeed/picoclaw#2983, zeroclaw-labs/zeroclaw#7061, earendil-works/pi#8462)',
    async (way) => {
      both.odd.play(nothing)
      expect(await readBy(both.gateway, way)).toMatchObject({ text: 'good' })
    },
  )

  test('where nobody says more, it is the answer', async () => {
    both.odd.play(nothing)
    expect(await readBy(both.gateway, { reader: 'chat', stream: false }, { model: 'odd' })).toMatchObject({ text: '' })
    expect(await readBy(both.gateway, { reader: 'chat', stream: true }, { model: 'odd' })).toMatchObject({ text: '' })
  })
})

describe('nothing is missing, and no goodbye comes: the stream ends soon, and is whole', () => {
  const events = (...all: object[]) => frames(all)
  const said = events(chunkOf({ ...role, content: 'Hello' }), chunkOf({}, 'stop'))
  const bare = { ...first, function: { name: 'look' } }
  const open: [report: string, body: string, Partial<Said>, isAlive: boolean][] = [
    ['silence (musistudio/claude-code-router#1271)', said, { text: 'Hello' }, false],
    ['heartbeats go on (maximhq/bifrost#6784)', said, { text: 'Hello' }, true],
    [
      'a call without arguments',
      events(chunkOf({ ...role, tool_calls: [bare] }), chunkOf({}, 'tool_calls')),
      { calls: [{ name: 'look', args: {} }] },
      true,
    ],
  ]
  describe.each(open)('%s', (_, body, whole, isAlive) => {
    test.each(['chat', 'responses', 'messages'] as const)('%s', async (reader) => {
      both.odd.play(async (exchange) => {
        exchange.stream()
        exchange.chunk(body)
        if (isAlive) await exchange.every(50, () => exchange.chunk(': alive\n\n'))
        else await exchange.closed
      })
      expect(await readBy(both.gateway, { reader, stream: true }, { tools: ['look'] })).toMatchObject(whole)
    })
  })

  test('what the Responses API tells as completed is over (Wei-Shaw/sub2api#6473)', async () => {
    const response = { id: 'resp_1', object: 'response', model: 'm', status: 'completed', output: [text] }
    both.odd.play(async (exchange) => {
      exchange.stream()
      const delta = { output_index: 0, item_id: 'msg_1', content_index: 0, delta: 'Hello' }
      exchange.chunk(events({ type: 'response.created', response: { ...response, status: 'in_progress', output: [] } }))
      exchange.chunk(events({ type: 'response.output_item.added', output_index: 0, item: { ...text, content: [] } }))
      const part = { type: 'output_text', text: '', annotations: [] }
      exchange.chunk(events({ type: 'response.content_part.added', ...delta, delta: undefined, part }))
      exchange.chunk(events({ type: 'response.output_text.delta', ...delta }))
      exchange.chunk(events({ type: 'response.output_item.done', output_index: 0, item: text }))
      exchange.chunk(events({ type: 'response.completed', response }))
      await exchange.closed
    })
    const way = { reader: 'responses', stream: true } as const
    expect(await readBy(both.gateway, way, { model: 'thinker' })).toMatchObject({ text: 'Hello' })
  })
})

describe('counts', () => {
  const messages = async (stream: boolean) => {
    const client = new Anthropic({ baseURL: both.gateway.url, apiKey: both.gateway.key, maxRetries: 0 })
    const asked = { model: 'auto', max_tokens: 99, messages: ask, stop_sequences: ['END'] }
    return stream ? client.messages.stream(asked).finalMessage() : client.messages.create(asked)
  }

  test.each([true, false])(
    'what DeepSeek’s cache held is told apart, streamed: %s (ithtelab/workbuddy-manager#39, BerriAI/litellm#31069)',
    async (stream) => {
      const usage = { prompt_tokens: 1_204, prompt_cache_hit_tokens: 1_024, prompt_cache_miss_tokens: 180 }
      both.odd.play(told([{ content: 'Hello' }], { content: 'Hello' }, 'stop', {}, usage))
      expect((await messages(stream)).usage).toMatchObject({ input_tokens: 180, cache_read_input_tokens: 1_024 })
      both.odd.play(told([{ content: 'Hello' }], { content: 'Hello' }, 'stop', {}, usage))
      const { responses } = openai(both.gateway, { maxRetries: 0 })
      const asked = { model: 'auto', input: 'Hi', store: false }
      const response = stream ? await responses.stream(asked).finalResponse() : await responses.create(asked)
      expect(response.usage).toMatchObject({ input_tokens: 1_204, input_tokens_details: { cached_tokens: 1_024 } })
    },
  )

  test.each([
    ['vLLM', { stop_reason: 'END' }],
    ['SGLang', { matched_stop: 'END' }],
  ])('%s names the sequence that it stopped at (agentgateway/agentgateway#3283)', async (_, choice) => {
    for (const stream of [true, false]) {
      both.odd.play(told([{ content: 'Hello' }], { content: 'Hello' }, 'stop', choice))
      expect(await messages(stream)).toMatchObject({ stop_reason: 'stop_sequence', stop_sequence: 'END' })
    }
  })

  const event = (type: string, fields: object) => `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`
  const claude = (start: object, end: object) =>
    [
      event('message_start', {
        message: { id: 'msg_1', type: 'message', role: 'assistant', model: 'c', content: [], ...start },
      }),
      event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
      event('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'Hello' } }),
      event('content_block_stop', { index: 0 }),
      event('message_delta', { delta: { stop_reason: 'end_turn' }, ...end }),
      event('message_stop', {}),
    ].join('')
  const cached = { input_tokens: 2, cache_read_input_tokens: 3_604, cache_creation_input_tokens: 0, output_tokens: 8 }
  test.each([
    ['nothing in the first event (api7/aisix#712)', claude({}, { usage: cached })],
    [
      'of the cache in the last alone (jeremychone/rust-genai#258)',
      claude({ usage: { input_tokens: 2, output_tokens: 0 } }, { usage: cached }),
    ],
    [
      'again and again, each time of all (envoyproxy/ai-gateway#2239)',
      claude({ usage: { ...cached, output_tokens: 1 } }, { usage: cached }),
    ],
  ])('Claude tells %s', async (_, body) => {
    both.odd.play((exchange) => exchange.reply(200, body, SSE))
    const stream = await openai(both.gateway, { maxRetries: 0 }).chat.completions.create({
      model: 'anthropic',
      messages: ask,
      stream: true,
      stream_options: { include_usage: true },
    })
    let usage: OpenAI.CompletionUsage | null | undefined
    for await (const chunk of stream) usage = chunk.usage ?? usage
    expect(usage).toMatchObject({ prompt_tokens: 3_606, completion_tokens: 8 })
    expect(usage?.prompt_tokens_details).toMatchObject({ cached_tokens: 3_604 })
  })

  test.each(['before', 'behind'])(
    'Claude is overloaded, told in the stream %s the first word (envoyproxy/ai-gateway#2697, use-agent-os/agent-os#2118)',
    async (where) => {
      const error = event('error', { error: { type: 'overloaded_error', message: 'Overloaded', details: null } })
      const [start = '', begun = '', said = ''] = claude({}, {}).split(/(?<=\n\n)/)
      const body = where === 'before' ? start + error : start + begun + said + error
      both.odd.play(async (exchange: Exchange) => {
        exchange.stream()
        exchange.chunk(body.slice(0, -error.length))
        await exchange.sleep(where === 'before' ? 0 : 50)
        exchange.chunk(error)
        exchange.end()
      })
      const read = readBy(both.gateway, { reader: 'chat', stream: true }, { model: 'anthropic' })
      const caught = await read.catch((error) => error)
      expect(caught).toBeInstanceOf(OpenAI.APIError)
      expect(caught.message).toMatch(/Overloaded|529/)
    },
  )
})

describe('the Responses API, told with less', () => {
  const response = (more: object) => ({ id: 'resp_1', object: 'response', model: 'm', status: 'in_progress', ...more })
  const made = { id: 'fc_1', type: 'function_call', call_id: 'call_1', name: 'look', arguments: '{"at":1}' }
  const created = { type: 'response.created', response: response({ output: [] }) }
  const added = { type: 'response.output_item.added', output_index: 1, item: { ...made, arguments: '' } }
  const streams: [report: string, events: object[]][] = [
    [
      'nothing in the last event but the id (PwnKit-Labs/pwnkit#331)',
      [
        created,
        { type: 'response.output_item.done', output_index: 0, item: text },
        { type: 'response.output_item.done', output_index: 1, item: { ...made, status: 'completed' } },
        { type: 'response.completed', response: { id: 'resp_1', usage: { input_tokens: 1, output_tokens: 2 } } },
      ],
    ],
    [
      'arguments once they are whole, never in pieces (lidge-jun/opencodex#4652)',
      [
        created,
        { type: 'response.output_item.added', output_index: 0, item: { ...text, content: [] } },
        { type: 'response.output_text.delta', output_index: 0, item_id: 'msg_1', content_index: 0, delta: 'Hello' },
        { type: 'response.output_item.done', output_index: 0, item: text },
        added,
        {
          type: 'response.function_call_arguments.done',
          output_index: 1,
          item_id: 'fc_1',
          arguments: made.arguments,
        },
        { type: 'response.output_item.done', output_index: 1, item: { ...made, status: 'completed' } },
        { type: 'response.completed', response: response({ status: 'completed', output: [text, made] }) },
      ],
    ],
    [
      'a call without a status (router-for-me/CLIProxyAPI#5851)',
      [
        created,
        { type: 'response.output_text.delta', output_index: 0, item_id: 'msg_1', content_index: 0, delta: 'Hello' },
        added,
        {
          type: 'response.function_call_arguments.delta',
          output_index: 1,
          item_id: 'fc_1',
          delta: made.arguments,
        },
        { type: 'response.output_item.done', output_index: 1, item: made },
        { type: 'response.completed', response: response({ status: 'completed', output: [text, made] }) },
      ],
    ],
    [
      'whole items at the end alone',
      [created, { type: 'response.completed', response: response({ status: 'completed', output: [text, made] }) }],
    ],
  ]
  describe.each(streams)('%s', (_, events) => {
    test.each(['chat', 'messages'] as const)('%s', async (reader) => {
      const body = events
        .map((event) => `event: ${(event as { type: string }).type}\ndata: ${JSON.stringify(event)}\n\n`)
        .join('')
      both.odd.play((exchange) => exchange.reply(200, body, SSE))
      const said = await readBy(both.gateway, { reader, stream: true }, { model: 'thinker', tools: ['look'] })
      expect(said).toMatchObject({ text: 'Hello', calls: look })
    })
  })

  test('what is made of a chat holds what Codex asks of it (Oaklight/llm-rosetta#56)', async () => {
    both.odd.play(told([{ content: 'Hello' }, { tool_calls: [named('look', '{"at":1}', first)] }], {}, 'tool_calls'))
    const asked = {
      model: 'auto',
      input: 'Hi',
      store: false,
      stream: true,
      tools: [{ type: 'function', name: 'look', parameters: { type: 'object', properties: {} } }],
    }
    const sent = await (await call(both.gateway, '/v1/responses', { body: asked })).text()
    const events = [...sent.matchAll(/^data: (\{.*)$/gm)].map(([, data]) => JSON.parse(data as string))
    const of = (type: string) => events.filter((event) => event.type === type)
    expect(of('response.completed')[0]?.response).toMatchObject({
      id: expect.stringMatching(/./),
      object: 'response',
      model: expect.stringMatching(/./),
      output: [{ type: 'message' }, { type: 'function_call' }],
    })
    expect(of('response.output_text.delta')[0]).toMatchObject({ output_index: 0, content_index: 0 })
    expect(of('response.content_part.done')).toHaveLength(1)
    expect(of('response.output_item.done').map(({ item }) => item.status)).toEqual(['completed', 'completed'])
  })
})

test('chunks with an id each are one answer (raullenchai/Rapid-MLX#461)', async () => {
  const chunks = ['Hel', 'lo'].map((content, at) => ({ ...chunkOf({ content }), id: `cmpl-${at}` }))
  both.odd.play((exchange) =>
    exchange.reply(200, frames([...chunks, { ...chunkOf({}, 'stop'), id: 'cmpl-9' }]) + DONE, SSE),
  )
  const ids = new Set<string>()
  const stream = await openai(both.gateway).chat.completions.create({ model: 'auto', messages: ask, stream: true })
  for await (const { id } of stream) ids.add(id)
  expect([...ids]).toEqual(['cmpl-0'])
})

describe('embeddings', () => {
  const vectors = (...data: object[]): Script => {
    const rows = data.map((row) => ({ object: 'embedding', ...row }))
    return (exchange) =>
      exchange.reply(200, { object: 'list', model: 'e', data: rows, usage: { prompt_tokens: 2, total_tokens: 2 } })
  }
  const embed = () =>
    openai(both.gateway, { maxRetries: 0 }).embeddings.create({ model: 'embed', input: ['one', 'two'] })

  test('in another order (getzep/graphiti#1732, openclaw/openclaw#129227)', async () => {
    both.odd.play(vectors({ index: 1, embedding: [2] }, { index: 0, embedding: [1] }))
    expect((await embed()).data.map(({ index, embedding }) => [index, embedding])).toEqual([
      [0, [1]],
      [1, [2]],
    ])
  })

  test('without their places (doobidoo/mcp-memory-service#612)', async () => {
    both.odd.play(vectors({ embedding: [1] }, { embedding: [2] }))
    expect((await embed()).data.map(({ index, embedding }) => [index, embedding])).toEqual([
      [0, [1]],
      [1, [2]],
    ])
  })

  test.each([
    ['fewer than inputs (smaramwbc/statewave#225)', vectors({ index: 0, embedding: [1] })],
    ['one without numbers', vectors({ index: 0, embedding: [1] }, { index: 1 })],
    [
      'an error in their place (mem0ai/mem0#4151)',
      (exchange: Exchange) => exchange.reply(200, { error: { message: 'No embedding data received' } }),
    ],
  ])('%s: an error, not an answer', async (_, script) => {
    both.odd.play(script)
    await expect(embed()).rejects.toBeInstanceOf(OpenAI.APIError)
  })
})

test('the good one is well', async () => {
  both.odd.play(answering('odd'))
  expect(await readBy(both.gateway, { reader: 'chat', stream: true })).toMatchObject({ text: 'odd' })
})
