import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { RequestIds } from '../../src/pipeline/request-ids.ts'
import { call, complete, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'

const IDENTITY_SECRET = 'a secret of user ids for these tests'
const OTHER_KEY = 'pr-other-key-0123456789abcdef'
let gateway: RunningGateway
beforeAll(async () => {
  gateway = await startGateway({
    tenants: [
      { name: 'test', keys: ['pr-test-key-0123456789abcdef'] },
      { name: 'other', keys: [OTHER_KEY] },
    ],
    router: { sticky: { min_gain: 10 } },
    identity: { secret: IDENTITY_SECRET },
    feedback: { link_base_url: 'https://gateway.example/' },
  })
})
afterAll(() => discard(gateway))

const ask = (headers: Record<string, string>, body: Record<string, unknown> = {}) =>
  complete(gateway, { ...body }, { headers: { 'x-user-id': 'ann', ...headers } })
const rate = (body: Record<string, unknown>, user = 'ann', key?: string) =>
  call(gateway, '/v1/feedback', { body: { rating: 'up', ...body }, user, ...(key && { key }) })

describe('feedback by the ids that a client has', () => {
  test('a message', async () => {
    const asked = await ask({ 'x-openwebui-message-id': 'm-1' })
    await asked.text()
    const answer = await rate({ message_id: 'm-1' })
    expect(answer.status).toBe(202)
    expect((await answer.json()).interaction_id).toBe(asked.headers.get('x-request-id'))
  })

  test("a message of another user, or of another tenant's, is nobody's", async () => {
    await (await ask({ 'x-openwebui-message-id': 'm-2' })).text()
    expect((await rate({ message_id: 'm-2' }, 'bob')).status).toBe(404)
    expect((await rate({ message_id: 'm-2' }, 'ann', OTHER_KEY)).status).toBe(404)
    expect((await rate({ completion_id: 'm-2' })).status).toBe(404)
  })

  test('a conversation: its last answer', async () => {
    for (let i = 0; i < 2; i++) await (await ask({ 'x-openwebui-chat-id': 'c-1' })).text()
    const last = await ask({ 'x-openwebui-chat-id': 'c-1' })
    await last.text()
    const answer = await rate({ message_id: 'unknown', conversation_id: 'c-1' })
    expect((await answer.json()).interaction_id).toBe(last.headers.get('x-request-id'))
    expect((await rate({ conversation_id: 'c-1' }, 'bob')).status).toBe(404)
  })
})

test('an answer that has left the log is said to be that, to its tenant alone', async () => {
  const ids = new RequestIds(IDENTITY_SECRET)
  const old = ids.next('test', Date.UTC(2026, 0, 31, 12))
  for (const field of ['request_id', 'completion_id']) {
    const answer = await rate({ [field]: old })
    expect(answer.status).toBe(410)
    expect((await answer.json()).error).toEqual({
      message: expect.stringMatching(/^The answer of 2026-01-31 can’t be rated any more: it was archived or erased/),
      type: 'invalid_request_error',
      code: 'interaction_gone',
      param: field,
    })
    expect((await rate({ [field]: old }, 'ann', OTHER_KEY)).status).toBe(404)
  }
  const made = ids.next('test', Date.UTC(2026, 0, 31, 12)).replace(/.$/, (last) => (last === '0' ? '1' : '0'))
  expect((await rate({ request_id: made })).status).toBe(404)
})

test('an answer of the last hours may still be in a spool: it is not said to be gone', async () => {
  const ids = new RequestIds(IDENTITY_SECRET)
  const hour = 3_600_000
  for (const [hours, status] of [
    [2, 404],
    [23, 404],
    [25, 410],
  ] as const) {
    const answer = await rate({ request_id: ids.next('test', Date.now() - hours * hour) })
    expect([hours, answer.status]).toEqual([hours, status])
  }
})

describe('conversations as tools name them', () => {
  const opening = (text: string) => ({ messages: [{ role: 'user', content: text }] })
  const isSticky = async (headers: Record<string, string>, body: Record<string, unknown> = {}) => {
    await (await ask(headers, { ...opening('One'), ...body })).text()
    const next = await ask(headers, { ...opening('Something else'), ...body })
    await next.text()
    return String(next.headers.get('x-router-reason')).startsWith('sticky')
  }

  test.each(['x-conversation-id', 'x-openwebui-chat-id', 'x-session-id', 'session-id', 'x-claude-code-session-id'])(
    '%s',
    async (name) => expect(await isSticky({ [name]: `conversation of ${name}` })).toBe(true),
  )

  test('prompt_cache_key, where it looks like an id', async () => {
    expect(await isSticky({}, { prompt_cache_key: '0199a213-81c0-7800-8aa1-bbab2a035a53' })).toBe(true)
    expect(await isSticky({}, { prompt_cache_key: 'my-app' })).toBe(false)
  })

  test('a header that names a conversation or a message is there once', async () => {
    for (const name of ['x-session-id', 'x-openwebui-message-id', 'x-user-id']) {
      const headers = new Headers({ authorization: `Bearer ${gateway.key}`, 'content-type': 'application/json' })
      headers.append(name, 'a')
      const { request } = await import('node:http')
      const status = await new Promise<number>((done) => {
        const sent = request(`${gateway.url}/v1/models`, {
          headers: { ...Object.fromEntries(headers), [name]: ['a', 'b'] },
        })
        sent.on('response', (response) => done(response.statusCode ?? 0)).end()
      })
      expect([name, status]).toEqual([name, 400])
    }
  })
})

describe('a link to rate an answer', () => {
  const link = async (user = 'ann') => {
    const response = await ask({ 'x-user-id': user })
    await response.text()
    const url = String(response.headers.get('x-router-feedback-url'))
    expect(url).toMatch(/^https:\/\/gateway\.example\/rate\/[\w-]+$/)
    return { path: new URL(url).pathname, id: response.headers.get('x-request-id') }
  }
  const press = (path: string, form: string) =>
    fetch(gateway.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: form,
    })
  const rewards = async (user: string) => (await explain(gateway, 'Hi', { user })).user.rewards

  test('shows a page without scripts that nobody can frame, and changes nothing', async () => {
    const { path } = await link('looker')
    const page = await fetch(gateway.url + path)
    const text = await page.text()
    expect(page.status).toBe(200)
    expect(text).toContain('<form method="post">')
    expect(text).not.toMatch(/<script|http/)
    const policy = String(page.headers.get('content-security-policy'))
    for (const rule of ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"])
      expect(policy).toContain(rule)
    expect(page.headers.get('referrer-policy')).toBe('no-referrer')
    expect(page.headers.get('cache-control')).toBe('no-store')
    expect(await rewards('looker')).toBe(0)
  })

  test('rates that one answer, and the last press counts', async () => {
    const user = `presser-${Date.now()}`
    const { path } = await link(user)
    for (const rating of ['up', 'down', 'down']) expect((await press(path, `rating=${rating}`)).status).toBe(200)
    await eventually(async () => (await rewards(user)) === 1, 'one rating')
    expect((await press(path, 'rating=sideways')).status).toBe(400)
    expect((await press(path, '')).status).toBe(400)
    expect((await press(path, 'x'.repeat(100_000))).status).toBe(413)
  })

  test('that was changed in any way is none', async () => {
    const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const { path } = await link('changer')
    const broken = [
      `${path}A`,
      path.slice(0, -1),
      path.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
      path.replace(/(?<=rate\/)./, (first) => (first === '_' ? '-' : '_')),
      ...[...'AQgw!='].map((odd) => `${path}${odd}`),
      path.replace(/.$/, (last) => LETTERS[LETTERS.indexOf(last) ^ 1] as string),
      '/rate/x',
      `/rate/${'A'.repeat(200)}`,
    ]
    for (const other of broken) {
      expect([other, (await fetch(gateway.url + other)).status]).toEqual([other, 404])
      expect((await press(other, 'rating=up')).status).toBe(404)
    }
    expect(await rewards('changer')).toBe(0)
  })
})
