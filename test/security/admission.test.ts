import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { call, complete, expectError } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { openRaw, type RawConnection } from '../support/raw-http.ts'
import { completionBody, type Exchange, replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

/** What a valid key can do to others: nothing that has a limit costs more than its limit says. */
const OTHER = 'pr-other-key-0123456789abcdef'
const BIG = 'pr-big-key-0123456789abcdef'
const PER_MINUTE = 10
const PER_TENANT = 8 * 1024 * 1024
const BODY = 2 * 1024 * 1024

let upstream: Upstream
let gateway: RunningGateway

/** A tenant whose bucket is still full, for each attack. */
const LIMITED = Array.from({ length: 40 }, (_, i) => `pr-limited-${i}-0123456789abcdef`)
let used = 0
const next = () => LIMITED[used++] as string

beforeAll(async () => {
  upstream = await startUpstream(replyPlain())
  gateway = await startGateway({
    server: { max_body_bytes: BODY, max_bytes_in_memory: 3 * PER_TENANT, max_bytes_per_tenant: PER_TENANT },
    providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
    candidates: [{ name: 'one', provider: 'up', price: { input: 1, output: 2 } }],
    feedback: { link_base_url: 'https://gateway.example/' },
    tenants: [
      { name: 'other', keys: [OTHER] },
      { name: 'big', keys: [BIG] },
      ...LIMITED.map((key, i) => ({ name: `limited-${i}`, keys: [key], limits: { requests_per_minute: PER_MINUTE } })),
    ],
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

const metric = async (name: string) => {
  const text = await (await fetch(`${gateway.url}/metrics`)).text()
  return Number(new RegExp(`^persona_router_${name} (\\S+)$`, 'm').exec(text)?.[1])
}

describe('every route has a limit', () => {
  const ask = (key: string, headers: Record<string, string> = {}) =>
    complete(gateway, { model: 'one' }, { key, headers })
  const first = async (key: string) => {
    const answer = await ask(key, { 'idempotency-key': 'kept' })
    await answer.text()
    const link = new URL(String(answer.headers.get('x-router-feedback-url'))).pathname
    return { request_id: String(answer.headers.get('x-request-id')), link }
  }

  test.each<[string, (key: string, first: { request_id: string; link: string }) => Promise<Response>]>([
    ['explain', (key) => call(gateway, '/v1/router/explain', { key, body: { model: 'one', messages: [user('Hi')] } })],
    ['an answer that was kept', (key) => ask(key, { 'idempotency-key': 'kept' })],
    [
      'counting tokens',
      (key) => call(gateway, '/v1/messages/count_tokens', { key, body: { model: 'one', messages: [user('Hi')] } }),
    ],
    ['feedback', (key, { request_id }) => call(gateway, '/v1/feedback', { key, body: { request_id, rating: 'up' } })],
    ['reading a profile', (key) => call(gateway, '/v1/users/~anonymous/profile', { key })],
    ['stating wishes', (key) => call(gateway, '/v1/users/ann/profile', { key, method: 'PUT', body: {} })],
    ['erasing a user', (key) => call(gateway, '/v1/users/nobody/profile', { key, method: 'DELETE' })],
    ['the list of models', (key) => call(gateway, '/v1/models', { key })],
    ['a kept response', (key) => call(gateway, '/v1/responses/resp_none', { key })],
    ['an unknown route', (key) => call(gateway, '/v1/none', { key })],
    ['a link', (_, { link }) => fetch(gateway.url + link, { method: 'POST', body: 'rating=up' })],
  ])('%s', async (_, attack) => {
    const key = next()
    const asked = await first(key)
    const answers = await Promise.all(Array.from({ length: 40 }, () => attack(key, asked)))
    const refused = answers.filter(({ status }) => status === 429)
    expect(40 - refused.length).toBeLessThanOrEqual(PER_MINUTE)
    expect(40 - refused.length).toBeGreaterThanOrEqual(PER_MINUTE - 1)
    for (const each of refused) expect(Number(each.headers.get('retry-after'))).toBeGreaterThan(0)
    for (const each of answers) await each.body?.cancel()
    expect((await ask(OTHER)).status).toBe(200)
  })
})

const user = (content: string) => ({ role: 'user', content })

const post = (key: string, headers: string[]) =>
  ['POST /v1/chat/completions HTTP/1.1', 'host: gateway', `authorization: Bearer ${key}`, ...headers, '', ''].join(
    '\r\n',
  )

describe('bodies', () => {
  test('of a caller that is known to be over its limit are not read, nor asked for', async () => {
    const key = next()
    await Promise.all(Array.from({ length: PER_MINUTE + 5 }, () => complete(gateway, { model: 'one' }, { key })))
    const connection = await openRaw(gateway.url)
    connection.send(post(key, [`content-length: ${BODY}`, 'expect: 100-continue']))
    const answer = await connection.answer()
    expect([answer.status, answer.headers.connection]).toEqual([429, 'close'])
    expect(connection.received).not.toContain('100 Continue')
    expectError(answer.body)
    connection.destroy()
    const other = await openRaw(gateway.url)
    other.send(post(OTHER, [`content-length: ${BODY}`, 'expect: 100-continue']))
    await eventually(() => other.received.includes('100 Continue'), 'the word to go on')
    other.destroy()
  })

  test('withheld by many connections take no more memory than a tenant may hold; another tenant is served', async () => {
    const connections = await Promise.all(Array.from({ length: 16 }, () => openRaw(gateway.url)))
    const part = Buffer.alloc(BODY - 1, ' ')
    for (const connection of connections)
      connection.send(Buffer.concat([Buffer.from(post(BIG, [`content-length: ${BODY}`])), part]))
    const refused = () => connections.filter(({ received }) => received.startsWith('HTTP/1.1 429'))
    await eventually(() => refused().length >= 16 - PER_TENANT / BODY, 'all that is too much is refused')
    expect(await metric('held_bytes')).toBeLessThanOrEqual(PER_TENANT)
    expect((await complete(gateway, { model: 'one' }, { key: OTHER })).status).toBe(200)
    expect(refused()[0]?.received).toContain('too_many_bytes')
    expect(refused()[0]?.received).toMatch(/retry-after: 1/i)
    for (const connection of connections) connection.destroy()
    await eventually(async () => (await metric('held_bytes')) === 0, 'what they held is free')
  })

  test('of a tenant of 10 requests a minute: no more than 10 arrive at once', async () => {
    const key = next()
    const connections: RawConnection[] = await Promise.all(Array.from({ length: 40 }, () => openRaw(gateway.url)))
    for (const connection of connections) connection.send(`${post(key, ['content-length: 100000'])} `)
    const refused = () => connections.filter(({ received }) => received.startsWith('HTTP/1.1 429')).length
    await eventually(() => refused() === 40 - PER_MINUTE, 'thirty refusals')
    for (const connection of connections) connection.destroy()
    await eventually(async () => (await metric('in_flight')) === 0, 'all have left')
    expect((await complete(gateway, { model: 'one' }, { key })).status).toBe(200)
  })
})

test('a connection that pipelines has so many requests in work, and no more; all are answered', async () => {
  let most = 0
  upstream.play(async (exchange) => {
    most = Math.max(most, upstream.busy)
    await new Promise((later) => setTimeout(later, 20))
    exchange.reply(200, completionBody())
  })
  try {
    const body = JSON.stringify({ model: 'one', messages: [user('Hi')] })
    const one = `POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer ${OTHER}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`
    const connection = await openRaw(gateway.url)
    connection.send(one.repeat(300))
    await eventually(() => connection.answers === 300, 'every answer', 60_000)
    expect(connection.received.match(/HTTP\/1\.1 200 /g)).toHaveLength(300)
    expect(most).toBeLessThanOrEqual(32)
    expect(most).toBeGreaterThan(1)
    connection.destroy()
  } finally {
    upstream.play(replyPlain())
  }
})

describe('answers', () => {
  /** A whole answer that comes in two halves, the second when it is let. */
  const halves = (bytes: number, goOn: Promise<void>) => async (exchange: Exchange) => {
    const body = JSON.stringify(completionBody('x'.repeat(bytes)))
    exchange.head(200, { 'content-type': 'application/json', 'content-length': String(body.length) })
    exchange.raw(body.slice(0, -100))
    await goOn
    exchange.raw(body.slice(-100))
  }

  test('of providers count among what a tenant may hold, and are free again; another tenant is served', async () => {
    let goOn = () => {}
    upstream.play(halves(2 * 1024 * 1024, new Promise((resolve) => (goOn = resolve))))
    try {
      const asked = Array.from({ length: 8 }, () => complete(gateway, { model: 'one' }, { key: BIG }))
      const refused = await Promise.race(asked)
      expect([refused.status, expectError(await refused.text()).code]).toEqual([429, 'too_many_bytes'])
      expect(await metric('held_bytes')).toBeLessThanOrEqual(PER_TENANT)
      expect(await metric('held_bytes')).toBeGreaterThan(PER_TENANT / 2)
      goOn()
      const statuses = (await Promise.all(asked)).map(({ status }) => status)
      expect(statuses.filter((status) => status === 200).length).toBeGreaterThan(0)
      expect(statuses.filter((status) => status !== 200 && status !== 429)).toEqual([])
      for (const answer of await Promise.all(asked)) if (!answer.bodyUsed) await answer.text()
      await eventually(async () => (await metric('held_bytes')) === 0, 'what they held is free')
      upstream.play(replyPlain())
      expect((await complete(gateway, { model: 'one' }, { key: OTHER })).status).toBe(200)
    } finally {
      goOn()
      upstream.play(replyPlain())
    }
  })

  test('that a response goes on from count, too: a chain that is too long is refused, not loaded', async () => {
    const size = 1024 * 1024
    upstream.play((exchange) => exchange.reply(200, completionBody('x'.repeat(size))))
    const say = (body: object) => call(gateway, '/v1/responses', { key: BIG, body: { model: 'one', ...body } })
    try {
      let previous: string | undefined
      for (let turn = 1; ; turn++) {
        const answer = await say({ input: 'Hi', ...(previous && { previous_response_id: previous }) })
        const { status } = answer
        if (status !== 200) {
          // The bodies together are more than one request may have, or than the tenant may hold.
          expect([413, 429]).toContain(status)
          break
        }
        previous = (await answer.json()).id
        expect(turn).toBeLessThan((PER_TENANT / size) * 2)
      }
      expect(await metric('held_bytes')).toBe(0)
      const listed = await call(gateway, `/v1/responses/${previous}/input_items`, { key: BIG })
      expect(listed.status).toBe(200)
    } finally {
      upstream.play(replyPlain())
    }
  })

  test('of what a tenant holds they get what others of its requests leave', async () => {
    const size = 512 * 1024
    upstream.play((exchange) => exchange.reply(200, completionBody('x'.repeat(size))))
    const say = (body: object) => call(gateway, '/v1/responses', { key: BIG, body: { model: 'one', ...body } })
    const connections = await Promise.all(Array.from({ length: PER_TENANT / BODY }, () => openRaw(gateway.url)))
    try {
      const { id } = await (await say({ input: 'Hi' })).json()
      upstream.play(replyPlain())
      const withheld = (PER_TENANT - size / 2) / connections.length
      for (const connection of connections) {
        const head = post(BIG, [`content-length: ${withheld + 1}`])
        connection.send(Buffer.concat([Buffer.from(head), Buffer.alloc(withheld, ' ')]))
      }
      await eventually(async () => (await metric('held_bytes')) >= PER_TENANT - size / 2, 'they are held')
      const refused = await say({ input: 'And?', previous_response_id: id })
      expect([refused.status, expectError(await refused.text()).code]).toEqual([429, 'too_many_bytes'])
      for (const connection of connections) connection.destroy()
      await eventually(async () => (await metric('held_bytes')) === 0, 'what they held is free')
      expect((await say({ input: 'And?', previous_response_id: id })).status).toBe(200)
    } finally {
      for (const connection of connections) connection.destroy()
      upstream.play(replyPlain())
    }
  })
})
