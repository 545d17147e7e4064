import OpenAI from 'openai'
import { zodResponseFormat } from 'openai/helpers/zod'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { call, openai } from '../support/clients.ts'
import { expectClose } from '../support/close.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import {
  chunkOf,
  completionBody,
  type Exchange,
  replyPlain,
  replyStream,
  startUpstream,
  streamEvents,
  type Upstream,
} from '../support/upstream.ts'

/** A tenant whose candidates are all served by the scripted upstream. */
const SCRIPTED_KEY = 'pr-scripted-key-0123456789abcdef'
const PIXEL =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='

let upstream: Upstream
let gateway: RunningGateway
/** Of the sandbox's tenant. */
let client: OpenAI
let scripted: OpenAI

beforeAll(async () => {
  upstream = await startUpstream(replyPlain())
  gateway = await startGateway({
    providers: {
      sandbox: { kind: 'sandbox', enabled: true },
      up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, api_key: 'sk-upstream-0123456789' },
    },
    retries: { max_attempts: 3, backoff_ms: 1, breaker: { failures: 1000 } },
    candidates: [
      {
        name: 'acme/seer',
        provider: 'up',
        price: { input: 2, output: 8 },
        groups: ['scripted'],
        capabilities: ['tools', 'vision', 'logprobs'],
      },
      {
        name: 'blind',
        provider: 'up',
        price: { input: 0.1, output: 0.2 },
        groups: ['scripted'],
        capabilities: ['tools', 'logprobs'],
      },
    ],
    tenants: [
      { name: 'test', keys: [TEST_KEY] },
      { name: 'scripted', keys: [SCRIPTED_KEY], candidates: ['scripted'] },
    ],
  })
  client = openai(gateway, { user: 'ada' })
  scripted = openai(gateway, { apiKey: SCRIPTED_KEY, user: 'ada' })
})

afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

const ask = (content: string) => [{ role: 'user' as const, content }]

describe('a plain answer', () => {
  test('is a chat completion that says which model answered, twice', async () => {
    const { data, response } = await client.chat.completions
      .create({ model: 'auto', messages: ask('What is 12 * 7?') })
      .withResponse()
    expect(data.object).toBe('chat.completion')
    expect(data.choices[0]?.message.content).toMatch(/^\[sandbox /)
    expect(data.choices[0]?.finish_reason).toBe('stop')
    expect(data.usage?.total_tokens).toBe((data.usage?.prompt_tokens ?? 0) + (data.usage?.completion_tokens ?? 0))
    expect(data.usage?.completion_tokens).toBeGreaterThan(0)
    expect((data as { _request_id?: string })._request_id).toBe(response.headers.get('x-request-id'))
    expect(response.headers.get('x-request-id')).toMatch(/^req_[0-9a-f-]{36}$/)
    expect(response.headers.get('x-router-model')).toBe(data.model)
    expect(response.headers.get('x-router-provider')).toBe('sandbox')
    expect(response.headers.get('x-router-reason')).toMatch(/^(cold_start|explore)$/)
    expect(response.headers.get('x-router-policy')).toMatch(/\S/)
    expect(Number(response.headers.get('x-router-cost-usd'))).toBeGreaterThan(0)
  })

  test('of a named model comes from that model, and costs what its price says', async () => {
    const { data, response } = await client.chat.completions
      .create({ model: 'sandbox-premium', messages: ask('What is 2 + 2?') })
      .withResponse()
    expect(data.model).toBe('sandbox-premium')
    expect(response.headers.get('x-router-reason')).toBe('explicit')
    const { prompt_tokens = 0, completion_tokens = 0 } = data.usage ?? {}
    expectClose(Number(response.headers.get('x-router-cost-usd')), (prompt_tokens * 3 + completion_tokens * 15) / 1e6)
  })

  test('n gives so many choices, stop ends the text, max_completion_tokens cuts it', async () => {
    const several = await client.chat.completions.create({ model: 'auto', n: 3, messages: ask('Name a river.') })
    expect(several.choices.map(({ index }) => index)).toEqual([0, 1, 2])
    const stopped = await client.chat.completions.create({
      model: 'sandbox-thorough',
      stop: ['What I took'],
      messages: ask('Name a river.'),
    })
    expect(stopped.choices[0]?.message.content).toContain('Here is a full answer')
    expect(stopped.choices[0]?.message.content).not.toContain('What I took')
    const cut = await client.chat.completions.create({
      model: 'sandbox-thorough',
      max_completion_tokens: 5,
      messages: ask('Name a river.'),
    })
    expect(cut.choices[0]?.finish_reason).toBe('length')
    expect(cut.usage?.completion_tokens).toBe(5)
  })

  test("is the provider's own, byte for byte: logprobs, reasoning and fields we do not know", async () => {
    const text = `{"id":"chatcmpl-odd","object":"chat.completion","created":1,"model":"dated-2026","x_unknown":{"big":9007199254740993},
      "choices":[{"index":0,"message":{"role":"assistant","content":"h\\u00e9","reasoning_content":"hm"},
      "logprobs":{"content":[{"token":"h","logprob":-0.1,"bytes":[104],"top_logprobs":[]}]},"finish_reason":"stop"}],
      "usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`
    upstream.play(replyPlain(200, text))
    const { data, response } = await scripted.chat.completions
      .create({ model: 'blind', logprobs: true, messages: ask('Hi') })
      .withResponse()
    expect(data.model).toBe('dated-2026')
    expect(response.headers.get('x-router-model')).toBe('blind')
    expect(data.choices[0]?.logprobs?.content?.[0]?.logprob).toBe(-0.1)
    const raw = await call(gateway, '/v1/chat/completions', {
      key: SCRIPTED_KEY,
      body: { model: 'blind', messages: ask('Hi') },
    })
    expect(await raw.text()).toBe(text)
  })
})

describe('a streamed answer', () => {
  test('comes in pieces, and without a usage chunk that nobody asked for', async () => {
    const stream = await client.chat.completions.create({
      model: 'sandbox-terse',
      stream: true,
      messages: ask('What is 40 + 2?'),
    })
    const chunks: OpenAI.ChatCompletionChunk[] = []
    for await (const chunk of stream) chunks.push(chunk)
    expect(chunks.length).toBeGreaterThan(3)
    expect(chunks.every(({ choices, usage }) => choices.length === 1 && !usage)).toBe(true)
    const plain = await client.chat.completions.create({ model: 'sandbox-terse', messages: ask('What is 40 + 2?') })
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(
      plain.choices[0]?.message.content,
    )
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('stop')
  })

  test('include_usage: the last chunk has the usage and no choice', async () => {
    const stream = await client.chat.completions.create({
      model: 'auto',
      stream: true,
      stream_options: { include_usage: true },
      messages: ask('What is 40 + 2?'),
    })
    const chunks: OpenAI.ChatCompletionChunk[] = []
    for await (const chunk of stream) chunks.push(chunk)
    expect(chunks.at(-1)?.choices).toEqual([])
    expect(chunks.at(-1)?.usage?.completion_tokens).toBeGreaterThan(0)
  })

  test('a provider is asked for usage in any case: the record has it', async () => {
    upstream.play(replyStream())
    const { data: stream, response } = await scripted.chat.completions
      .create({ model: 'blind', stream: true, messages: ask('Hi') })
      .withResponse()
    let text = ''
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
    expect(text).toBe('Hello there.')
    expect(JSON.parse(String(upstream.requests.at(-1)?.body)).stream_options).toEqual({ include_usage: true })
    const id = response.headers.get('x-request-id')
    const record = await eventually(async () => {
      const profile = await (await call(gateway, '/v1/users/ada/profile', { key: SCRIPTED_KEY })).json()
      return profile.interactions?.find((row: { id: string }) => row.id === id)
    }, 'the record of the stream')
    expect(record.usage).toMatchObject({ promptTokens: 11, completionTokens: 3 })
    expect(record.usageEstimated).toBe(false)
  })

  test("the SDK's stream helper assembles it, reasoning deltas and all", async () => {
    upstream.play(
      replyStream([
        chunkOf({ role: 'assistant', content: '' }),
        chunkOf({ reasoning_content: 'let me think' }),
        ...streamEvents().slice(1),
      ]),
    )
    const stream = scripted.chat.completions.stream({ model: 'blind', messages: ask('Hi') })
    const deltas: string[] = []
    for await (const chunk of stream) {
      const delta = chunk.choices[0]?.delta as { reasoning_content?: string } | undefined
      if (delta?.reasoning_content) deltas.push(delta.reasoning_content)
    }
    expect(deltas).toEqual(['let me think'])
    expect((await stream.finalChatCompletion()).choices[0]?.message.content).toBe('Hello there.')
  })

  test('one that breaks raises', async () => {
    upstream.play((exchange) => {
      exchange.stream()
      exchange.event(chunkOf({ role: 'assistant', content: '' }))
      exchange.event(chunkOf({ content: 'Hel' }))
      setTimeout(() => exchange.reset(), 50)
    })
    const stream = await scripted.chat.completions.create({ model: 'blind', stream: true, messages: ask('Hi') })
    let text = ''
    const reading = (async () => {
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
    })()
    await expect(reading).rejects.toBeInstanceOf(OpenAI.APIError)
    expect(text).toBe('Hel')
  })
})

const tools = (['get_weather', 'get_time'] as const).map((name) => ({
  type: 'function' as const,
  function: {
    name,
    description: `${name} of a city`,
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    },
    strict: true,
  },
}))

describe('tools', () => {
  test('parallel calls, and their results make the answer', async () => {
    const messages: OpenAI.ChatCompletionMessageParam[] = ask('What are the weather and the time in Paris?')
    const { data: first, response } = await client.chat.completions
      .create({ model: 'auto', messages, tools, tool_choice: 'required' })
      .withResponse()
    const message = first.choices[0]?.message
    expect(first.choices[0]?.finish_reason).toBe('tool_calls')
    const calls = (message?.tool_calls ?? []) as OpenAI.ChatCompletionMessageFunctionToolCall[]
    expect(calls.map((toolCall) => toolCall.function.name)).toEqual(['get_weather', 'get_time'])
    expect(JSON.parse(calls[0]?.function.arguments ?? '')).toEqual({ city: 'sandbox' })
    if (message) messages.push(message)
    for (const { id } of calls) messages.push({ role: 'tool', tool_call_id: id, content: 'It is 21 degrees at noon.' })
    const { data: second, response: last } = await client.chat.completions
      .create({ model: 'auto', messages, tools })
      .withResponse()
    expect(second.choices[0]?.message.content).toContain('21 degrees')
    expect(last.headers.get('x-router-model')).toBe(response.headers.get('x-router-model'))
  })

  test('a tool loop stays with the model that called the tool, for every user and however it was chosen', async () => {
    const models = new Set<string>()
    for (let i = 0; i < 24; i++) {
      const user = openai(gateway, { user: `looper-${i}` })
      const messages: OpenAI.ChatCompletionMessageParam[] = ask(`Loop ${i}: what is the weather in Paris?`)
      const chosen: (string | null)[] = []
      for (let turn = 0; turn < 3; turn++) {
        const { data, response } = await user.chat.completions
          .create({ model: 'auto', messages, tools, tool_choice: 'required' })
          .withResponse()
        chosen.push(response.headers.get('x-router-model'))
        if (turn > 0) expect(response.headers.get('x-router-reason')).toBe('sticky;tool_loop')
        const message = data.choices[0]?.message
        if (message?.tool_calls)
          messages.push(message, { role: 'tool', tool_call_id: message.tool_calls[0]?.id ?? '', content: 'sunny' })
        else messages.push({ role: 'tool', tool_call_id: 'call_again', content: 'still sunny' })
      }
      expect(new Set(chosen).size).toBe(1)
      models.add(String(chosen[0]))
    }
    // Exploring chose more than one model over so many users; each kept its own.
    expect(models.size).toBeGreaterThan(1)
  })

  test('streamed calls are assembled by the SDK', async () => {
    const stream = client.chat.completions.stream({
      model: 'auto',
      messages: ask('What are the weather and the time in Paris?'),
      tools,
      tool_choice: 'required',
    })
    const message = await stream.finalMessage()
    expect(message.tool_calls?.map((toolCall) => (toolCall.type === 'function' ? toolCall.function.name : ''))).toEqual(
      ['get_weather', 'get_time'],
    )
    expect(
      JSON.parse(message.tool_calls?.[1]?.type === 'function' ? message.tool_calls[1].function.arguments : ''),
    ).toEqual({ city: 'sandbox' })
  })

  test("the SDK's runTools goes the whole way", async () => {
    const asked: string[] = []
    const runner = client.chat.completions.runTools({
      model: 'auto',
      messages: ask('What is the weather in Lisbon?'),
      tool_choice: 'required',
      tools: [
        {
          type: 'function',
          function: {
            name: 'get_weather',
            parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
            description: 'The weather of a city',
            parse: (text: string) => JSON.parse(text) as { city: string },
            function: ({ city }: { city: string }) => {
              asked.push(city)
              return `17 degrees in ${city}`
            },
          },
        },
      ],
    })
    expect(await runner.finalContent()).toContain('17 degrees in sandbox')
    expect(asked).toEqual(['sandbox'])
    expect(new Set(runner.allChatCompletions().map(({ model }) => model)).size).toBe(1)
  })
})

test('structured output is parsed by the zod helper', async () => {
  const Trip = z.object({
    city: z.string(),
    days: z.number().int(),
    mode: z.enum(['train', 'plane']),
    stops: z.array(z.string()),
  })
  const completion = await client.chat.completions.parse({
    model: 'auto',
    messages: ask('Plan a trip to Lisbon.'),
    response_format: zodResponseFormat(Trip, 'trip'),
  })
  expect(Trip.parse(completion.choices[0]?.message.parsed).mode).toBe('train')
})

describe('an image', () => {
  const messages: OpenAI.ChatCompletionMessageParam[] = [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'What is this?' },
        { type: 'image_url', image_url: { url: PIXEL, detail: 'low' } },
      ],
    },
  ]

  test('goes only to candidates that see, unchanged', async () => {
    upstream.play(replyPlain())
    for (let i = 0; i < 20; i++) {
      const { response } = await openai(gateway, { apiKey: SCRIPTED_KEY, user: `viewer-${i}` })
        .chat.completions.create({ model: 'auto', messages })
        .withResponse()
      expect(response.headers.get('x-router-model')).toBe('acme/seer')
    }
    expect(JSON.parse(String(upstream.requests.at(-1)?.body)).messages).toEqual(messages)
  })

  test('nobody who sees: 400 that says so, and nobody is asked', async () => {
    const before = upstream.requests.length
    const asking = scripted.chat.completions.create(
      { model: 'auto', messages },
      { headers: { 'x-router-allow': 'blind' } },
    )
    await expect(asking).rejects.toMatchObject({
      status: 400,
      code: 'no_candidate',
      message: expect.stringContaining('lacks vision'),
    })
    expect(upstream.requests.length).toBe(before)
  })
})

describe('models', () => {
  test('auto first, then the groups and the candidates of this tenant alone', async () => {
    const ids: string[] = []
    for await (const model of client.models.list()) ids.push(model.id)
    expect(ids[0]).toBe('auto')
    expect(ids).toContain('sandbox-terse')
    expect(ids).not.toContain('blind')
    const others = (await scripted.models.list()).data.map(({ id }) => id)
    expect(others).toEqual(['auto', 'auto:scripted', 'acme/seer', 'blind'])
  })

  test('one by its name, a slash in it too', async () => {
    expect(await client.models.retrieve('auto')).toMatchObject({ id: 'auto', object: 'model' })
    expect(await scripted.models.retrieve('acme/seer')).toMatchObject({ id: 'acme/seer', object: 'model' })
    await expect(client.models.retrieve('blind')).rejects.toMatchObject({ status: 404, code: 'model_not_found' })
  })
})

describe('feedback, by the generic post', () => {
  test('by completion id and by request id; 202; the history shows it', async () => {
    const rater = openai(gateway, { user: 'rater' })
    const { data, response } = await rater.chat.completions
      .create({ model: 'auto', messages: ask('Hi') })
      .withResponse()
    const accepted = await rater.post('/feedback', { body: { completion_id: data.id, rating: 'up' } }).asResponse()
    expect(accepted.status).toBe(202)
    const requestId = response.headers.get('x-request-id')
    expect(
      await rater.post('/feedback', { body: { request_id: requestId, rating: 0.25, comment: 'meh' } }),
    ).toMatchObject({
      object: 'feedback',
      interaction_id: requestId,
    })
    const profile: { history: { reward: number }[] } = await rater.get('/users/rater/profile')
    expect(profile.history.map(({ reward }) => reward)).toEqual([-0.5])
  })

  test('while the answer is still on its way', async () => {
    let finish = () => {}
    upstream.play(async (exchange: Exchange) => {
      const [first, ...rest] = streamEvents()
      exchange.stream()
      exchange.event(first)
      exchange.event(rest[0])
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      for (const event of rest.slice(1)) exchange.event(event)
      exchange.chunk('data: [DONE]\n\n')
      exchange.end()
    })
    const { data: stream, response } = await openai(gateway, { apiKey: SCRIPTED_KEY, user: 'early' })
      .chat.completions.create({ model: 'blind', stream: true, messages: ask('Hi') })
      .withResponse()
    const accepted = await scripted
      .post('/feedback', { body: { request_id: response.headers.get('x-request-id'), rating: 'down' } })
      .asResponse()
    expect(accepted.status).toBe(202)
    finish()
    let text = ''
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
    expect(text).toBe('Hello there.')
  })

  test('of an answer that there never was: NotFoundError', async () => {
    await expect(
      client.post('/feedback', { body: { completion_id: 'chatcmpl-never', rating: 'up' } }),
    ).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  })
})

describe('whose request it is', () => {
  test.each([
    ['the header x-user-id', { 'x-user-id': 'who-1' }, { user: 'nobody', safety_identifier: 'nobody' }, 'who-1'],
    ['the header x-openwebui-user-id', { 'x-openwebui-user-id': 'who-2' }, { user: 'nobody' }, 'who-2'],
    ['safety_identifier', {}, { safety_identifier: 'who-3', user: 'nobody' }, 'who-3'],
    ['user', {}, { user: 'who-4' }, 'who-4'],
  ])('%s', async (_, headers, fields, expected) => {
    await openai(gateway).chat.completions.create({ model: 'auto', messages: ask('Hi'), ...fields }, { headers })
    await eventually(
      async () => (await call(gateway, `/v1/users/${expected}/profile`)).status === 200,
      `a record of ${expected}`,
    )
    expect((await call(gateway, '/v1/users/nobody/profile')).status).toBe(404)
  })
})

describe('errors have the right class', () => {
  const error = (status: number, code: string | null = null) =>
    replyPlain(status, { error: { message: `scripted ${status}`, type: 'some_error', param: null, code } })

  test('BadRequestError names the field', async () => {
    const failed = await client.chat.completions.create({ model: 'auto', messages: [] }).catch((caught) => caught)
    expect(failed).toBeInstanceOf(OpenAI.BadRequestError)
    expect(failed).toMatchObject({
      param: 'messages',
      type: 'invalid_request_error',
      requestID: expect.stringMatching(/^req_/),
    })
  })

  test('AuthenticationError', async () => {
    const stranger = openai(gateway, { apiKey: 'pr-nobody-gave-me-this-key' })
    const failed = await stranger.models.list().catch((caught) => caught)
    expect(failed).toBeInstanceOf(OpenAI.AuthenticationError)
    expect(failed.code).toBe('invalid_api_key')
  })

  test('NotFoundError with model_not_found', async () => {
    const failed = await client.chat.completions
      .create({ model: 'gpt-none', messages: ask('Hi') })
      .catch((caught) => caught)
    expect(failed).toBeInstanceOf(OpenAI.NotFoundError)
    expect(failed).toMatchObject({ code: 'model_not_found', param: 'model' })
  })

  test.each([
    [400, OpenAI.BadRequestError, 400],
    [404, OpenAI.NotFoundError, 404],
    [422, OpenAI.UnprocessableEntityError, 422],
    [429, OpenAI.RateLimitError, 429],
    [401, OpenAI.InternalServerError, 502],
    [403, OpenAI.InternalServerError, 502],
    [500, OpenAI.InternalServerError, 502],
    [503, OpenAI.InternalServerError, 503],
  ])('the provider says %i', async (status, Class, seen) => {
    upstream.play(error(status))
    const failed = await scripted.chat.completions
      .create({ model: 'blind', messages: ask('Hi') })
      .catch((caught) => caught)
    expect(failed).toBeInstanceOf(Class)
    expect(failed.status).toBe(seen)
  })

  test("the SDK's retries and ours do not multiply", async () => {
    for (const status of [500, 503]) {
      upstream.play(error(status))
      const before = upstream.requests.length
      await scripted.chat.completions.create({ model: 'blind', messages: ask('Hi') }).catch(() => {})
      expect(upstream.requests.length - before).toBe(3)
    }
    upstream.play(error(429))
    const before = upstream.requests.length
    await scripted.chat.completions.create({ model: 'blind', messages: ask('Hi') }).catch(() => {})
    expect(upstream.requests.length - before).toBeLessThanOrEqual(3)
  })
})

describe('aborts', () => {
  const hang = (started: () => void, ended: () => void) => async (exchange: Exchange) => {
    started()
    await exchange.closed
    ended()
  }

  test.each([false, true])('before the first byte, stream: %s; the upstream sees the close', async (stream) => {
    let [started, ended] = [false, false]
    upstream.play(
      hang(
        () => {
          started = true
        },
        () => {
          ended = true
        },
      ),
    )
    const controller = new AbortController()
    const asking = scripted.chat.completions
      .create({ model: 'blind', stream, messages: ask('Hi') }, { signal: controller.signal })
      .catch((caught) => caught)
    await eventually(() => started, 'the upstream is asked')
    controller.abort()
    expect(await asking).toBeInstanceOf(OpenAI.APIUserAbortError)
    await eventually(() => ended, 'the upstream sees the close', 1_000)
  })

  test('in the middle of a stream', async () => {
    let ended = false
    upstream.play(async (exchange) => {
      exchange.stream()
      for (const event of streamEvents().slice(0, 2)) exchange.event(event)
      await exchange.closed
      ended = true
    })
    const stream = await scripted.chat.completions.create({ model: 'blind', stream: true, messages: ask('Hi') })
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break
    await eventually(() => ended, 'the upstream sees the close', 1_000)
  })

  test('the gateway serves on', async () => {
    upstream.play(replyPlain(200, completionBody('Still here.')))
    const { choices } = await scripted.chat.completions.create({ model: 'blind', messages: ask('Hi') })
    expect(choices[0]?.message.content).toBe('Still here.')
  })
})
