import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminCall, call, complete, expectError } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { completionBody, startUpstream, type Upstream } from '../support/upstream.ts'

const KEY = 'pr-acme-0123456789abcdef'
const OTHER_KEY = 'pr-other-0123456789abcdef'
const TODAY = () => new Date().toISOString().slice(0, 10)

interface Account {
  requests: number
  completion_tokens: number
  usd: number
  models: { model: string; usd: number }[]
  days: { day: string; requests: number }[]
  limits: { what: string; window: string; limit: number; used: number; left: number; resets_at: string | null }[]
}

describe.each(['sqlite', 'redis'] as const)('usage on %s', (kind) => {
  let upstream: Upstream
  let redis: RedisServer | undefined
  let gateway: RunningGateway

  beforeAll(async () => {
    upstream = await startUpstream((exchange) =>
      exchange.reply(
        200,
        completionBody('Yes.', { usage: { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 } }),
      ),
    )
    if (kind === 'redis') redis = await startRedis()
    gateway = await startGateway({
      ...(redis && { store: { kind: 'redis', url: redis.url, command_timeout_ms: 10_000 } }),
      providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
      candidates: [
        { name: 'small', provider: 'up', price: { input: 0, output: 1_000 } },
        { name: 'large', provider: 'up', price: { input: 0, output: 5_000 } },
      ],
      tenants: [
        {
          name: 'acme',
          keys: [KEY],
          limits: { usd_per_day: 1, concurrent: 50 },
          user_limits: { usd_per_month: 0.5, requests_per_minute: 100_000 },
        },
        { name: 'other', keys: [OTHER_KEY] },
      ],
    })
  })
  afterAll(async () => {
    await discard(gateway)
    await upstream?.close()
    await redis?.discard()
  })

  const ask = async (model: string, user: string, key = KEY) => {
    const answer = await complete(gateway, { model, max_tokens: 10 }, { key, user })
    expect(answer.status).toBe(200)
    await answer.text()
  }
  const usage = async (user: string, query = '', key = KEY) => {
    const answer = await call(gateway, `/v1/usage${query}`, { key, user })
    expect(answer.status).toBe(200)
    return (await answer.json()) as { from: string; to: string; tenant?: Account; key: Account; user: Account }
  }

  test('what tenant, key and user have used, and have left', async () => {
    for (const [model, user] of [
      ['small', 'ann'],
      ['large', 'ann'],
      ['small', 'bob'],
    ] as const) {
      await ask(model, user)
    }
    await ask('small', 'ann', OTHER_KEY)
    const told = await eventually(async () => {
      const found = await usage('ann')
      return found.tenant?.requests === 3 && found.tenant.limits.some(({ used }) => used === 0.07) && found
    }, 'all three are counted')
    expect(told.tenant).toMatchObject({ requests: 3, prompt_tokens: 300, completion_tokens: 30, usd: 0.07 })
    expect(told.key).toMatchObject({ requests: 3, usd: 0.07 })
    expect(told.user).toMatchObject({ requests: 2, usd: 0.06, days: [{ day: TODAY(), requests: 2 }] })
    expect(told.user.models.toSorted((a, b) => a.usd - b.usd)).toMatchObject([
      { model: 'small', usd: 0.01 },
      { model: 'large', usd: 0.05 },
    ])
    expect(told.tenant?.limits).toEqual([
      { what: 'requests', window: 'at_once', limit: 50, used: 0, left: 50, resets_at: null },
      { what: 'usd', window: 'day', limit: 1, used: 0.07, left: 0.93, resets_at: expect.stringMatching(/T00:00:00/) },
    ])
    const month = told.user.limits.find(({ window }) => window === 'month')
    expect(month).toMatchObject({ what: 'usd', limit: 0.5, used: 0.06, left: 0.44 })
    expect(new Date(month?.resets_at ?? 0).getUTCDate()).toBe(1)
    expect(told.to).toBe(TODAY())
    expect(await usage('nobody')).toMatchObject({ user: { requests: 0, usd: 0, models: [], days: [] } })
  })

  test('a key of one user is told its own, not the tenant’s', async () => {
    const made = await adminCall(gateway, '/keys', { body: { tenant: 'acme', user: 'ann' } })
    const { key } = (await made.json()) as { key: string }
    const told = await usage('ann', '', key)
    expect(told.tenant).toBeUndefined()
    expect(told.user.requests).toBe(2)
    expect(told.key.requests).toBe(0)
  })

  test('other days are other days; a day that is none is told', async () => {
    expect(await usage('ann', '?from=2020-01-01&to=2020-02-01')).toMatchObject({ tenant: { requests: 0 } })
    // Of a long time it is the latest days that are told.
    const { tenant: ever } = await usage('ann', '?from=2020-01-01&to=2999-12-31')
    expect(ever?.requests).toBeGreaterThan(0)
    for (const [query, param] of [
      ['?from=yesterday', 'from'],
      ['?to=2026-02-30', 'to'],
      ['?from=2026-02-02&to=2026-02-01', 'from'],
    ]) {
      const answer = await call(gateway, `/v1/usage${query}`, { key: KEY })
      expect([answer.status, expectError(await answer.text()).param]).toEqual([400, param])
    }
  })

  test('the operator sees all tenants, by what they ask for', async () => {
    const rows = async (query: string) =>
      ((await (await adminCall(gateway, `/usage${query}`)).json()) as { data: Record<string, unknown>[] }).data
    await eventually(async () => (await rows('?tenant=other')).length === 1, 'the other tenant is counted')
    expect(await rows('')).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ tenant: 'acme', model: 'small', requests: 2, usd: 0.02 }),
        expect.objectContaining({ tenant: 'acme', model: 'large', requests: 1, usd: 0.05 }),
        expect.objectContaining({ tenant: 'other', model: 'small', requests: 1, usd: 0.01 }),
      ]),
    )
    expect(await rows('?tenant=acme&by=day,key')).toEqual([
      expect.objectContaining({ day: TODAY(), key: 'config-acme-0', requests: 3 }),
    ])
    expect((await rows('?tenant=acme&by=user')).map(({ requests }) => requests).toSorted()).toEqual([1, 2])
    expect((await adminCall(gateway, '/usage?tenant=none')).status).toBe(404)
    expect((await adminCall(gateway, '/usage?by=key,user')).status).toBe(400)
    expect((await call(gateway, '/admin/usage', { key: KEY })).status).toBe(401)
  })
})
