import type OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { call, openai } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { installLlama, type LlamaServer, startLlamaServer } from '../support/llama-server.ts'

const missing = await installLlama()
if (missing !== null) console.warn(`SKIPPED: a real LLM behind the gateway. ${missing}`)

const MODEL = 'llama/SmolLM2-135M-Instruct.Q4_1'

describe.skipIf(missing !== null)("SmolLM2-135M on llama.cpp's own server", { timeout: 120_000 }, () => {
  let server: LlamaServer
  let gateway: RunningGateway
  let client: OpenAI

  beforeAll(async () => {
    server = await startLlamaServer()
    gateway = await startGateway({
      providers: {
        llama: { kind: 'openai-compatible', base_url: `${server.origin}/v1`, key_required: false, discover: true },
      },
    })
    client = openai(gateway, { user: 'ada' })
  }, 180_000)
  afterAll(async () => {
    await discard(gateway)
    await server?.stop()
  })

  const ask = (content: string) => ({
    model: 'auto',
    messages: [{ role: 'user' as const, content }],
    temperature: 0,
    seed: 1,
  })

  const recordOf = (requestId: string | null | undefined) =>
    eventually(async () => {
      const profile = await (await call(gateway, '/v1/users/ada/profile')).json()
      return profile.interactions?.find((row: { id: string }) => row.id === requestId)
    }, `the record of ${requestId}`)

  test('is found without being configured, with its size and its window', async () => {
    const ids = (await client.models.list()).data.map(({ id }) => id)
    expect(ids).toContain(MODEL)
    const ready = await (await fetch(`${gateway.url}/readyz`)).json()
    expect(ready.components.candidates).toEqual({ state: 'ok', detail: '1 usable' })
  })

  test('answers, and its tokens are its own count', async () => {
    const { data, response } = await client.chat.completions
      .create({ ...ask('What is the capital of France? Answer in one word.'), max_completion_tokens: 12 })
      .withResponse()
    expect(data.choices[0]?.message.content).toContain('Paris')
    expect(response.headers.get('x-router-model')).toBe(MODEL)
    const record = await recordOf(response.headers.get('x-request-id'))
    expect(record.usage).toMatchObject({
      promptTokens: data.usage?.prompt_tokens,
      completionTokens: data.usage?.completion_tokens,
    })
    expect(record.usageEstimated).toBe(false)
  })

  test('streams the same text, usage only where asked for', async () => {
    const body = { ...ask('Count from one to five.'), max_completion_tokens: 16 }
    const plain = await client.chat.completions.create(body)
    const texts: string[] = []
    for (const include_usage of [false, true]) {
      const stream = await client.chat.completions.create({
        ...body,
        stream: true,
        ...(include_usage && { stream_options: { include_usage } }),
      })
      const chunks: OpenAI.ChatCompletionChunk[] = []
      for await (const chunk of stream) chunks.push(chunk)
      expect(chunks.length).toBeGreaterThan(5)
      expect(chunks.filter(({ usage }) => usage)).toHaveLength(include_usage ? 1 : 0)
      texts.push(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join(''))
    }
    expect(texts).toEqual([plain.choices[0]?.message.content, plain.choices[0]?.message.content])
  })

  test('stop and length end it', async () => {
    const cut = await client.chat.completions.create({ ...ask('Tell me a long story.'), max_completion_tokens: 4 })
    expect(cut.choices[0]?.finish_reason).toBe('length')
    expect(cut.usage?.completion_tokens).toBe(4)
    const whole = await client.chat.completions.create({ ...ask('Tell me a long story.'), max_completion_tokens: 16 })
    const text = whole.choices[0]?.message.content ?? ''
    const stop = text.trim().split(' ')[4] ?? ''
    const stopped = await client.chat.completions.create({
      ...ask('Tell me a long story.'),
      max_completion_tokens: 16,
      stop: [stop],
    })
    expect(stopped.choices[0]?.finish_reason).toBe('stop')
    expect(stopped.choices[0]?.message.content).toBe(text.slice(0, text.indexOf(stop)))
  })

  test('keeps to a JSON schema', async () => {
    const Person = z.object({ name: z.string().max(12), age: z.number().int(), mood: z.enum(['glad', 'sad']) })
    const completion = await client.chat.completions.create({
      ...ask('Invent a person.'),
      max_completion_tokens: 64,
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'person', strict: true, schema: z.toJSONSchema(Person) as Record<string, unknown> },
      },
    })
    Person.parse(JSON.parse(completion.choices[0]?.message.content ?? ''))
  })

  test('logprobs come through', async () => {
    const completion = await client.chat.completions.create({
      ...ask('Hi'),
      max_completion_tokens: 2,
      logprobs: true,
      top_logprobs: 2,
    })
    expect(completion.choices[0]?.logprobs?.content?.[0]?.top_logprobs).toHaveLength(2)
  })

  test('stops thinking when the client leaves, and what it had said is on the bill', async () => {
    const { data: stream, response } = await client.chat.completions
      .create({ ...ask('Write a very long story about the sea.'), max_completion_tokens: 1_000, stream: true })
      .withResponse()
    let pieces = 0
    for await (const _ of stream) if (++pieces === 5) break
    const record = await recordOf(response.headers.get('x-request-id'))
    expect(record.finishReason).toBe('aborted')
    expect(record.usage.completionTokens).toBeGreaterThan(0)
    expect(record.usage.completionTokens).toBeLessThan(1_000)
    await eventually(async () => {
      const slots: { is_processing: boolean }[] = await (await fetch(`${server.origin}/slots`)).json()
      return slots.every(({ is_processing }) => !is_processing)
    }, 'the server is idle')
  })
})
