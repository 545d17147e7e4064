import { createAnthropic } from '@ai-sdk/anthropic'
import Anthropic from '@anthropic-ai/sdk'
import { generateText } from 'ai'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { streamedToolLoop } from '../support/ai-tool-loop.ts'
import { call } from '../support/clients.ts'
import { fixture, fixtureJson, replyFixture } from '../support/fixtures.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

const ask = [{ role: 'user' as const, content: 'What is the capital of France?' }]
const weather = {
  name: 'get_weather',
  description: 'The weather of a city',
  input_schema: { type: 'object' as const, properties: { city: { type: 'string' } }, required: ['city'] },
}
const recorded = fixtureJson<{ path: string; headers: Record<string, string>; body: Record<string, unknown> }>(
  'clients/claude-code.json',
)

describe('on candidates that speak chat completions', () => {
  let gateway: RunningGateway
  beforeAll(async () => {
    // What is dropped depends on who answers, so nobody is tried out.
    gateway = await startGateway({ aliases: { 'claude-*': 'auto' }, router: { explore: false } })
  })
  afterAll(() => discard(gateway))

  const anthropic = (apiKey = gateway.key) => new Anthropic({ baseURL: gateway.url, apiKey, maxRetries: 0 })
  const base = { model: 'auto', max_tokens: 512, messages: ask }

  test('a message', async () => {
    const { data, response, request_id } = await anthropic().messages.create(base).withResponse()
    expect(data).toMatchObject({ type: 'message', role: 'assistant', stop_reason: 'end_turn', stop_sequence: null })
    expect(data.content).toEqual([{ type: 'text', text: expect.stringMatching(/^\[sandbox /) }])
    expect(data.usage.input_tokens).toBeGreaterThan(0)
    expect(data.usage.output_tokens).toBeGreaterThan(0)
    expect(data.model).toBe(response.headers.get('x-router-model'))
    expect(request_id).toBe(response.headers.get('x-request-id'))
  })

  test('a stream, and what it adds up to', async () => {
    const plain = await anthropic().messages.create({ ...base, model: 'sandbox-thorough' })
    const stream = anthropic().messages.stream({ ...base, model: 'sandbox-thorough' })
    const said: string[] = []
    stream.on('text', (text) => said.push(text))
    const message = await stream.finalMessage()
    expect(said.length).toBeGreaterThan(3)
    expect(message.content).toEqual(plain.content)
    expect(message.usage).toMatchObject({ output_tokens: plain.usage.output_tokens })
  })

  test('a limit of tokens', async () => {
    const { stop_reason, usage } = await anthropic().messages.create({ ...base, max_tokens: 3 })
    expect([stop_reason, usage.output_tokens]).toEqual(['max_tokens', 3])
  })

  test.each([false, true])('a tool loop stays with the model that called the tool; streamed: %s', async (stream) => {
    const create = (fields: Partial<Anthropic.MessageCreateParamsNonStreaming>) => {
      const params = { ...base, tools: [weather], ...fields }
      return stream ? anthropic().messages.stream(params).finalMessage() : anthropic().messages.create(params)
    }
    const first = await create({ tool_choice: { type: 'any' } })
    expect(first.stop_reason).toBe('tool_use')
    const called = first.content.find((block) => block.type === 'tool_use')
    expect(called).toMatchObject({ name: 'get_weather', input: { city: 'sandbox' } })
    const second = await create({
      messages: [
        ...ask,
        { role: 'assistant', content: first.content },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: called?.id ?? '', content: 'It is 21 degrees.' },
            { type: 'text', text: '<system-reminder>Be brief.</system-reminder>' },
          ],
        },
      ],
    })
    expect(second.model).toBe(first.model)
    expect(second.stop_reason).toBe('end_turn')
  })

  test('errors are of the classes that the SDK has for them', async () => {
    const failed = (params: Partial<Anthropic.MessageCreateParamsNonStreaming>, key?: string) =>
      anthropic(key)
        .messages.create({ ...base, ...params })
        .catch((error) => error)
    expect(await failed({}, 'pr-wrong-key-0123456789')).toBeInstanceOf(Anthropic.AuthenticationError)
    const unknown = await failed({ model: 'none' })
    expect(unknown).toBeInstanceOf(Anthropic.NotFoundError)
    expect(unknown.error).toEqual({
      type: 'error',
      error: { type: 'not_found_error', message: expect.stringContaining('none') },
    })
    const bad = await failed({ messages: [] })
    expect(bad).toBeInstanceOf(Anthropic.BadRequestError)
    expect(bad.error.error.type).toBe('invalid_request_error')
    expect(bad.requestID).toMatch(/^req_/)
    for (const [path, body] of [
      ['/v1/messages', '{'],
      ['/v1/messages/nowhere', '{}'],
    ] as const) {
      const answer = await (await call(gateway, path, { body })).json()
      expect(answer).toMatchObject({ type: 'error', error: { message: expect.any(String) } })
    }
  })

  test('a key in any of its headers; two that differ are none', async () => {
    const status = async (headers: Record<string, string>) =>
      (
        await fetch(`${gateway.url}/v1/messages`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...headers },
          body: JSON.stringify(base),
        })
      ).status
    expect(await status({ 'x-api-key': TEST_KEY })).toBe(200)
    expect(await status({ authorization: `Bearer ${TEST_KEY}` })).toBe(200)
    expect(await status({ authorization: `Bearer ${TEST_KEY}`, 'x-api-key': 'pr-other-0123456789' })).toBe(400)
  })

  test('a request of Claude Code', async () => {
    const { path, headers, body } = recorded
    const send = (fields: Record<string, unknown> = {}) =>
      fetch(gateway.url + path, {
        method: 'POST',
        headers: { ...headers, authorization: `Bearer ${TEST_KEY}` },
        body: JSON.stringify({ ...body, ...fields }),
      })
    const streamed = await send()
    expect(streamed.status).toBe(200)
    expect(streamed.headers.get('content-type')).toMatch(/^text\/event-stream/)
    expect(streamed.headers.get('x-router-dropped')).toBe('thinking, metadata, context_management')
    const text = await streamed.text()
    expect(text).toMatch(/^event: message_start\ndata: /)
    expect(text).toMatch(/event: message_stop\ndata: \{"type":"message_stop"\}\n\n$/)
    const plain = await (await send({ stream: false })).json()
    expect(plain).toMatchObject({ type: 'message', stop_reason: 'end_turn' })
    // One session is one conversation, and no user.
    const again = await send({ stream: false })
    expect(again.headers.get('x-router-model')).toBe(streamed.headers.get('x-router-model'))
  })

  test('feedback by the id of a message', async () => {
    const { id } = await anthropic().messages.create(base)
    const answer = await call(gateway, '/v1/feedback', { body: { completion_id: id, rating: 'up' } })
    expect(answer.status).toBe(202)
  })

  test('counting tokens: as estimated', async () => {
    const count = async (fields: Partial<Anthropic.MessageCountTokensParams>) =>
      (await anthropic().messages.countTokens({ model: 'auto', messages: ask, ...fields })).input_tokens
    const few = await count({})
    expect(few).toBeGreaterThan(0)
    expect(await count({ system: 'word '.repeat(1_000) })).toBeGreaterThan(few + 1_000)
    expect(await count({ tools: [weather] })).toBeGreaterThan(few)
    await expect(count({ model: 'none' })).rejects.toMatchObject({ status: 404 })
  })

  test('models, as its SDK lists them', async () => {
    const listed = []
    for await (const model of anthropic().models.list()) listed.push(model)
    expect(listed[0]).toMatchObject({ type: 'model', id: 'auto', display_name: 'auto', created_at: expect.any(String) })
    expect(listed.map(({ id }) => id)).toContain('sandbox-thorough')
    expect((await anthropic().models.retrieve('claude-opus-5')).type).toBe('model')
  })

  test('a choice is explained for its requests, too', async () => {
    const body = { ...base, system: 'Be brief.', tools: [{ type: 'web_search_20250305', name: 'web_search' }, weather] }
    const explained = await call(gateway, '/v1/router/explain', { body })
    expect([explained.status, (await explained.json()).object]).toEqual([200, 'router.explanation'])
    const legacy = await call(gateway, '/v1/router/explain', { body: { model: 'auto', prompt: 'Once' } })
    expect(legacy.status).toBe(200)
  })

  test("the AI SDK's provider: text, stream and a tool loop", async () => {
    const provider = createAnthropic({ baseURL: gateway.baseURL, apiKey: gateway.key })
    const { text } = await generateText({ model: provider('auto'), prompt: 'What is 12 * 7?' })
    expect(text).toMatch(/^\[sandbox /)
    const loop = await streamedToolLoop(provider('claude-opus-5'))
    expect(loop.text).toContain('17 degrees in sandbox')
    expect(loop.asked).toEqual(['sandbox'])
    expect(new Set(loop.models).size).toBe(1)
  })
})

describe("on a provider of Anthropic's own format", () => {
  let upstream: Upstream
  let gateway: RunningGateway
  beforeAll(async () => {
    upstream = await startUpstream()
    gateway = await startGateway({
      providers: {
        claude: {
          kind: 'anthropic',
          base_url: `${upstream.origin}/v1`,
          api_key: 'sk-ant-test-key-0123',
          headers: { 'Anthropic-Beta': 'ours-2026-01-01' },
        },
        open: {
          kind: 'anthropic',
          base_url: `${upstream.origin}/v1`,
          key_required: false,
          pass: ['anthropic-beta=context-1m-2025-08-07', 'container', 'context_management'],
        },
        other: { kind: 'openai-compatible', base_url: `${upstream.origin}/other`, key_required: false },
      },
      candidates: [
        { name: 'claude', provider: 'claude', model: 'claude-opus-5-20260901', price: { input: 5, output: 25 } },
        { name: 'open', provider: 'open', price: { input: 5, output: 25 }, groups: ['open'] },
        { name: 'other', provider: 'other', price: { input: 1, output: 2 }, groups: ['default', 'chat'] },
      ],
      tenants: [{ name: 'test', keys: [TEST_KEY], candidates: ['default', 'open'] }],
      retries: { max_attempts: 2, backoff_ms: 0 },
    })
  })
  afterAll(async () => {
    await discard(gateway)
    await upstream?.close()
  })
  beforeEach(() => {
    upstream.requests.length = 0
  })

  const post = (body: string, headers: Record<string, string> = {}, path = '/v1/messages') =>
    fetch(gateway.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-api-key': TEST_KEY, ...headers },
      body,
    })
  const BODY = `{ "model":"claude","max_tokens":64 , "messages":[{"role":"user","content":"Hi"}],\n "x":1e400,"big":12345678901234567890 }`

  test('bytes go through both ways, but for the model', async () => {
    upstream.play(replyFixture('anthropic/plain.json'))
    const answer = await post(BODY, {
      'anthropic-beta': 'interleaved-thinking-2025-05-14',
      'anthropic-version': '2023-06-01',
    })
    expect(answer.status).toBe(200)
    expect(await answer.text()).toBe(fixtureText('plain.json'))
    const [seen] = upstream.requests
    expect(seen?.path).toBe('/v1/messages')
    expect(seen?.body.toString()).toBe(BODY.replace('"claude"', '"claude-opus-5-20260901"'))
    expect(seen?.headers).toMatchObject({
      'x-api-key': 'sk-ant-test-key-0123',
      'anthropic-beta': 'ours-2026-01-01,interleaved-thinking-2025-05-14',
    })
    expect(JSON.stringify(seen?.headers)).not.toContain(TEST_KEY)
  })

  test.each(['plain', 'tools', 'thinking'])('the stream %s goes through, byte for byte', async (name) => {
    upstream.play(replyFixture(`anthropic/${name}.sse`))
    const answer = await post(BODY.replace('{', '{"stream":true,'))
    expect(await answer.text()).toBe(fixtureText(`${name}.sse`))
    expect(answer.headers.get('x-router-model')).toBe('claude')
  })

  test('the recorded request of Claude Code arrives as it was, its betas too', async () => {
    upstream.play(replyFixture('anthropic/plain.sse'))
    const body = JSON.stringify({ ...recorded.body, model: 'claude' })
    const answer = await post(body, recorded.headers, recorded.path)
    await answer.text()
    expect(upstream.requests[0]?.body.toString()).toBe(
      body.replace('"model":"claude"', '"model":"claude-opus-5-20260901"'),
    )
    expect(upstream.requests[0]?.headers['anthropic-beta']).toContain('context-management-2025-06-27')
    expect(answer.headers.get('x-router-dropped')).toBeNull()
  })

  const BETAS = 'interleaved-thinking-2025-05-14, context-1m-2025-08-07,mcp-client-2025-11-20'
  const guarded = {
    max_tokens: 64,
    messages: [{ role: 'user', content: 'Hi' }],
    betas: ['fast-mode-2026-02-01'],
    container: 'container_1',
    mcp_servers: [{ type: 'url', url: 'https://mcp.example', name: 'x' }],
    context_management: { edits: [{ type: 'compact_20260112' }] },
  }
  const LEFT_OFF = 'betas, container, mcp_servers, context_management'

  test('a beta, or a field, that opens what was not authorised is left off, and told', async () => {
    upstream.play(replyFixture('anthropic/plain.json'))
    const answer = await post(JSON.stringify({ ...guarded, model: 'claude' }), { 'anthropic-beta': BETAS })
    expect(answer.status).toBe(200)
    expect(upstream.requests[0]?.headers['anthropic-beta']).toBe('ours-2026-01-01,interleaved-thinking-2025-05-14')
    expect(Object.keys(JSON.parse(String(upstream.requests[0]?.body)))).toEqual(['max_tokens', 'messages', 'model'])
    expect(answer.headers.get('x-router-dropped')).toBe(
      `${LEFT_OFF}, anthropic-beta=context-1m-2025-08-07, anthropic-beta=mcp-client-2025-11-20`,
    )
    const strict = await post(JSON.stringify({ ...guarded, model: 'claude' }), { 'x-router-strict': 'on' })
    expect(strict.status).toBe(400)
    expect((await strict.json()).error.message).toContain('mcp_servers')
    expect(upstream.requests).toHaveLength(1)
  })

  test('one that the configuration opens arrives', async () => {
    upstream.play(replyFixture('anthropic/plain.json'))
    const answer = await post(JSON.stringify({ ...guarded, model: 'open' }), { 'anthropic-beta': BETAS })
    expect(upstream.requests[0]?.headers['anthropic-beta']).toBe(
      'interleaved-thinking-2025-05-14,context-1m-2025-08-07',
    )
    expect(JSON.parse(String(upstream.requests[0]?.body))).toMatchObject({
      container: 'container_1',
      context_management: guarded.context_management,
    })
    expect(answer.headers.get('x-router-dropped')).toBe('betas, mcp_servers, anthropic-beta=mcp-client-2025-11-20')
  })

  test('so they are where tokens are counted, which is limited and queued like an answer', async () => {
    upstream.play((exchange) => exchange.reply(200, { input_tokens: 12 }))
    const { max_tokens: _, ...counted } = guarded
    const answer = await post(
      JSON.stringify({ ...counted, model: 'claude' }),
      { 'anthropic-beta': BETAS },
      '/v1/messages/count_tokens',
    )
    expect(await answer.json()).toEqual({ input_tokens: 12 })
    expect(upstream.requests[0]?.headers['anthropic-beta']).toBe('ours-2026-01-01,interleaved-thinking-2025-05-14')
    expect(Object.keys(JSON.parse(String(upstream.requests[0]?.body)))).toEqual(['messages', 'model'])
  })

  test('thoughts that a provider can not read are left out on a second try, and with them thinking in a tool loop', async () => {
    const refuse = replyPlain(400, {
      type: 'error',
      error: {
        type: 'invalid_request_error',
        message: 'messages.1.content.0: Invalid `signature` in `thinking` block',
      },
    })
    upstream.play(refuse, replyFixture('anthropic/plain.json'))
    const messages = [
      { role: 'user', content: 'Hi' },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'hm', signature: 'of-another-provider' },
          { type: 'tool_use', id: 'toolu_1', name: 'f', input: {} },
        ],
      },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'x' }] },
    ]
    const thinking = { type: 'enabled', budget_tokens: 1024 }
    const answer = await post(JSON.stringify({ model: 'claude', max_tokens: 2048, messages, thinking }))
    expect(answer.status).toBe(200)
    expect(upstream.requests).toHaveLength(2)
    const sent = JSON.parse(String(upstream.requests[1]?.body))
    expect(sent.thinking).toEqual({ type: 'disabled' })
    expect(sent.messages[1].content.map(({ type }: { type: string }) => type)).toEqual(['tool_use'])
  })

  test("another candidate's thoughts are left out, since their signature is not Anthropic's", async () => {
    upstream.play(
      replyPlain(200, {
        id: 'chatcmpl-1',
        object: 'chat.completion',
        model: 'm',
        choices: [
          { index: 0, message: { role: 'assistant', content: 'Ho', reasoning_content: 'hm' }, finish_reason: 'stop' },
        ],
      }),
      replyFixture('anthropic/plain.json'),
    )
    const first = (await (await post(BODY.replace('"claude"', '"other"'))).json()) as Anthropic.Message
    expect(first.content.map(({ type }) => type)).toEqual(['thinking', 'text'])
    const messages = [
      { role: 'user', content: 'Hi' },
      { role: 'assistant', content: first.content },
      { role: 'user', content: 'And?' },
    ]
    const send = (model: string) => post(JSON.stringify({ model, max_tokens: 64, messages }))
    await send('claude')
    expect(JSON.parse(String(upstream.requests[1]?.body)).messages[1]).toEqual({
      role: 'assistant',
      content: [{ type: 'text', text: 'Ho' }],
    })
    upstream.play(replyPlain())
    await send('other')
    expect(JSON.parse(String(upstream.requests[2]?.body)).messages[1]).toEqual({
      role: 'assistant',
      content: 'Ho',
      reasoning_content: 'hm',
    })
  })

  test('counting tokens: as the provider counts, and as estimated where it does not', async () => {
    const body = BODY.replace('"max_tokens":64 , ', '')
    const count = async (path = '/v1/messages/count_tokens') =>
      (await (await post(body, { 'anthropic-beta': 'theirs' }, path)).json()) as { input_tokens: number }
    upstream.play((exchange) => exchange.reply(200, { input_tokens: 2095 }))
    expect(await count()).toEqual({ input_tokens: 2095 })
    expect(upstream.requests[0]).toMatchObject({ path: '/v1/messages/count_tokens' })
    expect(upstream.requests[0]?.body.toString()).toBe(body.replace('"claude"', '"claude-opus-5-20260901"'))
    for (const reply of [replyPlain(500, 'broken'), replyPlain(200, '{}')]) {
      upstream.play(reply)
      const { input_tokens } = await count()
      expect(input_tokens).toBeGreaterThan(0)
      expect(input_tokens).toBeLessThan(100)
    }
  })

  test('errors keep their words', async () => {
    upstream.play(replyFixture('anthropic/error.json', 400))
    const answer = await post(BODY)
    const { error } = fixtureJson<{ error: { type: string; message: string } }>('anthropic/error.json')
    expect([answer.status, await answer.json()]).toEqual([
      400,
      { type: 'error', error: { type: error.type, message: error.message } },
    ])
  })

  test('an error inside a stream is one before it, and told after it has begun', async () => {
    upstream.play(replyFixture('anthropic/error-first.sse'))
    const first = await post(BODY.replace('{', '{"stream":true,'))
    expect(first.status).toBeGreaterThanOrEqual(500)
    expect(await first.json()).toMatchObject({ type: 'error' })
    upstream.play(replyFixture('anthropic/error-later.sse'))
    const later = await (await post(BODY.replace('{', '{"stream":true,'))).text()
    expect(later).toMatch(/event: error\ndata: \{"type": ?"error"/)
  })

  test('under auto, a tool that only Anthropic runs goes where it is understood', async () => {
    upstream.play(replyFixture('anthropic/plain.json'))
    for (let i = 0; i < 6; i++) {
      const answer = await post(
        JSON.stringify({
          model: 'auto:default',
          max_tokens: 64,
          messages: [{ role: 'user', content: `Search the web, ${i}` }],
          tools: [{ type: 'web_search_20250305', name: 'web_search' }],
        }),
        { 'x-user-id': `searcher-${i}` },
      )
      expect(answer.headers.get('x-router-model')).toBe('claude')
    }
  })
})

const fixtureText = (name: string) => fixture(`anthropic/${name}`).toString('utf8')
