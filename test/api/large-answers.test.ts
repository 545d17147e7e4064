import { afterAll, describe, expect, test } from 'vitest'
import { call, expectError } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, startGateway } from '../support/gateway.ts'
import { completionBody, startUpstream } from '../support/upstream.ts'

/** Above what is read and told on the event loop. */
const TEXT = 'word '.repeat(300_000)
const KEY = 'pr-key-0123456789abcdef'
const LIMITED = 'pr-limited-0123456789abcdef'
const usage = { input_tokens: 7, output_tokens: 3, prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 }

/** A token, and what else it might have been. */
const TOKEN = { token: 'a', logprob: -0.5, bytes: [97], top_logprobs: [{ token: 'b', logprob: -1, bytes: null }] }

const upstream = await startUpstream((exchange) => {
  const { model } = JSON.parse(String(exchange.request.body))
  if (model === 'huge') return exchange.reply(200, { ...completionBody('x'.repeat(9e6)), usage })
  if (model === 'logprobs') {
    const choice = { index: 0, message: { role: 'assistant', content: 'Hi' }, finish_reason: 'stop' }
    const choices = [{ ...choice, logprobs: { content: Array(30_000).fill(TOKEN) } }]
    return exchange.reply(200, { ...completionBody('', { choices }), usage })
  }
  if (exchange.request.path.endsWith('/messages'))
    return exchange.reply(200, {
      ...{ id: 'msg_1', type: 'message', role: 'assistant', model: 'm', stop_reason: 'end_turn', stop_sequence: null },
      ...{ content: [{ type: 'text', text: TEXT }], usage },
    })
  if (exchange.request.path.endsWith('/responses'))
    return exchange.reply(200, {
      ...{ id: 'resp_1', object: 'response', created_at: 1, status: 'completed', model: 'm', usage },
      output: [
        {
          type: 'message',
          role: 'assistant',
          id: 'msg_1',
          status: 'completed',
          content: [{ type: 'output_text', text: TEXT }],
        },
      ],
    })
  if (exchange.request.path.endsWith('/chat/completions'))
    return exchange.reply(200, { ...completionBody(TEXT), usage })
  exchange.reply(200, { id: 'cmpl-1', object: 'text_completion', choices: [{ text: TEXT, index: 0 }], usage })
})
const price = { input: 1, output: 2 }
const gateway = await startGateway({
  providers: {
    up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false },
    claude: { kind: 'anthropic', base_url: upstream.origin, key_required: false },
  },
  candidates: [
    { name: 'chat', provider: 'up', price },
    { name: 'responses', provider: 'up', price, api: ['responses'] },
    { name: 'completions', provider: 'up', price, api: ['chat', 'completions'] },
    { name: 'claude', provider: 'claude', price },
    { name: 'logprobs', provider: 'up', price },
    { name: 'huge', provider: 'up', price: { input: 0, output: 100_000 } },
  ],
  tenants: [
    { name: 'a', keys: [KEY] },
    { name: 'b', keys: [LIMITED], limits: { usd_per_day: 1 } },
  ],
})

afterAll(async () => {
  await discard(gateway)
  await upstream.close()
})

const ask = async (path: string, body: object) => {
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' }
  const answer = await fetch(`${gateway.url}/v1/${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  const text = await answer.text()
  expect(answer.status, text.slice(0, 300)).toBe(200)
  return { json: JSON.parse(text), cost: Number(answer.headers.get('x-router-cost-usd')) }
}

describe('an answer of megabytes reaches its client whole, in every format, and is counted', {
  timeout: 30_000,
}, () => {
  const messages = [{ role: 'user', content: 'Hi' }]
  test.each([['chat'], ['responses'], ['claude']])('of %s', async (model) => {
    const chat = await ask('chat/completions', { model, messages })
    expect(chat.json.choices[0].message.content === TEXT).toBe(true)
    expect(chat.cost).toBe(13e-6)
    const message = await ask('messages', { model, max_tokens: 9, messages })
    expect(message.json.content[0].text === TEXT).toBe(true)
    const kept = await ask('responses', { model, input: 'Hi' })
    expect(kept.json.output.at(-1).content[0].text === TEXT).toBe(true)
    const unkept = await ask('responses', { model, input: 'Hi', store: false })
    expect(unkept.json.output.at(-1).content[0].text === TEXT).toBe(true)
    // Gone on with: what was kept is whole.
    await ask('responses', { model: 'chat', input: 'And?', previous_response_id: kept.json.id })
    expect(String(upstream.requests.at(-1)?.body).includes(TEXT)).toBe(true)
  })

  test('of a chat with logprobs, told as a response', async () => {
    const ofText = async (more: object) => {
      const { json } = await ask('responses', { model: 'logprobs', input: 'Hi', ...more })
      return json.output.at(-1).content[0]
    }
    for (const store of [true, false]) {
      const { text, logprobs } = await ofText({ store, top_logprobs: 1 })
      expect(text).toBe('Hi')
      expect(logprobs).toHaveLength(30_000)
      expect(logprobs.at(-1)).toEqual({ ...TOKEN, top_logprobs: [{ ...TOKEN.top_logprobs[0], bytes: [] }] })
    }
  })

  test('of a text completion', async () => {
    for (const model of ['completions', 'chat']) {
      const { json, cost } = await ask('completions', { model, prompt: 'Say', max_tokens: 9 })
      expect(json.choices[0].text === TEXT).toBe(true)
      expect(cost).toBe(13e-6)
    }
  })
})

test('one that no response can hold is refused with its cause, and is paid for', { timeout: 30_000 }, async () => {
  const asked = { key: LIMITED, body: { model: 'huge', input: 'Hi', max_output_tokens: 9 } }
  const answer = await call(gateway, '/v1/responses', asked)
  expect(answer.status).toBe(502)
  expect(expectError(await answer.text()).code).toBe('upstream_error')
  await eventually(async () => {
    const { tenant } = await (await call(gateway, '/v1/usage', { key: LIMITED })).json()
    return tenant.limits[0].used === 0.3
  }, 'what it cost is counted')
})
