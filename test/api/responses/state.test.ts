import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { call, explain, metric } from '../../support/clients.ts'
import { eventually } from '../../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../../support/gateway.ts'
import { openRaw } from '../../support/raw-http.ts'
import { type RedisServer, startRedis } from '../../support/redis.ts'
import { type Json, readEvents } from '../../support/responses-spec.ts'
import {
  chunkOf,
  type Exchange,
  replyPlain,
  replyStream,
  startUpstream,
  type Upstream,
} from '../../support/upstream.ts'

const OTHER_KEY = 'pr-other-key-0123456789abcdef'
const OFF_KEY = 'pr-off-key-0123456789abcdef'
const SECRET_WORD = 'canary-of-the-kept-prompt'

let upstream: Upstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = await startUpstream(answering)
  gateway = await startGateway({
    providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
    candidates: ['one', 'two'].map((name) => ({ name, provider: 'up', price: { input: 1, output: 2 } })),
    retries: { max_attempts: 1 },
    tenants: [
      { name: 'test', keys: [TEST_KEY] },
      { name: 'other', keys: [OTHER_KEY] },
      { name: 'off', keys: [OFF_KEY], responses: { store: 'off' } },
    ],
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

function answering(exchange: Exchange): void {
  ;(exchange.json.stream ? replyStream() : replyPlain())(exchange)
}

async function ask(body: Json, options: { user?: string; key?: string; on?: RunningGateway } = {}): Promise<Json> {
  const { on = gateway, user = 'ann', key = TEST_KEY } = options
  const answer = await call(on, '/v1/responses', { user, key, body: { model: 'one', ...body } })
  const text = await answer.text()
  if (answer.status !== 200) return { status: answer.status, ...JSON.parse(text) }
  return body.stream ? readEvents(text).at(-1)!.data.response : JSON.parse(text)
}

const lastMessages = () => (JSON.parse(upstream.requests.at(-1)!.body.toString()) as Json).messages

describe.each([false, true])('a chain of responses, streamed: %s', (stream) => {
  test('holds all that was said, but for instructions, which are each request’s own', async () => {
    const one = await ask({ input: 'One', instructions: 'Be brief.', stream })
    const two = await ask({ input: 'Two', previous_response_id: one.id, stream })
    await ask({ input: 'Three', instructions: 'Be long.', previous_response_id: two.id, stream })
    expect(lastMessages()).toEqual([
      { role: 'system', content: 'Be long.' },
      { role: 'user', content: 'One' },
      { role: 'assistant', content: 'Hello there.' },
      { role: 'user', content: 'Two' },
      { role: 'assistant', content: 'Hello there.' },
      { role: 'user', content: 'Three' },
    ])
  })

  test('branches: each goes on from its own', async () => {
    const root = await ask({ input: 'Root', stream })
    for (const branch of ['Left', 'Right']) await ask({ input: branch, previous_response_id: root.id, stream })
    expect(lastMessages().map(({ content }: Json) => content)).toEqual(['Root', 'Hello there.', 'Right'])
  })

  test('ends where one of it was deleted', async () => {
    const one = await ask({ input: 'One', stream })
    const two = await ask({ input: 'Two', previous_response_id: one.id, stream })
    expect((await call(gateway, `/v1/responses/${one.id}`, { method: 'DELETE', user: 'ann' })).status).toBe(200)
    const three = await ask({ input: 'Three', previous_response_id: two.id, stream })
    expect(three).toMatchObject({ status: 400, error: { code: 'previous_response_not_found' } })
  })

  test('can be gone on from as soon as its end is told', async () => {
    let last = await ask({ input: '0', stream })
    for (let i = 1; i < 20; i++) last = await ask({ input: `${i}`, previous_response_id: last.id, stream })
    expect(lastMessages()).toHaveLength(39)
  })
})

test('the conversation is the same one: its model stays, and what was said is known to routing', async () => {
  const first = await call(gateway, '/v1/responses', { user: 'sticky', body: { model: 'auto', input: 'Hello you' } })
  const { id } = await first.json()
  await eventually(async () => {
    const next = await call(gateway, '/v1/responses', {
      user: 'sticky',
      body: { model: 'auto', input: 'And another thing entirely', previous_response_id: id, instructions: 'New.' },
    })
    await next.text()
    return (
      next.headers.get('x-router-reason')?.startsWith('sticky') &&
      next.headers.get('x-router-model') === first.headers.get('x-router-model')
    )
  }, 'the second turn stays with the first one’s model')
  const explained = await call(gateway, '/v1/router/explain', {
    user: 'sticky',
    body: { model: 'auto', input: 'x', previous_response_id: id },
  })
  expect((await explained.json()).conversation).toMatchObject({ candidate: first.headers.get('x-router-model') })
})

test('a rating by the response’s id is learned from', async () => {
  const before = await explain(gateway, 'What is love?', { user: 'rater' })
  const response = await ask({ model: 'two', input: 'What is love?' }, { user: 'rater' })
  const rated = await call(gateway, '/v1/feedback', {
    user: 'rater',
    body: { request_id: response.id, rating: 'up' },
  })
  expect(rated.status).toBe(202)
  const after = await explain(gateway, 'What is love?', { user: 'rater' })
  expect(after.user.rewards).toBe(before.user.rewards + 1)
})

describe('what is kept is its user’s own', () => {
  test.each([
    ['another user', { user: 'bob' }],
    ['nobody', { user: '' }],
    ['another tenant', { key: OTHER_KEY }],
  ])('%s finds nothing', async (_, who) => {
    const kept = await ask({ input: 'Mine' })
    const item = kept.output[0].id
    const options = { user: 'ann', ...who }
    for (const path of [`/v1/responses/${kept.id}`, `/v1/responses/${kept.id}/input_items`]) {
      const seen = await call(gateway, path, options)
      expect(seen.status).toBe(404)
      const unknown = await call(gateway, path.replace(kept.id, 'resp_00000000-0000-4000-8000-000000000000'), options)
      const said = (text: string) => text.replace(/resp_[0-9a-f-]+/, '')
      expect(said(await seen.text())).toBe(said(await unknown.text()))
    }
    expect((await call(gateway, `/v1/responses/${kept.id}`, { method: 'DELETE', ...options })).status).toBe(404)
    expect(await ask({ input: 'x', previous_response_id: kept.id }, options)).toMatchObject({
      status: 400,
      error: { code: 'previous_response_not_found', param: 'previous_response_id' },
    })
    const referring = await ask(
      {
        input: [
          { type: 'item_reference', id: item },
          { role: 'user', content: 'x' },
        ],
      },
      options,
    )
    expect(referring).toMatchObject({ status: 400, error: { code: 'item_not_found', param: 'input.0.id' } })
    expect((await call(gateway, `/v1/responses/${kept.id}`, { user: 'ann' })).status).toBe(200)
  })

  test('it is exported with their profile and goes with it', async () => {
    const kept = await ask({ input: SECRET_WORD }, { user: 'leaver' })
    const profile = await (await call(gateway, '/v1/users/leaver/profile')).json()
    expect(profile.responses).toMatchObject([{ id: kept.id, input: [{ content: SECRET_WORD }] }])
    await call(gateway, '/v1/users/leaver/profile', { method: 'DELETE' })
    expect((await call(gateway, `/v1/responses/${kept.id}`, { user: 'leaver' })).status).toBe(404)
    expect((await call(gateway, '/v1/users/leaver/profile')).status).toBe(404)
  })

  test('an answer that ends after its user was erased is not kept', async () => {
    let finish = () => {}
    const { promise, resolve } = Promise.withResolvers<void>()
    upstream.play(async (exchange) => {
      resolve()
      await new Promise<void>((done) => {
        finish = done
      })
      answering(exchange)
    })
    const asking = ask({ input: 'x' }, { user: 'quick' })
    await promise
    await call(gateway, '/v1/users/quick/profile', { method: 'DELETE' })
    finish()
    const response = await asking
    upstream.play(answering)
    expect(response.store).toBe(false)
    expect((await call(gateway, `/v1/responses/${response.id}`, { user: 'quick' })).status).toBe(404)
  })

  test('no prompt stands in the store in clear', async () => {
    await ask({ input: `${SECRET_WORD} `.repeat(50) })
    const db = new DatabaseSync(join(gateway.dir, 'gateway.db'), { readOnly: true })
    const rows = db.prepare('SELECT response FROM responses').all()
    db.close()
    expect(rows.length).toBeGreaterThan(0)
    const all = Buffer.concat(rows.map(({ response }) => Buffer.from(response as Uint8Array)))
    expect(all.includes(SECRET_WORD)).toBe(false)
    expect(all.includes('Hello there.')).toBe(false)
  })
})

describe('what is not to be kept is not', () => {
  test.each([
    ['by the request', { store: false }, TEST_KEY],
    ['by the tenant, whatever the request says', { store: true }, OFF_KEY],
  ])('%s', async (_, body, key) => {
    for (const stream of [false, true]) {
      const response = await ask({ input: 'x', stream, ...body }, { key })
      expect(response.store).toBe(false)
      expect((await call(gateway, `/v1/responses/${response.id}`, { user: 'ann', key })).status).toBe(404)
      const next = await ask({ input: 'x', previous_response_id: response.id }, { key })
      expect(next).toMatchObject({ status: 400, error: { code: 'previous_response_not_found' } })
    }
  })

  test('an answer that failed', async () => {
    upstream.play((exchange) => {
      exchange.stream()
      exchange.event(chunkOf({ content: 'Hel' }))
      setTimeout(() => exchange.reset(), 20)
    })
    const failed = await ask({ input: 'x', stream: true })
    upstream.play(answering)
    expect(failed).toMatchObject({ status: 'failed', store: false, output: [{ status: 'incomplete' }] })
    expect((await call(gateway, `/v1/responses/${failed.id}`, { user: 'ann' })).status).toBe(404)
  })
})

describe('reading what is kept', () => {
  test('input items, page by page, both ways', async () => {
    const one = await ask({ input: 'One' })
    const two = await ask({
      input: [
        { role: 'user', content: 'Two' },
        { role: 'user', content: 'Three' },
      ],
      previous_response_id: one.id,
    })
    const list = async (query: string) =>
      (await call(gateway, `/v1/responses/${two.id}/input_items${query}`, { user: 'ann' })).json()
    const all = await list('?order=asc')
    expect(all).toMatchObject({ object: 'list', has_more: false, first_id: all.data[0].id, last_id: all.data[3].id })
    expect(all.data.map(({ content }: Json) => content[0].text)).toEqual(['One', 'Hello there.', 'Two', 'Three'])
    const newest = await list('?limit=1')
    expect(newest).toMatchObject({ has_more: true, data: [{ content: [{ text: 'Three' }] }] })
    expect((await list(`?limit=100&after=${newest.last_id}`)).data).toHaveLength(3)
    for (const query of ['?limit=0', '?limit=101', '?limit=x', '?order=up', '?after=none']) {
      expect((await list(query)).error).toMatchObject({ type: 'invalid_request_error' })
    }
  })

  test('what is not served says so', async () => {
    const { id } = await ask({ input: 'x' })
    const status = async (path: string, method: string) => {
      const answer = await call(gateway, path, {
        method,
        user: 'ann',
        ...(method === 'POST' && { body: { model: 'one', input: 'x' } }),
      })
      return [answer.status, (await answer.json()).error.code]
    }
    expect(await status(`/v1/responses/${id}?stream=true`, 'GET')).toEqual([400, 'unsupported_parameter'])
    expect(await status(`/v1/responses/${id}/cancel`, 'POST')).toEqual([400, 'unsupported_endpoint'])
    expect(await status('/v1/responses/compact', 'POST')).toEqual([404, 'unsupported_endpoint'])
    expect(await status('/v1/responses/input_tokens', 'POST')).toEqual([404, 'unsupported_endpoint'])
    expect(await status('/v1/responses', 'GET')).toEqual([404, 'unknown_url'])
  })

  test('a WebSocket is answered with 426, and the connection closes', async () => {
    const connection = await openRaw(gateway.url)
    connection.send(
      [
        'GET /v1/responses HTTP/1.1',
        'host: gateway',
        `authorization: Bearer ${TEST_KEY}`,
        'connection: Upgrade',
        'upgrade: websocket',
        'sec-websocket-version: 13',
        'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
        '',
        '',
      ].join('\r\n'),
    )
    await connection.closed
    expect(connection.received).toMatch(/^HTTP\/1\.1 426 /)
    expect(connection.received).toMatch(/^upgrade: /im)
    expect(connection.received).toContain('websocket_not_supported')
  })
})

describe('two replicas on one Redis', () => {
  let redis: RedisServer
  let a: RunningGateway
  let b: RunningGateway

  beforeAll(async () => {
    redis = await startRedis()
    const config = {
      store: { kind: 'redis', url: redis.url },
      providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
      candidates: [{ name: 'one', provider: 'up', price: { input: 1, output: 2 } }],
    }
    ;[a, b] = await Promise.all([startGateway(config), startGateway(config)])
  })
  afterAll(async () => {
    await Promise.all([discard(a), discard(b)])
    await redis?.discard()
  })

  test('what one was told the other knows at once', async () => {
    const one = await ask({ input: 'One', stream: true }, { on: a })
    const two = await ask({ input: 'Two', previous_response_id: one.id }, { on: b })
    expect(lastMessages()).toHaveLength(3)
    expect(await (await call(a, `/v1/responses/${two.id}`, { user: 'ann' })).json()).toEqual(two)
  })

  test('while the store is away answers go on, say that they are not kept, and what is asked for is not denied', async () => {
    const kept = await ask({ input: 'One' }, { on: a })
    await redis.kill()
    for (const stream of [false, true]) expect((await ask({ input: 'x', stream }, { on: a })).store).toBe(false)
    const next = await ask({ input: 'x', previous_response_id: kept.id }, { on: a })
    expect(next).toMatchObject({ status: 503, error: { code: 'store_unavailable' } })
    expect(await metric(a, 'persona_router_store_errors_total')).toBeGreaterThan(0)
  })
})
