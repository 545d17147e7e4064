import OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import { ask, type Harness, startHarness } from '../support/relay-harness.ts'
import { replyPlain, replyStream, startUpstream, type Upstream } from '../support/upstream.ts'

let upstream: Upstream
let harness: Harness

afterEach(async () => {
  await harness?.close()
  await upstream?.close()
})

describe('an answer that goes well', () => {
  test("plain: the provider's bytes, its usage, one attempt", async () => {
    upstream = await startUpstream(replyPlain())
    harness = await startHarness({ origins: [upstream.origin] })
    const response = await ask(harness.url)
    expect(response.status).toBe(200)
    expect(response.headers.get('x-router-model')).toBe('c0')
    expect((await response.json()).choices[0].message.content).toBe('Hello there.')
    const [result] = await harness.settled(1)
    expect(result?.outcome).toMatchObject({
      usageEstimated: false,
      finishReason: 'stop',
      completionId: 'chatcmpl-1',
      error: null,
    })
    expect(result?.outcome?.usage).toMatchObject({ promptTokens: 11, completionTokens: 3, cachedTokens: 4 })
    expect(result?.forwarded?.attempts).toMatchObject([{ candidate: 'c0', provider: 'p0', status: 200, error: null }])
    expect(JSON.parse(String(upstream.requests[0]?.body))).toEqual({
      model: 'c0-model',
      messages: [{ role: 'user', content: 'Hi' }],
    })
    expect(upstream.requests[0]?.headers.authorization).toBe('Bearer sk-canary-provider-key')
  })

  test('stream through the official SDK: usage is asked for, read, and not shown', async () => {
    upstream = await startUpstream(replyStream())
    harness = await startHarness({ origins: [upstream.origin] })
    const client = new OpenAI({ baseURL: harness.url, apiKey: 'x', maxRetries: 0 })
    const stream = await client.chat.completions.create({
      model: 'auto',
      messages: [{ role: 'user', content: 'Hi' }],
      stream: true,
    })
    let text = ''
    for await (const chunk of stream) {
      expect(chunk.choices).toHaveLength(1)
      text += chunk.choices[0]?.delta.content ?? ''
    }
    expect(text).toBe('Hello there.')
    const [result] = await harness.settled(1)
    expect(result?.outcome).toMatchObject({
      usageEstimated: false,
      finishReason: 'stop',
      completionId: 'chatcmpl-1',
      error: null,
    })
    expect(result?.outcome?.usage).toMatchObject({ promptTokens: 11, completionTokens: 3 })
    expect(JSON.parse(String(upstream.requests[0]?.body)).stream_options).toEqual({ include_usage: true })
  })
})
