import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

/** A Redis that gets no core for a while is not away: without it, each process would go by what it knows. */
const PATIENT_MS = 10_000

const SANDBOX = { kind: 'sandbox', enabled: true }
/** A candidate that answers when the test lets it. */
const scripted = (upstream: Upstream) => ({
  providers: {
    sandbox: SANDBOX,
    up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false, auth: 'none' },
  },
  candidates: [{ name: 'scripted', provider: 'up', price: { input: 1, output: 2 } }],
})
const KEYS = {
  requests: 'pr-requests-0123456789',
  budget: 'pr-budget-0123456789',
  cheap: 'pr-cheap-0123456789',
  users: 'pr-users-0123456789',
  flight: 'pr-flight-0123456789',
}

const TENANTS = [
  { name: 'test', keys: [TEST_KEY] },
  { name: 'requests', keys: [KEYS.requests], limits: { requests_per_minute: 5 } },
  // A request reserves 10 tokens of sandbox-premium's 15 dollars a million, and its prompt: about 0.0004 dollars.
  { name: 'budget', keys: [KEYS.budget], limits: { usd_per_day: 0.004 } },
  { name: 'cheap', keys: [KEYS.cheap], limits: { usd_per_day: 0.01 } },
  { name: 'users', keys: [KEYS.users], user_limits: { requests_per_minute: 2 } },
]

const ask = (
  gateway: RunningGateway,
  key: string,
  { headers = {}, body = {} }: { headers?: object; body?: object } = {},
) =>
  fetch(`${gateway.baseURL}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({
      model: 'sandbox-premium',
      messages: [{ role: 'user', content: 'hi' }],
      max_tokens: 10,
      ...body,
    }),
  })

const statusesOf = async (answers: Promise<Response>[]) => (await Promise.all(answers)).map(({ status }) => status)
const count = (statuses: number[], status: number) => statuses.filter((other) => other === status).length

describe.each(['sqlite', 'redis'] as const)('limits on %s', (kind) => {
  let redis: RedisServer | undefined
  let gateways: RunningGateway[] = []
  let upstream: Upstream

  beforeAll(async () => {
    upstream = await startUpstream(replyPlain())
    if (kind === 'redis') redis = await startRedis()
    const store = redis ? { store: { kind: 'redis', url: redis.url, command_timeout_ms: PATIENT_MS } } : {}
    const config = { ...scripted(upstream), ...store, tenants: TENANTS }
    gateways = await Promise.all((redis ? [1, 2] : [1]).map(() => startGateway(config)))
  })
  afterAll(async () => {
    await Promise.all(gateways.map(discard))
    await upstream.close()
    await redis?.kill()
  })
  const any = (i: number) => gateways[i % gateways.length] as RunningGateway

  it('so many requests a minute, over all processes; OpenAI’s headers; 429 with retry-after', async () => {
    const first = await ask(any(0), KEYS.requests)
    expect(first.status).toBe(200)
    expect(first.headers.get('x-ratelimit-limit-requests')).toBe('5')
    expect(first.headers.get('x-ratelimit-remaining-requests')).toBe('4')
    expect(first.headers.get('x-ratelimit-reset-requests')).toMatch(/^\d+\.\d+s$/)
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(any(i), KEYS.requests)))
    const refused = answers.filter(({ status }) => status === 429)
    expect(refused).toHaveLength(16)
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(await refused[0]?.json()).toMatchObject({ error: { type: 'rate_limit_error', code: 'rate_limit_exceeded' } })
  })

  it('100 concurrent requests against a budget for about ten never overspend', async () => {
    const statuses = await statusesOf(Array.from({ length: 100 }, (_, i) => ask(any(i), KEYS.budget)))
    expect(count(statuses, 200) + count(statuses, 429)).toBe(100)
    expect(count(statuses, 200)).toBeGreaterThanOrEqual(4)
    const metrics = await Promise.all(gateways.map(async ({ url }) => (await fetch(`${url}/metrics`)).text()))
    const spent = metrics
      .flatMap((text) => [...text.matchAll(/persona_router_cost_usd_total\{tenant="budget"[^}]*\} (\S+)/g)])
      .reduce((sum, [, usd]) => sum + Number(usd), 0)
    expect(spent).toBeGreaterThan(0)
    expect(spent).toBeLessThanOrEqual(0.004)
  })

  it('a budget is asked for those alone that may answer', async () => {
    const asks = { body: { model: 'auto', max_tokens: 1_000 } }
    // A thousand tokens of sandbox-premium are more than the whole budget.
    const refused = await ask(gateways[0]!, KEYS.cheap, { body: { max_tokens: 1_000 } })
    expect(refused.status).toBe(429)
    await refused.body?.cancel()
    const routed = await ask(gateways[0]!, KEYS.cheap, asks)
    expect(routed.status).toBe(200)
    expect(routed.headers.get('x-router-model')).not.toBe('sandbox-premium')
    await routed.body?.cancel()
    const deny = { 'x-router-deny': 'sandbox-premium' }
    expect(await statusesOf([ask(gateways[0]!, KEYS.cheap, { ...asks, headers: deny })])).toEqual([200])
  })

  it('a spent budget is told apart from a rate', async () => {
    const refused = await ask(any(0), KEYS.budget, { body: { max_tokens: 100_000 } })
    expect(refused.status).toBe(429)
    expect(refused.headers.get('x-should-retry')).toBe('false')
    expect(await refused.json()).toMatchObject({ error: { code: 'insufficient_quota' } })
  })

  it('no number of tokens is too large to be counted', async () => {
    expect((await ask(any(0), KEYS.budget, { body: { max_tokens: 1e308, n: 128 } })).status).toBe(429)
  })

  it('one user’s limit is no other user’s', async () => {
    const as = (user: string) => ask(any(0), KEYS.users, { headers: { 'x-user-id': user } })
    const ada = await statusesOf([as('ada'), as('ada'), as('ada')])
    expect(count(ada, 429)).toBe(1)
    expect((await as('bob')).status).toBe(200)
  })

  describe('Idempotency-Key', () => {
    const once = (key: string, body: object = {}, user = 'ada') =>
      ask(any(0), TEST_KEY, { headers: { 'idempotency-key': key, 'x-user-id': user }, body })

    it.each([false, true])('replays the same bytes, and asks no provider again (stream: %s)', async (stream) => {
      const [first, firstBody] = await once(`k-${stream}`, { stream }).then(
        async (answer) => [answer, await answer.text()] as const,
      )
      await expect
        .poll(async () => (await once(`k-${stream}`, { stream })).headers.get('idempotency-replayed'))
        .toBe('true')
      const again = await once(`k-${stream}`, { stream })
      expect(again.status).toBe(200)
      expect(await again.text()).toBe(firstBody)
      expect(again.headers.get('x-request-id')).toBe(first.headers.get('x-request-id'))
    })

    it('422 when the body or the user is another', async () => {
      await (await once('k-mismatch')).text()
      const answer = await once('k-mismatch', { max_tokens: 9 })
      expect(answer.status).toBe(422)
      expect(await answer.json()).toMatchObject({ error: { code: 'idempotency_key_reused', param: 'idempotency-key' } })
      expect((await once('k-mismatch', {}, 'bob')).status).toBe(422)
    })

    it('of two at once, one is answered and the other told to wait', async () => {
      const { promise: told, resolve: tell } = Promise.withResolvers<void>()
      upstream.play((exchange) => told.then(() => replyPlain()(exchange)))
      // `auto` may have explored it before.
      upstream.requests.length = 0
      const two = [1, 2].map(() => once('k-race', { model: 'scripted' }))
      const first = await Promise.race(two)
      expect(first.status).toBe(409)
      tell()
      expect((await statusesOf(two)).toSorted()).toEqual([200, 409])
      expect(upstream.requests).toHaveLength(1)
    })

    it('another tenant’s key of the same name is another key', async () => {
      await (await once('k-tenant')).text()
      const other = await ask(any(0), KEYS.users, { headers: { 'idempotency-key': 'k-tenant', 'x-user-id': 'zoe' } })
      expect(other.headers.get('idempotency-replayed')).toBeNull()
    })

    it('a failed request frees its key', async () => {
      expect(
        (
          await once('k-fail', {
            model: 'auto',
            tools: [{ type: 'function', function: { name: 'f' } }],
            max_tokens: 10 ** 9,
          })
        ).status,
      ).toBe(400)
      expect((await once('k-fail', { max_tokens: 8 })).status).toBe(200)
    })
  })
})
