import OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import { shippedDialects } from '../emulators/shipped.ts'
import { call, complete, metric, openai } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { ADMIN_KEY, discard, type RunningGateway, startGateway, TEST_KEY, type TestConfig } from '../support/gateway.ts'
import {
  completionBody,
  type Exchange,
  replyPlain,
  replyStream,
  type Script,
  startUpstream,
  type Upstream,
} from '../support/upstream.ts'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** What every provider, or candidate, has besides. */
interface Each {
  provider?: object
  candidate?: object
}

/** The gateway with a candidate a script, asked in this order. */
async function gatewayOf(scripts: Record<string, Script>, config: TestConfig = {}, each: Each = {}) {
  const upstreams: Record<string, Upstream> = {}
  for (const [name, script] of Object.entries(scripts)) {
    upstreams[name] = await startUpstream(script)
    closers.push(upstreams[name].close)
  }
  const gateway = await startGateway({
    providers: Object.fromEntries(
      Object.entries(upstreams).map(([name, { origin }]) => [
        name,
        { kind: 'openai-compatible', base_url: `${origin}/v1`, key_required: false, ...each.provider },
      ]),
    ),
    candidates: Object.keys(upstreams).map((name) => ({
      name,
      provider: name,
      price: { input: 1, output: 2 },
      context_window: 1_000_000,
      capabilities: ['tools', 'vision', 'json_schema'],
      ...each.candidate,
    })),
    ...config,
    // Without an artifact the first one is asked first.
    router: { artifact: '/nowhere', fallback: 'first', deadline_ms: 10_000 },
  })
  closers.push(() => discard(gateway))
  return { gateway, upstreams }
}

const refusing =
  (status: number, body: unknown, when: (exchange: Exchange) => boolean = () => true): Script =>
  (exchange) =>
    when(exchange) ? exchange.reply(status, body) : exchange.reply(200, completionBody('yes'))
const error = (message: string, extra: Record<string, unknown> = {}) => ({
  error: { message, type: 'invalid_request_error', param: null, code: null, ...extra },
})
const answeredBy = (response: Response) => [response.status, response.headers.get('x-router-model')]

describe('under auto a refusal is an answer about the candidate', () => {
  test.each([
    [
      'a parameter',
      400,
      error("Unsupported parameter: 'temperature' is not supported with this model.", { param: 'temperature' }),
      { temperature: 0.2 },
    ],
    ['a parameter in a text', 400, { detail: 'property seed is unsupported' }, { seed: 3 }],
    [
      'an extra field',
      422,
      {
        object: 'error',
        message: {
          detail: [{ type: 'extra_forbidden', loc: ['body', 'store'], msg: 'Extra inputs are not permitted' }],
        },
      },
      { store: true },
    ],
    [
      'a role',
      400,
      error('messages[0].role: unknown variant `developer`, expected one of `system`, `user`'),
      {
        messages: [
          { role: 'developer', content: 'x' },
          { role: 'user', content: 'Hi' },
        ],
      },
    ],
    [
      'a part',
      400,
      error('unknown variant `file`, expected `text`'),
      {
        messages: [
          { role: 'user', content: [{ type: 'file', file: { file_data: 'data:application/pdf;base64,AA==' } }] },
        ],
      },
    ],
    [
      'a length',
      400,
      error("This model's maximum context length is 10 tokens.", { code: 'context_length_exceeded' }),
      {},
    ],
    [
      'tokens a minute',
      413,
      error('Request too large for model on tokens per minute (TPM): Limit 6000, Requested 30001'),
      {},
    ],
    [
      'a request too large, as 429',
      429,
      error('Request too large for gpt-4o: Limit 30000, Requested 50000', { code: 'rate_limit_exceeded' }),
      {},
    ],
    [
      'a model that is gone',
      404,
      error('The model does not exist or you do not have access to it.', { code: 'model_not_found' }),
      {},
    ],
    [
      'a model that was decommissioned',
      400,
      error('The model has been decommissioned and is no longer supported.', { code: 'model_decommissioned' }),
      {},
    ],
    [
      'a verified organization',
      400,
      error('Your organization must be verified to stream this model.', { param: 'stream', code: 'unsupported_value' }),
      { stream: true },
    ],
    [
      'flagged input',
      403,
      {
        error: {
          code: 403,
          message: 'Your chosen model requires moderation and your input was flagged',
          metadata: { reasons: ['x'] },
        },
      },
      {},
    ],
    [
      'fewer tokens',
      402,
      { error: { code: 402, message: 'This request requires more credits, or fewer max_tokens.' } },
      { max_tokens: 9_000 },
    ],
  ])('%s: the next candidate answers', async (_, status, body, fields) => {
    const stream = 'stream' in fields
    const { gateway, upstreams } = await gatewayOf({
      a: refusing(status, body),
      b: stream ? replyStream() : replyPlain(),
    })
    const response = await complete(gateway, fields)
    expect(answeredBy(response)).toEqual([200, 'b'])
    await response.text()
    expect(upstreams.a?.requests.length).toBe(1)
    // Asked for by name, it is the client's own affair.
    const named = await complete(gateway, { ...fields, model: 'a' })
    expect(named.status).toBeGreaterThanOrEqual(400)
  })

  test('only when all refuse does the client get the first refusal, as it came', async () => {
    const first = error('Your tool is odd.', { param: 'tools' })
    const { gateway, upstreams } = await gatewayOf({ a: refusing(400, first), b: refusing(422, error('b says no')) })
    const response = await complete(gateway)
    expect([response.status, await response.json()]).toEqual([400, first])
    expect([upstreams.a?.requests.length, upstreams.b?.requests.length]).toEqual([1, 1])
  })

  test('refusals do not use up the tries for real failures, and have a bound of their own', async () => {
    const no = refusing(400, error('no'))
    const many = { a: no, b: no, c: no, d: no, e: replyPlain() }
    const { gateway } = await gatewayOf(many, { retries: { max_attempts: 1 } })
    expect(answeredBy(await complete(gateway))).toEqual([200, 'e'])
    const bounded = await gatewayOf(many, { retries: { max_attempts: 1, max_refusals: 2 } })
    expect((await complete(bounded.gateway)).status).toBe(400)
  })

  test('it is remembered: the field that only tunes is left off and told; strict takes another candidate', async () => {
    const a = refusing(400, error("Unsupported parameter: 'seed'", { param: 'seed' }), ({ json }) => 'seed' in json)
    const { gateway, upstreams } = await gatewayOf({ a, b: replyPlain() })
    expect(answeredBy(await complete(gateway, { seed: 1 }))).toEqual([200, 'b'])
    const again = await complete(gateway, { seed: 2 })
    expect(answeredBy(again)).toEqual([200, 'a'])
    expect(again.headers.get('x-router-dropped')).toBe('seed')
    expect(upstreams.a?.requests.length).toBe(2)
    const strict = await complete(gateway, { seed: 2 }, { headers: { 'x-router-strict': 'on' } })
    expect(answeredBy(strict)).toEqual([200, 'b'])
    expect(upstreams.a?.requests.length).toBe(2)
  })

  test('what changes the meaning of an answer keeps the candidate out; limits go by their other name', async () => {
    const a: Script = (exchange) => {
      if ('n' in exchange.json) return exchange.reply(400, error("'n' is not supported", { param: 'n' }))
      if ('max_tokens' in exchange.json)
        return exchange.reply(400, error("Unsupported parameter: 'max_tokens'", { param: 'max_tokens' }))
      exchange.reply(200, completionBody('yes'))
    }
    const { gateway, upstreams } = await gatewayOf({ a, b: replyPlain() })
    for (let i = 0; i < 3; i++) expect(answeredBy(await complete(gateway, { n: 2 }))).toEqual([200, 'b'])
    expect(upstreams.a?.requests.length).toBe(1)
    expect(answeredBy(await complete(gateway, { max_tokens: 5 }))).toEqual([200, 'b'])
    const renamed = await complete(gateway, { max_tokens: 5 })
    expect([answeredBy(renamed), renamed.headers.get('x-router-dropped')]).toEqual([[200, 'a'], null])
    expect(JSON.parse(String(upstreams.a?.requests.at(-1)?.body))).toMatchObject({ max_completion_tokens: 5 })
  })

  test('where nobody takes a field that only tunes, it is left off at once', async () => {
    const no = refusing(400, error("Unsupported parameter: 'seed'", { param: 'seed' }), ({ json }) => 'seed' in json)
    const { gateway } = await gatewayOf({ a: no })
    const response = await complete(gateway, { seed: 1 })
    expect([...answeredBy(response), response.headers.get('x-router-dropped')]).toEqual([200, 'a', 'seed'])
  })

  test('a mistake of the client is remembered of nobody', async () => {
    const picky = refusing(
      400,
      error("'temperature' must be at most 2", { param: 'temperature' }),
      ({ json }) => Number(json.temperature) > 2,
    )
    const { gateway } = await gatewayOf({ a: picky, b: picky })
    expect((await complete(gateway, { temperature: 9 })).status).toBe(400)
    const good = await complete(gateway, { temperature: 1.5 })
    expect([...answeredBy(good), good.headers.get('x-router-dropped')]).toEqual([200, 'a', null])
  })

  test('what is remembered can be seen and forgotten by the operator', async () => {
    let takesSeed = false
    const a = refusing(
      400,
      error("Unsupported parameter: 'seed'", { param: 'seed' }),
      ({ json }) => 'seed' in json && !takesSeed,
    )
    const { gateway, upstreams } = await gatewayOf({ a, b: replyPlain() })
    const admin = async (query: string, method = 'GET', key = ADMIN_KEY) => {
      const init = { method, headers: { authorization: `Bearer ${key}` } }
      const response = await fetch(`${gateway.url}/admin/refusals${query}`, init)
      return [response.status, await response.json()]
    }
    expect(answeredBy(await complete(gateway, { seed: 1 }))).toEqual([200, 'b'])
    const until = expect.stringMatching(/^2\d{3}-/)
    const voices = [{ voice: 'key', keys: ['config-test-0'] }]
    const row = { tenant: 'test', deployment: 'a/a', refused: 'seed', until, counts: false, voices }
    await eventually(async () => ((await admin(''))[1] as { data: unknown[] }).data.length > 0, 'a remembered refusal')
    expect(await admin('?tenant=test')).toEqual([200, { data: [row] }])
    expect((await admin('?tenant=none'))[0]).toBe(404)
    expect((await admin('', 'GET', TEST_KEY))[0]).toBe(401)
    expect(await admin('?deployment=b/b', 'DELETE')).toEqual([200, { forgotten: 0 }])
    // Left off, as it is known.
    expect((await complete(gateway, { seed: 1 })).headers.get('x-router-dropped')).toBe('seed')
    takesSeed = true
    expect(await admin('?deployment=a/a&refused=seed', 'DELETE')).toEqual([200, { forgotten: 1 }])
    expect(await admin('')).toEqual([200, { data: [] }])
    expect((await complete(gateway, { seed: 1 })).headers.get('x-router-dropped')).toBeNull()
    expect(upstreams.a?.requests.at(-1)?.body.toString()).toContain('seed')
  })

  test('many that refuse, slowly: within the deadline, and no more of them than the bound says', async () => {
    const slow =
      (name: string): Script =>
      async (exchange) => {
        await exchange.sleep(150)
        exchange.reply(400, error(`Unsupported parameter: 'seed' (${name})`, { param: 'seed' }))
      }
    const many = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`c${i}`, slow(`c${i}`)]))
    const asked = (upstreams: Record<string, Upstream>) =>
      Object.values(upstreams).reduce((sum, { requests }) => sum + requests.length, 0)

    const bounded = await gatewayOf(many, { retries: { max_refusals: 5, max_attempts: 2 } })
    const first = await complete(bounded.gateway, { seed: 1 })
    expect([first.status, (await first.json()).error.message]).toEqual([400, expect.stringContaining('(c0)')])
    expect(asked(bounded.upstreams)).toBe(5)

    const short = await gatewayOf(many, { retries: { max_refusals: 12 }, timeouts: { total_ms: 500 } })
    const started = performance.now()
    const late = await complete(short.gateway, { seed: 1 })
    expect([late.status, (await late.json()).error.code]).toEqual([504, 'upstream_timeout'])
    expect(asked(short.upstreams)).toBeLessThan(6)
    // As long as the deadline, and not as long as all twelve.
    expect(performance.now() - started).toBeGreaterThan(400)
  })

  test('what one process learned, the next one knows', async () => {
    const a = refusing(400, error("Unsupported parameter: 'seed'", { param: 'seed' }), ({ json }) => 'seed' in json)
    const { gateway, upstreams } = await gatewayOf({ a, b: replyPlain() })
    await complete(gateway, { seed: 1 })
    await eventually(
      async () => (await complete(gateway, { seed: 1 })).headers.get('x-router-dropped') === 'seed',
      'told',
    )
    await gateway.stop()
    const hits = upstreams.a?.requests.length ?? 0
    const { parse } = await import('yaml')
    const { readFileSync } = await import('node:fs')
    const second = await startGateway(parse(readFileSync(gateway.configFile, 'utf8')), { dir: gateway.dir })
    closers.push(() => second.stop('SIGKILL'))
    await complete(second, {})
    await eventually(
      async () => (await complete(second, { seed: 1 })).headers.get('x-router-dropped') === 'seed',
      'told',
    )
    // None of them was a refusal.
    const bodies = upstreams.a?.requests.slice(hits).map(({ body }) => JSON.parse(String(body)))
    expect(bodies?.some((body) => 'seed' in body)).toBe(false)
  })
})

describe('how much it is to think, put in the words of another API', () => {
  const body = { max_tokens: 50, messages: [{ role: 'user', content: 'Hi' }] }
  const off = { ...body, thinking: { type: 'disabled' } }
  const said = ({ requests }: Upstream) => requests.map((one) => JSON.parse(one.body.toString('utf8')))

  test.each(['auto', 'a'])('a word that the model does not take is left off: %s', async (model) => {
    const effort = error("'reasoning_effort' must be one of low, medium, high", { param: 'reasoning_effort' })
    const { gateway, upstreams } = await gatewayOf(
      { a: refusing(400, effort, ({ json }) => (json as { reasoning_effort?: unknown }).reasoning_effort === 'xhigh') },
      {},
      { candidate: { reasoning: true } },
    )
    const ask = (path: string, more: object) => call(gateway, path, { body: { model, ...more } })
    expect(answeredBy(await ask('/v1/messages', { ...body, output_config: { effort: 'max' } }))).toEqual([200, 'a'])
    expect(answeredBy(await ask('/v1/messages', off))).toEqual([200, 'a'])
    expect(said(upstreams.a as Upstream).map(({ reasoning_effort: effort }) => effort)).toEqual([
      'xhigh',
      undefined,
      undefined,
    ])
    // A client that speaks chat completions has said it itself.
    const { messages } = body
    expect((await ask('/v1/chat/completions', { messages, reasoning_effort: 'xhigh', seed: 7 })).status).toBe(
      model === 'auto' ? 200 : 400,
    )
  })

  test.each(['auto', 'a'])('a model that must think is asked without the word against it: %s', async (model) => {
    const mandatory = error('Reasoning is mandatory for this endpoint and cannot be disabled.', { code: 400 })
    const { gateway, upstreams } = await gatewayOf(
      {
        a: refusing(400, mandatory, ({ json }) => {
          const { reasoning } = json as { reasoning?: { effort?: string; enabled?: boolean } }
          return reasoning?.effort === 'none' || reasoning?.enabled === false
        }),
      },
      { dialects: shippedDialects() },
      { provider: { dialect: 'openrouter' }, candidate: { reasoning: true } },
    )
    const ask = (path: string, more: object) => call(gateway, path, { body: { model, ...more } })
    const first = await ask('/v1/messages', off)
    expect(answeredBy(first)).toEqual([200, 'a'])
    expect(first.headers.get('x-router-dropped')).toMatch(/reasoning_effort|thinking/)
    expect(
      answeredBy(await ask('/v1/responses', { input: 'Hi', reasoning: { effort: 'none' }, store: false })),
    ).toEqual([200, 'a'])
    const told = said(upstreams.a as Upstream).map(({ reasoning }) => reasoning)
    expect(told.slice(0, 2)).toEqual([{ effort: 'none' }, undefined])
    // One that sends the provider's own field is told apart by what it says.
    for (const reasoning of [{ enabled: false }, { effort: 'high' }]) {
      const answer = await ask('/v1/chat/completions', { messages: body.messages, reasoning })
      expect(answer.status).toBe(model === 'auto' || reasoning.effort ? 200 : 400)
    }
    expect(said(upstreams.a as Upstream).at(-1)).toHaveProperty('reasoning', { effort: 'high' })
  })
})

describe('a field that the gateway added', () => {
  test('is taken back, and not added again, also for a candidate asked for by name', async () => {
    const a: Script = (exchange) =>
      'stream_options' in exchange.json
        ? exchange.reply(400, error('stream_options: Extra inputs are not permitted'))
        : replyStream()(exchange)
    const { gateway, upstreams } = await gatewayOf({ a })
    for (const model of ['a', 'auto', 'a']) {
      const stream = await openai(gateway, { maxRetries: 0 }).chat.completions.create({
        model,
        stream: true,
        messages: [{ role: 'user', content: 'Hi' }],
      })
      let text = ''
      for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
      expect(text).toBe('Hello there.')
    }
    expect(upstreams.a?.requests.length).toBe(4)
  })
})

describe('health', () => {
  const failing: Record<string, [number, unknown, Record<string, unknown>]> = {
    'flagged prompts': [403, { error: { code: 403, message: 'input was flagged', metadata: { reasons: ['x'] } } }, {}],
    'oversize prompts': [429, error('Request too large for gpt-4o: Limit 30000, Requested 50000'), {}],
    'unaffordable tokens': [
      402,
      { error: { code: 402, message: 'requires more credits, or fewer max_tokens' } },
      { max_tokens: 90_000 },
    ],
    'odd fields': [400, error('Unknown parameter: foo', { param: 'foo' }), { foo: 1 }],
  }
  const isBad = ({ json }: Exchange) => String(JSON.stringify(json.messages)).includes('BAD')
  const bad = [{ role: 'user', content: 'BAD' }]

  test.each(Object.entries(failing))('%s of one user open no breaker', async (_, [status, body, fields]) => {
    for (const model of ['a', 'auto']) {
      const { gateway } = await gatewayOf(
        { a: refusing(status, body, isBad) },
        { retries: { breaker: { failures: 3 } } },
      )
      for (let i = 0; i < 8; i++)
        await (await complete(gateway, { ...fields, model, messages: bad }, { user: 'mallory' })).text()
      expect(answeredBy(await complete(gateway, { model }, { user: 'bob' }))).toEqual([200, 'a'])
    }
  })

  test("the client is told what it can change, never of the gateway's own credentials", async () => {
    const [flagged, large, tokens] = Object.values(failing)
    const told = async ([status, body, fields]: NonNullable<typeof flagged>) => {
      const { gateway } = await gatewayOf({ a: refusing(status, body) })
      const caught = await openai(gateway, { maxRetries: 2 })
        .chat.completions.create({ model: 'a', messages: [{ role: 'user', content: 'x' }], ...fields })
        .catch((raised) => raised)
      expect(caught).toBeInstanceOf(OpenAI.APIError)
      expect(caught.message).not.toMatch(/credentials/)
      return [caught.status, caught.message]
    }
    expect(await told(flagged!)).toEqual([403, expect.stringContaining('flagged')])
    expect(await told(large!)).toEqual([429, expect.stringContaining('too large')])
    expect(await told(tokens!)).toEqual([400, expect.stringContaining('fewer')])
  })

  test('failures of one key alone, whatever users it names, are looked into by a question of our own', async () => {
    const crashes = refusing(500, error('boom'), isBad)
    const { gateway, upstreams } = await gatewayOf(
      { a: crashes },
      { retries: { max_attempts: 1, breaker: { failures: 3, open_ms: 60_000 } } },
    )
    for (let i = 0; i < 8; i++) await complete(gateway, { messages: bad }, { user: `made-up-${i}` })
    expect(answeredBy(await complete(gateway, {}, { user: 'bob' }))).toEqual([200, 'a'])
    expect(upstreams.a?.requests.some(({ headers }) => headers['x-request-id'] === 'probe')).toBe(true)

    const down = await gatewayOf(
      { a: refusing(500, error('boom')) },
      { retries: { max_attempts: 1, breaker: { failures: 3, open_ms: 60_000 } } },
    )
    await eventually(async () => (await complete(down.gateway, {}, { user: 'bob' })).status === 503, 'an open breaker')
  })

  test('users whom somebody vouches for count by themselves, each as one', async () => {
    const config = {
      tenants: [{ name: 'test', keys: [TEST_KEY], vouched_users: true }],
      retries: { max_attempts: 1, breaker: { failures: 4, open_ms: 60_000 } },
    }
    const crashes = refusing(500, error('boom'), isBad)
    const asProbed = ({ a }: Record<string, Upstream>) =>
      a?.requests.some(({ headers }) => headers['x-request-id'] === 'probe')
    const one = await gatewayOf({ a: crashes }, config)
    for (let i = 0; i < 8; i++) await complete(one.gateway, { messages: bad }, { user: 'mallory' })
    expect(answeredBy(await complete(one.gateway, {}, { user: 'bob' }))).toEqual([200, 'a'])
    expect(asProbed(one.upstreams)).toBe(true)
    const two = await gatewayOf({ a: crashes }, config)
    for (let i = 0; i < 4; i++) await complete(two.gateway, { messages: bad }, { user: i % 2 ? 'ann' : 'carl' })
    expect((await complete(two.gateway, {}, { user: 'bob' })).status).toBe(503)
    expect(asProbed(two.upstreams)).toBe(false)
  })

  test('a model that is gone is left alone after a while', async () => {
    const gone = refusing(404, error('The model does not exist', { code: 'model_not_found' }))
    const { gateway, upstreams } = await gatewayOf(
      { a: gone, b: replyPlain() },
      { retries: { breaker: { failures: 3, open_ms: 60_000 } } },
    )
    for (let i = 0; i < 12; i++) expect(answeredBy(await complete(gateway, {}, { user: `u${i}` }))).toEqual([200, 'b'])
    expect(upstreams.a?.requests.length).toBeLessThan(6)
  })
})

test('a converter that fails is logged with its place, counted, and the next candidate answers', async () => {
  // A message that the converter can't read: `content` is no list.
  const odd = await startUpstream(
    replyPlain(200, { id: 'm', type: 'message', role: 'assistant', content: [null], stop_reason: 'end_turn' }),
  )
  const good = await startUpstream(replyPlain())
  closers.push(odd.close, good.close)
  const price = { input: 1, output: 2 }
  const gateway: RunningGateway = await startGateway({
    providers: {
      odd: { kind: 'anthropic', base_url: `${odd.origin}/v1`, key_required: false },
      good: { kind: 'openai-compatible', base_url: `${good.origin}/v1`, key_required: false },
    },
    candidates: [
      { name: 'odd', provider: 'odd', price },
      { name: 'good', provider: 'good', price },
    ],
    router: { artifact: '/nowhere', fallback: 'first' },
  })
  closers.push(() => discard(gateway))
  const secret = 'a prompt that stays secret'
  const response = await call(gateway, '/v1/chat/completions', {
    body: { model: 'auto', messages: [{ role: 'user', content: secret }] },
  })
  expect(answeredBy(response)).toEqual([200, 'good'])
  await eventually(() => /could not be converted/.test(gateway.stdout()), 'a line in the log')
  expect(gateway.stdout()).toMatch(/\/src\/providers\/\S+\/response\.ts:\d+:\d+/)
  expect(gateway.stdout()).not.toContain(secret)
  expect(gateway.stdout()).not.toContain(TEST_KEY)
  expect(await metric(gateway, 'persona_router_attempts_total')).toBeGreaterThan(0)
  expect(await (await fetch(`${gateway.url}/metrics`)).text()).toMatch(/attempts_total\{[^}]*error="internal"[^}]*\} 1/)
})
