import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { APICallError, generateObject, generateText, streamText } from 'ai'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { streamedToolLoop, toolLoop } from '../support/ai-tool-loop.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'

let gateway: RunningGateway
let provider: ReturnType<typeof createOpenAICompatible>

beforeAll(async () => {
  gateway = await startGateway()
  provider = createOpenAICompatible({
    name: 'persona-router',
    baseURL: gateway.baseURL,
    apiKey: gateway.key,
    headers: { 'x-user-id': 'ada' },
    includeUsage: true,
    supportsStructuredOutputs: true,
  })
})
afterAll(() => discard(gateway))

test('generateText', async () => {
  const { text, usage, finishReason, response } = await generateText({
    model: provider('auto'),
    prompt: 'What is 12 * 7?',
  })
  expect(text).toMatch(/^\[sandbox /)
  expect(finishReason).toBe('stop')
  expect(usage.outputTokens).toBeGreaterThan(0)
  expect(response.headers?.['x-router-model']).toBe(response.modelId)
})

test('streamText', async () => {
  const result = streamText({ model: provider('auto'), prompt: 'What is 12 * 7?' })
  const pieces: string[] = []
  for await (const piece of result.textStream) pieces.push(piece)
  expect(pieces.length).toBeGreaterThan(2)
  expect(pieces.join('')).toMatch(/^\[sandbox /)
  expect((await result.usage).outputTokens).toBeGreaterThan(0)
  expect(await result.finishReason).toBe('stop')
})

test.each([
  ['generated', toolLoop],
  ['streamed', streamedToolLoop],
])('tools, %s: the loop ends with an answer from the same model', async (_, loop) => {
  const { text, asked, models } = await loop(provider('auto'))
  expect(asked).toEqual(['sandbox'])
  expect(text).toContain('17 degrees in sandbox')
  expect(models).toHaveLength(2)
  expect(new Set(models).size).toBe(1)
})

test('generateObject', async () => {
  const schema = z.object({ city: z.string(), days: z.number().int(), mode: z.enum(['train', 'plane']) })
  const { object } = await generateObject({ model: provider('auto'), schema, prompt: 'Plan a trip to Lisbon.' })
  expect(object).toEqual({ city: 'Lisbon', days: 1, mode: 'train' })
})

test('an image', async () => {
  const image = Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==',
    'base64',
  )
  const { text } = await generateText({
    model: provider('auto'),
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is this?' },
          { type: 'image', image },
        ],
      },
    ],
  })
  expect(text).toMatch(/^\[sandbox /)
})

test('an error is an APICallError with status, message and the right idea of whether to retry', async () => {
  const failed = await generateText({ model: provider('gpt-none'), prompt: 'Hi' }).catch((caught) => caught)
  expect(APICallError.isInstance(failed)).toBe(true)
  expect(failed).toMatchObject({ statusCode: 404, isRetryable: false, message: expect.stringContaining('gpt-none') })
})
