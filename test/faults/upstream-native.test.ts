import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ask, ENDPOINTS, type EndpointUnderTest } from '../support/endpoints.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { exported } from '../support/records.ts'
import { type Json, readEvents } from '../support/responses-spec.ts'
import { type Exchange, startUpstream, type Upstream } from '../support/upstream.ts'

/** Streams in an endpoint's own format, whose bytes go through: what breaks there is told as everywhere. */
let upstream: Upstream
let gateway: RunningGateway

const event = (type: string, fields: Json = {}) => `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`
const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'm', content: [], stop_reason: null }
const usage = { input_tokens: 9, output_tokens: 1 }
const response = {
  id: 'resp_1',
  object: 'response',
  created_at: 1_750_000_000,
  status: 'in_progress',
  model: 'm',
  output: [] as Json[],
  usage: null as Json | null,
}
const item = { type: 'message', id: 'msg_1', status: 'completed', role: 'assistant' }
const part = { type: 'output_text', text: 'Grüße.', annotations: [] }
const choice = (text: string, finish_reason: string | null = null) =>
  `data: ${JSON.stringify({ id: 'cmpl-1', object: 'text_completion', created: 1, model: 'm', choices: [{ index: 0, text, finish_reason, logprobs: null }] })}\n\n`

interface Format {
  model: string
  events: string[]
  /** The first event that says something: before it another candidate could take over. */
  speaksAt: number
  isWhole: (stream: string) => boolean
  bySdk: () => Promise<string>
}

const FORMATS: Record<string, Format> = {
  messages: {
    model: 'claude',
    events: [
      event('message_start', { message: { ...message, usage } }),
      event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
      event('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'Grüße.' } }),
      event('content_block_stop', { index: 0 }),
      event('message_delta', { delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: 3 } }),
      event('message_stop'),
    ],
    speaksAt: 1,
    isWhole: (stream) => /event: message_stop\n/.test(stream),
    bySdk: async () => {
      const client = new Anthropic({ baseURL: gateway.url, apiKey: gateway.key, maxRetries: 0 })
      const messages = [{ role: 'user' as const, content: 'Hi' }]
      const told = await client.messages.stream({ model: 'claude', max_tokens: 50, messages }).finalMessage()
      return told.content.map((block) => (block.type === 'text' ? block.text : '')).join('')
    },
  },
  responses: {
    model: 'native',
    events: [
      event('response.created', { sequence_number: 0, response }),
      event('response.output_item.added', { sequence_number: 1, output_index: 0, item: { ...item, content: [] } }),
      event('response.content_part.added', {
        ...{ sequence_number: 2, item_id: 'msg_1', output_index: 0, content_index: 0 },
        part: { ...part, text: '' },
      }),
      event('response.output_text.delta', {
        ...{ sequence_number: 3, item_id: 'msg_1', output_index: 0, content_index: 0, logprobs: [] },
        delta: 'Grüße.',
      }),
      event('response.completed', {
        sequence_number: 4,
        response: {
          ...response,
          status: 'completed',
          output: [{ ...item, content: [part] }],
          usage: { input_tokens: 9, output_tokens: 3, total_tokens: 12 },
        },
      }),
    ],
    speaksAt: 1,
    isWhole: (stream) => /event: response.completed\n/.test(stream),
    bySdk: async () => {
      const client = new OpenAI({ baseURL: gateway.baseURL, apiKey: gateway.key, maxRetries: 0 })
      let text = ''
      let status: string | undefined
      for await (const one of await client.responses.create({ model: 'native', input: 'Hi', stream: true })) {
        if (one.type === 'response.output_text.delta') text += one.delta
        if (one.type === 'response.completed') status = one.response.status
      }
      expect(status).toBe('completed')
      return text
    },
  },
  completions: {
    model: 'texts',
    events: [choice('Grü'), choice('ße.'), choice('', 'stop'), 'data: [DONE]\n\n'],
    speaksAt: 0,
    isWhole: (stream) => /"finish_reason":"stop"/.test(stream),
    bySdk: async () => {
      const client = new OpenAI({ baseURL: gateway.baseURL, apiKey: gateway.key, maxRetries: 0 })
      let text = ''
      for await (const one of await client.completions.create({ model: 'texts', prompt: 'Hi', stream: true }))
        text += one.choices[0]?.text ?? ''
      return text
    },
  },
}

beforeAll(async () => {
  upstream = await startUpstream()
  const common = { base_url: `${upstream.origin}/v1`, key_required: false }
  const price = { input: 1, output: 2 }
  gateway = await startGateway({
    providers: {
      claude: { kind: 'anthropic', ...common },
      native: { kind: 'openai-compatible', api: ['chat', 'responses', 'completions'], ...common },
    },
    candidates: [
      { name: 'claude', provider: 'claude', price },
      { name: 'native', provider: 'native', price },
      { name: 'texts', provider: 'native', price },
    ],
    retries: { max_attempts: 1, breaker: { failures: 1_000_000 } },
    timeouts: { content_idle_ms: 300 },
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

const NATIVE = Object.entries(FORMATS).map(([name, format]) => {
  const endpoint = ENDPOINTS.find((one) => one.name === name) as EndpointUnderTest
  return { name, format, endpoint }
})

const begins = (bytes: Buffer, end: (exchange: Exchange) => void | Promise<void>) => async (exchange: Exchange) => {
  exchange.stream()
  exchange.chunk(bytes)
  await exchange.sleep(2)
  await end(exchange)
}

describe.each(NATIVE)('$name in the provider’s own format', ({ format, endpoint }) => {
  const { model, events, speaksAt, isWhole, bySdk } = format
  const whole = Buffer.from(events.join(''))
  const spoken = Buffer.byteLength(events.slice(0, speaksAt + 1).join(''))
  const streamed = async () => (await ask(endpoint, gateway, { model, stream: true })).text()

  test('whole: the SDK has it, byte for byte', async () => {
    upstream.play(begins(whole, (exchange) => exchange.end()))
    expect(await bySdk()).toBe('Grüße.')
    expect(await streamed()).toBe(whole.toString())
  })

  test.each([
    ['an end', (exchange: Exchange) => exchange.end()],
    ['a reset', (exchange: Exchange) => exchange.reset()],
  ])(
    'cut at any byte by %s: the client has the whole answer or an error, never half an event',
    async (_, end) => {
      for (let at = spoken; at < whole.length; at += 5) {
        upstream.play(begins(whole.subarray(0, at), end))
        const text = await streamed()
        const told = endpoint.tellsOfFailure(text)
        expect(told !== isWhole(text), `cut at ${at}: ${text.slice(-200)}`).toBe(true)
        // Each event is read as such: nothing is glued to another.
        for (const frame of text.split('\n\n').filter((one) => one.trim() !== '')) {
          const data = frame.split('\n').find((line) => line.startsWith('data: '))
          expect(data === 'data: [DONE]' || JSON.parse(String(data).slice(6)), frame).toBeTruthy()
        }
      }
    },
    60_000,
  )

  test('cut, the SDK raises', async () => {
    for (const at of [spoken, spoken + 9, whole.length - Buffer.byteLength(events.at(-1) ?? '') - 40]) {
      upstream.play(begins(whole.subarray(0, at), (exchange) => exchange.reset()))
      await expect(bySdk()).rejects.toThrow(/provider broke|before the answer was complete|upstream_error/)
    }
  })

  test('an error of the provider in the middle is told once, in its words', async () => {
    const error = { type: 'overloaded_error', message: 'too busy', code: null, param: null }
    const told =
      model === 'texts' ? `data: ${JSON.stringify({ error })}\n\n` : event('error', { error, ...error, type: 'error' })
    upstream.play(
      begins(whole.subarray(0, spoken), async (exchange) => {
        await exchange.sleep(50)
        exchange.chunk(told)
        exchange.end()
      }),
    )
    const text = await streamed()
    expect(text.match(/too busy/g)?.length).toBe(told.match(/too busy/g)?.length)
    await expect(bySdk()).rejects.toThrow()
  })

  test('one that stalls is ended, told and recorded once', async () => {
    const before = (await exported(gateway)).length
    upstream.play(begins(whole.subarray(0, spoken), (exchange) => exchange.closed))
    const text = await streamed()
    expect(endpoint.tellsOfFailure(text)).toBe(true)
    const rows = await eventually(async () => {
      const all = await exported(gateway)
      return all.length > before && all
    }, 'its record')
    expect(rows.length).toBe(before + 1)
    expect(rows.at(-1)).toMatchObject({ status: 200, finish_reason: 'error', attempts: [{ error: 'timeout' }] })
    if (endpoint.name === 'responses') expect(readEvents(text).at(-1)?.data.response.status).toBe('failed')
  })
})
