import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { call, openai } from '../support/clients.ts'
import { frames, type OddAndGood, startOddAndGood } from '../support/odd-and-good.ts'
import { python } from '../support/python.ts'
import { readBy, type Said, WAYS } from '../support/read-answers.ts'
import { chunkOf, completionBody, type Script, usageChunk } from '../support/upstream.ts'

/**
 * Answers as servers were reported to give them to clients of other gateways and SDKs (owner/repo#n): the official
 * SDKs read all of it by each endpoint, streamed or not, or the next candidate answers.
 */

let both: OddAndGood
beforeAll(async () => {
  both = await startOddAndGood(({ origin }) => ({
    providers: {
      thinker: { kind: 'openai-compatible', base_url: `${origin}/v1`, key_required: false, api: ['responses'] },
    },
    candidates: [{ name: 'thinker', provider: 'thinker', price: { input: 1, output: 2 }, explore: false }],
  }))
}, 60_000)
afterAll(() => both?.close())

const SSE = { 'content-type': 'text/event-stream' }
const DONE = 'data: [DONE]\n\n'

/** The same answer whole and streamed, as the request has it. */
const either =
  (
    message: object,
    deltas: readonly object[],
    end = 'stop',
    usage: object = { prompt_tokens: 11, completion_tokens: 3 },
  ): Script =>
  (exchange) => {
    if (exchange.json.stream === true) {
      const events = [...deltas.map((delta) => chunkOf({ ...delta })), chunkOf({}, end), { ...usageChunk, usage }]
      exchange.reply(200, frames(events) + DONE, SSE)
      return
    }
    const choices = [{ index: 0, message: { role: 'assistant', content: null, ...message }, finish_reason: end }]
    exchange.reply(200, completionBody('', { choices, usage }))
  }
const stream =
  (body: string): Script =>
  (exchange) =>
    exchange.reply(200, body, SSE)

const called = (fields: object, more: object = {}) => ({
  id: 'call_1',
  type: 'function',
  ...more,
  function: { name: 'look', ...fields },
})
const look = [{ name: 'look', args: { at: 1 } }]
const bare = [{ name: 'look', args: {} }]
const role = { role: 'assistant', content: '' }
const thinking = (text: string) => ({ type: 'thinking', thinking: [{ type: 'text', text }] })
const twice = JSON.stringify('{"at":1}')

describe('by each endpoint', () => {
  const cases: [report: string, Script, Partial<Said>, tools?: string[]][] = [
    [
      'content that is a list of thoughts and texts (BerriAI/litellm#16272, epam/ai-dial-adapter-openai#395)',
      either({ content: [thinking('Hm.'), { type: 'text', text: 'Hello' }] }, [
        role,
        { content: [thinking('H')] },
        { content: [thinking('m.')] },
        { content: [{ type: 'text', text: 'Hel' }] },
        { content: 'lo' },
      ]),
      { text: 'Hello', thoughts: 'Hm.' },
    ],
    [
      'thoughts and text in one chunk (BerriAI/litellm#36327)',
      either({ content: 'Hello', reasoning_content: 'Hm.' }, [{ ...role, content: 'Hello', reasoning_content: 'Hm.' }]),
      { text: 'Hello', thoughts: 'Hm.' },
    ],
    [
      'thoughts in two fields at once (vllm-project/vllm#27755)',
      either({ content: 'Hello', reasoning_content: 'Hm.', reasoning: 'Hm.' }, [
        { ...role, reasoning_content: 'Hm.', reasoning: 'Hm.' },
        { content: 'Hello' },
      ]),
      { text: 'Hello', thoughts: 'Hm.' },
    ],
    [
      'calls without a type (vllm-project/vllm#16340, vercel/ai#12901)',
      either(
        { tool_calls: [called({ arguments: '{"at":1}' }, { type: undefined })] },
        [
          { ...role, tool_calls: [called({ arguments: '' }, { index: 0, type: undefined })] },
          { tool_calls: [{ index: 0, function: { arguments: '{"at":1}' } }] },
        ],
        'tool_calls',
      ),
      { calls: look },
      ['look'],
    ],
    [
      'calls without arguments (OpenRouterTeam/ai-sdk-provider#287)',
      either({ tool_calls: [called({})] }, [{ ...role, tool_calls: [called({}, { index: 0 })] }], 'tool_calls'),
      { calls: bare },
      ['look'],
    ],
    [
      'arguments that are null (openclaw/openclaw#72628)',
      either(
        { tool_calls: [called({ arguments: null })] },
        [{ ...role, tool_calls: [called({ arguments: null }, { index: 0 })] }],
        'tool_calls',
      ),
      { calls: bare },
      ['look'],
    ],
    [
      'arguments that are empty (Portkey-AI/gateway#1103)',
      either(
        { tool_calls: [called({ arguments: '' })] },
        [{ ...role, tool_calls: [called({ arguments: '' }, { index: 0 })] }],
        'tool_calls',
      ),
      { calls: bare },
      ['look'],
    ],
    [
      'arguments that are JSON in JSON (livekit/agents#5409, vllm-project/vllm#54964)',
      either(
        { tool_calls: [called({ arguments: twice })] },
        [{ ...role, tool_calls: [called({ arguments: twice }, { index: 0 })] }],
        'tool_calls',
      ),
      { calls: look },
      ['look'],
    ],
    [
      'function_call where tools were asked for, beside the same in tool_calls (MeetKai/functionary#156)',
      either(
        {
          tool_calls: [called({ arguments: '{"at":1}' })],
          function_call: { name: 'look', arguments: '{"at":1}' },
        },
        [
          {
            ...role,
            tool_calls: [called({ arguments: '{"at":1}' }, { index: 0 })],
            function_call: { name: 'look', arguments: '{"at":1}' },
          },
        ],
        'tool_calls',
      ),
      { calls: look },
      ['look'],
    ],
    [
      'function_call alone',
      either(
        { function_call: { name: 'look', arguments: '{"at":1}' } },
        [{ ...role, function_call: { name: 'look', arguments: '' } }, { function_call: { arguments: '{"at":1}' } }],
        'function_call',
      ),
      { calls: look },
      ['look'],
    ],
    [
      'tool_calls that are null (aws-samples/bedrock-access-gateway#21)',
      either({ content: 'Hello', tool_calls: null }, [{ ...role, content: 'Hello', tool_calls: null }]),
      { text: 'Hello', calls: [] },
    ],
    [
      'lines of JSON without data: in between, and {} for a heartbeat (QuantumNous/new-api#6798)',
      (exchange) =>
        exchange.json.stream === true
          ? exchange.reply(
              200,
              `${frames([chunkOf(role)])}{}\n\n${JSON.stringify(chunkOf({ content: 'Hel' }))}\n\n{}\n\n${JSON.stringify(chunkOf({ content: 'lo' }))}\n\n${frames([chunkOf({}, 'stop')])}${DONE}`,
              SSE,
            )
          : exchange.reply(200, completionBody('Hello')),
      { text: 'Hello' },
    ],
  ]
  describe.each(cases)('%s', (_, script, said, tools = []) => {
    test.each(WAYS)('$reader, streamed: $stream', async (way) => {
      both.odd.play(script)
      expect(await readBy(both.gateway, way, { tools })).toMatchObject(said)
    })
  })
})

describe('counts', () => {
  test.each([true, false])('as texts (BerriAI/litellm#39618), streamed: %s', async (streamed) => {
    both.odd.play(
      either({ content: 'Hello' }, [{ ...role, content: 'Hello' }], 'stop', {
        prompt_tokens: '1200',
        completion_tokens: '30',
        total_tokens: '1230',
      }),
    )
    const body = { model: 'auto', input: 'Hi', stream: streamed, store: false }
    const text = await (await call(both.gateway, '/v1/responses', { body })).text()
    expect(text).toMatch(/"input_tokens":1200\b/)
    expect(text).toMatch(/"output_tokens":30\b/)
  })

  test('the first event of a streamed message tells the prompt’s (vercel/ai#17326, router-for-me/CLIProxyAPI#747)', async () => {
    both.odd.play(either({ content: 'Hello' }, [{ ...role, content: 'Hello' }]))
    const body = { model: 'auto', max_tokens: 9, stream: true, messages: [{ role: 'user', content: 'Hi there' }] }
    const text = await (await call(both.gateway, '/v1/messages', { body })).text()
    expect(text).toMatch(/"type":"message_start".*"input_tokens":[1-9]/)
  })
})

describe('frames', () => {
  const events = [chunkOf({ ...role, content: 'Hel' }), chunkOf({ content: 'lo' }), chunkOf({}, 'stop')]
  const [first = '', second = '', third = ''] = events.map((event) => `data: ${JSON.stringify(event)}\n\n`)
  const odd: [report: string, body: string, text?: string][] = [
    ['a comment after an id (theopenco/llmgateway#2334)', `id: 1\n${first}: ping\n\n${second}${third}${DONE}`],
    ['retry alone (openai/openai-python#3833)', `retry: 1000\n\n${first}${second}${third}${DONE}`],
    ['id and event alone', `id: 7\n\nevent: ping\n\n${first}${second}${third}${DONE}`],
    [
      'empty data (openai/openai-go#651, openclaw/openclaw#52679)',
      `${first}data:\n\n${second}data: \n\n${third}${DONE}`,
    ],
    [
      'a named ping with empty data (caozhiyuan/copilot-api#88)',
      `${first}event: ping\ndata: \n\n${second}${third}${DONE}`,
    ],
    [
      'halves of a character (elizaOS/eliza#30904, Kohaku-Lab/KohakuTerrarium#48)',
      first.replace('Hel', 'Hel\\ud83d') + second.replace('lo', '\\ude00lo') + third + DONE,
      'Hel😀lo',
    ],
    ['data that is null or a word', `${first}data: null\n\n${second}data: "ping"\n\n${third}${DONE}`],
  ]
  test.each(odd)('%s: the official SDK for Node', async (_, body, text = 'Hello') => {
    both.odd.play(stream(body))
    expect(await readBy(both.gateway, { reader: 'chat', stream: true })).toMatchObject({ text })
  })
  test.each(odd)('%s: the official SDK for Python', async (_, body, text = 'Hello') => {
    both.odd.play(stream(body))
    const { stdout, stderr } = await python('-c', PYTHON, both.gateway.baseURL, both.gateway.key)
    expect(stdout.trim() || stderr).toBe(text)
  })

  test.each([
    ['first', ''],
    ['later', first],
  ])('an error in words where JSON should be, %s (lucasjinreal/Crane#121)', async (_, before) => {
    both.odd.play(stream(`${before}data: error: CUDA out of memory\n\n`))
    const got = await readBy(both.gateway, { reader: 'chat', stream: true }).then(
      ({ text }) => text,
      (error) => error.constructor.name,
    )
    // Nothing had been told yet, or an error that the SDK raises as its own.
    expect(before === '' ? ['good'] : ['good', 'APIError']).toContain(got)
  })

  test('an error status with an event stream as its body (DeliciousBuding/new-api#142)', async () => {
    both.odd.play((exchange) =>
      exchange.reply(400, 'event:error\ndata:{"code":"InvalidParameter","message":"Too hot for you"}\n\n', SSE),
    )
    const client = openai(both.gateway, { maxRetries: 0 })
    const asked = { model: 'odd', messages: [{ role: 'user' as const, content: 'Hi' }] }
    await expect(client.chat.completions.create(asked)).rejects.toThrow('Too hot for you')
  })
})

const PYTHON = `
import sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
stream = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Hi"}], stream=True)
print("".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk and chunk.choices))
`

test.each([true, false])(
  'thoughts told by the Responses API as such (BerriAI/litellm#40654), streamed: %s',
  async (streamed) => {
    const reasoning = { id: 'rs_1', type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'Hm.' }] }
    const message = {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      status: 'completed',
      content: [{ type: 'output_text', text: 'Hello', annotations: [] }],
    }
    const response = { id: 'resp_1', object: 'response', model: 'm', status: 'completed', output: [reasoning, message] }
    const at = { output_index: 0, item_id: 'rs_1', content_index: 0 }
    both.odd.play((exchange) =>
      exchange.json.stream === true
        ? exchange.reply(
            200,
            frames([
              { type: 'response.created', response: { ...response, status: 'in_progress', output: [] } },
              { type: 'response.output_item.added', output_index: 0, item: { ...reasoning, content: [] } },
              { type: 'response.reasoning_text.delta', ...at, delta: 'Hm' },
              { type: 'response.reasoning_text.delta', ...at, delta: '.' },
              { type: 'response.reasoning_text.done', ...at, text: 'Hm.' },
              { type: 'response.output_item.done', output_index: 0, item: reasoning },
              { type: 'response.output_item.added', output_index: 1, item: { ...message, content: [] } },
              {
                type: 'response.output_text.delta',
                output_index: 1,
                item_id: 'msg_1',
                content_index: 0,
                delta: 'Hello',
              },
              { type: 'response.output_item.done', output_index: 1, item: message },
              { type: 'response.completed', response },
            ]),
            SSE,
          )
        : exchange.reply(200, response),
    )
    const said = await readBy(both.gateway, { reader: 'chat', stream: streamed }, { model: 'thinker' })
    expect(said).toMatchObject({ text: 'Hello', thoughts: 'Hm.' })
  },
)

test('legacy completions: each chunk has a text (BerriAI/litellm#12375)', async () => {
  both.odd.play(
    either({ content: 'Hello' }, [{ role: 'assistant', content: null, reasoning_content: 'Hm' }, { content: 'Hello' }]),
  )
  const client = openai(both.gateway, { maxRetries: 0 })
  let text = ''
  for await (const { choices } of await client.completions.create({ model: 'auto', prompt: 'Hi', stream: true }))
    for (const choice of choices) text += choice.text
  expect(text).toBe('Hello')
})

describe('thoughts under the name that a client reads (Blaizzy/mlx-vlm#1408, esengine/DeepSeek-Reasonix#5901)', () => {
  const asked = (stream: boolean, field?: string) =>
    call(both.gateway, '/v1/chat/completions', {
      body: { model: 'auto', messages: [{ role: 'user', content: 'Hi' }], stream },
      headers: field === undefined ? {} : { 'x-router-thoughts': field },
    })
  test.each([true, false])('streamed: %s', async (streamed) => {
    both.odd.play(
      either({ content: 'Hello', reasoning: 'Hm.' }, [
        role,
        { reasoning: 'H' },
        { reasoning: 'm.' },
        { content: 'Hello' },
        { reasoning: '!' },
      ]),
    )
    expect(await (await asked(streamed)).text()).not.toContain('reasoning_content')
    expect(await (await asked(streamed, 'reasoning')).text()).not.toContain('reasoning_content')
    const text = await (await asked(streamed, 'reasoning_content')).text()
    const told = [...text.matchAll(/"reasoning_content":"([^"]*)"/g)].map(([, one]) => one)
    expect(told.join('')).toBe(streamed ? 'Hm.!' : 'Hm.')
    expect(text.match(/"reasoning":/g)).toHaveLength(told.length)
  })

  test('another name is refused', async () => {
    const response = await asked(false, 'thoughts')
    expect([response.status, (await response.json()).error.param]).toEqual([400, 'x-router-thoughts'])
  })
})
