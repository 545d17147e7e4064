import { execFileSync } from 'node:child_process'
import { SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { SCOPES, type Scope } from '../../src/candidates/scopes.ts'
import { type AppDeps, createApp } from '../../src/server/app.ts'
import { adminCall, call, complete, expectError, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { completionBody, startUpstream, type Upstream } from '../support/upstream.ts'

/** Users are who their key, a token or the one trusted source says; a key does what its scopes say, on every route. */
const SECRET = 'secret-of-the-web-interface'

let upstream: Upstream
let gateway: RunningGateway
let answers = 0

// Gateways and commands are started: on a busy machine each takes seconds.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

beforeAll(async () => {
  upstream = await startUpstream((exchange) => exchange.reply(200, { ...completionBody(), id: `chat-${answers++}` }))
  gateway = await startGateway(config())
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

const config = (of: object = {}) => ({
  providers: {
    up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, auth: 'none', key_required: false },
  },
  candidates: [{ name: 'one', provider: 'up', price: { input: 1, output: 2 } }],
  embeddings: [{ name: 'embedder', provider: 'up', price: { input: 0.1 } }],
  passthrough: { '/v1/moderations/': 'up' },
  tenants: [{ name: 'test', keys: [TEST_KEY], plain_user_ids: true }],
  identity: { jwt: { secret: SECRET } },
  ...of,
})

async function newKey(fields: object = {}, at = gateway): Promise<string> {
  const response = await adminCall(at, '/keys', { body: { tenant: 'test', ...fields } })
  expect(response.status).toBe(201)
  return (await response.json()).key
}

const tokenOf = (user: string) =>
  new SignJWT({ sub: user })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(SECRET))

/** Whom the gateway takes a request for: it has learned of nobody else. */
async function userOf(at: RunningGateway, options: object, body: object = {}): Promise<string[]> {
  const names = ['ann', 'bob', 'carl', 'dora', '~anonymous']
  const rewards = async () => {
    const all = await Promise.all(names.map((name) => call(at, `/v1/users/${name}/profile`)))
    return Promise.all(all.map(async (one) => (one.status === 200 ? (await one.json()).rewards_counted : 0)))
  }
  const before = await rewards()
  const answer = await complete(at, { model: 'one', ...body }, options)
  expect(answer.status).toBe(200)
  const id = answer.headers.get('x-request-id')
  expect((await call(at, '/v1/feedback', { ...options, body: { request_id: id, rating: 'up' } })).status).toBe(202)
  // Feedback is accepted when learning takes longer than its answer may.
  return eventually(async () => {
    const after = await rewards()
    const changed = names.filter((_, i) => after[i] !== before[i])
    return changed.length > 0 && changed
  }, 'the feedback counts')
}

describe('a key that is bound to a user', () => {
  test('means them, whatever the request says; a token of somebody else is refused', async () => {
    const key = await newKey({ user: 'ann' })
    const lies = { key, user: 'bob', headers: { 'x-openwebui-user-id': 'carl' } }
    expect(await userOf(gateway, lies, { user: 'dora', safety_identifier: 'dora' })).toEqual(['ann'])
    const headers = { 'x-openwebui-user-jwt': await tokenOf('bob') }
    const refused = await complete(gateway, { model: 'one' }, { key, headers })
    expect([refused.status, expectError(await refused.text()).code]).toEqual([403, 'user_mismatch'])
    const own = { 'x-openwebui-user-jwt': await tokenOf('ann') }
    expect((await complete(gateway, { model: 'one' }, { key, headers: own })).status).toBe(200)
  })

  test('reaches no other user: profiles, answers, conversations, kept responses', async () => {
    const [ann, bob] = [await newKey({ user: 'ann' }), await newKey({ user: 'bob' })]
    const turn = { model: 'one', messages: [{ role: 'user', content: 'Hi' }] }
    const answer = await complete(gateway, turn, { key: bob, headers: { 'x-conversation-id': 'c1' } })
    const { id } = await answer.json()
    const rate = (body: object) =>
      call(gateway, '/v1/feedback', { key: ann, user: 'bob', body: { rating: 'up', ...body } })
    for (const named of [{ request_id: answer.headers.get('x-request-id') }, { completion_id: id }]) {
      expect((await rate({ ...named, user: 'bob' })).status).toBe(404)
    }
    const conversation = { key: ann, user: 'bob', headers: { 'x-conversation-id': 'c1' } }
    expect(await explain(gateway, 'Hi', conversation)).toMatchObject({ conversation: null })
    const kept = await (await call(gateway, '/v1/responses', { key: bob, body: { model: 'one', input: 'Hi' } })).json()
    expect((await call(gateway, `/v1/responses/${kept.id}`, { key: bob })).status).toBe(200)
    expect((await call(gateway, `/v1/responses/${kept.id}`, { key: ann, user: 'bob' })).status).toBe(404)
    for (const [method, body] of [['GET'], ['PUT', { cost_weight: 1 }], ['DELETE']] as const) {
      for (const path of ['bob', 'b%6fb', '~anonymous']) {
        const response = await call(gateway, `/v1/users/${path}/profile`, { key: ann, user: 'bob', method, body })
        expect([response.status, expectError(await response.text()).code]).toEqual([403, 'insufficient_scope'])
      }
    }
    const own = await call(gateway, '/v1/users/ann/profile', { key: ann, method: 'PUT', body: { cost_weight: 0.5 } })
    expect(own.status).toBe(200)
  })

  test('is made and listed by the operator’s commands; what contradicts itself is refused', async () => {
    const run = (...args: string[]) =>
      execFileSync(process.execPath, ['bin/persona-router.mjs', '--config', gateway.configFile, 'keys', ...args], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      })
    const key = run('create', '--tenant', 'test', '--user', 'dora', '--scopes', 'chat,feedback:own').trim()
    expect(await userOf(gateway, { key, user: 'bob' })).toEqual(['dora'])
    expect(run('list', '--tenant', 'test')).toMatch(/dora +chat,feedback:own/)
    const listed = run('list', '--json')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(listed).toContainEqual(expect.objectContaining({ user: 'dora', scopes: ['chat', 'feedback:own'] }))
    for (const [wrong, said] of [
      [['--user', ''], /1 to 256 bytes/],
      [['--scopes', 'chat,chta'], /no scope 'chta'/],
      [['--scopes', 'vouch'], /could do nothing/],
      [['--user', 'ann', '--scopes', 'chat,profile:any'], /can't have the scope 'profile:any'/],
    ] as const) {
      expect(() => run('create', '--tenant', 'test', ...wrong)).toThrow(said)
    }
    const refused = await adminCall(gateway, '/keys', {
      body: { tenant: 'test', user: 'a', scopes: ['vouch', 'chat'] },
    })
    expect([refused.status, expectError(await refused.text()).param]).toEqual([400, 'scopes'])
  })
})

describe('a signed token', () => {
  test('acts for its user alone: no feedback on, no profile of, anybody else', async () => {
    const headers = { 'x-openwebui-user-jwt': await tokenOf('carl') }
    const answer = await complete(gateway, { model: 'one' }, { user: 'bob' })
    const body = { request_id: answer.headers.get('x-request-id'), rating: 'up' }
    expect((await call(gateway, '/v1/feedback', { headers, body })).status).toBe(404)
    expect((await call(gateway, '/v1/users/bob/profile', { headers })).status).toBe(403)
    const stated = { headers, method: 'PUT', body: { cost_weight: 0.5 } }
    expect((await call(gateway, '/v1/users/carl/profile', stated)).status).toBe(200)
  })
})

describe('identity.from', () => {
  const everything = async () => ({
    user: 'ann',
    headers: { 'x-openwebui-user-jwt': await tokenOf('bob') },
    body: { user: 'carl' },
  })
  test.each([
    ['any', 'bob'],
    ['token', 'bob'],
    ['header', 'ann'],
    ['body', 'carl'],
    ['key', '~anonymous'],
  ])(
    '%s: the others are not looked at',
    async (from, expected) => {
      const identity = { from, headers: ['x-user-id'], jwt: { secret: SECRET } }
      const strict = await startGateway(config({ identity }))
      try {
        const { body, ...options } = await everything()
        // Whoever sends no token may look at all profiles.
        const seen = await userOf(strict, options, body)
        expect(seen).toEqual([expected])
        const bound = await newKey({ user: 'dora' }, strict)
        expect(await userOf(strict, { key: bound, user: 'ann' }, body)).toEqual(['dora'])
        // Not one of the others in its absence, either.
        if (from === 'token') expect(await userOf(strict, { user: 'ann' }, body)).toEqual(['~anonymous'])
        if (from === 'header') expect(await userOf(strict, {}, body)).toEqual(['~anonymous'])
        if (from === 'body') expect(await userOf(strict, { user: 'ann' })).toEqual(['~anonymous'])
      } finally {
        await discard(strict)
      }
    },
    60_000,
  )

  test.each([
    [{ from: 'token' }, /needs identity.jwt/],
    [{ from: 'header' }, /needs one of headers/],
  ])('%j is refused at the start', async (identity, said) => {
    await expect(startGateway(config({ identity }))).rejects.toThrow(said)
  })
})

describe('scopes', () => {
  /** Every route below /v1 that the app has, but those where nothing is served. */
  const ROUTES = [
    ...new Map(
      createApp({ store: {} } as AppDeps)
        .routes.filter(({ method, path }) => method !== 'ALL' && path.startsWith('/v1/'))
        .map(({ method, path }) => {
          const at = path.replace(/:\w+(\{[^}]*\})?/g, 'some-id')
          return [`${method} ${at}`, { method, path: at }] as const
        }),
    ).values(),
    { method: 'POST', path: '/v1/moderations/x' },
    { method: 'POST', path: '/v1/f%65edback' },
    { method: 'GET', path: '/v1/us%65rs/some-id/profile' },
  ]
  const wanted = (path: string): Scope[] => {
    const plain = decodeURIComponent(path)
    if (plain === '/v1/feedback') return ['feedback:own', 'feedback:any']
    return plain.startsWith('/v1/users/') ? ['profile:own', 'profile:any'] : ['chat']
  }

  test('the table of routes is the real one', () => {
    const paths = ROUTES.map(({ method, path }) => `${method} ${path}`)
    expect(paths).toContain('POST /v1/chat/completions')
    expect(paths).toContain('GET /v1/users/some-id/profile')
    expect(paths.length).toBeGreaterThan(15)
  })

  test.each(SCOPES.filter((scope) => scope !== 'vouch'))('%s opens its routes, and no other', async (scope) => {
    const key = await newKey({ scopes: [scope] })
    for (const { method, path } of ROUTES) {
      const response = await call(gateway, path, {
        key,
        user: 'some-id',
        method,
        ...(method !== 'GET' && { body: {} }),
      })
      const text = await response.text()
      const isRefused = response.status === 403 && text.includes('lacks the scope')
      expect([path, isRefused]).toEqual([path, !wanted(path).includes(scope)])
    }
  })

  test('own is the user whom the request names: another’s is not there, or not for them', async () => {
    const key = await newKey({ scopes: ['chat', 'feedback:own', 'profile:own'] })
    const answer = await complete(gateway, { model: 'one' }, { key, user: 'ann' })
    const body = { request_id: answer.headers.get('x-request-id'), rating: 'up' }
    expect((await call(gateway, '/v1/feedback', { key, user: 'bob', body })).status).toBe(404)
    expect((await call(gateway, '/v1/feedback', { key, user: 'ann', body })).status).toBe(202)
    expect((await call(gateway, '/v1/users/ann/profile', { key, user: 'bob' })).status).toBe(403)
    expect((await call(gateway, '/v1/users/ann/profile', { key, user: 'ann' })).status).toBe(200)
    const any = await newKey({ scopes: ['chat', 'feedback:any', 'profile:any'] })
    const again = await complete(gateway, { model: 'one' }, { key: any, user: 'ann' })
    const rated = { request_id: again.headers.get('x-request-id'), rating: 'up' }
    expect((await call(gateway, '/v1/feedback', { key: any, user: 'bob', body: rated })).status).toBe(202)
  })
})

describe('ids that somebody makes up', () => {
  const PER_USER = 2
  const PER_KEY = 8
  let limited: RunningGateway

  beforeAll(async () => {
    limited = await startGateway(
      config({
        tenants: [
          {
            ...{ name: 'test', keys: [TEST_KEY], plain_user_ids: true },
            user_limits: { requests_per_minute: PER_USER },
            key_limits: { requests_per_minute: PER_KEY },
          },
        ],
        limits: { new_users_per_minute: 3 },
      }),
    )
  })
  afterAll(() => discard(limited))

  const passed = async (ask: (i: number) => Promise<Response>) => {
    const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => ask(i)))
    return answers.filter(({ status }) => status === 200).length
  }

  test('escape the limits of users, and not those of their key', async () => {
    const key = await newKey({}, limited)
    expect(await passed((i) => complete(limited, { model: 'one' }, { key, user: `made-up-${i}` }))).toBe(PER_KEY)
  })

  test('of a bound key are not looked at: its user has one limit', async () => {
    const key = await newKey({ user: 'ann' }, limited)
    expect(await passed((i) => complete(limited, { model: 'one' }, { key, user: `made-up-${i}` }))).toBe(PER_USER)
  })

  test('begin no more beliefs in a minute than a key may', async () => {
    const key = await newKey({}, limited)
    const users = Array.from({ length: 7 }, (_, i) => `another-${i}`)
    for (const user of users) {
      const answer = await complete(limited, { model: 'one' }, { key, user })
      const body = { request_id: answer.headers.get('x-request-id'), rating: 'up' }
      expect((await call(limited, '/v1/feedback', { key, user, body })).status).toBe(202)
    }
    const profiles = await Promise.all(users.map((user) => call(limited, `/v1/users/${user}/profile`)))
    const counted = await Promise.all(
      profiles.map(async (one) => (one.status === 200 ? (await one.json()).rewards_counted : 0)),
    )
    expect(counted.filter((count) => count > 0)).toHaveLength(3)
  })
})
