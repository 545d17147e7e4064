import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { assetNames, assetOf } from '../../src/console/assets.ts'
import { readSession, sessionToken } from '../../src/console/session.ts'
import { complete } from '../support/clients.ts'
import { ADMIN_KEY, discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'

const READ_KEY = 'pr-reader-key-0123456789abcdef'
const SMALL_KEY = 'pr-small-key-0123456789abcdef'
const keys = {
  admin: { key: ADMIN_KEY },
  console: { enabled: true, read_key: READ_KEY, session_minutes: 5 },
} as Parameters<typeof readSession>[1]

describe('a session', () => {
  const now = Date.now()
  const token = sessionToken('reader', keys, now)

  test('says who it is until it ends', () => {
    expect(readSession(token, keys, now)).toMatchObject({ role: 'reader', expiresAt: now + 300_000 })
    expect(readSession(token, keys, now + 300_000)).toBeNull()
  })

  test('is none where a letter is another, a role is swapped, or the key was replaced', () => {
    expect(readSession(token.replace('reader', 'operator'), keys, now)).toBeNull()
    expect(readSession(`${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`, keys, now)).toBeNull()
    expect(readSession(token.replace(/\d{13}/, String(now + 9_999_999)), keys, now)).toBeNull()
    expect(
      readSession(token, { ...keys, console: { ...keys.console, read_key: 'another-key-0123456789' } }, now),
    ).toBeNull()
    for (const odd of [undefined, '', 'reader', 'a.b.c.d', `${token}.x`]) expect(readSession(odd, keys, now)).toBeNull()
  })
})

test('all that a browser loads is at most 200 KB, compressed', () => {
  const bytes = assetNames.map((name) => gzipSync(assetOf(name)?.body ?? '').length)
  expect(bytes.reduce((sum, size) => sum + size)).toBeLessThanOrEqual(200 * 1024)
})

test('a file that is not on the list is none', () => {
  for (const name of ['../session.ts', '__proto__', 'toString', 'constructor', '']) expect(assetOf(name)).toBeNull()
})

describe('the console’s routes', () => {
  let gateway: RunningGateway
  beforeAll(async () => {
    gateway = await startGateway({
      console: { enabled: true, read_key: READ_KEY },
      tenants: [
        { name: 'test', keys: [TEST_KEY] },
        { name: 'small', keys: [SMALL_KEY], limits: { requests_per_minute: 2 } },
      ],
    })
  })
  afterAll(() => discard(gateway))

  const call = (path: string, { method = 'GET', body, cookie = '', own = true }: CallOptions = {}) =>
    fetch(`${gateway.url}/console/${path}`, {
      method,
      headers: {
        ...(own && { 'x-console': '1' }),
        ...(cookie !== '' && { cookie }),
        'content-type': 'application/json',
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
  interface CallOptions {
    method?: string
    body?: unknown
    cookie?: string
    /** Sent by the console's own page. */
    own?: boolean
  }
  const logIn = async (key: string) => {
    const response = await call('api/session', { method: 'POST', body: { key } })
    return { response, cookie: (response.headers.get('set-cookie') ?? '').split(';', 1)[0] ?? '' }
  }

  test('a cookie that scripts can’t read and other sites can’t send', async () => {
    const { response } = await logIn(ADMIN_KEY)
    expect(response.status).toBe(200)
    const cookie = response.headers.get('set-cookie')
    for (const part of ['HttpOnly', 'SameSite=Strict', 'Path=/console']) expect(cookie).toContain(part)
    expect(cookie).not.toContain(ADMIN_KEY)
  })

  test('pages may load their own files alone', async () => {
    const policy = (await call('')).headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toContain('unsafe')
    const html = await (await call('')).text()
    expect(html).not.toMatch(/<script(?![^>]*src=)|style=|onclick=/)
    expect(
      [...html.matchAll(/(?:src|href)="([^"]+)"/g)].every(
        ([, at]) => at?.startsWith('/console/assets/') || at === 'data:,',
      ),
    ).toBe(true)
  })

  test.each([
    'api/tenants',
    'api/overview?tenant=test',
    'api/models?tenant=test',
    'api/users/a?tenant=test',
    'api/admin/status',
  ])('without a session, with a forged or with a tenant’s key: 401 for %s', async (path) => {
    for (const cookie of ['', 'persona_router_console=operator.9999999999999.AAAAAAAAAAAAAAAA.x']) {
      expect((await call(path, { cookie })).status).toBe(401)
    }
    expect(
      (await fetch(`${gateway.url}/console/${path}`, { headers: { authorization: `Bearer ${gateway.key}` } })).status,
    ).toBe(401)
  })

  const CHANGES: [method: string, path: string, body?: object][] = [
    ['PUT', 'api/users/ann?tenant=test', {}],
    ['DELETE', 'api/users/ann?tenant=test'],
    ['POST', 'api/chat?tenant=test', { model: 'auto', messages: [{ role: 'user', content: 'Hi' }] }],
    ['POST', 'api/feedback?tenant=test', {}],
    ['POST', 'api/admin/keys', { tenant: 'test' }],
    ['DELETE', 'api/admin/keys/x'],
    ['PUT', 'api/admin/modes', { tenant: 'test', mode: null }],
    ['POST', 'api/admin/artifact/rollback', { version: '1' }],
    ['POST', 'api/admin/config/reload', {}],
  ]

  test.each(CHANGES)('a reader may not: %s %s', async (method, path, body) => {
    const { cookie } = await logIn(READ_KEY)
    expect((await call(path, { method, body, cookie })).status).toBe(403)
  })

  test.each(CHANGES)('another site’s page, with the operator’s cookie, may not: %s %s', async (method, path, body) => {
    const { cookie } = await logIn(ADMIN_KEY)
    expect((await call(path, { method, body, cookie, own: false })).status).toBe(403)
  })

  test('a reader is not shown keys', async () => {
    const { cookie } = await logIn(READ_KEY)
    expect((await call('api/admin/keys', { cookie })).status).toBe(403)
    for (const name of ['status', 'modes', 'evidence?tenant=test', 'refusals', 'usage']) {
      expect([name, (await call(`api/admin/${name}`, { cookie })).status]).toEqual([name, 200])
    }
  })

  test('a look uses up none of a tenant’s requests', async () => {
    const { cookie } = await logIn(READ_KEY)
    const body = { model: 'auto', messages: [{ role: 'user', content: 'Hi' }] }
    for (let i = 0; i < 5; i++) {
      expect((await call('api/explain?tenant=small', { method: 'POST', body, cookie })).status).toBe(200)
    }
    const statuses: number[] = []
    for (let i = 0; i < 3; i++) statuses.push((await complete(gateway, body, { key: SMALL_KEY })).status)
    expect(statuses).toEqual([200, 200, 429])
  })

  // Paths that only end, or begin, like those that a reader may call.
  test.each([
    ['DELETE', 'api/users/session?tenant=test', 403],
    ['PUT', 'api/users/explain?tenant=test', 403],
    ['DELETE', 'api/admin/keys/status', 403],
    ['GET', 'api/admin/keys?x=/api/admin/status', 403],
    ['GET', 'api/admin/keys/status', 403],
    ['GET', 'api/admin/%6beys', 403],
    ['POST', 'api/explain/x', 403],
  ])('a reader may not: %s %s', async (method, path, status) => {
    const { cookie } = await logIn(READ_KEY)
    expect((await call(path, { method, cookie, ...(method !== 'GET' && { body: {} }) })).status).toBe(status)
  })

  test('unknown tenants and odd times are named', async () => {
    const { cookie } = await logIn(ADMIN_KEY)
    expect((await call('api/overview?tenant=none', { cookie })).status).toBe(404)
    expect((await call('api/overview?tenant=test&days=1000', { cookie })).status).toBe(400)
  })

  test('wrong keys: ten a minute, then nobody may try', async () => {
    const statuses: number[] = []
    for (let i = 0; i < 12; i++) statuses.push((await logIn(`wrong-key-number-${i}`)).response.status)
    expect(statuses.slice(0, 9)).toEqual(Array(9).fill(401))
    expect(statuses.at(-1)).toBe(429)
  })
})

describe('off unless configured', () => {
  let gateway: RunningGateway
  beforeAll(async () => {
    gateway = await startGateway()
  })
  afterAll(() => discard(gateway))

  test.each(['', 'assets/app.js', 'api/session'])('404 for /console/%s', async (path) => {
    expect((await fetch(`${gateway.url}/console/${path}`)).status).toBe(404)
  })
})
