import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import OpenAI from 'openai'
import { afterEach, describe, expect, it } from 'vitest'
import { type Item, startCollector } from '../../support/collector.ts'
import { eventually } from '../../support/eventually.ts'
import { type ScriptedGateway, startScripted } from '../../support/scripted-gateway.ts'
import { replyPlain, replyStream } from '../../support/upstream.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const CALLER = '00f067aa0ba902b7'
const SECRET_WORDS = 'the marmot sings at noon'

type Collector = Awaited<ReturnType<typeof startCollector>>

let collector: Collector
let running: ScriptedGateway

afterEach(async () => {
  await running.close()
  await collector.close()
})

async function start(
  telemetry: { otlp?: object; [field: string]: unknown } = {},
  ...scripts: Parameters<typeof startScripted>[1][]
) {
  collector = await startCollector()
  running = await startScripted(
    {
      telemetry: {
        interval_ms: 200,
        delay_ms: 50,
        ...telemetry,
        otlp: { headers: { 'x-collector-key': 'k' }, ...telemetry.otlp, endpoint: collector.origin },
      },
      retries: { max_attempts: 3, backoff_ms: 0 },
    },
    ...scripts,
  )
  return new OpenAI({ baseURL: running.gateway.baseURL, apiKey: running.gateway.key, maxRetries: 0 })
}

const ask = (client: OpenAI, headers: Record<string, string> = {}) =>
  client.chat.completions.create({ model: 'auto', messages: [{ role: 'user', content: SECRET_WORDS }] }, { headers })

const spans = (pick: (span: Item) => boolean) => collector.items('traces').filter(pick)

describe('telemetry by OTLP', () => {
  it('goes on with the trace of the caller, and tells it to the provider', async () => {
    const client = await start()
    await ask(client, { traceparent: `00-${TRACE}-${CALLER}-01`, tracestate: 'vendor=1' })
    const request = await collector.find('traces', 'POST /v1/chat')
    const tried = await collector.find('traces', 'chat model-one')
    expect(request).toMatchObject({ trace_id: TRACE, parent_span_id: CALLER, kind: 2 })
    expect(tried).toMatchObject({ trace_id: TRACE, parent_span_id: request.span_id, kind: 3 })
    expect(running.upstream.requests[0]?.headers).toMatchObject({
      traceparent: `00-${TRACE}-${tried.span_id}-01`,
      tracestate: 'vendor=1',
    })
    expect(request.attributes).toMatchObject({
      'http.request.method': 'POST',
      'http.response.status_code': 200,
      'persona_router.tenant': 'test',
      'persona_router.candidate': 'one',
    })
    expect(tried.attributes).toMatchObject({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'up',
      'gen_ai.request.model': 'model-one',
      'gen_ai.response.finish_reasons': ['stop'],
      'gen_ai.usage.input_tokens': expect.any(Number),
      'gen_ai.usage.output_tokens': expect.any(Number),
    })
    expect(tried.start).toBeGreaterThanOrEqual(request.start)
    expect(tried.end).toBeLessThanOrEqual(request.end)
    expect(collector.requests[0]?.headers['x-collector-key']).toBe('k')
  })

  it('sends what a file holds of headers, and what it holds once it is replaced, with all signals', async () => {
    const file = join(mkdtempSync(join(tmpdir(), 'persona-router-otlp-')), 'headers')
    writeFileSync(file, 'X-Collector-Key: first\nx-org: a\n')
    const client = await start({ otlp: { headers: {}, headers_file: file } })
    try {
      await ask(client)
      const keys = () => collector.requests.map(({ headers }) => headers['x-collector-key'])
      await eventually(() => keys().length > 0, 'a request with the first key')
      writeFileSync(file, 'x-collector-key: second\n')
      const signals = () =>
        new Set(
          collector.requests.filter(({ headers }) => headers['x-collector-key'] === 'second').map(({ path }) => path),
        )
      const asked = async () => {
        await ask(client)
        return signals().has('/v1/traces') && signals().has('/v1/metrics')
      }
      await eventually(asked, 'spans and metrics with the second key', 30_000)
      expect(collector.requests.every(({ headers }) => headers['x-collector-key'] !== undefined)).toBe(true)
    } finally {
      rmSync(dirname(file), { recursive: true })
    }
  })

  it('shows each try with its error, and a trace that begins here', async () => {
    const client = await start({}, (exchange) => exchange.reply(500, { error: { message: 'no' } }), replyPlain())
    await ask(client)
    const request = await collector.find('traces', 'POST /v1/chat')
    const tries = await eventually(() => {
      const found = spans(({ name }) => name === 'chat model-one')
      return found.length === 2 && found
    }, 'two tries')
    expect(request.parent_span_id).toBe('')
    expect(tries.map(({ parent_span_id }) => parent_span_id)).toEqual([request.span_id, request.span_id])
    expect(tries.map(({ attributes, status }) => [attributes['http.response.status_code'], status?.code ?? 0])).toEqual(
      [
        [500, 2],
        [200, 0],
      ],
    )
    expect(tries[0]?.attributes['error.type']).toBeTypeOf('string')
  })

  it('covers a stream to its end, with the time to its first chunk', async () => {
    const client = await start({}, replyStream())
    const stream = await client.chat.completions.create({
      model: 'auto',
      stream: true,
      messages: [{ role: 'user', content: SECRET_WORDS }],
    })
    for await (const _ of stream);
    const tried = await collector.find('traces', 'chat model-one')
    expect(tried.attributes).toMatchObject({ 'gen_ai.request.stream': true })
    expect(tried.attributes['gen_ai.response.time_to_first_chunk']).toBeTypeOf('number')
  })

  it('keeps no trace that the caller does not, but lets the provider know it', async () => {
    const client = await start()
    await ask(client, { traceparent: `00-${TRACE}-${CALLER}-00` })
    await collector.find('metrics', 'gen_ai.client.operation.duration')
    expect(running.upstream.requests[0]?.headers.traceparent).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`))
    expect(collector.items('traces')).toEqual([])
  })

  it.each([
    ['is malformed', '00-xyz-1-01'],
    ['is all zeros', `00-${'0'.repeat(32)}-${CALLER}-01`],
  ])('begins a trace of its own where the header %s', async (_, traceparent) => {
    const client = await start()
    await ask(client, { traceparent })
    const request = await collector.find('traces', 'POST /v1/chat')
    expect(request.parent_span_id).toBe('')
    expect(request.trace_id).not.toMatch(/^0*$/)
  })

  it('keeps no more traces for their callers than is configured, and lets the provider know it', async () => {
    const client = await start({ sample: 0, callers_per_minute: 0 })
    await ask(client, { traceparent: `00-${TRACE}-${CALLER}-01` })
    await collector.find('metrics', 'gen_ai.client.operation.duration')
    expect(running.upstream.requests[0]?.headers.traceparent).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`))
    expect(collector.items('traces')).toEqual([])
  })

  it('calls a span by no path that a client made up', async () => {
    await start()
    const { url, key } = running.gateway
    for (const path of [`/v1/${SECRET_WORDS.replaceAll(' ', '-')}`, '/v1/models/of-mine']) {
      await (await fetch(url + path, { headers: { authorization: `Bearer ${key}` } })).text()
    }
    await collector.find('traces', 'GET /v1/models')
    await collector.find('traces', 'GET /v1/*')
    expect(JSON.stringify(collector.items('traces'))).not.toContain('marmot')
  })

  it.each([
    ['of version ff, which is none', `ff-${TRACE}-${CALLER}-01`],
    ['of version 00 that goes on', `00-${TRACE}-${CALLER}-01-more`],
  ])('goes on with no trace %s', async (_, traceparent) => {
    const client = await start()
    await ask(client, { traceparent })
    expect((await collector.find('traces', 'POST /v1/chat')).parent_span_id).toBe('')
  })

  it('goes on with a trace of a later version', async () => {
    const client = await start()
    await ask(client, { traceparent: `cc-${TRACE}-${CALLER}-01-what-it-adds` })
    expect((await collector.find('traces', 'POST /v1/chat')).parent_span_id).toBe(CALLER)
  })

  it('tells providers nothing where that is off', async () => {
    const client = await start({ propagate: false })
    await ask(client, { traceparent: `00-${TRACE}-${CALLER}-01` })
    expect(running.upstream.requests[0]?.headers).not.toHaveProperty('traceparent')
  })

  it('counts tokens and times by the conventions', async () => {
    const client = await start()
    await ask(client)
    const tokens = await collector.find('metrics', 'gen_ai.client.token.usage')
    const kinds = tokens.histogram.data_points.map(({ attributes }) => attributes['gen_ai.token.type'])
    expect(kinds.sort()).toEqual(['input', 'output'])
    const duration = await collector.find('metrics', 'gen_ai.client.operation.duration')
    expect(duration.histogram.data_points[0]).toMatchObject({
      count: 1,
      attributes: {
        'gen_ai.operation.name': 'chat',
        'gen_ai.provider.name': 'up',
        'gen_ai.request.model': 'model-one',
      },
    })
  })

  it('tells a rating as an evaluation of the answer that it is about', async () => {
    const client = await start()
    const { response } = await client.chat.completions
      .create({ model: 'auto', messages: [{ role: 'user', content: SECRET_WORDS }] })
      .withResponse()
    const tried = await collector.find('traces', 'chat model-one')
    const request_id = response.headers.get('x-request-id')
    await client.post('/feedback', { body: { request_id, rating: 'up' } })
    const event = await collector.find('logs', 'gen_ai.evaluation.result')
    expect(event).toMatchObject({
      trace_id: tried.trace_id,
      span_id: tried.span_id,
      attributes: {
        'gen_ai.evaluation.name': 'rating',
        'gen_ai.evaluation.score.label': 'positive',
        'gen_ai.response.id': expect.any(String),
        'persona_router.request.id': request_id,
      },
    })
  })

  it('holds nothing that was said, and no id of a user', async () => {
    const client = await start()
    await ask(client, { 'x-user-id': 'ann-of-green-gables' })
    await collector.find('metrics', 'gen_ai.client.token.usage')
    await collector.find('traces', 'POST /v1/chat')
    const all = Buffer.concat(collector.requests.map(({ body }) => body)).toString('latin1')
    for (const word of [SECRET_WORDS, 'ann-of-green-gables', running.gateway.key]) expect(all).not.toContain(word)
  })

  it('is counted where the collector takes nothing, and answers go on', async () => {
    const client = await start()
    await collector.close()
    await ask(client)
    await eventually(
      async () => {
        const text = await (await fetch(`${running.gateway.url}/metrics`)).text()
        return /persona_router_telemetry_errors_total [1-9]/.test(text)
      },
      'a failure in the metrics',
      60_000,
    )
    expect((await ask(client)).choices).toHaveLength(1)
  })
})
