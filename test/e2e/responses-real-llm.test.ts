import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { call } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { installLlama, type LlamaServer, startLlamaServer } from '../support/llama-server.ts'
import { conformance, textOf } from '../support/responses-cases.ts'

const missing = await installLlama()
if (missing !== null) console.warn(`SKIPPED: responses of a real LLM. ${missing}`)

describe.skipIf(missing !== null)("responses of SmolLM2-135M on llama.cpp's own server", () => {
  let server: LlamaServer
  let gateway: RunningGateway

  beforeAll(async () => {
    server = await startLlamaServer()
    gateway = await startGateway({
      providers: {
        llama: { kind: 'openai-compatible', base_url: `${server.origin}/v1`, key_required: false, discover: true },
      },
      timeouts: { total_ms: 120_000 },
    })
  }, 180_000)
  afterAll(async () => {
    await discard(gateway)
    await server?.stop()
  })

  test('says what it knows', { timeout: 120_000 }, async () => {
    const answer = await call(gateway, '/v1/responses', {
      body: {
        model: 'auto',
        input: 'What is the capital of France? Answer in one word.',
        temperature: 0,
        max_output_tokens: 12,
      },
    })
    const response = await answer.json()
    expect(textOf(response)).toContain('Paris')
    expect(response.usage.output_tokens).toBeLessThanOrEqual(12)
  })

  conformance({
    gateway: () => gateway,
    lacks: ['vision', 'files', 'forced tools'],
    timeoutMs: 120_000,
    defaults: { max_output_tokens: 24, temperature: 0 },
  })
})
