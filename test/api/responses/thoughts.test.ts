import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { claude } from '../../support/anthropic-script.ts'
import { call } from '../../support/clients.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../../support/gateway.ts'
import { type Json, readEvents } from '../../support/responses-spec.ts'
import { startUpstream, type Upstream } from '../../support/upstream.ts'

const OTHER_KEY = 'pr-other-key-0123456789abcdef'

let upstream: Upstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = await startUpstream(claude)
  const candidate = (name: string) => ({
    name,
    provider: 'claude',
    model: 'claude-sonnet-4-6',
    price: { input: 3, output: 15 },
    capabilities: ['tools'],
  })
  gateway = await startGateway({
    providers: { claude: { kind: 'anthropic', base_url: `${upstream.origin}/v1`, api_key: 'sk-ant-test-0123456789' } },
    candidates: [candidate('a'), candidate('b')],
    tenants: [
      { name: 'test', keys: [TEST_KEY] },
      { name: 'other', keys: [OTHER_KEY] },
    ],
    retries: { max_attempts: 1 },
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

const weather = {
  type: 'function',
  name: 'get_weather',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
}

async function ask(body: Json, key = TEST_KEY): Promise<Json> {
  const answer = await call(gateway, '/v1/responses', {
    user: 'ann',
    key,
    body: { model: 'a', reasoning: { effort: 'medium' }, tools: [weather], ...body },
  })
  const text = await answer.text()
  expect(answer.status, text).toBe(200)
  return body.stream ? readEvents(text).at(-1)!.data.response : JSON.parse(text)
}

/** Thoughts in the last request to the provider. */
const thoughtsSent = () => {
  const { messages } = JSON.parse(upstream.requests.at(-1)!.body.toString()) as Json
  return messages.flatMap(({ content }: Json) =>
    Array.isArray(content) ? content.filter(({ type }: Json) => type === 'thinking') : [],
  )
}

const question = { role: 'user', content: 'What is the weather in Paris?' }
const result = (call: Json) => ({ type: 'function_call_output', call_id: call.call_id, output: 'sunny' })

describe.each([false, true])('what a model thought, streamed: %s', (stream) => {
  const first = () => ask({ input: [question], store: false, include: ['reasoning.encrypted_content'], stream })

  test('is told in a summary, and comes back sealed', async () => {
    const { output } = await first()
    expect(output.map(({ type }: Json) => type)).toEqual(['reasoning', 'function_call'])
    expect(output[0].summary).toEqual([{ type: 'summary_text', text: 'Let me think about that.' }])
    const sealed = Buffer.from(output[0].encrypted_content.slice('pr1.'.length), 'base64url')
    expect(sealed.includes('think')).toBe(false)
    const again = await first()
    expect(again.output[0].encrypted_content).not.toBe(output[0].encrypted_content)
  })

  test('goes back to the same candidate, signed', async () => {
    const { output } = await first()
    const answer = await ask({ input: [question, ...output, result(output[1])], store: false, stream })
    expect(thoughtsSent()).toEqual([
      { type: 'thinking', thinking: 'Let me think about that.', signature: expect.any(String) },
    ])
    expect(answer.output.at(-1).content[0].text).toMatch(/Paris/)
  })

  test.each([
    ['another candidate', (output: Json[]) => [{ model: 'b', input: output }, TEST_KEY]],
    ['another tenant', (output: Json[]) => [{ input: output }, OTHER_KEY]],
    [
      'whoever changed it',
      (output: Json[]) => [
        {
          input: output.map((item) => ({
            ...item,
            encrypted_content: item.encrypted_content
              ?.replace(/.$/, (c: string) => (c === 'A' ? 'B' : 'A'))
              .replace(/^(.{40})./, '$1x'),
          })),
        },
        TEST_KEY,
      ],
    ],
    [
      'whoever made it up',
      (output: Json[]) => [{ input: output.map((item) => ({ ...item, encrypted_content: 'pr1.AAAA' })) }, TEST_KEY],
    ],
  ] as [string, (output: Json[]) => [Json, string]][])(
    'does not go to %s, who is answered all the same',
    async (_, change) => {
      const { output } = await first()
      const [{ input, ...rest }, key] = change(output)
      await ask({ ...rest, input: [question, ...input, result(output[1])], store: false, stream }, key)
      expect(thoughtsSent()).toEqual([])
    },
  )

  test('is known again by the id of the response, and by that of the item', async () => {
    const kept = await ask({ input: [question], stream })
    await ask({ input: [result(kept.output[1])], previous_response_id: kept.id, stream })
    expect(thoughtsSent()).toHaveLength(1)
    const references = kept.output.map(({ id }: Json) => ({ type: 'item_reference', id }))
    await ask({ input: [question, ...references, result(kept.output[1])], stream })
    expect(thoughtsSent()).toHaveLength(1)
  })
})
