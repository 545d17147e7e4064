import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { call, expectError, metric } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { openRaw } from '../support/raw-http.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

const SECRET = 'sk-upstream-key-0123456789'
const LIMITED_KEY = 'pr-limited-key-0123456789'

let upstream: Upstream
let canary: Upstream
let gateway: RunningGateway
let closed: RunningGateway
beforeAll(async () => {
  upstream = await startUpstream()
  canary = await startUpstream(replyPlain())
  const providers = {
    up: {
      kind: 'openai-compatible',
      base_url: `${upstream.origin}/base/v1`,
      api_key: SECRET,
      query: { 'api-version': '1' },
    },
  }
  const common = {
    providers,
    candidates: [{ name: 'chat', provider: 'up', price: { input: 1, output: 2 } }],
    tenants: [
      { name: 'test', keys: [TEST_KEY] },
      { name: 'limited', keys: [LIMITED_KEY], limits: { requests_per_minute: 1 } },
    ],
    server: { max_body_bytes: 50_000 },
  }
  ;[gateway, closed] = await Promise.all([
    startGateway({ ...common, passthrough: { '/v1/audio/': 'up', '/v1/moderations/': 'up', '/v1/files/': 'up' } }),
    startGateway(common),
  ])
})
afterAll(async () => {
  await Promise.all([discard(gateway), discard(closed)])
  await Promise.all([upstream?.close(), canary?.close()])
})
beforeEach(() => {
  upstream.requests.length = 0
  upstream.play((exchange) => exchange.reply(200, { ok: true }))
})

const client = () => new OpenAI({ baseURL: gateway.baseURL, apiKey: TEST_KEY, maxRetries: 0 })

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
    expect((await call(gateway, '/v1/audio/speech', { body: 'x'.repeat(50_001) })).status).toBe(413)
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

test('what is not configured stays unknown', async () => {
  for (const [at, path] of [
    [closed, '/v1/audio/speech'],
    [gateway, '/v1/images/generations'],
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
  ['/admin/', 'passthrough./admin/: Invalid key in record'],
  ['/v1/', 'passthrough./v1/: Invalid key in record'],
])('a prefix %s of a provider that is not there is a mistake in the configuration', (prefix, problem) => {
  const file = join(mkdtempSync(join(tmpdir(), 'passthrough-')), 'gateway.yaml')
  writeFileSync(file, stringify({ passthrough: { [prefix]: 'gone' } }))
  expect(() => loadConfig(file, {})).toThrow(problem)
})
