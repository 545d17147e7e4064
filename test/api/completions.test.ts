import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { call, expectError } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

let upstream: Upstream
let gateway: RunningGateway
beforeAll(async () => {
  upstream = await startUpstream()
  gateway = await startGateway({
    providers: {
      sandbox: { kind: 'sandbox', enabled: true },
      up: {
        kind: 'openai-compatible',
        base_url: `${upstream.origin}/v1`,
        key_required: false,
        api: ['chat', 'completions'],
      },
    },
    candidates: [
      {
        name: 'base',
        provider: 'up',
        model: 'base-1',
        price: { input: 1, output: 2 },
        groups: ['base'],
        defaults: { top_k: 3 },
      },
    ],
    tenants: [{ name: 'test', keys: [TEST_KEY], candidates: ['default', 'base'] }],
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})
beforeEach(() => {
  upstream.requests.length = 0
})
const client = () => new OpenAI({ baseURL: gateway.baseURL, apiKey: TEST_KEY, maxRetries: 0 })

describe('by a chat', () => {
  const model = 'sandbox-premium'

  test('a text, and the same as a stream', async () => {
    const whole = await client().completions.create({ model, prompt: 'The capital of France' })
    expect(whole).toMatchObject({
      object: 'text_completion',
      model,
      choices: [
        { index: 0, logprobs: null, finish_reason: 'stop', text: expect.stringMatching(/^\[sandbox premium\]/) },
      ],
    })
    expect(whole.usage?.completion_tokens).toBeGreaterThan(0)
    let text = ''
    let finish: string | null = null
    let usage = 0
    for await (const chunk of await client().completions.create({
      model,
      prompt: 'The capital of France',
      stream: true,
      stream_options: { include_usage: true },
    })) {
      expect(chunk.object).toBe('text_completion')
      text += chunk.choices[0]?.text ?? ''
      finish = chunk.choices[0]?.finish_reason ?? finish
      usage = chunk.usage?.completion_tokens ?? usage
    }
    expect(text).toBe(whole.choices[0]?.text)
    expect(finish).toBe('stop')
    expect(usage).toBe(whole.usage?.completion_tokens)
  })

  test('is personal under auto', async () => {
    const { response } = await client().completions.create({ model: 'auto:default', prompt: 'Hi' }).withResponse()
    expect(response.headers.get('x-router-reason')).toMatch(/^(cold_start|personal|explore)/)
  })

  test('echo, n, a limit, a suffix', async () => {
    const { choices } = await client().completions.create({ model, prompt: ['Once'], echo: true, n: 2, max_tokens: 3 })
    expect(choices.map(({ index, finish_reason }) => [index, finish_reason])).toEqual([
      [0, 'length'],
      [1, 'length'],
    ])
    expect(choices[0]?.text).toMatch(/^Once\[sandbox/)
    let text = ''
    for await (const chunk of await client().completions.create({ model, prompt: 'Once', echo: true, stream: true }))
      text += chunk.choices[0]?.text ?? ''
    expect(text).toMatch(/^Once\[sandbox/)
    const filled = await client().completions.create({ model, prompt: 'def add(a, b):', suffix: 'return c' })
    expect(filled.choices[0]?.text).toMatch(/^\[sandbox/)
  })

  test('what a chat can not do is refused, or left out and told', async () => {
    for (const prompt of [
      [1, 2, 3],
      ['a', 'b'],
    ]) {
      const response = await call(gateway, '/v1/completions', { body: { model, prompt } })
      expect(response.status).toBe(400)
      expect(expectError(await response.text())).toMatchObject({ code: 'unsupported_parameter', param: 'prompt' })
    }
    const told = await call(gateway, '/v1/completions', { body: { model, prompt: 'a', logprobs: 2, best_of: 2 } })
    expect([told.status, told.headers.get('x-router-dropped')]).toEqual([200, 'best_of, logprobs'])
  })
})

describe('by a provider that has the format', () => {
  const BODY = '{"model":"base","prompt":[1,2,3],"logprobs":2,"echo":true,"suffix":"x","max_tokens":9}'

  test('bytes go through, but for the model', async () => {
    const answer =
      '{"id":"cmpl-1","object":"text_completion","choices":[{"text":" ho","index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}'
    upstream.play((exchange) => exchange.reply(200, answer))
    const response = await call(gateway, '/v1/completions', { body: BODY })
    expect(await response.text()).toBe(answer)
    expect(upstream.requests[0]?.path).toBe('/v1/completions')
    expect(upstream.requests[0]?.body.toString()).toBe(BODY.replace('"base"', '"base-1"'))
    expect(response.headers.get('x-router-cost-usd')).toBe((5e-6).toFixed(9))
  })

  test('a stream, whose count is asked for and kept', async () => {
    upstream.play((exchange) => {
      exchange.stream()
      exchange.event({
        id: 'cmpl-1',
        object: 'text_completion',
        choices: [{ text: ' ho', index: 0, finish_reason: null }],
      })
      exchange.event({
        id: 'cmpl-1',
        object: 'text_completion',
        choices: [{ text: '', index: 0, finish_reason: 'stop' }],
      })
      exchange.event({
        id: 'cmpl-1',
        object: 'text_completion',
        choices: [],
        usage: { prompt_tokens: 3, completion_tokens: 1 },
      })
      exchange.chunk('data: [DONE]\n\n')
      exchange.end()
    })
    const response = await call(gateway, '/v1/completions', { body: BODY.replace('{', '{"stream":true,') })
    const text = await response.text()
    expect(text).toContain('"text":" ho"')
    expect(text).not.toContain('usage')
    expect(text).toMatch(/data: \[DONE\]\n\n$/)
    expect(JSON.parse(String(upstream.requests[0]?.body)).stream_options).toEqual({ include_usage: true })
  })

  test('a stream that breaks ends with an error', async () => {
    upstream.play((exchange) => {
      exchange.stream()
      exchange.event({
        id: 'cmpl-1',
        object: 'text_completion',
        choices: [{ text: ' ho', index: 0, finish_reason: null }],
      })
      exchange.close()
    })
    const text = await (await call(gateway, '/v1/completions', { body: BODY.replace('{', '{"stream":true,') })).text()
    expect(text).toMatch(/data: \{"error":/)
    expect(text).not.toContain('[DONE]')
  })
})

test.each([
  ['no prompt', {}, 'prompt'],
  ['a prompt that is none', { prompt: { a: 1 } }, 'prompt'],
  ['a limit below zero', { prompt: 'a', max_tokens: -1 }, 'max_tokens'],
])('%s: 400', async (_, fields, param) => {
  const response = await call(gateway, '/v1/completions', { body: { model: 'auto', ...fields } })
  expect([response.status, expectError(await response.text()).param]).toEqual([400, param])
})
