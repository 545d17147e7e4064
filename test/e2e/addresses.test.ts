import OpenAI, { AzureOpenAI } from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { call } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'

let gateway: RunningGateway
beforeAll(async () => {
  gateway = await startGateway({ aliases: { 'gpt-*': 'auto' } })
})
afterAll(() => discard(gateway))

const messages = [{ role: 'user' as const, content: 'What is the capital of France?' }]

describe('the base URL as people write it', () => {
  test.each(['', '/', '/v1', '/v1/', '/v1/v1', '//v1//', '/openai/v1', '/openai/v1/'])('%s', async (suffix) => {
    const client = new OpenAI({ baseURL: gateway.url + suffix, apiKey: gateway.key, maxRetries: 0 })
    const { choices } = await client.chat.completions.create({ model: 'auto', messages })
    expect(choices[0]?.message.content).toMatch(/^\[sandbox /)
    expect((await client.models.list()).data[0]?.id).toBe('auto')
    const streamed: string[] = []
    for await (const chunk of await client.chat.completions.create({ model: 'auto', messages, stream: true }))
      streamed.push(chunk.choices[0]?.delta.content ?? '')
    expect(streamed.join('')).toMatch(/^\[sandbox /)
  })
})

describe("Azure OpenAI's client", () => {
  const azure = (deployment?: string) =>
    new AzureOpenAI({
      endpoint: gateway.url,
      apiKey: gateway.key,
      apiVersion: '2024-10-21',
      maxRetries: 0,
      ...(deployment && { deployment }),
    })

  test('names the model in the path', async () => {
    const { data, response } = await azure()
      .chat.completions.create({ model: 'sandbox-terse', messages })
      .withResponse()
    expect(data.model).toBe('sandbox-terse')
    expect(response.headers.get('x-router-reason')).toMatch(/^explicit/)
  })

  test('the path wins over the body, which need not have a model', async () => {
    const { response } = await azure('sandbox-coder')
      .chat.completions.create({ model: 'sandbox-terse', messages })
      .withResponse()
    expect(response.headers.get('x-router-model')).toBe('sandbox-coder')
    const bare = await call(gateway, '/openai/deployments/auto/chat/completions?api-version=2024-10-21', {
      body: { messages },
    })
    expect([bare.status, bare.headers.get('x-router-model')]).toEqual([200, expect.stringMatching(/^sandbox-/)])
  })

  test('a deployment may be an alias or a group, and an unknown one is told', async () => {
    for (const deployment of ['gpt-4o', 'auto:sandbox']) {
      const { response } = await azure(deployment).chat.completions.create({ model: 'x', messages }).withResponse()
      expect(response.headers.get('x-router-model')).toMatch(/^sandbox-/)
    }
    await expect(azure('none').chat.completions.create({ model: 'x', messages })).rejects.toMatchObject({
      status: 404,
      code: 'model_not_found',
    })
  })
})
