import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import OpenAI, { AzureOpenAI } from 'openai'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { call, expectError, metric, openai } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { type Script, startUpstream, type Upstream } from '../support/upstream.ts'

const VECTOR = [0.25, -0.5, 1]
const BASE64 = Buffer.from(Float32Array.from(VECTOR).buffer).toString('base64')
const OTHER_KEY = 'pr-other-key-0123456789abcdef'

const embeddings =
  (embedding: unknown): Script =>
  (exchange) =>
    exchange.reply(200, {
      object: 'list',
      model: 'embed-1',
      data: Array.from({ length: inputsOf(exchange.json.input) }, (_, index) => ({
        object: 'embedding',
        index,
        embedding,
      })),
      usage: { prompt_tokens: 7, total_tokens: 7 },
    })

const inputsOf = (input: unknown) => (Array.isArray(input) && typeof input[0] !== 'number' ? input.length : 1)

let upstream: Upstream
let gateway: RunningGateway
beforeAll(async () => {
  upstream = await startUpstream()
  gateway = await startGateway({
    providers: {
      up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, api_key: 'sk-upstream-key-0123456789' },
    },
    candidates: [{ name: 'chat', provider: 'up', price: { input: 1, output: 2 } }],
    embeddings: [
      { name: 'embed', provider: 'up', model: 'embed-1', price: { input: 0.5 }, aliases: ['text-embedding-*'] },
      { name: 'embed-vip', provider: 'up', model: 'embed-2', price: { input: 1 }, groups: ['vip'] },
    ],
    tenants: [
      { name: 'test', keys: [TEST_KEY], candidates: ['default'] },
      { name: 'other', keys: [OTHER_KEY], candidates: ['default', 'vip'], limits: { requests_per_minute: 2 } },
    ],
    retries: { max_attempts: 2, backoff_ms: 0 },
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})
beforeEach(() => {
  upstream.requests.length = 0
  upstream.play(embeddings(VECTOR))
})

const post = (body: unknown, key = TEST_KEY, headers: Record<string, string> = {}) =>
  call(gateway, '/v1/embeddings', { body, key, headers })

test.each([
  ['floats', VECTOR],
  ['base64', BASE64],
])('the SDK gets its numbers from a provider that answers in %s', async (_, embedding) => {
  upstream.play(embeddings(embedding))
  for (const encoding_format of [undefined, 'float', 'base64'] as const) {
    const { data } = await openai(gateway).embeddings.create({
      model: 'text-embedding-3-small',
      input: 'Hello',
      ...(encoding_format && { encoding_format }),
    })
    expect(data[0]?.embedding).toEqual(encoding_format === 'base64' ? BASE64 : VECTOR)
  }
})

test.each([
  ['a sparse vector', { indices: [3, 17], values: [0.5, 0.25] }],
  [
    'a vector for each token',
    [
      [0.5, 1],
      [0.25, 2],
    ],
  ],
])('%s passes as it is, whatever format was asked for; an empty one is none', async (_, embedding) => {
  for (const encoding_format of ['float', 'base64']) {
    upstream.play(embeddings(embedding))
    const answer = await post({ model: 'embed', input: 'Hi', encoding_format })
    expect([answer.status, (await answer.json()).data[0].embedding]).toEqual([200, embedding])
  }
  upstream.play(embeddings({}))
  expect((await post({ model: 'embed', input: 'Hi' })).status).toBe(502)
})

test('a model that does not follow `dimensions` is told as such', async () => {
  const long = Array.from({ length: 400 }, (_, index) => index / 8)
  const [asBytes, asHalves] = [4, 2].map((bytes) => Buffer.alloc(400 * bytes, 1).toString('base64'))
  const cases: [embedding: unknown, inputs: number, dimensions: number, told: number | null][] = [
    [VECTOR, 1, 3, null],
    [VECTOR, 2, 4, 3],
    [BASE64, 1, 3, null],
    [BASE64, 1, 4, 3],
    // Read beside the event loop.
    [long, 500, 400, null],
    [long, 500, 256, 400],
    [asBytes, 500, 256, 400],
    // Half floats, bits and what has no length.
    [asHalves, 1, 400, null],
    [Array(50).fill(7), 1, 400, null],
    [{ indices: [3], values: [1] }, 1, 400, null],
  ]
  for (const [embedding, inputs, dimensions, told] of cases) {
    upstream.play(embeddings(embedding))
    const answer = await post({ model: 'embed', input: Array(inputs).fill('a'), dimensions })
    const { error } = await answer.json()
    const message = `${dimensions} were asked for, its vectors have ${told}.`
    expect([answer.status, error?.param]).toEqual(told === null ? [200, undefined] : [400, 'dimensions'])
    if (told !== null) expect(error).toMatchObject({ code: 'dimensions_not_followed', message: expect.stringContaining(message) }) // biome-ignore format: one line
    expect(upstream.requests).toHaveLength(1)
    upstream.requests.length = 0
  }
})

test('an answer of some megabytes, for a request of some hundred bytes', async () => {
  const input = Array.from({ length: 500 }, () => 'a')
  const vector = Array.from({ length: 1_000 }, (_, index) => index / 8)
  for (const embedding of [vector, Buffer.from(Float32Array.from(vector).buffer).toString('base64')]) {
    for (const encoding_format of ['float', 'base64'] as const) {
      upstream.play(embeddings(embedding))
      const { data } = await openai(gateway).embeddings.create({ model: 'embed', input, encoding_format })
      expect(data.map(({ index }) => index)).toEqual(input.map((_, index) => index))
      const last: unknown = data.at(-1)?.embedding
      const bytes = Buffer.from(String(last), 'base64')
      const numbers = encoding_format === 'base64' ? vector.map((_, index) => bytes.readFloatLE(4 * index)) : last
      expect(numbers).toEqual(vector)
    }
  }
  upstream.play((exchange) =>
    exchange.reply(200, { data: Array(500).fill({ embedding: '' }), filler: 'x'.repeat(2e6) }),
  )
  expect((await post({ model: 'embed', input })).status).toBe(502)
})

test.each([['Hello'], [['Hello', 'there']], [[1, 2, 3]], [[[1, 2], [3]]]])(
  'input %j goes through, but for the model',
  async (input) => {
    const body = `{ "input": ${JSON.stringify(input)}, "model":"embed","dimensions":3,"unknown":12345678901234567890 }`
    const response = await post(body)
    expect(response.status).toBe(200)
    expect(upstream.requests[0]?.path).toBe('/v1/embeddings')
    expect(upstream.requests[0]?.body.toString()).toBe(body.replace('"embed"', '"embed-1"'))
    expect(response.headers.get('x-router-model')).toBe('embed')
    expect(response.headers.get('x-router-cost-usd')).toBe((3.5e-6).toFixed(9))
  },
)

test("Azure's client", async () => {
  const azure = new AzureOpenAI({ endpoint: gateway.url, apiKey: TEST_KEY, apiVersion: '2024-10-21', maxRetries: 0 })
  const { data } = await azure.embeddings.create({ model: 'embed', input: 'Hello', encoding_format: 'float' })
  expect(data[0]?.embedding).toEqual(VECTOR)
})

test('a model that is not there, or not for this tenant or key', async () => {
  for (const model of ['none', 'embed-vip', 'auto', 'chat', '__proto__']) {
    const response = await post({ model, input: 'Hi' })
    expect([model, response.status]).toEqual([model, 404])
    expect(expectError(await response.text())).toMatchObject({ code: 'model_not_found', param: 'model' })
  }
  expect(upstream.requests).toHaveLength(0)
  const made = await call(gateway, '/admin/keys', {
    key: 'pr-admin-key-0123456789abcdef',
    body: { tenant: 'test', name: 'chat alone', models: ['chat'] },
  })
  const { key } = await made.json()
  expect((await post({ model: 'embed', input: 'Hi' }, key)).status).toBe(404)
})

test.each([
  ['no input', { model: 'embed' }, 'input'],
  ['nothing in it', { model: 'embed', input: [] }, 'input'],
  ['mixed input', { model: 'embed', input: ['a', 1] }, 'input'],
  ['an odd format', { model: 'embed', input: 'a', encoding_format: 'hex' }, 'encoding_format'],
  ['no model', { input: 'a' }, 'model'],
  ['no JSON', '{', null],
])('%s: 400', async (_, body, param) => {
  const response = await post(body)
  expect([response.status, expectError(await response.text()).param]).toEqual([400, param])
})

test('faults of the provider: the same road as everywhere', async () => {
  upstream.play((exchange) => exchange.reply(500, 'broken'), embeddings(VECTOR))
  expect((await post({ model: 'embed', input: 'Hi' })).status).toBe(200)
  upstream.play((exchange) => exchange.reply(401, { error: { message: 'bad key sk-upstream-key-0123456789' } }))
  const refused = await post({ model: 'embed', input: 'Hi' })
  expect(refused.status).toBe(502)
  expect(await refused.text()).not.toContain('sk-upstream')
  upstream.play((exchange) => exchange.reply(200, { object: 'list' }))
  expect((await post({ model: 'embed', input: 'Hi' })).status).toBe(502)
})

test('limits count it, and the log has it with its endpoint', async () => {
  const statuses: number[] = []
  for (let i = 0; i < 3; i++) statuses.push((await post({ model: 'embed-vip', input: 'Hi' }, OTHER_KEY)).status)
  expect(statuses).toEqual([200, 200, 429])
  const rows = () => {
    const database = new DatabaseSync(join(gateway.dir, 'gateway.db'), { readOnly: true })
    try {
      const tables = database.prepare("select name from sqlite_master where type = 'table'").all() as { name: string }[]
      const log = tables.find(({ name }) => name === 'interactions')?.name
      return database.prepare(`select * from ${log} where tenant = 'other'`).all()
    } finally {
      database.close()
    }
  }
  await eventually(() => rows().length === 2, 'two rows')
  for (const row of rows()) {
    expect(JSON.parse(String(row.json))).toMatchObject({ endpoint: 'embeddings', chosen: 'embed-vip', cost_usd: 7e-6 })
  }
  expect(await metric(gateway, 'persona_router_tokens_total')).toBeGreaterThan(0)
})

test('an idempotency key gives the same answer without asking again', async () => {
  const send = () => post({ model: 'embed', input: 'Once' }, TEST_KEY, { 'idempotency-key': 'embed-once' })
  const first = await (await send()).text()
  const again = await send()
  expect(again.headers.get('idempotency-replayed')).toBe('true')
  expect(await again.text()).toBe(first)
  expect(upstream.requests).toHaveLength(1)
})

test('a client that leaves ends the upstream', async () => {
  upstream.play(async (exchange) => {
    await exchange.closed
  })
  const abort = new AbortController()
  const client = new OpenAI({ baseURL: gateway.baseURL, apiKey: TEST_KEY, maxRetries: 0 })
  const asked = client.embeddings.create({ model: 'embed', input: 'Hi' }, { signal: abort.signal }).catch((e) => e)
  await eventually(() => upstream.busy === 1, 'it is asked')
  abort.abort()
  await asked
  await eventually(() => upstream.busy === 0, 'it is let go')
})
