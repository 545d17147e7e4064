import { afterAll, beforeAll, expect, test } from 'vitest'
import { shippedDialects } from '../emulators/shipped.ts'
import { call } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { contentOf } from '../support/messages-stream.ts'
import type { Json } from '../support/responses-spec.ts'
import { type Exchange, startUpstream, type Upstream } from '../support/upstream.ts'

/** A model of the Responses API alone, whose sealed thoughts go with its calls, and who can't read another's. */
let gateway: RunningGateway
let upstream: Upstream

const SEALED = { id: 'rs_1', type: 'reasoning', summary: [], encrypted_content: 'sealed by codex' }
const CALL = { id: 'fc_1', type: 'function_call', call_id: 'call_a', name: 'look', arguments: '{"at":1}' }

function codex(exchange: Exchange): void {
  const { input, stream } = exchange.json as Json
  const thought = input.find(({ type }: Json) => type === 'reasoning')
  const isForeign = thought && thought.encrypted_content !== SEALED.encrypted_content
  if (isForeign || input[0].content === 'refuse') {
    const message = 'The encrypted content could not be verified.'
    exchange.reply(400, { error: { message, type: 'invalid_request_error', code: 'invalid_encrypted_content' } })
    return
  }
  const isBack = input.some(({ type }: Json) => type === 'function_call_output')
  const said = { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Seen.' }] }
  const output = isBack ? [said] : [SEALED, CALL]
  const response = { id: 'resp_1', status: 'completed', model: 'gpt-5.3-codex', output }
  if (!stream) {
    exchange.reply(200, response)
    return
  }
  exchange.stream()
  for (const [index, item] of output.entries())
    exchange.event({ type: 'response.output_item.done', output_index: index, item })
  exchange.event({ type: 'response.completed', response })
  exchange.end()
}

beforeAll(async () => {
  upstream = await startUpstream(codex)
  gateway = await startGateway({
    dialects: { openai: shippedDialects().openai },
    providers: {
      openai: {
        kind: 'openai-compatible',
        base_url: `${upstream.origin}/v1`,
        key_required: false,
        api: ['chat', 'responses'],
      },
    },
    candidates: [{ name: 'gpt-5.3-codex', provider: 'openai', api: ['responses'], price: { input: 1, output: 2 } }],
    retries: { max_attempts: 1, breaker: { failures: 1_000 } },
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

async function answerTo(path: string, body: Json): Promise<string> {
  const answer = await call(gateway, path, { user: 'ann', body })
  const text = await answer.text()
  expect(answer.status, text).toBe(200)
  return text
}

const lastSent = () => JSON.parse(String(upstream.requests.at(-1)?.body)) as Json

test.each([false, true])('go back with the calls of a Messages client, streamed: %s', async (stream) => {
  const tools = [{ name: 'look', input_schema: { type: 'object', properties: {} } }]
  const body = { model: 'gpt-5.3-codex', max_tokens: 100, stream, tools }
  const user = { role: 'user', content: 'Look.' }
  const text = await answerTo('/v1/messages', { ...body, messages: [user] })
  const content = stream ? contentOf(text) : JSON.parse(text).content
  expect(content.map(({ type }: Json) => type)).toEqual(['redacted_thinking', 'tool_use'])
  const result = { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'call_a', content: 'a cat' }] }
  const second = await answerTo('/v1/messages', {
    ...body,
    messages: [user, { role: 'assistant', content }, result],
  })
  expect(second).toContain('Seen.')
  const { input } = lastSent()
  expect(input.map(({ type }: Json) => type)).toEqual(['message', 'reasoning', 'function_call', 'function_call_output'])
  expect(input[1]).toEqual(SEALED)
})

test.each([false, true])('of somebody else are left out when they can not be read, streamed: %s', async (stream) => {
  const details = [
    { type: 'reasoning.encrypted', id: 'rs_9', data: 'by another account', format: 'openai-responses-v1' },
  ]
  const called = { id: 'call_a', type: 'function', function: { name: 'look', arguments: '{}' } }
  const messages = [
    { role: 'user', content: 'Look.' },
    { role: 'assistant', content: null, reasoning_details: details, tool_calls: [called] },
    { role: 'tool', tool_call_id: 'call_a', content: 'a cat' },
  ]
  for (const model of ['gpt-5.3-codex', 'auto']) {
    const before = upstream.requests.length
    expect(await answerTo('/v1/chat/completions', { model, stream, messages })).toContain('Seen.')
    expect(upstream.requests.length - before).toBe(2)
    const types = ['message', 'function_call', 'function_call_output']
    expect(lastSent().input.map(({ type }: Json) => type)).toEqual(types)
  }
})

test.each([
  [[], 1],
  [[{ type: 'reasoning.encrypted', data: 'x', format: 'openai-responses-v1' }], 2],
])('that stay unreadable are the provider’s error: %j', async (reasoning_details, times) => {
  const before = upstream.requests.length
  const said = { role: 'assistant', content: 'So.', reasoning_details }
  const messages = [{ role: 'user', content: 'refuse' }, said, { role: 'user', content: 'And?' }]
  const body = { model: 'gpt-5.3-codex', messages }
  expect((await call(gateway, '/v1/chat/completions', { user: 'ann', body })).status).toBe(400)
  expect(upstream.requests.length - before).toBe(times)
})
