import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { call } from '../../support/clients.ts'
import { eventually } from '../../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../../support/gateway.ts'
import { type Json, readEvents } from '../../support/responses-spec.ts'
import {
  completionBody,
  type Exchange,
  replyPlain,
  replyStream,
  startUpstream,
  type Upstream,
} from '../../support/upstream.ts'

/**
 * A provider that speaks the Responses format itself (`n1`, `n2`), and one behind chat completions (`c1`). The native
 * one refuses what OpenAI refuses: ids of responses and items that it did not make, and thoughts that it can't open.
 */
let gateway: RunningGateway
let upstream: Upstream
let chats: Upstream
let made = 0
/** How many of its responses the provider has lost. */
let lost = 0
const forget = () => {
  lost = made
}

const response = (body: Json): Json => ({
  id: `resp_native${++made}`,
  object: 'response',
  created_at: 1_750_000_000,
  status: 'completed',
  error: null,
  incomplete_details: null,
  model: body.model,
  output: [
    { type: 'web_search_call', id: `ws_native${made}`, status: 'completed' },
    { type: 'reasoning', id: `rs_native${made}`, summary: [], encrypted_content: `real-${body.model}` },
    {
      type: 'message',
      id: `msg_native${made}`,
      status: 'completed',
      role: 'assistant',
      content: [{ type: 'output_text', text: 'Found it.', annotations: [] }],
    },
  ],
  usage: {
    input_tokens: 30,
    input_tokens_details: { cached_tokens: 10 },
    output_tokens: 7,
    output_tokens_details: { reasoning_tokens: 4 },
    total_tokens: 37,
  },
  store: body.store ?? true,
})

function native(exchange: Exchange): void {
  if (exchange.request.path.endsWith('/chat/completions')) {
    replyPlain(500, { error: { message: 'this model is for responses alone' } })(exchange)
    return
  }
  const body = exchange.json as Json
  const text = exchange.request.body.toString()
  const own = new Set(Array.from({ length: made }, (_, i) => `native${i + 1}`).slice(lost))
  const refuse = (message: string, code: string) =>
    exchange.reply(400, { error: { message, type: 'invalid_request_error', param: 'input', code } })
  const foreign = (id: unknown) => typeof id === 'string' && !own.has(id.replace(/^[a-z]+_/, ''))
  if (body.previous_response_id && foreign(body.previous_response_id)) {
    refuse('Previous response not found.', 'previous_response_not_found')
    return
  }
  const items: Json[] = Array.isArray(body.input) ? body.input : []
  if (items.some(({ type, id }) => type === 'item_reference' && foreign(id))) {
    refuse('Item not found.', 'item_not_found')
    return
  }
  if (items.some((item) => item.type === 'reasoning' && item.encrypted_content !== `real-${body.model}`)) {
    refuse('The encrypted content could not be verified.', 'invalid_encrypted_content')
    return
  }
  if (text.includes('refuse please')) {
    refuse('That is odd.', 'odd')
    return
  }
  if (text.includes('fail please')) {
    exchange.reply(500, { error: { message: 'broken' } })
    return
  }
  const answer = response(body)
  if (body.stream !== true) {
    exchange.reply(200, answer, { 'openai-processing-ms': '3' })
    return
  }
  const events = [
    { type: 'response.created', response: { ...answer, status: 'in_progress', output: [], usage: null } },
    { type: 'response.in_progress', response: { ...answer, status: 'in_progress', output: [], usage: null } },
    { type: 'response.output_item.added', output_index: 0, item: answer.output[0] },
    { type: 'response.web_search_call.searching', output_index: 0, item_id: answer.output[0].id },
    { type: 'response.output_item.done', output_index: 0, item: answer.output[0] },
    { type: 'response.output_text.delta', output_index: 2, item_id: answer.output[2].id, delta: 'Found it.' },
  ]
  exchange.stream()
  for (const [i, event] of events.entries()) send(exchange, event, i)
  if (text.includes('break please')) {
    exchange.reset()
    return
  }
  if (text.includes('fail later')) {
    send(
      exchange,
      {
        type: 'response.failed',
        response: { ...answer, status: 'failed', error: { code: 'server_error', message: 'no' } },
      },
      6,
    )
  } else send(exchange, { type: 'response.completed', response: answer }, 6)
  exchange.end()
}

const send = (exchange: Exchange, event: Json, sequence_number: number) =>
  exchange.chunk(`event: ${event.type}\ndata: ${JSON.stringify({ ...event, sequence_number })}\n\n`)

beforeAll(async () => {
  upstream = await startUpstream(native)
  chats = await startUpstream(replyPlain())
  const price = { input: 1, output: 2 }
  gateway = await startGateway({
    providers: {
      openai: {
        kind: 'openai-compatible',
        base_url: `${upstream.origin}/v1`,
        api_key: 'sk-native-key-0123',
        api: ['chat', 'responses'],
      },
      chats: { kind: 'openai-compatible', base_url: `${chats.origin}/v1`, api_key: 'sk-chats-key-0123' },
    },
    candidates: [
      { name: 'c1', provider: 'chats', price, groups: ['default', 'mixed'] },
      { name: 'n1', provider: 'openai', price, groups: ['default', 'mixed', 'native'] },
      { name: 'n2', provider: 'openai', price, groups: ['default', 'native'] },
    ],
    retries: { max_attempts: 3, backoff_ms: 1, breaker: { failures: 1_000 } },
    router: { sticky: { enabled: true }, explore: false },
  })
})
beforeEach(() => chats.play((exchange) => (exchange.json.stream ? replyStream() : replyPlain())(exchange)))
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
  await chats?.close()
})

async function ask(body: Json, headers: Record<string, string> = {}) {
  const answer = await call(gateway, '/v1/responses', { user: 'ann', headers, body })
  const text = await answer.text()
  return { status: answer.status, headers: answer.headers, text, by: answer.headers.get('x-router-model') }
}

const lastSent = (to = upstream) => JSON.parse(to.requests.at(-1)!.body.toString()) as Json

test('the bytes go through as they are, both ways, but for the model', async () => {
  const body =
    '{ "model":"n1", "input":"Hi" ,"tools":[{"type":"web_search"}],"seed":12345678901234567890,"include":["reasoning.encrypted_content"],"unknown":{"a":[1.0]}}'
  const answer = await call(gateway, '/v1/responses', { user: 'ann', body })
  const text = await answer.text()
  expect(answer.status).toBe(200)
  expect(upstream.requests.at(-1)?.path).toBe('/v1/responses')
  expect(upstream.requests.at(-1)?.body.toString()).toBe(body)
  expect(upstream.requests.at(-1)?.headers.authorization).toBe('Bearer sk-native-key-0123')
  expect(JSON.parse(text)).toMatchObject({ id: `resp_native${made}`, output: [{}, {}, { id: `msg_native${made}` }] })
  expect(answer.headers.get('openai-processing-ms')).toBe('3')
  expect(answer.headers.get('x-router-dropped')).toBeNull()
  expect(Number(answer.headers.get('x-router-cost-usd'))).toBeGreaterThan(0)
})

test('so they do streamed', async () => {
  const { text, status } = await ask({ model: 'n1', input: 'Hi', stream: true })
  expect(status).toBe(200)
  const events = readEvents(text)
  expect(events.map(({ event }) => event)).toContain('response.web_search_call.searching')
  expect(events.at(-1)?.data.response.id).toBe(`resp_native${made}`)
})

test('usage, finish and the provider’s id are recorded, and feedback finds them by it', async () => {
  for (const stream of [false, true]) {
    const { headers } = await ask({ model: 'n1', input: 'Hi', stream })
    const feedback = await call(gateway, '/v1/feedback', {
      user: 'ann',
      body: { completion_id: `resp_native${made}`, rating: 'up' },
    })
    expect(feedback.status).toBe(202)
    expect((await feedback.json()).interaction_id).toBe(headers.get('x-request-id'))
    const record = await eventually(async () => {
      const profile = await (await call(gateway, '/v1/users/ann/profile')).json()
      return profile.interactions.find(({ id }: Json) => id === headers.get('x-request-id'))
    }, 'the record')
    expect(record).toMatchObject({
      chosen: 'n1',
      status: 200,
      finishReason: 'stop',
      usageEstimated: false,
      usage: { promptTokens: 30, completionTokens: 7, cachedTokens: 10, reasoningTokens: 4 },
      completionId: `resp_native${made}`,
    })
  }
})

describe('a hosted tool', () => {
  test('goes to a candidate that has it, however good the others are', async () => {
    for (let i = 0; i < 5; i++) {
      const { by, headers } = await ask({
        model: 'auto:mixed',
        input: `Search for ${i}`,
        tools: [{ type: 'web_search' }],
      })
      expect(by).toBe('n1')
      expect(headers.get('x-router-dropped')).toBeNull()
    }
  })

  test('is left out, and told, where the provider that has it is away', async () => {
    const asked = { model: 'auto:mixed', input: 'fail please', tools: [{ type: 'web_search' }] }
    const { by, status, headers } = await ask(asked)
    expect([status, by]).toEqual([200, 'c1'])
    expect(headers.get('x-router-reason')).toMatch(/^fallback/)
    expect(headers.get('x-router-dropped')).toBe('tools.web_search')
    expect(lastSent(chats).tools).toBeUndefined()
    const explained = await call(gateway, '/v1/router/explain', { user: 'ann', body: asked })
    expect(await explained.json()).toMatchObject({ chosen: 'n1' })
  })
})

describe('going on from a response', () => {
  test('of the same candidate: the provider knows it, and the bytes stay', async () => {
    await ask({ model: 'n1', input: 'One' })
    const id = `resp_native${made}`
    const { status } = await ask({ model: 'n1', input: 'Two', previous_response_id: id })
    expect(status).toBe(200)
    expect(lastSent()).toEqual({ model: 'n1', input: 'Two', previous_response_id: id })
    await ask({
      model: 'n1',
      input: [
        { type: 'item_reference', id: `msg_native${made}` },
        { role: 'user', content: 'x' },
      ],
    })
    expect(lastSent().input[0]).toEqual({ type: 'item_reference', id: `msg_native${made - 1}` })
  })

  test('of another native one: spelled out, without its thoughts', async () => {
    await ask({ model: 'n1', input: 'One' })
    const { status } = await ask({ model: 'n2', input: 'Two', previous_response_id: `resp_native${made}` })
    expect(status).toBe(200)
    const { input, previous_response_id } = lastSent()
    expect(previous_response_id).toBeUndefined()
    expect(input.map(({ type }: Json) => type)).toEqual(['message', 'web_search_call', 'message', 'message'])
    expect(input.at(-1)).toMatchObject({ role: 'user', content: 'Two' })
  })

  test('of a native one behind chat completions, and back', async () => {
    await ask({ model: 'n1', input: 'One' })
    const native = `resp_native${made}`
    const converted = await ask({ model: 'c1', input: 'Two', previous_response_id: native })
    expect(converted.status).toBe(200)
    expect(lastSent(chats).messages).toEqual([
      { role: 'user', content: 'One' },
      { role: 'assistant', content: 'Found it.' },
      { role: 'user', content: 'Two' },
    ])
    expect(converted.headers.get('x-router-dropped')).toBe('input.web_search_call')
    const { id } = JSON.parse(converted.text)
    const back = await ask({ model: 'n1', input: 'Three', previous_response_id: id })
    expect(back.status, back.text).toBe(200)
    expect(lastSent().input.map(({ role, type }: Json) => role ?? type)).toEqual([
      'user',
      'web_search_call',
      'reasoning',
      'assistant',
      'user',
      'assistant',
      'user',
    ])
    const again = await ask({
      model: 'c1',
      input: [
        { type: 'item_reference', id: `msg_native${made}` },
        { role: 'user', content: 'x' },
      ],
    })
    expect(again.status).toBe(200)
    expect(lastSent(chats).messages[0]).toEqual({ role: 'assistant', content: 'Found it.' })
  })

  test('the response is found by the provider’s id, with its input', async () => {
    await ask({ model: 'n1', input: 'One' })
    const id = `resp_native${made}`
    expect(await (await call(gateway, `/v1/responses/${id}`, { user: 'ann' })).json()).toMatchObject({
      id,
      model: 'n1',
    })
    const { data } = await (await call(gateway, `/v1/responses/${id}/input_items`, { user: 'ann' })).json()
    expect(data).toMatchObject([{ role: 'user', content: [{ type: 'input_text', text: 'One' }] }])
    expect((await call(gateway, `/v1/responses/${id}`, { user: 'bob' })).status).toBe(404)
  })
})

describe('what a provider can not read', () => {
  const thoughts = { type: 'reasoning', id: 'rs_other', summary: [], encrypted_content: 'of-somebody' }
  const called = { type: 'function_call', id: 'fc_other', call_id: 'c', name: 'f', arguments: '{}' }
  const result = { type: 'function_call_output', call_id: 'c', output: 'x' }

  test.each([false, true])(
    'thoughts of another: asked once more without, and no client sees it; streamed: %s',
    async (stream) => {
      for (const model of ['n1', 'auto:native']) {
        const seen = upstream.requests.length
        const theirs = { ...thoughts, encrypted_content: `of-somebody-${model}-${stream}` }
        const input = [{ role: 'user', content: 'x' }, theirs, called, result]
        const { status, by, text } = await ask({ model, stream, store: false, input })
        expect([status, by], text).toEqual([200, expect.stringMatching(/^n/)])
        expect(upstream.requests.length - seen).toBe(2)
        const { id: _, ...bare } = called
        // The next request brings them along again, and is spared the refusal.
        await ask({ model: by ?? model, stream, store: false, input })
        expect(upstream.requests.length - seen).toBe(3)
        expect(lastSent()).toMatchObject({ store: false, input: [{ role: 'user', content: 'x' }, bare, result] })
        expect(lastSent().input[1].id).toBeUndefined()
      }
    },
  )

  test('a response that the provider has lost: the conversation is spelled out from what is kept here', async () => {
    await ask({ model: 'n1', input: 'One' })
    const id = `resp_native${made}`
    forget()
    const { status, text } = await ask({ model: 'n1', input: 'Two', previous_response_id: id })
    expect(status, text).toBe(200)
    expect(lastSent().previous_response_id).toBeUndefined()
    expect(lastSent().input.map(({ type, role }: Json) => role ?? type)).toEqual(['user', 'assistant', 'user'])
    const item = `msg_native${made}`
    forget()
    const again = await ask({
      model: 'n1',
      input: [
        { type: 'item_reference', id: item },
        { role: 'user', content: 'x' },
      ],
    })
    expect(again.status, again.text).toBe(200)
    expect(lastSent().input[0]).toMatchObject({ type: 'message', role: 'assistant' })
  })
})

describe('what goes wrong', () => {
  test('a provider’s own refusal goes to the client', async () => {
    const { status, text } = await ask({ model: 'n1', input: 'refuse please' })
    expect(status).toBe(400)
    expect(JSON.parse(text).error).toMatchObject({ code: 'odd', param: 'input' })
  })

  test('before the first byte another candidate answers, in the same format', async () => {
    const plain = await ask({ model: 'auto:mixed', input: 'fail please', tools: [{ type: 'web_search' }] })
    expect(JSON.parse(plain.text)).toMatchObject({ object: 'response', status: 'completed' })
    const streamed = await ask({
      model: 'auto:mixed',
      input: 'fail please',
      tools: [{ type: 'web_search' }],
      stream: true,
    })
    expect(streamed.by).toBe('c1')
    expect(readEvents(streamed.text).at(-1)?.event).toBe('response.completed')
  })

  test('a stream that breaks ends with an error and a failed response, numbered on', async () => {
    const { text } = await ask({ model: 'n1', input: 'break please', stream: true })
    const events = readEvents(text)
    expect(events.slice(-2).map(({ event }) => event)).toEqual(['error', 'response.failed'])
    expect(events.map(({ data }) => data.sequence_number)).toEqual(events.map((_, i) => i))
    expect(events.at(-1)?.data.response).toMatchObject({ status: 'failed', error: { code: 'upstream_error' } })
    expect((await call(gateway, `/v1/responses/resp_native${made}`, { user: 'ann' })).status).toBe(404)
  })

  test('a response that failed at the provider is told in its words, once', async () => {
    const { text } = await ask({ model: 'n1', input: 'fail later', stream: true })
    const events = readEvents(text)
    expect(events.filter(({ event }) => event === 'response.failed')).toHaveLength(1)
    expect(events.at(-1)?.data.response.error.code).toBe('server_error')
  })
})

test('chat completions go to its chat endpoint', async () => {
  await call(gateway, '/v1/chat/completions', { body: { model: 'n1', messages: [{ role: 'user', content: 'x' }] } })
  expect(upstream.requests.at(-1)?.path).toBe('/v1/chat/completions')
})

test('where nothing may be kept, the provider is told so', async () => {
  const off = await startGateway({
    providers: {
      openai: {
        kind: 'openai-compatible',
        base_url: `${upstream.origin}/v1`,
        api_key: 'sk-native-key-0123',
        api: ['chat', 'responses'],
      },
    },
    candidates: [{ name: 'n1', provider: 'openai', price: { input: 1, output: 2 } }],
    responses: { store: 'off' },
  })
  try {
    const answer = await call(off, '/v1/responses', { body: { model: 'n1', input: 'x', store: true } })
    expect(lastSent().store).toBe(false)
    expect((await answer.json()).store).toBe(false)
    const next = await call(off, '/v1/responses', {
      body: { model: 'n1', input: 'x', previous_response_id: `resp_native${made}` },
    })
    expect([next.status, (await next.json()).error.code]).toEqual([400, 'previous_response_not_found'])
  } finally {
    await discard(off)
  }
})

test('a completion body is not taken for a response', async () => {
  const odd = await startUpstream(replyPlain(200, completionBody()))
  const other = await startGateway({
    providers: {
      odd: { kind: 'openai-compatible', base_url: `${odd.origin}/v1`, key_required: false, api: ['chat', 'responses'] },
    },
    candidates: [{ name: 'o1', provider: 'odd', price: { input: 1, output: 2 } }],
    retries: { max_attempts: 1 },
  })
  try {
    expect((await call(other, '/v1/responses', { body: { model: 'o1', input: 'x' } })).status).toBe(502)
  } finally {
    await discard(other)
    await odd.close()
  }
})
