import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { call, complete, expectError } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { completionBody, type Exchange, startUpstream, type Upstream } from '../support/upstream.ts'

/** What is reserved is an upper bound, and routing knows what is left. */
let upstream: Upstream
let gateway: RunningGateway
let script: (exchange: Exchange) => unknown
const answered = (exchange: Exchange) => exchange.reply(200, completionBody())

const TENANTS = ['spellings', 'files', 'routes', 'never', 'aborts', 'tries', 'profiles'] as const
const keyOf = (name: string) => `pr-${name}-0123456789abcdef`

beforeAll(async () => {
  script = answered
  upstream = await startUpstream(async (exchange) => void (await script(exchange)))
  const provider = { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, auth: 'none', key_required: false }
  gateway = await startGateway({
    providers: { up: provider },
    candidates: [
      { name: 'cheap', provider: 'up', price: { input: 1, output: 2 }, context_window: 200_000, groups: ['default'] },
      { name: 'dear', provider: 'up', price: { input: 10, output: 30 }, context_window: 200_000, groups: ['default'] },
    ],
    retries: { max_attempts: 2, backoff_ms: 0 },
    timeouts: { answer_ms: 700, first_byte_ms: 700 },
    tenants: TENANTS.map((name) => ({ name, keys: [keyOf(name)], limits: { usd_per_day: 0.05 } })),
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

const ask = (tenant: (typeof TENANTS)[number], body: object, options = {}) =>
  complete(gateway, { max_tokens: 10, ...body }, { ...options, key: keyOf(tenant) })
const left = async (tenant: (typeof TENANTS)[number]) =>
  Number((await ask(tenant, { model: 'cheap' })).headers.get('x-router-budget-remaining-usd'))

test.each([
  { max_completion_tokens: 10, max_tokens: 12_000 },
  { max_completion_tokens: 12_000, max_tokens: 10 },
])('the larger of two spellings is reserved: %j', async (bounds) => {
  const before = upstream.requests.length
  const answer = await ask('spellings', { model: 'dear', ...bounds })
  expect(answer.status).toBe(429)
  expect(expectError(await answer.text()).code).toBe('insufficient_quota')
  expect(upstream.requests.length).toBe(before)
})

test.each([
  { type: 'file', file: { filename: 'a.pdf', file_data: `data:application/pdf;base64,${'A'.repeat(100_000)}` } },
  { type: 'file', file: { file_id: 'file-1' } },
])('files count', async (part) => {
  const messages = [{ role: 'user', content: [{ type: 'text', text: 'Sum up.' }, part] }]
  expect((await ask('files', { model: 'dear', messages })).status).toBe(429)
})

test('a request is routed to those that fit; refused with figures where none does', async () => {
  for (let i = 0; i < 4; i++) {
    const answer = await ask('routes', { model: 'auto', max_tokens: 3_000 })
    expect([answer.status, answer.headers.get('x-router-model')]).toEqual([200, 'cheap'])
  }
  expect((await ask('routes', { model: 'dear', max_tokens: 3_000 })).status).toBe(429)
})

test('what can never fit is told so, and not to come back', async () => {
  const answer = await ask('never', { model: 'auto', max_tokens: 100_000 })
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, null])
  expect(answer.headers.get('x-should-retry')).toBe('false')
  expect(expectError(await answer.text()).message).toMatch(
    /needed at most \$3\.\d+, left \$0\.05\d* of \$0\.05\d*\)\. This request can never fit/,
  )
})

test('an answer that its client cuts off is settled as reserved', async () => {
  const first = await left('aborts')
  script = async (exchange) => {
    await exchange.sleep(400)
    answered(exchange)
  }
  const gone = AbortSignal.timeout(100)
  const body = JSON.stringify({ model: 'dear', max_tokens: 1_000, messages: [{ role: 'user', content: 'Hi' }] })
  const headers = { authorization: `Bearer ${keyOf('aborts')}`, 'content-type': 'application/json' }
  await expect(
    fetch(`${gateway.baseURL}/chat/completions`, { method: 'POST', headers, body, signal: gone }),
  ).rejects.toThrow()
  script = answered
  await sleep(200)
  expect(first - (await left('aborts'))).toBeGreaterThan(0.03)
})

test('a try that was given up is booked, too', async () => {
  const first = await left('tries')
  let tries = 0
  script = async (exchange) => {
    if (tries++ === 0) await exchange.sleep(1_500)
    answered(exchange)
  }
  expect((await ask('tries', { model: 'auto', max_tokens: 1_000 })).status).toBe(200)
  script = answered
  expect(tries).toBe(2)
  expect(first - (await left('tries'))).toBeGreaterThan(0.002)
})

test.each([
  [{ deny: ['dear'] }, 'dear', 'cheap'],
  [{ allow: ['cheap'] }, 'dear', 'cheap'],
  [{ max_cost_usd: 0.000001 }, 'dear', null],
])('what a profile states binds a model that is asked for by name: %j', async (preferences, denied, allowed) => {
  const user = `stated-${JSON.stringify(preferences)}`
  const [key, path] = [keyOf('profiles'), `/v1/users/${encodeURIComponent(user)}/profile`]
  expect((await call(gateway, path, { method: 'PUT', key, body: { preferences } })).status).toBe(200)
  const before = upstream.requests.length
  const answer = await ask('profiles', { model: denied }, { user })
  expect([answer.status, expectError(await answer.text()).code]).toEqual([403, 'not_allowed_by_profile'])
  expect(upstream.requests.length).toBe(before)
  if (allowed) expect((await ask('profiles', { model: allowed }, { user })).status).toBe(200)
})
