import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { InteractionDocument } from '../../src/store/records/codec.ts'
import { complete } from '../support/clients.ts'
import { ask, ENDPOINTS, UNROUTED, unroutedConfig } from '../support/endpoints.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { exported } from '../support/records.ts'
import { growthDuring, leastGrowth } from '../support/scripted-gateway.ts'
import {
  chunkOf,
  type Exchange,
  replyPlain,
  replyStream,
  type Script,
  startUpstream,
  streamEvents,
  type Upstream,
} from '../support/upstream.ts'

const PROVIDER_KEY = 'sk-canary-of-the-provider'
const PROMPT = 'canary-of-the-prompt'
const MEGABYTE = 1024 * 1024

const thenEnds =
  (end: (exchange: Exchange) => void): Script =>
  async (exchange) => {
    exchange.stream()
    for (const event of streamEvents(['Hello', ' there']).slice(0, 3)) exchange.event(event)
    await exchange.sleep(20)
    end(exchange)
  }

const stall: Script = async (exchange) => {
  await exchange.closed
}

interface Fault {
  script: Script
  stream?: boolean
  /** What the client sees, and what the record says. */
  status: number
  finish: string
  errors: (string | null)[]
}

/** The Upstream table, a row or more each; the candidate has the fault's name. */
const FAULTS: Record<string, Fault> = {
  fine: { script: replyPlain(), status: 200, finish: 'stop', errors: [null] },
  streamed: { script: replyStream(), stream: true, status: 200, finish: 'stop', errors: [null] },
  limited: { script: replyPlain(429, {}), status: 429, finish: 'error', errors: ['http_429'] },
  failing: { script: replyPlain(500, {}), status: 502, finish: 'error', errors: ['http_500', 'http_500'] },
  refusing: {
    script: replyPlain(422, { error: { message: 'no', type: 'invalid_request_error', param: 'x', code: null } }),
    status: 422,
    finish: 'error',
    errors: ['http_422'],
  },
  unkeyed: {
    script: replyPlain(401, { error: { message: `bad key ${PROVIDER_KEY}` } }),
    status: 502,
    finish: 'error',
    errors: ['http_401'],
  },
  hanging: { script: stall, status: 504, finish: 'error', errors: ['timeout'] },
  resetting: { script: (exchange) => exchange.reset(), status: 502, finish: 'error', errors: ['reset', 'reset'] },
  nonsense: { script: replyPlain(200, '<html>'), status: 502, finish: 'error', errors: ['protocol'] },
  silent: {
    script: (exchange) => {
      exchange.stream()
      exchange.end()
    },
    stream: true,
    status: 502,
    finish: 'error',
    errors: ['protocol'],
  },
  'first-event': {
    script: (exchange) => {
      exchange.stream()
      exchange.event({ error: { message: 'slow', code: 429 } })
      exchange.end()
    },
    stream: true,
    status: 429,
    finish: 'error',
    errors: ['http_429'],
  },
  cut: {
    script: thenEnds((exchange) => exchange.end()),
    stream: true,
    status: 200,
    finish: 'error',
    errors: ['reset'],
  },
  broken: {
    script: thenEnds((exchange) => exchange.reset()),
    stream: true,
    status: 200,
    finish: 'error',
    errors: ['reset'],
  },
  stalling: {
    script: async (exchange) => {
      exchange.stream()
      exchange.event(chunkOf({ content: 'Hello' }))
      await exchange.closed
    },
    stream: true,
    status: 200,
    finish: 'error',
    errors: ['timeout'],
  },
}

describe.each(ENDPOINTS)('the upstream table through the gateway, by $name', (endpoint) => {
  let upstream: Upstream
  let gateway: RunningGateway
  const ids = new Map<string, string>()
  const seen: string[] = []
  let rows: InteractionDocument[]

  beforeAll(async () => {
    upstream = await startUpstream((exchange) => {
      const fault = FAULTS[String(exchange.json.model)]
      return fault?.script(exchange)
    })
    gateway = await startGateway({
      providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, api_key: PROVIDER_KEY } },
      timeouts: { first_byte_ms: 1_500, answer_ms: 1_500, content_idle_ms: 1_500 },
      retries: { max_attempts: 2, backoff_ms: 5 },
      candidates: Object.keys(FAULTS).map((name) => ({ name, provider: 'up', price: { input: 1, output: 2 } })),
    })
    await Promise.all(
      Object.entries(FAULTS).map(async ([model, { stream, status, finish }]) => {
        const response = await ask(endpoint, gateway, { model, stream: stream === true, prompt: PROMPT })
        const text = await response.text()
        // A response repeats its instructions and fields, never what was asked.
        seen.push(JSON.stringify([...response.headers]), text)
        expect([model, response.status]).toEqual([model, status])
        if (status === 200 && stream)
          expect([model, endpoint.tellsOfFailure(text)]).toEqual([model, finish === 'error'])
        ids.set(model, response.headers.get('x-request-id') ?? '')
      }),
    )
    rows = await eventually(async () => {
      const all = await exported(gateway)
      return all.length >= ids.size && all
    }, 'every record is stored')
  })

  afterAll(async () => {
    await discard(gateway)
    await upstream?.close()
  })

  test('exactly one record a request', () => {
    expect(rows.map(({ id }) => id).sort()).toEqual([...ids.values()].sort())
  })

  test.each(Object.entries(FAULTS))(
    'the record of %s tells what happened',
    (name, { status, finish, errors, stream }) => {
      const row = rows.find(({ id }) => id === ids.get(name))
      expect(row).toMatchObject({ status, finish_reason: finish, stream: stream === true, chosen: name })
      expect(row?.attempts.map(({ error }) => error)).toEqual(errors)
      // Tokens that came are billed, also where the rest did not come.
      if (status === 200) expect(row?.cost_usd).toBeGreaterThan(0)
      if (status === 200 && finish === 'error') expect(row?.usage_estimated).toBe(true)
    },
  )

  test('the provider key, its address and the prompt are in no answer, log line or record', () => {
    const everything = [...seen, gateway.stdout(), gateway.stderr(), JSON.stringify(rows)].join('\n')
    for (const secret of [PROVIDER_KEY, PROMPT, `127.0.0.1:${upstream.port}`]) expect(everything).not.toContain(secret)
  })

  test('nothing is left in work', async () => {
    await eventually(() => upstream.busy === 0, 'the upstream is left alone')
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
    expect(metrics).toMatch(/^persona_router_in_flight 0$/m)
  })
})

/** What of the table is not about streams; a request that is passed through is tried once. */
const UNROUTED_FAULTS: Record<string, { script: Script; status: number; passed: number; errors: (string | null)[] }> = {
  limited: { script: replyPlain(429, {}), status: 429, passed: 429, errors: ['http_429'] },
  failing: { script: replyPlain(500, {}), status: 502, passed: 500, errors: ['http_500', 'http_500'] },
  refusing: { script: replyPlain(422, { error: { message: 'no' } }), status: 422, passed: 422, errors: ['http_422'] },
  unkeyed: {
    script: replyPlain(401, { error: { message: `bad key ${PROVIDER_KEY}` } }),
    status: 502,
    passed: 502,
    errors: ['http_401'],
  },
  hanging: { script: stall, status: 504, passed: 504, errors: ['timeout'] },
  resetting: { script: (exchange) => exchange.reset(), status: 502, passed: 502, errors: ['reset', 'reset'] },
}

describe.each(UNROUTED)('the upstream table through the gateway, by $name', (endpoint) => {
  let upstream: Upstream
  let gateway: RunningGateway
  beforeAll(async () => {
    upstream = await startUpstream((exchange) => UNROUTED_FAULTS[String(exchange.json.model)]?.script(exchange))
    gateway = await startGateway({
      providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, api_key: PROVIDER_KEY } },
      timeouts: { answer_ms: 1_500 },
      retries: { max_attempts: 2, backoff_ms: 5 },
      ...unroutedConfig(Object.keys(UNROUTED_FAULTS)),
    })
  })
  afterAll(async () => {
    await discard(gateway)
    await upstream?.close()
  })

  test.each(Object.entries(UNROUTED_FAULTS))('%s: the status, one record, nothing secret', async (model, fault) => {
    const isPassed = endpoint.name === 'pass-through'
    const response = await ask(endpoint, gateway, { model, prompt: PROMPT })
    const text = await response.text()
    expect(response.status).toBe(isPassed ? fault.passed : fault.status)
    expect(JSON.parse(text).error.message).toMatch(/\S/)
    const id = response.headers.get('x-request-id')
    const row = await eventually(async () => (await exported(gateway)).find((one) => one.id === id), 'its record')
    expect(row).toMatchObject({ status: response.status, finish_reason: 'error' })
    // A provider that was cut off has read the prompt.
    if (model !== 'hanging') expect(row.cost_usd).toBe(0)
    expect(row.attempts.map(({ error }) => error)).toEqual(isPassed ? fault.errors.slice(0, 1) : fault.errors)
    const everything = [text, gateway.stdout(), gateway.stderr(), JSON.stringify(row)].join('\n')
    for (const secret of [PROVIDER_KEY, PROMPT, `127.0.0.1:${upstream.port}`]) expect(everything).not.toContain(secret)
    await eventually(() => upstream.busy === 0, 'the upstream is left alone')
  })
})

describe('memory', () => {
  let upstream: Upstream
  let gateway: RunningGateway
  let sent = 0

  /** As fast as the other side takes it. */
  const pour = async (exchange: Exchange, piece: Buffer, total: number) => {
    const gone = exchange.closed.then(() => true)
    for (sent = 0; sent < total; sent += piece.length) {
      exchange.chunk(piece)
      if (!exchange.socket.writableNeedDrain) continue
      const room = new Promise<boolean>((resolve) => exchange.socket.once('drain', () => resolve(false)))
      if (await Promise.race([gone, room])) return
    }
    exchange.event(chunkOf({}, 'stop'))
    exchange.end()
  }

  beforeAll(async () => {
    upstream = await startUpstream()
    gateway = await startGateway({
      server: { write_idle_timeout_ms: 1_500 },
      providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
      retries: { max_attempts: 1, breaker: { failures: 100 } },
      candidates: [{ name: 'c', provider: 'up', price: { input: 1, output: 2 } }],
    })
    upstream.play(replyPlain())
    for (let i = 0; i < 200; i++) await (await complete(gateway)).arrayBuffer()
  })

  afterAll(async () => {
    await discard(gateway)
    await upstream?.close()
  })

  const growth = (work: () => Promise<unknown>) => growthDuring(gateway, work)

  const event = Buffer.from(`data: ${JSON.stringify(chunkOf({ content: 'x'.repeat(16_000) }))}\n\n`)

  test.skipIf(process.platform !== 'linux')(
    'a client that does not read 256 MB: backpressure, then it is let go',
    async () => {
      const body = JSON.stringify({ model: 'c', stream: true, messages: [{ role: 'user', content: 'Hi' }] })
      const unread = async () => {
        upstream.play(async (exchange) => {
          exchange.stream()
          await pour(exchange, event, 256 * MEGABYTE)
        })
        const socket = connect(Number(new URL(gateway.url).port), '127.0.0.1')
        socket.on('error', () => {})
        socket.pause()
        socket.write(
          `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${gateway.key}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
        )
        await eventually(() => upstream.busy === 1, 'the upstream streams')
        await eventually(() => upstream.busy === 0, 'the upstream is left alone')
        socket.destroy()
        expect(sent).toBeLessThan(20 * MEGABYTE)
      }
      const grown = await leastGrowth(20 * MEGABYTE, () => growth(unread))
      expect(grown).toBeLessThan(20 * MEGABYTE)
    },
  )

  const onLinux = test.skipIf(process.platform !== 'linux')
  onLinux.each(ENDPOINTS.map((endpoint) => [endpoint.name, endpoint] as const))(
    'a body without end, by %s: 502 at the cap, and memory within a few times the cap',
    async (_, endpoint) => {
      upstream.play(async (exchange) => {
        exchange.head(200, { 'content-type': 'application/json', 'transfer-encoding': 'chunked' })
        await pour(exchange, Buffer.alloc(MEGABYTE, 'x'), 1024 * MEGABYTE)
      })
      const grown = await growth(async () => expect((await ask(endpoint, gateway)).status).toBe(502))
      await eventually(() => upstream.busy === 0, 'the upstream is left alone')
      expect(sent).toBeLessThan(100 * MEGABYTE)
      expect(grown).toBeLessThan(256 * MEGABYTE)
    },
  )

  onLinux.each(ENDPOINTS.map((endpoint) => [endpoint.name, endpoint] as const))(
    'an event without end, by %s: cut off, told, and not kept',
    async (_, endpoint) => {
      upstream.play(async (exchange) => {
        exchange.stream()
        exchange.event(chunkOf({ content: 'Hello' }))
        exchange.chunk('data: {"x":"')
        await pour(exchange, Buffer.alloc(MEGABYTE, 'x'), 1024 * MEGABYTE)
      })
      const grown = await growth(async () => {
        const response = await ask(endpoint, gateway, { stream: true })
        expect(endpoint.tellsOfFailure(await response.text()) || endpoint.name === 'chat completions').toBe(true)
      })
      await eventually(() => upstream.busy === 0, 'the upstream is left alone')
      expect(sent).toBeLessThan(48 * MEGABYTE)
      expect(grown).toBeLessThan(128 * MEGABYTE)
    },
  )
})
