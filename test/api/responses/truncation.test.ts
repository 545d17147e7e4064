import { afterAll, beforeAll, expect, test } from 'vitest'
import { call } from '../../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../../support/gateway.ts'
import { type Json, readEvents } from '../../support/responses-spec.ts'
import { replyPlain, replyStream, startUpstream, type Upstream } from '../../support/upstream.ts'

/** Two candidates of 2,000 and 4,000 tokens, and one of 4,000 whose provider speaks the format itself. */
let gateway: RunningGateway
let upstream: Upstream
/** What the models take, whatever was estimated. */
let mostBytes = Number.POSITIVE_INFINITY

beforeAll(async () => {
  upstream = await startUpstream((exchange) => {
    if (exchange.request.path.endsWith('/responses') && exchange.request.body.length <= mostBytes) {
      exchange.reply(200, { id: 'resp_1', object: 'response', status: 'completed', output: [], usage: null })
    } else if (exchange.request.body.length > mostBytes) {
      exchange.reply(400, {
        error: {
          message:
            "This model's maximum context length is 4000 tokens. However, your messages resulted in 6000 tokens.",
          type: 'invalid_request_error',
          param: 'messages',
          code: 'context_length_exceeded',
        },
      })
    } else (exchange.json.stream ? replyStream() : replyPlain())(exchange)
  })
  const common = { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false }
  const price = { input: 1, output: 2 }
  gateway = await startGateway({
    providers: { up: common, native: { ...common, api: ['chat', 'responses'] } },
    candidates: [
      { name: 'small', provider: 'up', price, context_window: 2_000 },
      { name: 'large', provider: 'up', price, context_window: 4_000 },
      { name: 'own', provider: 'native', price, context_window: 4_000, groups: ['own'] },
    ],
    tenants: [{ name: 'test', keys: ['pr-test-key-0123456789abcdef'], candidates: ['default', 'own'] }],
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

/** About 1,000 tokens a turn, six turns. */
const input = [
  { role: 'developer', content: 'Be brief.' },
  ...Array.from({ length: 6 }, (_, turn) => [
    { role: 'user', content: `question ${turn} ${'word '.repeat(400)}` },
    { type: 'function_call', call_id: `call_${turn}`, name: 'look', arguments: '{}' },
    { type: 'function_call_output', call_id: `call_${turn}`, output: `result ${turn} ${'word '.repeat(400)}` },
  ]).flat(),
]

async function ask(body: Json) {
  const answer = await call(gateway, '/v1/responses', { user: 'ann', body: { model: 'auto:default', input, ...body } })
  const text = await answer.text()
  return { status: answer.status, headers: answer.headers, text }
}

test.each([undefined, null, 'disabled'])(
  'truncation: %s refuses what fits nobody, as OpenAI does',
  async (truncation) => {
    for (const stream of [false, true]) {
      const { status, text } = await ask({ truncation, stream })
      expect(status).toBe(400)
      expect(JSON.parse(text).error).toMatchObject({
        type: 'invalid_request_error',
        code: 'context_length_exceeded',
        param: 'input',
      })
    }
  },
)

test.each([false, true])('truncation: auto leaves out the oldest, and says so; streamed: %s', async (stream) => {
  const { status, headers, text } = await ask({ truncation: 'auto', stream })
  expect(status, text).toBe(200)
  expect(headers.get('x-router-model')).toBe('large')
  expect(headers.get('x-router-dropped')).toBe('input')
  const response = stream ? readEvents(text).at(-1)?.data.response : JSON.parse(text)
  expect(response.truncation).toBe('auto')
  const { messages } = JSON.parse(String(upstream.requests.at(-1)?.body)) as Json
  expect(messages[0]).toEqual({ role: 'system', content: 'Be brief.' })
  const turns = messages.slice(1).map(({ role }: Json) => role)
  expect(turns.length).toBeGreaterThanOrEqual(3)
  // Whole turns: no result without its call, no call without its result.
  const calls = messages.flatMap(({ tool_calls }: Json) => tool_calls ?? []).map(({ id }: Json) => id)
  expect(messages.flatMap(({ tool_call_id: id }: Json) => id ?? [])).toEqual(calls)
  expect(JSON.stringify(messages.at(-1))).toContain('result 5')
  expect(JSON.stringify(messages)).toContain('question 5')
})

test('what fits one of them loses nothing', async () => {
  const { status, headers, text } = await ask({ truncation: 'auto', input: input.slice(0, 8) })
  expect(status, text).toBe(200)
  expect(headers.get('x-router-dropped')).toBeNull()
})

test('where the next turn refers to it, the whole is still there', async () => {
  const first = JSON.parse((await ask({ truncation: 'auto' })).text) as Json
  const items = await call(gateway, `/v1/responses/${first.id}/input_items?limit=100`, { user: 'ann' })
  expect((await items.json()).data).toHaveLength(input.length)
  const { status, text } = await ask({ truncation: 'auto', input: 'And?', previous_response_id: first.id })
  expect(status, text).toBe(200)
  expect((await ask({ input: 'And?', previous_response_id: first.id })).status).toBe(400)
})

test('a provider that speaks the format itself gets all of it: it truncates by itself', async () => {
  const { status, text } = await ask({ model: 'own', truncation: 'auto' })
  expect(status, text).toBe(200)
  const sent = JSON.parse(String(upstream.requests.at(-1)?.body)) as Json
  expect(sent.truncation).toBe('auto')
  expect(sent.input).toHaveLength(input.length)
  mostBytes = 10
  try {
    const before = upstream.requests.length
    expect((await ask({ model: 'own', truncation: 'auto' })).status).toBe(400)
    expect(upstream.requests.length - before, 'asked once').toBe(1)
  } finally {
    mostBytes = Number.POSITIVE_INFINITY
  }
})

test.each([false, true])(
  'an estimate that was too low: cut again until the provider takes it; streamed: %s',
  async (stream) => {
    await ask({ truncation: 'auto', stream })
    const estimated = upstream.requests.at(-1)!.body.length
    mostBytes = estimated * 0.6
    try {
      const before = upstream.requests.length
      const { status, headers, text } = await ask({ truncation: 'auto', stream })
      expect(status, text).toBe(200)
      expect(headers.get('x-router-dropped')).toBe('input')
      expect(headers.get('x-router-model')).toBe('large')
      const sent = upstream.requests.slice(before).map(({ body }) => body.length)
      expect(sent.length).toBeGreaterThan(1)
      expect(sent).toEqual([...sent].sort((a, b) => b - a))
      expect(String(upstream.requests.at(-1)?.body)).toContain('question 5')
      expect((await ask({ truncation: 'disabled', stream, input: input.slice(0, 8) })).status).toBe(400)
      // Where even the last turn is too much, the client hears it.
      mostBytes = 10
      expect((await ask({ truncation: 'auto', stream })).status).toBe(400)
    } finally {
      mostBytes = Number.POSITIVE_INFINITY
    }
  },
)
