import { HumanMessage, type ToolCall, type ToolMessage, type UsageMetadata } from '@langchain/core/messages'
import { tool } from '@langchain/core/tools'
import { ChatOpenAI, type ChatOpenAIFields } from '@langchain/openai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'

let gateway: RunningGateway

beforeAll(async () => {
  gateway = await startGateway()
})
afterAll(() => discard(gateway))

const chat = (fields: ChatOpenAIFields = {}) =>
  new ChatOpenAI({
    model: 'auto',
    apiKey: gateway.key,
    configuration: { baseURL: gateway.baseURL, defaultHeaders: { 'x-user-id': 'ada' } },
    ...fields,
  })

const getWeather = tool(({ city }) => `17 degrees in ${city}`, {
  name: 'get_weather',
  description: 'The weather of a city',
  schema: z.object({ city: z.string() }),
})

test('invoke', async () => {
  const message = await chat().invoke('What is 12 * 7?')
  expect(message.content).toMatch(/^\[sandbox /)
  expect((message.usage_metadata as UsageMetadata | undefined)?.output_tokens).toBeGreaterThan(0)
  expect(message.response_metadata.model_name).toMatch(/^sandbox-/)
})

test('stream', async () => {
  const pieces: string[] = []
  for await (const chunk of await chat().stream('What is 12 * 7?')) pieces.push(String(chunk.content))
  expect(pieces.length).toBeGreaterThan(2)
  expect(pieces.join('')).toMatch(/^\[sandbox /)
})

test('batch', async () => {
  const messages = await chat().batch(['What is 1 + 1?', 'What is 2 + 2?'])
  expect(messages.map(({ content }) => String(content).startsWith('[sandbox '))).toEqual([true, true])
})

test('bindTools, there and back', async () => {
  const model = chat().bindTools([getWeather], { tool_choice: 'required' })
  const question = new HumanMessage('What is the weather in Lisbon?')
  const call = await model.invoke([question])
  expect(call.tool_calls).toMatchObject([{ name: 'get_weather', args: { city: 'sandbox' } }])
  const result = (await getWeather.invoke(call.tool_calls?.[0] as ToolCall)) as ToolMessage
  const answer = await model.invoke([question, call, result])
  expect(answer.content).toContain('17 degrees in sandbox')
  expect(answer.response_metadata.model_name).toBe(call.response_metadata.model_name)
})

test('bindTools, streamed', async () => {
  const stream = await chat()
    .bindTools([getWeather], { tool_choice: 'required' })
    .stream('What is the weather in Oslo?')
  let whole: Awaited<ReturnType<typeof stream.next>>['value']
  for await (const chunk of stream) whole = whole ? whole.concat(chunk) : chunk
  expect(whole.tool_calls).toMatchObject([{ name: 'get_weather', args: { city: 'sandbox' } }])
})

const Trip = z.object({ city: z.string(), days: z.number().int(), mode: z.enum(['train', 'plane']) })

test.each(['jsonSchema', 'functionCalling'] as const)('withStructuredOutput by %s', async (method) => {
  const trip = await chat().withStructuredOutput(Trip, { method, name: 'trip' }).invoke('Plan a trip to Lisbon.')
  expect(trip).toEqual({ city: method === 'jsonSchema' ? 'Lisbon' : 'sandbox', days: 1, mode: 'train' })
})

test('an image', async () => {
  const url =
    'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='
  const content = [
    { type: 'text' as const, text: 'What is this?' },
    { type: 'image_url' as const, image_url: { url } },
  ]
  const message = await chat().invoke([new HumanMessage({ content })])
  expect(message.content).toMatch(/^\[sandbox /)
})

test('an error is raised at once, with its status and code', async () => {
  const failed = await chat({ model: 'gpt-none' })
    .invoke('Hi')
    .catch((caught) => caught)
  expect(failed).toMatchObject({ status: 404, code: 'model_not_found' })
})
