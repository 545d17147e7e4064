import { Agent, request } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'

const PAGE = 'https://chat.example.com'
const OTHER = 'https://evil.example.com'
const agent = new Agent()

let gateway: RunningGateway
let closed: RunningGateway
let open: RunningGateway
beforeAll(async () => {
  ;[gateway, closed, open] = await Promise.all([
    startGateway({ cors: { origins: [PAGE, 'app://obsidian.md'], max_age_s: 60 } }),
    startGateway(),
    startGateway({ cors: { origins: ['*'] } }),
  ])
})
afterAll(async () => {
  await Promise.all([discard(gateway), discard(closed), discard(open)])
  await agent.close()
})

/** With undici: `fetch` sets the headers of CORS itself. */
async function send(at: RunningGateway, method: string, path: string, headers: Record<string, string>, body?: string) {
  const answer = await request(at.url + path, { method, headers, dispatcher: agent, ...(body && { body }) })
  return { status: answer.statusCode, headers: answer.headers, text: await answer.body.text() }
}

const preflight = (at: RunningGateway, origin: string, path = '/v1/chat/completions') =>
  send(at, 'OPTIONS', path, {
    origin,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization,content-type,x-stainless-os,x-user-id',
  })
const corsHeaders = (headers: object) => Object.keys(headers).filter((name) => name.startsWith('access-control'))

describe('a preflight', () => {
  test.each(['/v1/chat/completions', '/v1/models', '/v1/feedback', '/chat/completions', '/v1/nowhere'])(
    'of %s is answered without a key',
    async (path) => {
      const { status, headers, text } = await preflight(gateway, PAGE, path)
      expect([status, text]).toEqual([204, ''])
      expect(headers).toMatchObject({
        'access-control-allow-origin': PAGE,
        'access-control-allow-headers': 'authorization,content-type,x-stainless-os,x-user-id',
        'access-control-allow-methods': expect.stringContaining('POST'),
        'access-control-max-age': '60',
        vary: expect.stringContaining('Origin'),
      })
      expect(headers).not.toHaveProperty('access-control-allow-credentials')
    },
  )

  test.each([OTHER, 'null', `${PAGE}.evil.com`, PAGE.toUpperCase(), 'http://chat.example.com', `${PAGE}:8443`, ''])(
    'from %s is not for us',
    async (origin) => {
      const { status, headers } = await preflight(gateway, origin)
      expect(status).toBe(401)
      expect(corsHeaders(headers)).toEqual([])
    },
  )

  test('goes nowhere where no origin is configured, nor to what is not under /v1', async () => {
    const off = await preflight(closed, PAGE)
    expect([off.status, corsHeaders(off.headers), off.headers.vary]).toEqual([401, [], undefined])
    for (const path of ['/admin/keys', '/metrics', '/healthz']) {
      expect(corsHeaders((await preflight(gateway, PAGE, path)).headers)).toEqual([])
    }
  })

  test('with headers that are no names echoes none of them', async () => {
    const { status, headers } = await send(gateway, 'OPTIONS', '/v1/models', {
      origin: PAGE,
      'access-control-request-method': 'GET',
      'access-control-request-headers': 'a<script>',
    })
    expect(status).toBe(204)
    expect(headers).not.toHaveProperty('access-control-allow-headers')
  })

  test('any origin: a star, and never credentials', async () => {
    const { headers } = await preflight(open, OTHER)
    expect(headers['access-control-allow-origin']).toBe('*')
    expect(headers).not.toHaveProperty('access-control-allow-credentials')
  })
})

describe('an answer', () => {
  const HELLO = JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hi' }] })
  const post = (headers: Record<string, string>, body = HELLO) =>
    send(
      gateway,
      'POST',
      '/v1/chat/completions',
      { authorization: `Bearer ${TEST_KEY}`, 'content-type': 'application/json', ...headers },
      body,
    )

  test.each([
    ['plain', HELLO, 200],
    ['streamed', HELLO.replace('{', '{"stream":true,'), 200],
    ['refused', '{', 400],
  ])('%s, can be read by the page', async (_, body, expected) => {
    const { status, headers } = await post({ origin: PAGE }, body)
    expect(status).toBe(expected)
    expect(headers).toMatchObject({ 'access-control-allow-origin': PAGE, vary: 'Origin' })
    const exposed = String(headers['access-control-expose-headers']).split(', ')
    for (const name of ['x-request-id', 'x-router-model', 'x-ratelimit-remaining-requests', 'retry-after']) {
      expect(exposed).toContain(name)
    }
    // All that this answer has of the gateway's own.
    expect(
      Object.keys(headers).filter((name) => /^x-(router|ratelimit)-/.test(name) && !exposed.includes(name)),
    ).toEqual([])
  })

  test('to a wrong key, and of the routes behind the app, too', async () => {
    const wrong = await post({ origin: PAGE, authorization: 'Bearer pr-wrong-0123456789abcdef' })
    expect([wrong.status, wrong.headers['access-control-allow-origin']]).toEqual([401, PAGE])
    const models = await send(gateway, 'GET', '/v1/models', { origin: PAGE, authorization: `Bearer ${TEST_KEY}` })
    expect([models.status, models.headers['access-control-allow-origin']]).toEqual([200, PAGE])
  })

  test('to another page or to none says nothing of it', async () => {
    for (const headers of [{ origin: OTHER }, {}] as Record<string, string>[]) {
      const answer = await post(headers)
      expect([answer.status, corsHeaders(answer.headers)]).toEqual([200, []])
    }
  })

  test('that is replayed is for the page that asks now', async () => {
    const key = { 'idempotency-key': 'cors-1' }
    await post({ ...key, origin: PAGE })
    const replayed = await post({ ...key, origin: 'app://obsidian.md' })
    expect(replayed.headers).toMatchObject({
      'idempotency-replayed': 'true',
      'access-control-allow-origin': 'app://obsidian.md',
    })
  })
})
