import { createOpenAI } from '@ai-sdk/openai'
import { HumanMessage, type ToolCall, type ToolMessage } from '@langchain/core/messages'
import { tool as langchainTool } from '@langchain/core/tools'
import { ChatOpenAI } from '@langchain/openai'
import { generateText, type ModelMessage, streamText } from 'ai'
import { APIError, BadRequestError, NotFoundError } from 'openai'
import { zodResponsesFunction, zodTextFormat } from 'openai/helpers/zod'
import type { ResponseInput } from 'openai/resources/responses/responses'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { streamedToolLoop } from '../support/ai-tool-loop.ts'
import { openai } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { chunkOf, type Exchange, startUpstream, type Upstream } from '../support/upstream.ts'

const SCRIPTED_KEY = 'pr-scripted-key-0123456789abcdef'

let gateway: RunningGateway
let upstream: Upstream

beforeAll(async () => {
  upstream = await startUpstream(breaking)
  gateway = await startGateway({
    providers: {
      sandbox: { kind: 'sandbox', enabled: true },
      up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false },
    },
    candidates: [{ name: 'breaking', provider: 'up', price: { input: 1, output: 2 }, groups: ['scripted'] }],
    tenants: [
      { name: 'test', keys: [TEST_KEY] },
      { name: 'scripted', keys: [SCRIPTED_KEY], candidates: ['scripted'] },
    ],
    retries: { max_attempts: 1 },
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

function breaking(exchange: Exchange): void {
  exchange.stream()
  exchange.event(chunkOf({ role: 'assistant', content: 'Hel' }))
  setTimeout(() => exchange.reset(), 50)
}

const MODEL = 'auto'
describe('the official Node SDK', () => {
  const client = () => openai(gateway, { user: 'node', maxRetries: 0 })

  test('create', async () => {
    const { data, response } = await client().responses.create({ model: MODEL, input: 'Hello' }).withResponse()
    expect(data.output_text).toMatch(/^\[sandbox /)
    expect(data.usage?.output_tokens).toBeGreaterThan(0)
    expect(data.model).toBe(response.headers.get('x-router-model'))
  })

  test('the events, and the helper that puts them together', async () => {
    const stream = await client().responses.create({ model: MODEL, input: 'What is 12 * 7?', stream: true })
    const types: string[] = []
    for await (const { type } of stream) types.push(type)
    expect(types.slice(0, 4)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
    ])
    expect(types.slice(-4)).toEqual([
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ])
    const helper = client().responses.stream({ model: MODEL, input: 'What is 12 * 7?' })
    const pieces: string[] = []
    helper.on('response.output_text.delta', ({ delta }) => pieces.push(delta))
    const last = await helper.finalResponse()
    expect(pieces.join('')).toBe(last.output_text)
    expect(last.status).toBe('completed')
  })

  test('parse', async () => {
    const parsed = await client().responses.parse({
      model: MODEL,
      input: 'Who won?',
      text: { format: zodTextFormat(z.object({ winner: z.string(), points: z.number() }), 'result') },
    })
    expect(parsed.output_parsed).toEqual({ winner: expect.any(String), points: expect.any(Number) })
  })

  test('a tool loop by the whole history, and by the id of the response before', async () => {
    const ask = {
      model: MODEL,
      tools: [zodResponsesFunction({ name: 'get_weather', parameters: z.object({ city: z.string() }) })],
    }
    const input: ResponseInput = [{ role: 'user', content: 'What is the weather in Lisbon?' }]
    const first = await client().responses.parse({ ...ask, input, tool_choice: 'required' })
    const called = first.output.find((item) => item.type === 'function_call')
    expect(called?.parsed_arguments).toEqual({ city: expect.any(String) })
    const output = { type: 'function_call_output' as const, call_id: called!.call_id, output: '17 degrees' }
    const whole = await client().responses.create({
      ...ask,
      input: [...input, ...(first.output as ResponseInput), output],
    })
    const referring = await client().responses.create({ ...ask, input: [output], previous_response_id: first.id })
    expect(whole.output_text).toContain('17 degrees')
    expect(referring.output_text).toBe(whole.output_text)
    expect(referring.model).toBe(first.model)
  })

  test('retrieve, the input, delete; feedback by the response’s id', async () => {
    const first = await client().responses.create({ model: MODEL, input: 'One' })
    const second = await client().responses.create({ model: MODEL, input: 'Two', previous_response_id: first.id })
    const { output_text, ...kept } = await client().responses.retrieve(second.id)
    expect(kept).toEqual((({ output_text: _, ...rest }) => rest)(second))
    expect(output_text).toBe(second.output_text)
    const items = []
    for await (const item of client().responses.inputItems.list(second.id, { order: 'asc', limit: 1 })) items.push(item)
    expect(items.map((item) => ('role' in item ? item.role : item.type))).toEqual(['user', 'assistant', 'user'])
    await client().post('/feedback', { body: { completion_id: second.id, rating: 'up' } })
    await client().responses.delete(second.id)
    await expect(client().responses.retrieve(second.id)).rejects.toBeInstanceOf(NotFoundError)
    expect((await client().responses.retrieve(first.id)).id).toBe(first.id)
  })

  test('what is not there raises, with a code and the field', async () => {
    const unknown = client().responses.create({ model: MODEL, input: 'x', previous_response_id: 'resp_none' })
    await expect(unknown).rejects.toMatchObject({
      status: 400,
      code: 'previous_response_not_found',
      param: 'previous_response_id',
    })
    await expect(client().responses.create({ model: MODEL, input: 'x', background: true })).rejects.toBeInstanceOf(
      BadRequestError,
    )
    await expect(client().responses.compact({ model: MODEL, input: 'x' })).rejects.toBeInstanceOf(NotFoundError)
    await expect(client().responses.inputTokens.count({ model: MODEL, input: 'x' })).rejects.toBeInstanceOf(
      NotFoundError,
    )
  })

  test('a stream that breaks raises', async () => {
    const scripted = () => openai(gateway, { apiKey: SCRIPTED_KEY, maxRetries: 0 })
    const pieces: string[] = []
    const read = async () => {
      const stream = await scripted().responses.create({ model: 'breaking', input: 'x', stream: true })
      for await (const event of stream) if (event.type === 'response.output_text.delta') pieces.push(event.delta)
    }
    await expect(read()).rejects.toBeInstanceOf(APIError)
    expect(pieces).toEqual(['Hel'])
    await expect(scripted().responses.stream({ model: 'breaking', input: 'x' }).finalResponse()).rejects.toBeInstanceOf(
      APIError,
    )
  })
})

describe('the AI SDK as it is by default', () => {
  const sent: string[] = []
  const model = () =>
    createOpenAI({
      baseURL: gateway.baseURL,
      apiKey: gateway.key,
      headers: { 'x-user-id': 'ai' },
      fetch: (url, init) => {
        sent.push(String(init?.body))
        return fetch(url, init)
      },
    })(MODEL)

  test('two turns: the second refers to the first answer by its items', async () => {
    const messages: ModelMessage[] = [{ role: 'user', content: 'My name is Ada.' }]
    const first = await generateText({ model: model(), messages })
    expect(first.text).toMatch(/^\[sandbox /)
    messages.push(...first.response.messages, { role: 'user', content: 'What is my name?' })
    const second = await generateText({ model: model(), messages })
    expect(sent.at(-1)).toContain('item_reference')
    expect(second.text).toMatch(/^\[sandbox /)
    expect(second.usage.inputTokens).toBeGreaterThan(first.usage.inputTokens!)
  })

  test('a stream', async () => {
    const result = streamText({ model: model(), prompt: 'What is 12 * 7?' })
    const pieces: string[] = []
    for await (const piece of result.textStream) pieces.push(piece)
    expect(pieces.length).toBeGreaterThan(2)
    expect(await result.finishReason).toBe('stop')
  })

  test('a tool loop, streamed', async () => {
    const { text, asked, models } = await streamedToolLoop(model())
    expect(text).toContain('17 degrees')
    expect(asked).toEqual(['sandbox'])
    expect(new Set(models).size).toBe(1)
  })

  test('a stream that breaks is an error', async () => {
    const errors: unknown[] = []
    const broken = createOpenAI({ baseURL: gateway.baseURL, apiKey: SCRIPTED_KEY })('breaking')
    const result = streamText({
      model: broken,
      prompt: 'x',
      onError: ({ error }) => void errors.push(error),
      maxRetries: 0,
    })
    await result.consumeStream()
    expect(errors).toHaveLength(1)
  })
})

test('LangChain with useResponsesApi', async () => {
  const chat = new ChatOpenAI({
    model: MODEL,
    apiKey: gateway.key,
    useResponsesApi: true,
    configuration: { baseURL: gateway.baseURL },
  })
  const message = await chat.invoke('What is 12 * 7?')
  expect(message.text).toMatch(/^\[sandbox /)
  const pieces: string[] = []
  for await (const chunk of await chat.stream('What is 12 * 7?')) pieces.push(chunk.text)
  expect(pieces.join('')).toMatch(/^\[sandbox /)
  const weather = langchainTool(({ city }) => `17 degrees in ${city}`, {
    name: 'get_weather',
    description: 'The weather of a city',
    schema: z.object({ city: z.string() }),
  })
  const bound = chat.bindTools([weather], { tool_choice: { type: 'function', function: { name: 'get_weather' } } })
  const question = new HumanMessage('What is the weather in Lisbon?')
  const called = await bound.invoke([question])
  expect(called.tool_calls).toMatchObject([{ name: 'get_weather' }])
  const result = (await weather.invoke(called.tool_calls?.[0] as ToolCall)) as ToolMessage
  expect((await chat.bindTools([weather]).invoke([question, called, result])).text).toContain('17 degrees')
})
