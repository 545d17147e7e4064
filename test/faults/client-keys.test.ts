import type { HttpBindings } from '@hono/node-server'
import { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { admin } from '../../src/api/admin.ts'
import { type AppDeps, createApp } from '../../src/server/app.ts'
import { adminCall, call, complete, expectError, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { ADMIN_KEY, discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { measured } from '../support/measured.ts'
import { openRaw } from '../support/raw-http.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

/** Stated: a revoked key is refused by every process within five seconds. */
const REVOKED_WITHIN_MS = 5_000
const OTHER_KEY = 'pr-other-tenant-0123456789abcdef'

/** Routes that need no key at all. */
const OPEN_ROUTES = ['/healthz', '/readyz', '/metrics', '/console', '/rate/']

const DEPS = { store: {} } as AppDeps
/** Those of `/admin` are loaded with the first request below it. */
const ON_DEMAND = new Hono<{ Bindings: HttpBindings }>().route('/admin', admin(DEPS))
/** Every route that the app has, as a request could hit it. */
const ROUTES = [
  ...new Map(
    [...createApp(DEPS).routes, ...ON_DEMAND.routes]
      .filter(({ method, path }) => method !== 'ALL' && !OPEN_ROUTES.some((open) => path.startsWith(open)))
      .map(({ method, path }) => [`${method} ${path}`, { method, path: path.replace(/:\w+(\{[^}]*\})?/g, 'some-id') }]),
  ).values(),
]

let upstream: Upstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = await startUpstream(replyPlain())
  gateway = await startGateway(config())
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

const config = () => ({
  providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
  candidates: [
    { name: 'shared', provider: 'up', price: { input: 1, output: 2 } },
    { name: 'secret', provider: 'up', price: { input: 1, output: 2 }, groups: ['vip'] },
  ],
  tenants: [
    { name: 'test', keys: [TEST_KEY], candidates: ['default', 'vip'] },
    { name: 'other', keys: [OTHER_KEY] },
  ],
})

async function newKey(fields: Record<string, unknown> = {}, at = gateway): Promise<{ id: string; key: string }> {
  const response = await adminCall(at, '/keys', { body: { tenant: 'test', ...fields } })
  expect(response.status).toBe(201)
  return await response.json()
}

const statusOf = async (key: string, at = gateway) => (await call(at, '/v1/models', { key })).status

describe('a bad key: 401 on every route, always the same, never echoed', () => {
  test('the table of routes is the real one', () => {
    const paths = ROUTES.map(({ method, path }) => `${method} ${path}`)
    for (const known of [
      'POST /v1/chat/completions',
      'GET /v1/models',
      'POST /v1/feedback',
      'DELETE /v1/users/some-id/profile',
      'POST /admin/keys',
    ]) {
      expect(paths).toContain(known)
    }
  })

  let expired: { key: string }
  let revoked: { id: string; key: string }
  beforeAll(async () => {
    expired = await newKey({ expires_at: new Date(Date.now() + 1_500).toISOString() })
    revoked = await newKey()
    await adminCall(gateway, `/keys/${revoked.id}`, { method: 'DELETE' })
    await eventually(async () => (await statusOf(expired.key)) === 401, 'the key expires', 3_000)
  })

  describe.each(ROUTES)('$method $path', ({ method, path }) => {
    test('gives all of them the same answer', async () => {
      const isAdmin = path.startsWith('/admin')
      const bad: Record<string, string | undefined> = {
        missing: undefined,
        empty: '',
        'no scheme': TEST_KEY,
        'another scheme': `Basic ${Buffer.from(`x:${TEST_KEY}`).toString('base64')}`,
        'no key': 'Bearer ',
        'too short': 'Bearer pr-x',
        'too long': `Bearer pr-${'x'.repeat(2_000)}`,
        'two keys': `Bearer ${TEST_KEY} ${TEST_KEY}`,
        'a key and more': `Bearer ${TEST_KEY}x`,
        'a part of a key': `Bearer ${TEST_KEY.slice(0, -1)}`,
        'in another case': `Bearer ${TEST_KEY.toUpperCase()}`,
        unknown: 'Bearer pr-nobody-gave-me-this-key-0123',
        expired: `Bearer ${expired.key}`,
        revoked: `Bearer ${revoked.key}`,
        'the wrong kind': `Bearer ${isAdmin ? TEST_KEY : ADMIN_KEY}`,
      }
      const before = upstream.requests.length
      const answers = new Set<string>()
      for (const [what, authorization] of Object.entries(bad)) {
        const response = await fetch(gateway.url + path, {
          method,
          headers: { 'content-type': 'application/json', ...(authorization !== undefined && { authorization }) },
          ...(method !== 'GET' && { body: '{"model":"shared","messages":[{"role":"user","content":"Hi"}]}' }),
        })
        const text = await response.text()
        expect([what, response.status]).toEqual([what, 401])
        if (path.startsWith('/v1/messages')) {
          expect(JSON.parse(text)).toMatchObject({ type: 'error', error: { type: 'authentication_error' } })
        } else expect(expectError(text)).toMatchObject({ code: 'invalid_api_key' })
        expect(response.headers.get('www-authenticate')).toBe('Bearer')
        answers.add(text)
        for (const secret of [TEST_KEY, expired.key, revoked.key, ADMIN_KEY]) expect(text).not.toContain(secret)
      }
      expect(answers.size).toBe(1)
      expect(upstream.requests.length).toBe(before)
    })
  })

  /** The headers of other vendors' clients, and the addresses that clients make of a base URL. */
  const CLIENT_ROUTES = ROUTES.filter(({ path }) => path.startsWith('/v1/'))
  const answerTo = async (method: string, path: string, headers: Record<string, string>) => {
    const connection = await openRaw(gateway.url)
    const body = method === 'GET' ? '' : '{"model":"shared","messages":[{"role":"user","content":"Hi"}]}'
    const lines = Object.entries({ host: 'gateway', ...headers }).map(([name, value]) => `${name}: ${value}`)
    connection.send(
      `${[`${method} ${path} HTTP/1.1`, ...lines, 'connection: close', `content-length: ${body.length}`].join('\r\n')}\r\n\r\n${body}`,
    )
    const answer = await connection.answer()
    connection.destroy()
    return answer.status
  }

  test.each(CLIENT_ROUTES)('$method $path: in another header, at another address', async ({ method, path }) => {
    const before = upstream.requests.length
    for (const name of ['x-api-key', 'api-key']) {
      for (const key of ['', 'short', `Bearer ${TEST_KEY}`, `${TEST_KEY}x`, `${TEST_KEY}, ${TEST_KEY}`, revoked.key]) {
        expect([name, key, await answerTo(method, path, { [name]: key })]).toEqual([name, key, 401])
      }
    }
    const rest = path.slice('/v1'.length)
    for (const other of [
      rest,
      `/v1/v1${rest}`,
      `//v1/${rest}/`,
      `/openai/v1${rest}`,
      `/openai${rest}?api-version=2024-10-21`,
      `/openai/deployments/shared${rest}?api-version=2024-10-21`,
    ]) {
      for (const bad of [{}, { 'api-key': revoked.key }, { authorization: `Bearer ${ADMIN_KEY}` }] as Record<
        string,
        string
      >[]) {
        expect([other, await answerTo(method, other, bad)]).toEqual([other, 401])
      }
    }
    expect(upstream.requests.length).toBe(before)
  })

  test('a key in two headers is one key, or none', async () => {
    const bearer = { authorization: `Bearer ${TEST_KEY}` }
    const status = (headers: Record<string, string>) => answerTo('GET', '/v1/models', headers)
    for (const name of ['x-api-key', 'api-key']) {
      expect(await status({ [name]: TEST_KEY })).toBe(200)
      expect(await status({ ...bearer, [name]: TEST_KEY })).toBe(200)
      expect(await status({ ...bearer, [name]: '' })).toBe(200)
      expect(await status({ ...bearer, [name]: OTHER_KEY })).toBe(400)
      expect(await status({ ...bearer, [name]: 'pr-nobody-gave-me-this-key-0123' })).toBe(400)
      expect(await status({ authorization: 'Basic eDp5', [name]: TEST_KEY })).toBe(401)
      // Node's parser would take two of one name for one with a comma.
      expect(await answerTo('GET', '/v1/models', { [name]: `${TEST_KEY}\r\n${name}: ${TEST_KEY}` })).toBe(400)
      expect(await answerTo('GET', '/v1/models', { ...bearer, [name]: `${TEST_KEY}\r\n${name}: ${OTHER_KEY}` })).toBe(
        400,
      )
    }
    expect(await status({ 'x-api-key': TEST_KEY, 'api-key': OTHER_KEY })).toBe(400)
  })

  test('a preflight without a configured origin needs a key like everything else', async () => {
    for (const { path } of CLIENT_ROUTES) {
      const headers = { origin: 'https://page.example', 'access-control-request-method': 'POST' }
      expect([path, await answerTo('OPTIONS', path, headers)]).toEqual([path, 401])
    }
  })

  test('an unknown route reveals nothing either', async () => {
    expect((await fetch(`${gateway.url}/v1/secrets`)).status).toBe(401)
    expect((await call(gateway, '/v1/secrets')).status).toBe(404)
    expect((await fetch(`${gateway.url}/admin/secrets`)).status).toBe(401)
  })

  test('nor does a path that is spelled another way', async () => {
    for (const path of [
      '//v1/models',
      '/v1//models',
      '/V1/models',
      '/v1/models/',
      '/./v1/models',
      '/x/../v1/models',
      '/v1/%6dodels',
      '/v1/models%2f',
      '/v1;/models',
    ]) {
      const connection = await openRaw(gateway.url)
      connection.send(`GET ${path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n`)
      const { status } = await connection.answer()
      expect([400, 401, 404]).toContain(status)
      connection.destroy()
    }
  })

  test('without an admin key in the configuration there is no admin', async () => {
    const other = await startGateway({ ...config(), admin: {} })
    try {
      for (const key of [ADMIN_KEY, TEST_KEY, 'undefined', 'null']) {
        expect((await call(other, '/admin/keys', { key })).status).toBe(404)
      }
    } finally {
      await discard(other)
    }
  })
})

describe('a key in the store', () => {
  test.each([
    ['tenant', { tenant: 'nobody' }],
    ['models', { models: ['default', 'no-such-model'] }],
    ['expires_at', { expires_at: '2020-01-01T00:00:00Z' }],
  ])('is not made where its %s would make it useless', async (param, fields) => {
    const response = await adminCall(gateway, '/keys', { body: { tenant: 'test', ...fields } })
    expect([response.status, (await response.json()).error.param]).toEqual([400, param])
  })

  test('works from its making until it expires', async () => {
    const { key } = await newKey({ expires_at: new Date(Date.now() + 1_500).toISOString() })
    expect(await statusOf(key)).toBe(200)
    await eventually(async () => (await statusOf(key)) === 401, 'the key expires', 3_000)
  })

  test('is shown once, and kept as a hash', async () => {
    const { key, id } = await newKey({ name: 'ci' })
    expect(key).toMatch(/^pr-[\w-]{43}$/)
    const list = await (await adminCall(gateway, '/keys')).text()
    expect(list).toContain(id)
    expect(list).not.toContain(key)
    expect(list).not.toContain('"hash"')
  })

  test('revoked twice is revoked; of an unknown id, 404', async () => {
    const { id } = await newKey()
    expect((await adminCall(gateway, `/keys/${id}`, { method: 'DELETE' })).status).toBe(200)
    expect((await adminCall(gateway, `/keys/${id}`, { method: 'DELETE' })).status).toBe(200)
    expect((await adminCall(gateway, '/keys/none', { method: 'DELETE' })).status).toBe(404)
  })
})

describe('revocation reaches every process', () => {
  let redis: RedisServer
  let a: RunningGateway
  let b: RunningGateway

  beforeAll(async () => {
    redis = await startRedis()
    const store = { kind: 'redis', url: redis.url }
    ;[a, b] = await Promise.all([startGateway({ ...config(), store }), startGateway({ ...config(), store })])
  })
  afterAll(async () => {
    await Promise.all([discard(a), discard(b)])
    await redis?.discard()
  })

  test('two processes on one Redis: made at A, good at B; revoked at A, refused at B within the stated time', async () => {
    const { key, id } = await newKey({}, a)
    for (const each of [a, b]) expect(await statusOf(key, each)).toBe(200)
    const revokedAt = performance.now()
    await adminCall(a, `/keys/${id}`, { method: 'DELETE' })
    expect(await statusOf(key, a)).toBe(401)
    await eventually(async () => (await statusOf(key, b)) === 401, 'B refuses the key', REVOKED_WITHIN_MS)
    measured('a key revoked at A is refused at B after', `${(performance.now() - revokedAt).toFixed(0)} ms`)
  })

  test('a key that was unknown at B is good there when it is made', async () => {
    const { key } = await newKey({}, a)
    expect(await statusOf(key, b)).toBe(200)
  })
})

describe('a model that is not for this tenant', () => {
  const ask = (model: string, headers: Record<string, string> = {}) =>
    complete(gateway, { model }, { key: OTHER_KEY, headers })

  test.each([
    'secret',
    'auto:vip',
    'auto:',
    'auto:none',
    'SHARED',
    'shared ',
    '../shared',
    'model-secret',
    'up/secret',
    '__proto__',
    'constructor',
  ])('%s: 404 model_not_found', async (model) => {
    const before = upstream.requests.length
    const response = await ask(model)
    expect(response.status).toBe(404)
    expect(expectError(await response.text())).toMatchObject({ code: 'model_not_found', param: 'model' })
    const explained = await call(gateway, '/v1/router/explain', {
      key: OTHER_KEY,
      body: { model, messages: [{ role: 'user', content: 'Hi' }] },
    })
    expect(explained.status).toBe(404)
    expect(upstream.requests.length).toBe(before)
  })

  test('is not listed, found or explained, and can’t be preferred', async () => {
    const { data } = await (await call(gateway, '/v1/models', { key: OTHER_KEY })).json()
    expect(data.map(({ id }: { id: string }) => id)).toEqual(['auto', 'auto:default', 'shared'])
    expect((await call(gateway, '/v1/models/secret', { key: OTHER_KEY })).status).toBe(404)
    expect((await call(gateway, '/v1/models/secret')).status).toBe(200)
    const { candidates } = await explain(gateway, 'Hi', { key: OTHER_KEY })
    expect(candidates.map(({ name }) => name)).toEqual(['shared'])
    const response = await ask('auto')
    const { id } = await response.json()
    const preferred = await call(gateway, '/v1/feedback', {
      key: OTHER_KEY,
      body: { completion_id: id, preferred_model: 'secret' },
    })
    expect(preferred.status).toBe(400)
    expect(expectError(await preferred.text()).param).toBe('preferred_model')
  })

  test('cannot be allowed by a header or by stated preferences', async () => {
    expect((await ask('auto', { 'x-router-allow': 'secret' })).status).toBe(400)
    const user = 'wisher'
    const stated = { method: 'PUT', key: OTHER_KEY, body: { allow: ['secret'] } }
    expect((await call(gateway, `/v1/users/${user}/profile`, stated)).status).toBe(400)
    const routed = await complete(gateway, {}, { key: OTHER_KEY, user })
    expect(routed.headers.get('x-router-model')).toBe('shared')
  })

  test('nor by a key that is limited to others', async () => {
    const { key } = await newKey({ models: ['shared'] })
    expect((await complete(gateway, { model: 'shared' }, { key })).status).toBe(200)
    expect((await complete(gateway, { model: 'secret' }, { key })).status).toBe(404)
    const refused = await adminCall(gateway, '/keys', { body: { tenant: 'other', models: ['vip'] } })
    expect(expectError(await refused.text()).param).toBe('models')
  })
})

describe("another tenant's things: refused, nothing written", () => {
  let interaction: { request_id: string; completion_id: string }

  beforeAll(async () => {
    upstream.play((exchange) => replyPlain(200, { ...completion(), id: `chatcmpl-${Math.random()}` })(exchange))
    const response = await complete(gateway, {}, { user: 'ada', headers: { 'x-conversation-id': 'talk' } })
    interaction = {
      request_id: String(response.headers.get('x-request-id')),
      completion_id: (await response.json()).id,
    }
    await call(gateway, '/v1/users/ada/profile', { method: 'PUT', body: { cost_weight: 0.5 } })
    await eventually(async () => (await profile()).interactions.length === 1, 'the record of ada')
  })

  const completion = () => ({
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content: 'Hi' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  })
  const profile = async () => (await call(gateway, '/v1/users/ada/profile')).json()

  test.each([
    [
      'feedback by request id',
      404,
      'POST',
      '/v1/feedback',
      () => ({ request_id: interaction.request_id, rating: 'down' }),
    ],
    [
      'feedback by completion id',
      404,
      'POST',
      '/v1/feedback',
      () => ({ completion_id: interaction.completion_id, rating: 'down' }),
    ],
    ['feedback with both', 404, 'POST', '/v1/feedback', () => ({ ...interaction, rating: 'down' })],
    ['a comparison', 404, 'POST', '/v1/feedback', () => ({ ...interaction, preferred_model: 'shared' })],
    ['reading the profile', 404, 'GET', '/v1/users/ada/profile', () => undefined],
    ['erasing the user', 200, 'DELETE', '/v1/users/ada/profile', () => undefined],
    ['stating preferences', 200, 'PUT', '/v1/users/ada/profile', () => ({ cost_weight: 1 })],
  ])('%s: %i, and ada is as she was', async (_, status, method, path, body) => {
    const before = await profile()
    const response = await call(gateway, path, { method, key: OTHER_KEY, body: body() })
    const text = await response.text()
    expect(response.status).toBe(status)
    if (status === 404) expectError(text)
    // Under another tenant the same id is another user, of whom nothing is known.
    if (method === 'DELETE') expect(JSON.parse(text).rows).toBe(0)
    expect(text).not.toContain(interaction.completion_id)
    expect(await profile()).toEqual(before)
  })

  test('a user of the same id shares no taste and no conversation', async () => {
    const explained = await explain(gateway, 'Hi', {
      key: OTHER_KEY,
      user: 'ada',
      headers: { 'x-conversation-id': 'talk' },
    })
    expect(explained.user.rewards).toBe(0)
    expect(explained).toMatchObject({ conversation: null })
    expect(await explain(gateway, 'Hi', { user: 'ada', headers: { 'x-conversation-id': 'talk' } })).toMatchObject({
      conversation: { candidate: expect.any(String) },
    })
  })

  test("an id cannot be made to reach over: paths, NULs, the tenant's name", async () => {
    for (const id of ['../ada', 'test/ada', 'test%00ada', 'test:ada', 'p:ada', '*', '%', "' OR 1=1 --", '{test}:ada']) {
      const response = await call(gateway, `/v1/users/${encodeURIComponent(id)}/profile`, { key: OTHER_KEY })
      expect([id, response.status]).toEqual([id, 404])
    }
  })
})
