import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { call, complete } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { completionBody, replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

/**
 * A body may hold so many values, and what they cost grows with their number: with its square, each of these would hold
 * the process for a minute, and no test here would end in time.
 */
const OTHER = 'pr-other-key-0123456789abcdef'

let upstream: Upstream
let gateway: RunningGateway
beforeAll(async () => {
  const plain = replyPlain()
  upstream = await startUpstream((exchange) => {
    if (exchange.json.model !== 'thinks') return plain(exchange)
    const message = { role: 'assistant', content: 'Yes.', reasoning_content: 'and '.repeat(25_000) }
    exchange.reply(200, { ...completionBody(), choices: [{ index: 0, message, finish_reason: 'stop' }] })
  })
  const provider = { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false }
  const candidate = { price: { input: 1, output: 2 }, context_window: 10_000_000 }
  gateway = await startGateway({
    providers: { nine: provider, alternating: provider },
    dialects: {
      nine: { tool_ids: { pattern: '[a-zA-Z0-9]{9}', length: 9, unique: true } },
      alternating: { turns: { alternate: true } },
    },
    candidates: [
      { ...candidate, name: 'ids', provider: 'nine', capabilities: ['tools'] },
      { ...candidate, name: 'turns', provider: 'alternating' },
      { ...candidate, name: 'thinks', provider: 'nine', reasoning: true },
      { ...candidate, name: 'short', provider: 'nine', context_window: 2_000 },
    ],
    tenants: [
      { name: 'test', keys: ['pr-test-key-0123456789abcdef'] },
      { name: 'other', keys: [OTHER] },
    ],
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

const many = <T>(times: number, make: (index: number) => T) => Array.from({ length: times }, (_, index) => make(index))
const user = (content: unknown) => ({ role: 'user', content })
const sent = () =>
  JSON.parse(String(upstream.requests.at(-1)?.body)) as {
    messages: { content: string; tool_calls?: { id: string }[] }[]
  }

/** What the router chooses is put into the model's own terms. */
const route = (name: string, messages: unknown[]) =>
  complete(gateway, { model: 'auto', messages }, { headers: { 'x-router-allow': name } })

describe('one request, of as many as a body may hold', () => {
  test('calls of tools that all have one id', async () => {
    const calls = many(4_000, () => ({ id: 'x', type: 'function', function: { name: 'f', arguments: '{}' } }))
    const results = many(4_000, () => ({ role: 'tool', tool_call_id: 'x', content: 'ok' }))
    const messages = [user('Hi'), { role: 'assistant', content: null, tool_calls: calls }, ...results]
    expect((await route('ids', messages)).status).toBe(200)
    const [, told] = sent().messages
    expect(new Set(told?.tool_calls?.map(({ id }) => id)).size).toBe(4_000)
  })

  test('messages of one role that become one', async () => {
    const messages = many(5_000, () => user('x'.repeat(3_000)))
    expect((await route('turns', messages)).status).toBe(200)
    expect(sent().messages.map(({ content }) => content.length)).toEqual([5_000 * 3_002 - 2])
  })

  test('items of a conversation that is cut', async () => {
    const input = many(8_000, (index) => ({ role: index % 2 ? 'assistant' : 'user', content: 'some words' }))
    const body = { model: 'short', truncation: 'auto', input }
    const answer = await call(gateway, '/v1/responses', { body })
    expect([answer.status, answer.headers.get('x-router-dropped')]).toEqual([200, expect.stringContaining('input')])
    expect(sent().messages.length).toBeLessThan(1_000)
  })

  test('thoughts that a model said over and over, which come back a thousand times as small', async () => {
    const asked = { model: 'thinks', store: false, include: ['reasoning.encrypted_content'], input: 'Hi' }
    const respond = (input: unknown) => call(gateway, '/v1/responses', { body: { ...asked, input } })
    const { output } = await (await respond('Hi')).json()
    const thought = output.find(({ type }: { type: string }) => type === 'reasoning')
    expect(thought.encrypted_content.length).toBeLessThan(2_000)
    const before = upstream.requests.length
    // 800 MB, of a body of some megabytes.
    const answer = await respond([
      ...many(8_000, () => ({ type: 'reasoning', summary: [], encrypted_content: thought.encrypted_content })),
      { role: 'user', content: 'Hi' },
    ])
    expect([answer.status, (await answer.json()).error.param]).toEqual([400, 'input'])
    expect(upstream.requests.length).toBe(before)
    expect((await respond([...output, { role: 'user', content: 'Hi' }])).status).toBe(200)
  })

  test('an item that is kept, referred to over and over', async () => {
    const ask = (input: unknown) => call(gateway, '/v1/responses', { body: { model: 'thinks', input } })
    const { id } = await (await ask('x'.repeat(1_000_000))).json()
    const { data } = await (await call(gateway, `/v1/responses/${id}/input_items`)).json()
    const reference = { type: 'item_reference', id: data[0].id }
    // 8 GB, of a body of some hundred kilobytes.
    const answer = await ask(many(8_000, () => reference))
    expect(answer.status).toBe(413)
    expect((await ask([reference, reference])).status).toBe(200)
  })

  test('a kept item of many small parts, referred to or gone on from over and over', async () => {
    const respond = (body: object) => call(gateway, '/v1/responses', { body: { model: 'thinks', ...body } })
    const content = many(16_000, () => ({ type: 'input_text', text: 'a' }))
    const first = await respond({ input: [user(content)] })
    expect(first.status).toBe(200)
    const { id } = await first.json()
    const { data } = await (await call(gateway, `/v1/responses/${id}/input_items`)).json()
    const reference = { type: 'item_reference', id: data[0].id }
    expect((await respond({ input: [reference] })).status).toBe(200)
    const before = upstream.requests.length
    const refused = async (body: object) => {
      const answer = await respond(body)
      return [answer.status, (await answer.json()).error]
    }
    const error = { message: expect.stringContaining('65536 values'), param: 'input' }
    expect(await refused({ input: many(40, () => reference) })).toMatchObject([400, error])
    const next = await respond({ input: [user(content)], previous_response_id: id })
    expect(next.status).toBe(200)
    const { id: second } = await next.json()
    expect(await refused({ input: [user(content)], previous_response_id: second })).toMatchObject([
      400,
      { ...error, param: 'previous_response_id' },
    ])
    expect(upstream.requests.length).toBe(before + 1)
  })

  test('answers: each is reserved, however many are asked for', async () => {
    const limited = await startGateway({
      providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
      candidates: [{ name: 'one', provider: 'up', price: { input: 1, output: 2 } }],
      tenants: [{ name: 'test', keys: ['pr-test-key-0123456789abcdef'], limits: { usd_per_day: 1 } }],
    })
    try {
      // 128 of 1,000 tokens cost $.26; a thousand cost two dollars.
      expect((await complete(limited, { model: 'one', n: 128, max_tokens: 1_000 })).status).toBe(200)
      expect((await complete(limited, { model: 'one', n: 1_000, max_tokens: 1_000 })).status).toBe(429)
    } finally {
      await discard(limited)
    }
  })
})

test('another tenant is answered afterwards as before', async () => {
  expect((await complete(gateway, { model: 'ids' }, { key: OTHER })).status).toBe(200)
})
