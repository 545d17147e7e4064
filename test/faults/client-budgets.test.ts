import OpenAI from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { call, complete, expectError, openai } from '../support/clients.ts'
import {
  ask,
  ENDPOINTS,
  type EndpointUnderTest,
  type Question,
  UNROUTED,
  unroutedConfig,
} from '../support/endpoints.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { measured } from '../support/measured.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import {
  completionBody,
  type Exchange,
  replyPlain,
  replyStream,
  startUpstream,
  streamEvents,
  type Upstream,
} from '../support/upstream.ts'

/** A Redis that gets no core for a while is not away: without it, each process would go by what it knows. */
const PATIENT_MS = 10_000

const BUDGET_KEY = 'pr-budget-key-0123456789abcdef'
const RATE_KEY = 'pr-rate-key-0123456789abcdef'
const OTHER_KEY = 'pr-other-key-0123456789abcdef'
/** 100 tokens at 1,000 dollars a million: what each answer costs. */
const COST_USD = 0.1
const BUDGET_USD = 10 * COST_USD * 2

const EVERY = [...ENDPOINTS, ...UNROUTED]
const poorKey = (endpoint: string) => `pr-poor-key-${endpoint}`.replaceAll(' ', '-')

let redis: RedisServer
let upstream: Upstream
let a: RunningGateway
let b: RunningGateway

beforeAll(async () => {
  upstream = await startUpstream()
  redis = await startRedis()
  const config = {
    store: { kind: 'redis', url: redis.url, command_timeout_ms: PATIENT_MS },
    providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
    candidates: [{ name: 'one', provider: 'up', price: { input: 0, output: 1_000 } }],
    retries: { max_attempts: 1 },
    ...unroutedConfig(),
    tenants: [
      { name: 'test', keys: [TEST_KEY] },
      { name: 'other', keys: [OTHER_KEY] },
      { name: 'budget', keys: [BUDGET_KEY], limits: { usd_per_day: BUDGET_USD } },
      ...EVERY.map(({ name }, i) => ({
        name: `poor-${i}`,
        keys: [poorKey(name)],
        limits: { usd_per_day: BUDGET_USD },
      })),
      { name: 'rate', keys: [RATE_KEY], limits: { requests_per_minute: 3 } },
    ],
  }
  ;[a, b] = await Promise.all([startGateway(config), startGateway(config)])
})
afterAll(async () => {
  await Promise.all([discard(a), discard(b)])
  await redis?.discard()
  await upstream?.close()
})

let hitsBefore = 0
const hits = () => upstream.requests.length - hitsBefore
let answers = 0
/** Each answer is another one, of `tokens` tokens. */
const answerOf = (tokens: number) => (exchange: Exchange) =>
  exchange.reply(
    200,
    completionBody(`Answer ${++answers}.`, {
      id: `chatcmpl-${answers}`,
      usage: { prompt_tokens: 1, completion_tokens: tokens, total_tokens: tokens + 1 },
    }),
  )

beforeEach(() => {
  upstream.play(answerOf(100))
  hitsBefore = upstream.requests.length
})

describe('budget race', () => {
  test('100 concurrent requests over two processes: what the provider is paid never exceeds the budget', async () => {
    const statuses = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => {
        const response = await complete(i % 2 ? a : b, { max_tokens: 200 }, { key: BUDGET_KEY })
        await response.text()
        return response.status
      }),
    )
    const admitted = statuses.filter((status) => status === 200).length
    expect(statuses.filter((status) => status === 429).length).toBe(100 - admitted)
    expect(hits()).toBe(admitted)
    measured('of 100 concurrent requests, admitted to a budget for 10 to 20', admitted)
    // Each reserves 200 tokens and is settled at 100: ten fit at once, twenty if one waits for the other.
    expect(admitted).toBeGreaterThanOrEqual(10)
    expect(admitted * COST_USD).toBeLessThanOrEqual(BUDGET_USD)
  })

  test('a spent budget: RateLimitError, told at once, nobody asked, not tried again', async () => {
    while ((await complete(a, { max_tokens: 100 }, { key: BUDGET_KEY })).status === 200);
    hitsBefore = upstream.requests.length
    const asking = openai(a, { apiKey: BUDGET_KEY }).chat.completions.create({
      model: 'one',
      max_tokens: 100,
      messages: [{ role: 'user', content: 'Hi' }],
    })
    const error = await asking.catch((caught) => caught)
    expect(error).toBeInstanceOf(OpenAI.RateLimitError)
    expect(error).toMatchObject({ code: 'insufficient_quota', type: 'insufficient_quota' })
    expect(error.headers.get('x-should-retry')).toBe('false')
    expect(hits()).toBe(0)
  })

  test.each(EVERY)('by $name: a spent budget refuses, at both processes, and nobody is asked', async (endpoint) => {
    // A million tokens cost a dollar at the model that embeds.
    const data = [{ object: 'embedding', index: 0, embedding: [1, 0] }]
    const embeds = { object: 'list', data, usage: { prompt_tokens: 1e5, total_tokens: 1e5 } }
    if (endpoint.name === 'embeddings') upstream.play(replyPlain(200, embeds))
    const statuses: number[] = []
    // Each costs a twentieth of the budget; in turns, so that either process must know what the other has spent.
    for (let i = 0; i < 40 && !statuses.includes(429); i++) {
      const options = { key: poorKey(endpoint.name), user: endpoint.name }
      const response = await ask(endpoint, i % 2 ? a : b, { max_tokens: 100, max_output_tokens: 100 }, options)
      const text = await response.text()
      statuses.push(response.status)
      if (response.status === 429) expect(text).toMatch(/insufficient_quota|billing_error/)
    }
    const answered = statuses.filter((status) => status === 200).length
    expect(statuses).toEqual([...Array(answered).fill(200), 429])
    expect(answered).toBeGreaterThanOrEqual(19)
    expect(answered).toBeLessThanOrEqual(21)
    expect(hits()).toBe(answered)
  })

  test('a rate: the same over both processes and all endpoints, with the time to wait', async () => {
    const statuses: number[] = []
    for (const [i, gateway] of [a, b, a, b, a].entries()) {
      const endpoint = ENDPOINTS[i % ENDPOINTS.length] as EndpointUnderTest
      statuses.push((await ask(endpoint, gateway, {}, { key: RATE_KEY })).status)
    }
    expect(statuses).toEqual([200, 200, 200, 429, 429])
    const refused = await complete(b, {}, { key: RATE_KEY })
    expect(expectError(await refused.text())).toMatchObject({ code: 'rate_limit_exceeded' })
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(hits()).toBe(3)
  })
})

describe.each(ENDPOINTS)('the same Idempotency-Key, by $name', (endpoint) => {
  const user = `ada-${endpoint.path}`
  const once = (gateway: RunningGateway, key: string, question: Question = {}, tenant = TEST_KEY) =>
    ask(endpoint, gateway, question, {
      key: tenant,
      user,
      headers: { 'idempotency-key': `${endpoint.name} ${key}` },
    })

  /** The answer of the first, once it is kept. */
  const replayed = (gateway: RunningGateway, key: string, question: Question = {}) =>
    eventually(async () => {
      const response = await once(gateway, key, question)
      return response.headers.get('idempotency-replayed') === 'true' && response
    }, 'the answer is replayed')

  test('again, at the other process: the same bytes, one upstream hit, one record', async () => {
    const first = await once(a, 'again')
    const text = await first.text()
    const second = await replayed(b, 'again')
    expect(await second.text()).toBe(text)
    expect(second.headers.get('x-request-id')).toBe(first.headers.get('x-request-id'))
    expect(hits()).toBe(1)
    await eventually(async () => {
      const { interactions } = await (await call(a, `/v1/users/${encodeURIComponent(user)}/profile`)).json()
      return interactions?.length === 1
    }, 'one record')
  })

  test('while the first is in flight, at both processes: 409, one upstream hit', async () => {
    let finish = () => {}
    upstream.play(async (exchange) => {
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      answerOf(1)(exchange)
    })
    const first = once(a, 'in-flight')
    await eventually(() => hits() === 1, 'the first is in flight')
    for (const gateway of [a, b]) {
      const second = await once(gateway, 'in-flight')
      expect(second.status).toBe(409)
      // Anthropic's shape has no `param`.
      const text = await second.text()
      if (endpoint.name === 'messages') expect(JSON.parse(text)).toMatchObject({ type: 'error' })
      else expect(expectError(text).param).toBe('idempotency-key')
    }
    finish()
    expect((await first).status).toBe(200)
    expect(hits()).toBe(1)
  })

  test('with another body: 422, nobody asked', async () => {
    await (await once(a, 'other-body')).text()
    await replayed(a, 'other-body')
    const second = await once(b, 'other-body', { temperature: 0.5 })
    expect(second.status).toBe(422)
    const text = await second.text()
    if (endpoint.name === 'messages') expect(JSON.parse(text)).toMatchObject({ type: 'error' })
    else expectError(text)
    expect(hits()).toBe(1)
  })

  test("is the tenant's own", async () => {
    const [mine, theirs] = [await once(a, 'shared-name'), await once(a, 'shared-name', {}, OTHER_KEY)]
    expect(await theirs.text()).not.toBe(await mine.text())
    expect(hits()).toBe(2)
  })

  test.each([
    ['a provider that failed', replyPlain(500, '{}')],
    [
      'a stream that broke',
      (exchange: Exchange) => {
        exchange.stream()
        for (const event of streamEvents().slice(0, 2)) exchange.event(event)
        setTimeout(() => exchange.reset(), 20)
      },
    ],
  ])('%s leaves the key free', async (what, script) => {
    upstream.play(script)
    const body = { stream: what.includes('stream') }
    await (await once(a, what, body)).text()
    upstream.play(body.stream ? replyStream() : answerOf(1))
    const answer = await eventually(async () => {
      const response = await once(b, what, body)
      return response.status === 200 && response
    }, 'the key is free')
    expect(answer.headers.get('idempotency-replayed')).toBeNull()
  })

  test('a client that left leaves the key free', async () => {
    upstream.play(async (exchange) => exchange.closed)
    const leaving = new AbortController()
    const first = fetch(`${a.url}${endpoint.path}`, {
      method: 'POST',
      signal: leaving.signal,
      headers: { authorization: `Bearer ${TEST_KEY}`, 'idempotency-key': `${endpoint.name} left`, 'x-user-id': user },
      body: JSON.stringify(endpoint.body()),
    }).catch(() => null)
    await eventually(() => hits() === 1, 'the first is in flight')
    leaving.abort()
    await first
    upstream.play(answerOf(1))
    await eventually(async () => (await once(b, 'left')).status === 200, 'the key is free')
  })
})
