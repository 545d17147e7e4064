import { gzipSync } from 'node:zlib'
import OpenAI from 'openai'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { call, complete, expectError, metric, openai } from '../support/clients.ts'
import { ENDPOINTS, UNROUTED, type UnroutedUnderTest, unroutedConfig } from '../support/endpoints.ts'
import { measured, mebibytes } from '../support/measured.ts'
import { openRaw, postText, type RawConnection, rawRequest } from '../support/raw-http.ts'
import { growthDuring, type ScriptedGateway, startScripted } from '../support/scripted-gateway.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

const MAX_BODY = 4 * 1024 * 1024
const MiB = 1024 * 1024

let scripted: ScriptedGateway
let upstream: Upstream
let headers: string[]
const connections: RawConnection[] = []

beforeAll(async () => {
  scripted = await startScripted({ server: { max_body_bytes: MAX_BODY }, ...unroutedConfig() })
  upstream = scripted.upstream
  headers = ['host: gateway', `authorization: Bearer ${scripted.gateway.key}`, 'content-type: application/json']
})
afterAll(() => scripted?.close())

let hitsBefore = 0
beforeEach(() => {
  hitsBefore = upstream.requests.length
})
afterEach(() => {
  for (const connection of connections.splice(0)) connection.destroy()
})

const hits = () => upstream.requests.length - hitsBefore
const body = (fields: string) => `{"model":"one","messages":[{"role":"user","content":"Hi"}]${fields}}`
const post = (text: string | Uint8Array) => call(scripted.gateway, '/v1/chat/completions', { body: text })

async function open(): Promise<RawConnection> {
  const connection = await openRaw(scripted.gateway.url)
  connections.push(connection)
  return connection
}

/** The gateway still answers. */
async function expectAlive(): Promise<void> {
  expect((await complete(scripted.gateway)).status).toBe(200)
}

async function refused(response: Response, status = 400) {
  const text = await response.text()
  expect([response.status, text]).toEqual([status, expect.any(String)])
  expect(response.headers.get('x-request-id')).toMatch(/\S/)
  expect(hits()).toBe(0)
  return expectError(text)
}

describe('oversize body', () => {
  test('declared: 413 before a byte of it is sent, and the connection closes', async () => {
    const connection = await open()
    connection.send(postText([...headers, `content-length: ${MAX_BODY + 1}`], ''))
    const answer = await connection.answer()
    expect(answer.status).toBe(413)
    expect(expectError(answer.body)).toMatchObject({ code: 'request_too_large', type: 'invalid_request_error' })
    await connection.closed
    expect(hits()).toBe(0)
    await expectAlive()
  })

  test('chunked without end: 413 soon after the limit, memory bounded', async () => {
    const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(0x10000, 0x20), Buffer.from('\r\n')])
    const growth = await growthDuring(scripted.gateway, async () => {
      const connection = await open()
      connection.send(postText([...headers, 'transfer-encoding: chunked'], ''))
      while (!connection.isClosed && connection.sent < 256 * MiB) {
        if (!connection.send(chunk)) await connection.drained()
      }
      expect((await connection.answer()).status).toBe(413)
      await connection.closed
      // What the limit lets in, what is dropped while the answer goes out, and what the kernels of both sides hold.
      measured('bytes that a chunked body without end brought in', mebibytes(connection.sent))
      expect(connection.sent).toBeLessThan(MAX_BODY + 48 * MiB)
    })
    measured('memory while a chunked body without end is refused', mebibytes(growth))
    if (growth !== null) expect(growth).toBeLessThan(64 * MiB)
    expect(hits()).toBe(0)
    await expectAlive()
  })

  test('sent at full speed: the SDK sees the 413, not a reset, and does not send it again', async () => {
    const content = 'x'.repeat(24 * MiB)
    const client = openai(scripted.gateway)
    for (let i = 0; i < 20; i++) {
      const asking = client.chat.completions.create({ model: 'one', messages: [{ role: 'user', content }] })
      await expect(asking).rejects.toMatchObject({ status: 413, code: 'request_too_large' })
    }
    expect(hits()).toBe(0)
  })

  test('lying, more than declared: the rest is no second request', async () => {
    const connection = await open()
    const text = body('')
    connection.send(postText([...headers, `content-length: ${text.length}`], `${text}${'x'.repeat(1000)}`))
    expect((await connection.answer()).status).toBe(200)
    await connection.closed
    expect(connection.answers).toBe(1)
    expect(hits()).toBe(1)
    await expectAlive()
  })

  test('lying, less than declared: no provider is asked, and the connection closes', async () => {
    const connection = await open()
    const text = body('')
    connection.send(postText([...headers, `content-length: ${text.length + 10}`], text))
    connection.socket.end()
    await connection.closed
    expect(hits()).toBe(0)
    await expectAlive()
  })

  test('small routes have a small limit', async () => {
    const response = await call(scripted.gateway, '/v1/feedback', { body: ' '.repeat(200_000) })
    expect((await refused(response, 413)).code).toBe('request_too_large')
  })

  test('compressed: 415, a bomb is never unpacked', async () => {
    const response = await call(scripted.gateway, '/v1/chat/completions', {
      body: body(''),
      headers: { 'content-encoding': 'gzip' },
    })
    await refused(response, 415)
  })
})

describe('deep or wide JSON: 400 before anything walks it', () => {
  test.each([
    ['a million opening brackets', () => `${body(',"x":').slice(0, -1)}${'['.repeat(1_000_000)}`],
    ['a deep array, well formed', () => body(`,"x":${'['.repeat(100_000)}${']'.repeat(100_000)}`)],
    ['deep objects, well formed', () => body(`,"x":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`)],
    ['a million numbers', () => body(`,"x":[${'1,'.repeat(1_000_000)}1]`)],
    ['a million keys', () => body(`,"x":{${Array.from({ length: 250_000 }, (_, i) => `"k${i}":1`).join(',')}}`)],
    ['32,770 messages', () => `{"model":"one","messages":[${'{},'.repeat(32_769)}{}]}`],
  ])('%s', async (_, make) => {
    await refused(await post(make()))
  })

  test('and no other client waits for it', async () => {
    const evil = `{"model":"one","messages":[${'{"role":"user"},'.repeat(32_700)}{"role":1}]}`
    const cpuSeconds = () => metric(scripted.gateway, 'process_cpu_seconds_total')
    // Reading metrics starts the count of the lag anew.
    const before = await cpuSeconds()
    for (let i = 0; i < 8; i++) await refused(await post(evil))
    const lag = await metric(scripted.gateway, 'nodejs_eventloop_lag_max_seconds')
    const perBody = ((await cpuSeconds()) - before) / 8
    measured('CPU time of a body of 32,700 messages', `${(perBody * 1000).toFixed(0)} ms`)
    measured('longest turn of the event loop meanwhile', `${(lag * 1000).toFixed(0)} ms`)
    // Time of the processor: a busy machine makes the turn of the event loop long, whatever we do.
    expect(perBody).toBeGreaterThan(0)
    expect(perBody).toBeLessThan(0.2)
  })

  test('a body that may be large is not refused', async () => {
    const content = 'long '.repeat(100_000)
    const messages = Array.from({ length: 1_000 }, () => ({ role: 'user', content: 'Hi' }))
    expect((await complete(scripted.gateway, { messages: [...messages, { role: 'user', content }] })).status).toBe(200)
  })
})

describe('bad JSON: 400', () => {
  test.each([
    '',
    ' ',
    'null',
    '[]',
    '"text"',
    '12',
    '{',
    '{"model":"one",}',
    "{'model':'one'}",
    '{"model":NaN}',
    '{"model" "one"}',
    `${body('')}x`,
    `\uFEFF${body('')}`,
    'model=one',
    body(',"x":01'),
    body(',"x":"\n"'),
  ])('%j', async (text) => {
    await refused(await post(text))
  })
})

describe('wrong types: 400 with the field as param', () => {
  const user = { role: 'user', content: 'Hi' }
  const cases: [param: string, fields: Record<string, unknown>][] = [
    ['model', { model: 5 }],
    ['model', { model: null }],
    ['model', { model: '' }],
    ['messages', { messages: 'Hi' }],
    ['messages', { messages: [] }],
    ['messages', { messages: null }],
    ['messages.0', { messages: ['Hi'] }],
    ['messages.1.role', { messages: [user, { content: 'Hi' }] }],
    ['messages.0.content', { messages: [{ role: 'user', content: 5 }] }],
    ['messages.0.content', { messages: [{ role: 'user', content: { type: 'text' } }] }],
    ['messages.0.tool_calls', { messages: [{ role: 'assistant', tool_calls: 'x' }] }],
    ['stream', { stream: 'yes' }],
    ['stream_options', { stream_options: true }],
    ['stream_options.include_usage', { stream_options: { include_usage: 1 } }],
    ['temperature', { temperature: 'hot' }],
    ['n', { n: 0 }],
    ['n', { n: '2' }],
    ['max_tokens', { max_tokens: -1 }],
    ['max_completion_tokens', { max_completion_tokens: 'all' }],
    ['stop', { stop: 5 }],
    ['tools', { tools: {} }],
    ['tools.0.type', { tools: [{ function: {} }] }],
    ['response_format', { response_format: 'json' }],
    ['response_format.type', { response_format: {} }],
    ['logprobs', { logprobs: 'yes' }],
    ['user', { user: 5 }],
    ['safety_identifier', { safety_identifier: ['a'] }],
    ['user', { user: 'u'.repeat(257) }],
  ]
  test.each(cases)('%s of %j', async (param, fields) => {
    const error = await refused(await complete(scripted.gateway, fields))
    expect(error.param).toMatch(new RegExp(`^${param.replaceAll('.', '\\.')}(\\.|$)`))
    expect(error.type).toBe('invalid_request_error')
    expect(error.message).toContain(param)
  })

  test.each([
    ['x-router-cost-weight', '1.5'],
    ['x-router-cost-weight', 'low'],
    ['x-router-cost-weight', '0x1'],
    ['x-router-max-cost-usd', 'Infinity'],
    ['x-router-max-cost-usd', '-1'],
    ['x-router-max-latency-ms', 'NaN'],
    ['x-router-explore', 'maybe'],
    ['x-conversation-id', 'c'.repeat(257)],
    ['x-user-id', 'u'.repeat(257)],
  ])('the header %s: %s', async (header, value) => {
    const error = await refused(await complete(scripted.gateway, {}, { headers: { [header]: value } }))
    expect(error.param).toBe(header)
  })

  test.each([
    ['completion_id', {}],
    ['completion_id', { completion_id: 5, rating: 'up' }],
    ['rating', { completion_id: 'x' }],
    ['rating', { completion_id: 'x', rating: 'great' }],
    ['rating', { completion_id: 'x', rating: 1.5 }],
    ['comment', { completion_id: 'x', rating: 'up', comment: 5 }],
    ['comment', { completion_id: 'x', rating: 'up', comment: 'c'.repeat(4_001) }],
  ])('feedback: %s of %j', async (param, fields) => {
    expect((await refused(await call(scripted.gateway, '/v1/feedback', { body: fields }))).param).toBe(param)
  })

  test.each([
    ['cost_weight', { cost_weight: 2 }],
    ['allow', { allow: 'one' }],
    ['max_cost_usd', { max_cost_usd: -1 }],
  ])('preferences: %s of %j', async (param, fields) => {
    const response = await call(scripted.gateway, '/v1/users/ada/profile', { method: 'PUT', body: fields })
    expect((await refused(response)).param).toContain(param)
  })

  test('the SDK raises BadRequestError, and does not try again', async () => {
    const asking = openai(scripted.gateway).chat.completions.create({
      model: 'one',
      messages: [{ role: 'user', content: 5 as never }],
    })
    const error = await asking.catch((caught) => caught)
    expect(error).toBeInstanceOf(OpenAI.BadRequestError)
    expect(error.param).toMatch(/^messages\.0\.content/)
    expect(hits()).toBe(0)
  })
})

describe('invalid UTF-8: 400, not silently altered', () => {
  test.each([
    ['a lone continuation byte', [0x80]],
    ['0xff', [0xff]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['half a character', [0xe2, 0x82]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
  ])('%s', async (_, bytes) => {
    const [before, after] = ['{"model":"one","messages":[{"role":"user","content":"', '"}]}']
    await refused(await post(Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)])))
  })

  test('UTF-16', async () => {
    await refused(await post(Buffer.from(body(''), 'utf16le')))
  })
})

describe('the same at every endpoint, each in its own shape of error', () => {
  const EVERY = [...ENDPOINTS, ...UNROUTED.filter(({ name }) => name === 'embeddings')]
  const withFields = ({ body: make }: UnroutedUnderTest, fields: string) =>
    `${JSON.stringify(make({ model: 'one' })).slice(0, -1)}${fields}}`
  const BODIES: [string, (endpoint: UnroutedUnderTest) => string | Uint8Array, number][] = [
    ['no JSON', () => '{', 400],
    ['an array', () => '[]', 400],
    ['deep', (endpoint) => withFields(endpoint, `,"x":${'['.repeat(100_000)}${']'.repeat(100_000)}`), 400],
    ['wide', (endpoint) => withFields(endpoint, `,"x":[${'1,'.repeat(1_000_000)}1]`), 400],
    ['a repeated key', (endpoint) => withFields(endpoint, ',"model":"two"'), 400],
    ['a known key in other letters', (endpoint) => withFields(endpoint, ',"Model":"two"'), 400],
    [
      'invalid UTF-8',
      (endpoint) => Buffer.concat([Buffer.from(withFields(endpoint, ',"x":"')), Buffer.from([0xff])]),
      400,
    ],
    ['a model of another type', (endpoint) => JSON.stringify({ ...endpoint.body(), model: 5 }), 400],
    ['too large', (endpoint) => withFields(endpoint, `,"x":"${'y'.repeat(MAX_BODY)}"`), 413],
    ['a model that is not there', (endpoint) => JSON.stringify(endpoint.body({ model: 'none' })), 404],
  ]
  const rows = EVERY.flatMap((endpoint) => BODIES.map(([what, make, status]) => ({ endpoint, what, make, status })))

  test.each(rows)('$endpoint.name: $what, $status', async ({ endpoint, make, status }) => {
    const response = await call(scripted.gateway, endpoint.path, { body: make(endpoint) })
    const text = await response.text()
    expect([response.status, text]).toEqual([status, expect.any(String)])
    expect(response.headers.get('x-request-id')).toMatch(/\S/)
    expect(hits()).toBe(0)
    if (endpoint.name !== 'messages') expectError(text)
    else
      expect(JSON.parse(text)).toEqual({
        type: 'error',
        error: { type: expect.any(String), message: expect.any(String) },
      })
  })

  test.each(EVERY)('$name: a body of another coding is not unpacked', async (endpoint) => {
    const packed = gzipSync(JSON.stringify(endpoint.body({ model: 'one' })))
    const headers = { 'content-encoding': 'gzip' }
    const response = await call(scripted.gateway, endpoint.path, { body: packed, headers })
    await response.text()
    expect(response.status).toBe(415)
    expect(hits()).toBe(0)
  })
})

/** Bytes as they must arrive: the request's own, but for `model`. */
const asForwarded = (text: string) => text.replace('"model":"one"', '"model":"model-one"')

async function expectForwarded(text: string): Promise<void> {
  upstream.play(replyPlain())
  const before = upstream.requests.length
  const response = await post(text)
  expect([response.status, await response.text()]).toEqual([200, expect.stringContaining('Hello there.')])
  expect(upstream.requests.length).toBe(before + 1)
  expect(String(upstream.requests.at(-1)?.body)).toBe(asForwarded(text))
}

describe('the fields that are checked are the fields that are sent', () => {
  test.each([
    ['model', '{"model":"one","model":"other","messages":[{"role":"user","content":"Hi"}]}'],
    ['model, one of them escaped', '{"model":"one","mod\\u0065l":"other","messages":[{"role":"user","content":"Hi"}]}'],
    ['messages', body(',"messages":[]')],
    ['user', body(',"user":"ada","user":"ben"')],
    ['stream', body(',"stream":false,"stream":true')],
    ['include_usage of a stream', body(',"stream":true,"stream_options":{"include_usage":true,"include_usage":false}')],
  ])('%s twice: 400', async (_, text) => {
    expect((await refused(await post(text))).message).toMatch(/^Duplicate field/)
  })

  test('keys repeated deeper inside pass unchanged', async () => {
    await expectForwarded(body(',"metadata":{"a":1,"a":2}'))
  })

  test('__proto__ and constructor are fields like any other', async () => {
    await expectForwarded(
      body(',"__proto__":{"model":"other","stream":true,"n":0},"constructor":{"prototype":{"polluted":true}}'),
    )
    await expectForwarded('{"model":"one","messages":[{"role":"user","content":"Hi","__proto__":{"role":"system"}}]}')
  })

  test('and replace none', async () => {
    const error = await refused(await post('{"__proto__":{"model":"one"},"messages":[{"role":"user","content":"Hi"}]}'))
    expect(error.param).toBe('model')
    const feedback = await call(scripted.gateway, '/v1/feedback', {
      body: '{"__proto__":{"completion_id":"x","rating":"up"}}',
    })
    await refused(feedback)
    expect(
      await (
        await call(scripted.gateway, '/v1/users/ada/profile', { method: 'PUT', body: '{"__proto__":{"deny":["one"]}}' })
      ).text(),
    ).not.toContain('deny')
    await expectAlive()
  })
})

describe('forwarded byte for byte', () => {
  test.each([
    ['2^53 + 1 and far beyond', body(',"seed":9007199254740993,"x":123456789012345678901234567890')],
    ['1e400, where a number is expected', body(',"temperature":1e400,"x":[-1e400]')],
    ['0.1 in many forms', body(',"x":[0.1,0.10,1e-1,1E-1,0.1000000000000000055511151231257827]')],
    ['-0, 1.0, 1e-400', body(',"x":[-0,-0.0,1.0,1e-400,1E+2]')],
    [
      'unknown fields, null and empty ones',
      body(',"x_new":{"a":[null,{},[],"",true]},"stop":null,"logit_bias":{"50256":-100}'),
    ],
    ['escapes of all kinds, lone surrogates', body(',"x":"\\u0041\\/\\ud800\\n\\uD83D\\uDE00😀é"')],
    ['white space of all kinds', '\n{\t"messages" :\r\n[ {"role":"user" , "content":"Hi"} ],  "model":"one" }\n'],
    ['model in other places', body(',"x":{"model":"one-more"},"y":"\\"model\\":\\"two\\""')],
    ['text that looks like the end', body(',"x":"}]}\\\\\\"}"')],
    ['a field named as something else is', body(',"toString":1,"hasOwnProperty":2,"":3')],
  ])('%s', async (_, text) => {
    await expectForwarded(text)
  })

  test('an answer, too', async () => {
    const text =
      '{ "id":"chatcmpl-1","choices":[{"index":0,"message":{"role":"assistant","content":"\\u00e9"},"finish_reason":"stop"}],"n":9007199254740993,"x":1e400 }\n'
    upstream.play(replyPlain(200, text))
    expect(await (await post(body(''))).text()).toBe(text)
    upstream.play(replyPlain())
  })
})

describe('upstreams come from the configuration alone', () => {
  let canary: Upstream
  beforeAll(async () => {
    canary = await startUpstream(replyPlain())
  })
  afterAll(() => canary?.close())

  test.each([
    'api_base',
    'base_url',
    'api_key',
    'model_list',
    'api_url',
    'endpoint',
    'proxy',
    'extra_headers',
    'custom_llm_provider',
    'fallbacks',
    'webhook_url',
  ])('%s in the body, at any depth, is never followed', async (field) => {
    const value = JSON.stringify([
      canary.origin,
      { api_base: canary.origin, base_url: `${canary.origin}/v1`, api_key: 'sk-evil', authorization: 'Bearer sk-evil' },
    ])
    expect((await post(body(`,"${field}":${JSON.stringify(canary.origin)}`))).status).toBe(200)
    expect(upstream.requests.at(-1)?.body.toString()).not.toContain(canary.origin)
    await expectForwarded(body(`,"metadata":{"a":[{"${field}":${value}}]}`))
    expect(upstream.requests.at(-1)?.headers.authorization).toBe('Bearer sk-provider-key-0123456789')
    expect(canary.connections).toBe(0)
  })

  test('nor is an image fetched, nor a header or a URL obeyed', async () => {
    await expectForwarded(
      `{"model":"one","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"${canary.origin}/cat.png"}}]}]}`,
    )
    for (const evil of [
      { 'x-api-base': canary.origin, 'x-base-url': canary.origin, 'x-forwarded-host': canary.origin.slice(7) },
      {
        'x-portkey-custom-host': canary.origin,
        'helicone-target-url': canary.origin,
        forwarded: `host=${canary.origin.slice(7)}`,
      },
    ]) {
      expect((await complete(scripted.gateway, {}, { headers: evil })).status).toBe(200)
    }
    const text = body('')
    for (const path of [`${canary.origin}/v1/chat/completions`, `//${canary.origin.slice(7)}/v1/chat/completions`]) {
      const { connection } = await rawRequest(
        scripted.gateway.url,
        postText([...headers, `content-length: ${text.length}`], text, path),
      )
      connections.push(connection)
    }
    expect(canary.connections).toBe(0)
    expect(upstream.requests.every(({ path }) => path === '/v1/chat/completions')).toBe(true)
  })

  test("the client's own headers do not reach the provider", async () => {
    await complete(
      scripted.gateway,
      {},
      { user: 'ada', headers: { cookie: 'session=1', 'x-api-key': 'sk-evil', 'openai-organization': 'org-evil' } },
    )
    const sent = JSON.stringify(upstream.requests.at(-1)?.headers)
    for (const secret of [scripted.gateway.key, 'session=1', 'sk-evil', 'org-evil', 'ada'])
      expect(sent).not.toContain(secret)
  })
})
