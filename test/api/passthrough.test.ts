import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { adminCall, call, expectError, metric } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { openRaw } from '../support/raw-http.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

const SECRET = 'sk-upstream-key-0123456789'
const LIMITED_KEY = 'pr-limited-key-0123456789'
const POOR_KEY = 'pr-poor-key-0123456789'
const CAPPED_KEY = 'pr-capped-key-0123456789'
const SHARED_KEY = 'pr-shared-key-0123456789'

let upstream: Upstream
let canary: Upstream
let sink: Awaited<ReturnType<typeof startSink>>
let gateway: RunningGateway
let closed: RunningGateway
beforeAll(async () => {
  upstream = await startUpstream()
  canary = await startUpstream(replyPlain())
  sink = await startSink()
  const providers = {
    up: {
      kind: 'openai-compatible',
      base_url: `${upstream.origin}/base/v1`,
      api_key: SECRET,
      query: { 'api-version': '1' },
    },
    uploads: { kind: 'openai-compatible', base_url: `${sink.origin}/v1`, key_required: false },
  }
  const common = {
    providers,
    candidates: [{ name: 'chat', provider: 'up', price: { input: 1, output: 2 } }],
    tenants: [
      { name: 'test', keys: [TEST_KEY] },
      { name: 'limited', keys: [LIMITED_KEY], limits: { requests_per_minute: 1 } },
      { name: 'poor', keys: [POOR_KEY], limits: { usd_per_day: 0.6 } },
      { name: 'capped', keys: [CAPPED_KEY], limits: { usd_per_day: 0.6 } },
      { name: 'shared', keys: [SHARED_KEY], limits: { usd_per_day: 0.8 } },
    ],
    server: { max_body_bytes: 50_000 },
  }
  ;[gateway, closed] = await Promise.all([
    startGateway({
      ...common,
      passthrough: {
        '/v1/audio/': { provider: 'up', max_body_bytes: 200_000 },
        '/v1/images/': { provider: 'up', price: { request: 0.25, input: 10, output: 40 } },
        '/v1/videos/': { provider: 'up', price: { request: 0.1, most: 0.5 } },
        '/v1/moderations/': 'up',
        '/v1/files/': 'up',
        '/v1/parts/': { provider: 'uploads', max_body_bytes: 200_000 },
        '/v1/uploads/': { provider: 'uploads', max_body_bytes: 300_000_000 },
      },
    }),
    startGateway(common),
  ])
})
afterAll(async () => {
  await Promise.all([discard(gateway), discard(closed)])
  await Promise.all([upstream?.close(), canary?.close(), sink?.close()])
})

/** A server that counts the bytes of a body as they come. */
async function startSink() {
  const seen = { bytes: 0, headers: {} as IncomingHttpHeaders, ended: false, closed: false }
  const server = createServer((request, response) => {
    Object.assign(seen, { bytes: 0, headers: request.headers, ended: false, closed: false })
    request.on('data', (chunk: Buffer) => {
      seen.bytes += chunk.length
    })
    request.on('end', () => {
      seen.ended = true
      response.setHeader('content-type', 'application/json')
      response.end('{"id":"file-1"}')
    })
    request.on('close', () => {
      seen.closed = true
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    seen,
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
beforeEach(() => {
  upstream.requests.length = 0
  upstream.play((exchange) => exchange.reply(200, { ok: true }))
})

const client = () => new OpenAI({ baseURL: gateway.baseURL, apiKey: TEST_KEY, maxRetries: 0 })

test('a key for some models alone does not reach what takes any', async () => {
  const made = await adminCall(gateway, '/keys', { body: { tenant: 'test', models: ['chat'] } })
  const { key } = (await made.json()) as { key: string }
  const body = { model: 'gpt-image-1', prompt: 'A cat' }
  for (const path of ['/v1/images/generations', '/v1/audio/speech', '/v1/files/file-1']) {
    const answer = await call(gateway, path, { key, ...(path.includes('files') ? {} : { body }) })
    expect([path, answer.status, expectError(await answer.text()).code]).toEqual([path, 403, 'insufficient_scope'])
  }
  expect(upstream.requests).toEqual([])
})

describe('what is configured', () => {
  test('speech: bytes of an answer as they come', async () => {
    const audio = Buffer.from(Array.from({ length: 200_000 }, (_, i) => i % 251))
    upstream.play((exchange) => exchange.reply(200, audio, { 'content-type': 'audio/mpeg', 'set-cookie': 'a=b' }))
    const response = await client().audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'Hello' })
    expect(Buffer.from(await response.arrayBuffer()).equals(audio)).toBe(true)
    expect(response.headers.get('content-type')).toBe('audio/mpeg')
    expect(response.headers.get('set-cookie')).toBeNull()
    expect(response.headers.get('x-request-id')).toMatch(/^req_/)
    expect(upstream.requests[0]).toMatchObject({ method: 'POST', path: '/base/v1/audio/speech?api-version=1' })
  })

  test('a transcription: a form with a file', async () => {
    upstream.play((exchange) => exchange.reply(200, { text: 'Hello' }))
    const file = await toFile(Buffer.from('RIFF'), 'a.wav')
    expect((await client().audio.transcriptions.create({ model: 'whisper-1', file })).text).toBe('Hello')
    expect(upstream.requests[0]?.headers['content-type']).toMatch(/^multipart\/form-data; boundary=/)
    expect(upstream.requests[0]?.body.toString()).toContain('RIFF')
  })

  test('other methods, queries, and the prefix itself', async () => {
    await call(gateway, '/v1/files/file-1?limit=2&api-version=9', { method: 'DELETE' })
    await call(gateway, '/v1/moderations', { body: { input: 'Hi' } })
    await call(gateway, '/moderations', { body: { input: 'Hi' } })
    expect(upstream.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'DELETE /base/v1/files/file-1?api-version=1&limit=2',
      'POST /base/v1/moderations?api-version=1',
      'POST /base/v1/moderations?api-version=1',
    ])
  })

  test('carries our key, and nothing of what the client says to us', async () => {
    await call(gateway, '/v1/files/x', {
      headers: {
        'x-user-id': 'ann',
        'x-router-allow': 'chat',
        'x-conversation-id': 'c-1',
        'x-forwarded-for': '10.0.0.1',
        cookie: 'a=b',
        'api-key': TEST_KEY,
        'proxy-authorization': 'Basic x',
        'openai-organization': 'org-1',
        'openai-beta': 'assistants=v2',
        te: 'trailers',
      },
    })
    const { headers = {} } = upstream.requests[0] ?? {}
    expect(headers).toMatchObject({ authorization: `Bearer ${SECRET}`, 'openai-beta': 'assistants=v2' })
    const allowed =
      /^(accept|accept-encoding|accept-language|authorization|connection|content-length|content-type|host|openai-beta|x-request-id)$/
    expect(Object.keys(headers).filter((name) => !allowed.test(name))).toEqual([])
    expect(JSON.stringify(headers)).not.toContain(TEST_KEY)
  })

  test.each([
    ['/v1/audio/../../secrets'],
    ['/v1/audio/..%2f..%2fsecrets'],
    ['/v1/audio/%2e%2e/chat/completions'],
    ['/v1/audio/%2E%2E/%2e%2e/x'],
    ['/v1/audio/..\\..\\x'],
    ['/v1/audio/%5c..%5cx'],
    ['/v1/audio/./x'],
    ['/v1/audio/x;y=1'],
    ['/v1/audio/x%00'],
    ['/v1/audio/@evil.example/x\\@'],
  ])('%s finds no way out', async (path) => {
    const connection = await openRaw(gateway.url)
    connection.send(
      `GET ${path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer ${TEST_KEY}\r\nconnection: close\r\n\r\n`,
    )
    const { status } = await connection.answer()
    connection.destroy()
    expect([400, 404]).toContain(status)
    expect(upstream.requests).toHaveLength(0)
  })

  test('no input chooses the upstream', async () => {
    const { host } = new URL(canary.origin)
    for (const [path, headers] of [
      [`/v1/audio/${canary.origin}/x`, {}],
      [`//${host}/v1/audio/x`, {}],
      ['/v1/audio/x', { 'x-forwarded-host': host, forwarded: `host=${host}` }],
      [`/v1/audio/x?base_url=${canary.origin}`, {}],
    ] as const) {
      await call(gateway, path, { headers })
    }
    upstream.play((exchange) => exchange.reply(302, '', { location: canary.origin }))
    expect((await call(gateway, '/v1/audio/x')).status).toBe(502)
    for (const { path } of upstream.requests) expect(path).toMatch(/^\/base\/v1\/audio\//)
    expect(canary.requests).toHaveLength(0)
  })

  test("the provider's errors: its own words, our key's troubles are ours", async () => {
    upstream.play((exchange) => exchange.reply(422, { detail: 'no voice' }))
    const refused = await call(gateway, '/v1/audio/speech', { body: {} })
    expect([refused.status, expectError(await refused.text()).message]).toEqual([422, 'no voice'])
    upstream.play((exchange) => exchange.reply(401, { error: { message: `bad key ${SECRET}` } }))
    const key = await call(gateway, '/v1/audio/speech', { body: {} })
    expect(key.status).toBe(502)
    expect(await key.text()).not.toContain(SECRET)
    upstream.play((exchange) => exchange.reset())
    expect((await call(gateway, '/v1/audio/speech', { body: {} })).status).toBe(502)
  })

  test('needs a key, has a bound, is limited and counted', async () => {
    expect((await call(gateway, '/v1/audio/speech', { key: 'pr-wrong-key-0123456789', body: {} })).status).toBe(401)
    expect((await call(gateway, '/v1/audio/speech', { body: 'x'.repeat(200_001) })).status).toBe(413)
    expect(upstream.requests).toHaveLength(0)
    const statuses: number[] = []
    for (let i = 0; i < 2; i++) statuses.push((await call(gateway, '/v1/files/a', { key: LIMITED_KEY })).status)
    expect(statuses).toEqual([200, 429])
    expect(await metric(gateway, 'persona_router_passed_through_total')).toBeGreaterThan(0)
  })

  test('a client that leaves ends the upstream', async () => {
    upstream.play(async (exchange) => {
      exchange.stream()
      exchange.chunk('data: x\n\n')
      await exchange.closed
    })
    const abort = new AbortController()
    const response = await fetch(`${gateway.url}/v1/audio/speech`, {
      method: 'POST',
      headers: { authorization: `Bearer ${TEST_KEY}` },
      signal: abort.signal,
    })
    expect(response.status).toBe(200)
    abort.abort()
    await eventually(() => upstream.busy === 0, 'it is let go')
  })
})

describe('an upload', () => {
  const open = (headers: Record<string, string>) =>
    httpRequest(`${gateway.url}/v1/uploads/x/parts`, {
      method: 'POST',
      headers: { authorization: `Bearer ${TEST_KEY}`, ...headers },
    }).on('error', () => {})

  test.each([
    ['of a known length', { 'content-length': '60000000' }],
    ['in chunks', { 'transfer-encoding': 'chunked' }],
  ])('%s goes on as it comes, far larger than what may be held', async (_, headers) => {
    const client = open(headers)
    const answered = once(client, 'response')
    client.write(Buffer.alloc(1_000_000))
    await eventually(() => sink.seen.bytes === 1_000_000, 'its beginning is there, its end has not been sent')
    expect(sink.seen.ended).toBe(false)
    const piece = Buffer.alloc(1_000_000)
    for (let i = 1; i < 60; i++) if (!client.write(piece)) await once(client, 'drain')
    client.end()
    const [response] = await answered
    expect(response.statusCode).toBe(200)
    expect(sink.seen).toMatchObject({ bytes: 60_000_000, ended: true })
    expect(sink.seen.headers['content-length']).toBe(headers['content-length' as keyof typeof headers])
    expect(JSON.stringify(sink.seen.headers)).not.toContain(TEST_KEY)
    response.resume()
  })

  test('that breaks off ends at the provider, too', async () => {
    const client = open({ 'content-length': '2000000' })
    client.write(Buffer.alloc(1_000_000))
    await eventually(() => sink.seen.bytes === 1_000_000, 'it has begun')
    client.destroy()
    await eventually(() => sink.seen.closed, 'the provider is let go')
    expect(sink.seen.ended).toBe(false)
  })

  test('that is larger than its bound, told by its bytes alone: 413', async () => {
    const client = httpRequest(`${gateway.url}/v1/parts/x`, {
      method: 'POST',
      headers: { authorization: `Bearer ${TEST_KEY}`, 'transfer-encoding': 'chunked' },
    }).on('error', () => {})
    const answered = once(client, 'response')
    client.write(Buffer.alloc(150_000))
    client.write(Buffer.alloc(100_000))
    const [response] = await answered
    expect(response.statusCode).toBe(413)
    client.destroy()
  })
})

describe('what it came to', () => {
  const images = { usage: { input_tokens: 1_000, output_tokens: 4_000, total_tokens: 5_000 }, data: [{ b64_json: '' }] }
  const records = async (user: string, key = TEST_KEY) =>
    (await (await call(gateway, `/v1/users/${user}/profile`, { key })).json()).interactions ?? []

  test('is recorded: whose, where, what it cost by the configured price', async () => {
    upstream.play((exchange) => exchange.reply(200, images))
    await call(gateway, '/v1/images/generations', { user: 'painter', body: { model: 'gpt-image-1', prompt: 'a cat' } })
    const [record] = await eventually(async () => {
      const found = await records('painter')
      return found.length === 1 && found
    }, 'the record')
    expect(record).toMatchObject({
      endpoint: 'passthrough',
      chosen: '/v1/images/',
      reason: 'explicit',
      status: 200,
      usageEstimated: false,
      usage: { promptTokens: 1_000, completionTokens: 4_000 },
      finishReason: 'stop',
      attempts: [{ candidate: '/v1/images/', provider: 'up', status: 200, error: null }],
    })
    expect(record.costUsd).toBeCloseTo(0.25 + 0.01 + 0.16, 9)
    expect(JSON.stringify(record)).not.toContain('a cat')
    expect(await metric(gateway, 'persona_router_cost_usd_total')).toBeGreaterThan(0.4)
  })

  test("by the model's own price, where a candidate or the catalogue has one", async () => {
    const usage = { prompt_tokens: 1_000_000, completion_tokens: 500_000, total_tokens: 1_500_000 }
    upstream.play((exchange) => exchange.reply(200, { model: 'chat', usage }))
    await call(gateway, '/v1/audio/speech', { user: 'speaker', body: { model: 'chat', input: 'x' } })
    const [record] = await eventually(async () => {
      const found = await records('speaker')
      return found.length === 1 && found
    }, 'the record')
    expect(record.costUsd).toBeCloseTo(2, 9)
  })

  test('an answer that did not come costs nothing, and is recorded as what it was', async () => {
    upstream.play((exchange) => exchange.reset())
    expect((await call(gateway, '/v1/images/edits', { user: 'unlucky', body: {} })).status).toBe(502)
    const [record] = await eventually(async () => {
      const found = await records('unlucky')
      return found.length === 1 && found
    }, 'the record')
    expect(record).toMatchObject({ status: 502, costUsd: 0, finishReason: 'error', attempts: [{ error: 'reset' }] })
  })

  test('what only asks, and is not told its end, is not booked as what makes something', async () => {
    upstream.play((exchange) => {
      exchange.head(200, { 'content-type': 'application/json', 'content-length': '100' })
      exchange.raw('{"id":')
      exchange.reset()
    })
    const costs = []
    for (const method of ['GET', 'POST']) {
      const user = `cut-off-${method.toLowerCase()}`
      const answer = await call(gateway, '/v1/videos/one', { user, method, ...(method === 'POST' && { body: {} }) })
      await answer.text().catch(() => '')
      const found = () => records(user)
      const [record] = await eventually(async () => (await found()).length === 1 && found(), 'the record')
      costs.push(record.costUsd)
    }
    expect(costs).toEqual([0.1, 0.5])
  })

  test('counts against a budget, which refuses when nothing is left', async () => {
    upstream.play((exchange) => exchange.reply(200, { ...images, usage: undefined }))
    const statuses: number[] = []
    for (let i = 0; i < 4; i++) {
      const answer = await call(gateway, '/v1/images/generations', { key: POOR_KEY, user: 'poor', body: {} })
      await answer.text()
      statuses.push(answer.status)
      await eventually(async () => (await records('poor', POOR_KEY)).length >= Math.min(i + 1, 2), 'it is settled')
    }
    expect(statuses).toEqual([200, 200, 429, 429])
  })

  test('is never more than a budget has left, where it is said what a request may come to', async () => {
    const held = Promise.withResolvers<void>()
    upstream.play(async (exchange) => {
      await held.promise
      exchange.reply(200, { id: 'video-1' })
    })
    const ask = (method = 'POST') =>
      call(gateway, '/v1/videos/one', { key: CAPPED_KEY, method, ...(method === 'POST' && { body: {} }) })
    const first = ask()
    await eventually(async () => upstream.requests.length === 1, 'the first has arrived')
    const beside = await ask()
    expect([beside.status, (await beside.json()).error.message]).toEqual([
      429,
      expect.stringContaining('needed at most $0.500000, left $0.100000 of $0.600000'),
    ])
    held.resolve()
    expect((await first).status).toBe(200)
    const left = async () => {
      const { tenant } = await (await call(gateway, '/v1/usage', { key: CAPPED_KEY })).json()
      return tenant.limits[0].left.toFixed(3)
    }
    await eventually(async () => (await left()) === '0.500', 'it is settled')
    // A provider that breaks off tells nobody what it bills.
    upstream.play((exchange) => {
      exchange.head(200, { 'content-type': 'application/json', 'content-length': '100' })
      exchange.raw('{"id":')
      exchange.reset()
    })
    await (await ask()).text().catch(() => '')
    await eventually(async () => (await left()) === '0.000', 'it is booked at most')
    expect((await ask('GET')).status).toBe(429)
  })

  test('takes a share of what is left of a budget where nobody has said that, so that others find room', async () => {
    const held = Promise.withResolvers<void>()
    upstream.play(async (exchange) => {
      if (exchange.request.path.endsWith('slow')) await held.promise
      exchange.reply(200, { data: [] })
    })
    const ask = (path: string) => call(gateway, path, { key: SHARED_KEY, body: {} })
    const left = async () => {
      const { tenant } = await (await call(gateway, '/v1/usage', { key: SHARED_KEY })).json()
      return tenant.limits[0].left.toFixed(3)
    }
    await (await ask('/v1/audio/speech')).text()
    await eventually(async () => (await left()) === '0.800', 'nothing is booked')
    const slow = ask('/v1/audio/slow')
    await eventually(async () => (await left()) === '0.700', 'an eighth is held')
    expect((await ask('/v1/audio/speech')).status).toBe(200)
    held.resolve()
    await (await slow).text()
    await eventually(async () => (await left()) === '0.800', 'it is given back')
  })
})

test('what is not configured stays unknown', async () => {
  for (const [at, path] of [
    [closed, '/v1/audio/speech'],
    [gateway, '/v1/batches'],
    [gateway, '/v1/realtime'],
    [gateway, '/v1/audiobook'],
  ] as const) {
    const response = await call(at, path, { body: {} })
    expect([path, response.status]).toEqual([path, 404])
  }
  expect(upstream.requests).toHaveLength(0)
})

test.each([
  ['/v1/chat/', "'/v1/chat' is the gateway's own"],
  ['/v1/realtime/', "'/v1/realtime' is the gateway's own"],
  ['/v1/audio/', "there is no provider 'gone'"],
  ['/v1/files/', "'demo' answers chats alone", 'demo'],
  ['/admin/', 'passthrough./admin/: Invalid key in record'],
  ['/v1/', 'passthrough./v1/: Invalid key in record'],
])('a prefix %s that can not be is a mistake in the configuration: %s', (prefix, problem, provider = 'gone') => {
  const file = join(mkdtempSync(join(tmpdir(), 'passthrough-')), 'gateway.yaml')
  writeFileSync(file, stringify({ providers: { demo: { kind: 'sandbox' } }, passthrough: { [prefix]: provider } }))
  expect(() => loadConfig(file, {})).toThrow(problem)
})
