import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { call, complete, expectError } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { completionBody, type Exchange, startUpstream, type Upstream } from '../support/upstream.ts'

/**
 * Answers whose length neither the request nor a card bounds. The provider writes as much as it is let: 50,000 tokens,
 * at 10 dollars a million half a dollar.
 */
const WISHED = 50_000
const USD_A_TOKEN = 10 / 1e6

const keyOf = (tenant: string) => `pr-${tenant}-0123456789abcdef`
const BUDGETS = {
  ...{ large: 100, small: 0.1, tiny: 0.0002, race: 0.1, cheap: 0.1, spelled: 0.3, native: 0.1 },
  ...{ other_name: 0.1, too_large: 0.1, stream: 0.1 },
}
type TenantName = keyof typeof BUDGETS

let upstream: Upstream
let gateway: RunningGateway
let spent = 0
let pause = async (_: Exchange) => {}
/** What the provider refuses. */
let refuse: ((body: Record<string, unknown>) => { message: string; param?: string; code?: string } | undefined) | null =
  null

beforeAll(async () => {
  upstream = await startUpstream(async (exchange) => {
    const body = exchange.json as Record<string, number | undefined>
    const most = Math.min(
      WISHED,
      body.max_tokens ?? WISHED,
      body.max_completion_tokens ?? WISHED,
      body.max_output_tokens ?? WISHED,
    )
    spent += most * USD_A_TOKEN
    await pause(exchange)
    const refusal = refuse?.(body)
    if (refusal) {
      exchange.reply(400, { error: { type: 'invalid_request_error', param: null, code: null, ...refusal } })
      return
    }
    exchange.reply(
      200,
      completionBody('Long.', { usage: { prompt_tokens: 0, completion_tokens: most, total_tokens: most } }),
    )
  })
  const provider = { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false }
  const price = { input: 0, output: 10 }
  gateway = await startGateway({
    // A few tokens of the dear one would fit, too: who is preferred answers.
    router: { explore: false },
    dialects: { renamed: { fields: { max_tokens: { rename: 'max_completion_tokens' } } } },
    providers: {
      up: provider,
      renaming: { ...provider, dialect: 'renamed' },
      native: { ...provider, api: ['chat', 'responses'] },
    },
    candidates: [
      { name: 'one', provider: 'up', price, context_window: 128_000 },
      { name: 'card', provider: 'up', price, context_window: 128_000, max_output_tokens: 1_000, groups: ['card'] },
      { name: 'renamed', provider: 'renaming', price, context_window: 128_000, groups: ['card'] },
      { name: 'speaker', provider: 'native', price, context_window: 128_000, groups: ['card'] },
      { name: 'cheap', provider: 'up', price: { input: 0, output: 0.01 }, context_window: 128_000, groups: ['both'] },
      { name: 'dear', provider: 'up', price: { input: 0, output: 1_000 }, context_window: 128_000, groups: ['both'] },
    ],
    tenants: Object.entries(BUDGETS).map(([name, usd_per_day]) => ({
      name,
      keys: [keyOf(name)],
      candidates: ['default', 'card', 'both'],
      limits: { usd_per_day },
    })),
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})
afterEach(() => {
  spent = 0
  pause = async () => {}
  refuse = null
})

const ask = (tenant: TenantName, body: Record<string, unknown> = {}) =>
  complete(gateway, { model: 'one', ...body }, { key: keyOf(tenant) })
const sent = () => JSON.parse(String(upstream.requests.at(-1)?.body)) as Record<string, unknown>

describe('an answer without a bound', () => {
  test('is not touched where the budget pays for its own maximum', async () => {
    const answer = await ask('large')
    expect([answer.status, answer.headers.get('x-router-max-tokens')]).toEqual([200, null])
    expect(sent()).not.toHaveProperty('max_tokens')
    expect(spent).toBeCloseTo(WISHED * USD_A_TOKEN)
  })

  test('near the end of a budget gets a bound, which is told: what is spent fits', async () => {
    const bounds: number[] = []
    for (let i = 0; i < 60; i++) {
      const answer = await ask('small')
      if (answer.status !== 200) {
        expect(expectError(await answer.text()).code).toBe('insufficient_quota')
        break
      }
      const bound = Number(answer.headers.get('x-router-max-tokens'))
      expect(sent().max_tokens).toBe(bound)
      expect(bound).toBeGreaterThanOrEqual(64)
      bounds.push(bound)
    }
    // An answer of usual length has room as long as there is any; the last ones are shorter.
    expect(bounds[0]).toBe(4_096)
    expect(bounds.at(-1)).toBeLessThan(4_096)
    expect(bounds.length).toBeLessThan(60)
    expect(spent).toBeLessThanOrEqual(BUDGETS.small * (1 + 1e-9))
    expect(spent).toBeGreaterThan(BUDGETS.small * 0.95)
  })

  test('is refused with figures where not even a short one fits', async () => {
    const answer = await ask('tiny')
    expect(answer.status).toBe(429)
    expect(expectError(await answer.text()).message).toMatch(/left \$0\.000200 of \$0\.000200/)
    expect(spent).toBe(0)
  })

  test('twenty at once never overspend, and find room side by side', async () => {
    let release = () => {}
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    pause = () => released
    const asked = Array.from({ length: 20 }, () => ask('race'))
    await eventually(() => spent > 0.04, 'some are in work')
    release()
    const statuses = (await Promise.all(asked)).map(({ status }) => status)
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(2)
    expect(spent).toBeLessThanOrEqual(BUDGETS.race * (1 + 1e-9))
  })

  test('of a model whose card bounds it is reserved as that', async () => {
    const answer = await ask('large', { model: 'card' })
    expect([answer.status, answer.headers.get('x-router-max-tokens')]).toEqual([200, null])
  })

  test('goes to a candidate that the budget pays for, unbounded', async () => {
    const answer = await ask('cheap', { model: 'auto:both' })
    expect([answer.status, answer.headers.get('x-router-model')]).toEqual([200, 'cheap'])
  })
})

test.each([
  ['a dialect has another spelling', { model: 'renamed' }, { max_completion_tokens: 4_096 }],
  ['the client says so in the other spelling', { max_completion_tokens: 2_000 }, { max_completion_tokens: 2_000 }],
  ['null is no bound', { max_tokens: null }, { max_tokens: 4_096 }],
])('%s', async (_, body, expected) => {
  const answer = await ask('spelled', body)
  expect(answer.status).toBe(200)
  expect(sent()).toMatchObject(expected)
  expect(Object.keys(sent()).filter((field) => field.startsWith('max_'))).toHaveLength(1)
})

test('a provider with a Responses endpoint of its own gets the bound in its spelling', async () => {
  const answer = await call(gateway, '/v1/responses', {
    key: keyOf('native'),
    body: { model: 'speaker', input: 'Hi', store: false },
  })
  await answer.text()
  expect(sent()).toMatchObject({ max_output_tokens: 4_096 })
})

describe('a bound that we have added is refused by a model that the client has named', () => {
  const otherName = {
    message:
      "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    param: 'max_tokens',
    code: 'unsupported_parameter',
  }

  test('for its name: it is asked again with the other one, and the next request has it at once', async () => {
    refuse = (body) => ('max_tokens' in body ? otherName : undefined)
    for (const tries of [2, 1]) {
      const before = upstream.requests.length
      const answer = await ask('other_name')
      expect(answer.status).toBe(200)
      expect(sent()).toHaveProperty('max_completion_tokens')
      expect(sent()).not.toHaveProperty('max_tokens')
      expect(upstream.requests.length - before).toBe(tries)
    }
  })

  test('for its size: the model ends sooner by itself, and is asked without', async () => {
    refuse = ({ max_tokens: most }) =>
      Number(most ?? 0) > 1_000 ? { message: '`max_tokens` must be less than or equal to `1000`' } : undefined
    const answer = await ask('too_large')
    expect(answer.status).toBe(200)
    expect(sent()).not.toHaveProperty('max_tokens')
    expect(sent()).not.toHaveProperty('max_completion_tokens')
  })

  test('what the client itself has sent is its own mistake', async () => {
    refuse = (body) => ('max_tokens' in body ? otherName : undefined)
    const before = upstream.requests.length
    const answer = await ask('stream', { max_tokens: 10 })
    expect(answer.status).toBe(400)
    expect(expectError(await answer.text()).param).toBe('max_tokens')
    expect(upstream.requests.length - before).toBe(1)
  })
})
