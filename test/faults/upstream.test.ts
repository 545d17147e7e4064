import { createServer } from 'node:net'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import { costUsd } from '../../src/candidates/pricing.ts'
import { ask, type Harness, type HarnessOptions, startHarness } from '../support/relay-harness.ts'
import {
  chunkOf,
  completionBody,
  replyPlain,
  replyStream,
  type Script,
  startUpstream,
  streamEvents,
  type Upstream,
} from '../support/upstream.ts'

const KEY = 'sk-canary-provider-key'
const closers: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function upstreamWith(...scripts: Script[]): Promise<Upstream> {
  const upstream = await startUpstream(...scripts)
  closers.push(upstream.close)
  return upstream
}

async function gateway(
  origins: readonly (Upstream | string)[],
  options: Omit<HarnessOptions, 'origins'> = {},
): Promise<Harness> {
  const harness = await startHarness({
    ...options,
    origins: origins.map((origin) => (typeof origin === 'string' ? origin : origin.origin)),
  })
  closers.push(harness.close)
  return harness
}

const sdk = (harness: Harness, maxRetries = 2) => new OpenAI({ baseURL: harness.url, apiKey: 'client-key', maxRetries })
const question = { model: 'auto', messages: [{ role: 'user' as const, content: 'Hi' }] }

/** An OpenAI-shaped error without address or key. */
async function errorOf(response: Response): Promise<{ status: number; code: string | null; message: string }> {
  const text = await response.text()
  expect(text).not.toContain(KEY)
  expect(text).not.toContain('127.0.0.1')
  const { error } = JSON.parse(text)
  expect(error).toEqual({
    message: expect.any(String),
    type: expect.any(String),
    param: error.param === null ? null : expect.any(String),
    code: error.code === null ? null : expect.any(String),
  })
  return { status: response.status, code: error.code, message: error.message }
}

const stall: Script = async (exchange) => {
  await exchange.closed
}

/** An address where nothing listens. */
async function refusedOrigin(): Promise<string> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return `http://127.0.0.1:${port}`
}

const eventually = async (holds: () => boolean) => {
  for (let i = 0; i < 200 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 10))
  expect(holds()).toBe(true)
}

const rateLimited = (headers: Record<string, string> = {}) =>
  replyPlain(
    429,
    { error: { message: 'slow down', type: 'requests', param: null, code: 'rate_limit_exceeded' } },
    headers,
  )
const broken = (status: number) =>
  replyPlain(status, { error: { message: 'oops', type: 'server_error', param: null, code: null } })

describe('429', () => {
  test('a short Retry-After is waited for', async () => {
    const upstream = await upstreamWith(rateLimited({ 'retry-after': '0.2' }), replyPlain())
    const harness = await gateway([upstream])
    const started = performance.now()
    expect((await ask(harness.url)).status).toBe(200)
    expect(performance.now() - started).toBeGreaterThanOrEqual(195)
    expect((await harness.settled(1))[0]?.forwarded?.attempts).toMatchObject([{ error: 'http_429' }, { error: null }])
  })

  test('a long one, or none, means the next-best candidate at once', async () => {
    for (const headers of [{ 'retry-after': '30' }, {}] as Record<string, string>[]) {
      const first = await upstreamWith(rateLimited(headers))
      const second = await upstreamWith(replyPlain())
      const harness = await gateway([first, second])
      const response = await ask(harness.url)
      expect([response.status, response.headers.get('x-router-model')]).toEqual([200, 'c1'])
      expect([first.requests.length, second.requests.length]).toEqual([1, 1])
    }
  })

  test('exhausted: 429 with retry-after and x-should-retry: false, and the SDK does not multiply the hits', async () => {
    const upstream = await upstreamWith(rateLimited({ 'retry-after': '0' }))
    const harness = await gateway([upstream], { retries: { max_attempts: 3 } })
    const error = await sdk(harness)
      .chat.completions.create(question)
      .catch((caught) => caught)
    expect(error).toBeInstanceOf(OpenAI.RateLimitError)
    expect(error.headers.get('retry-after')).toBe('1')
    expect(error.headers.get('x-should-retry')).toBe('false')
    expect(upstream.requests.length).toBe(3)
  })

  test('a quota that is used up is not waited for', async () => {
    const body = { error: { message: 'quota', type: 'insufficient_quota', param: null, code: 'insufficient_quota' } }
    const upstream = await upstreamWith(replyPlain(429, body, { 'retry-after': '0' }))
    const harness = await gateway([upstream])
    expect((await errorOf(await ask(harness.url))).status).toBe(429)
    expect(upstream.requests.length).toBe(1)
  })
})

describe('500/502/503/504', () => {
  test.each([500, 502, 503, 504])('%d: one more try, then the next-best candidate', async (status) => {
    const first = await upstreamWith(broken(status))
    const second = await upstreamWith(replyPlain())
    const harness = await gateway([first, second])
    expect((await ask(harness.url)).headers.get('x-router-model')).toBe('c1')
    expect([first.requests.length, second.requests.length]).toEqual([2, 1])
  })

  test('hits stay within the bound, and the SDK does not multiply them', async () => {
    const upstream = await upstreamWith(broken(500))
    const harness = await gateway([upstream], { retries: { max_attempts: 4, breaker: { failures: 50 } } })
    const error = await sdk(harness)
      .chat.completions.create(question)
      .catch((caught) => caught)
    expect(error).toBeInstanceOf(OpenAI.InternalServerError)
    expect(error.status).toBe(502)
    expect(upstream.requests.length).toBe(4)
  })

  test('the breaker of a deployment opens after N failures; half-open sends one probe; a good probe closes it', async () => {
    const upstream = await upstreamWith(broken(500))
    const harness = await gateway([upstream], {
      retries: { max_attempts: 1, breaker: { failures: 3, open_ms: 300 } },
    })
    for (let i = 0; i < 3; i++) expect((await ask(harness.url)).status).toBe(502)
    expect([...harness.breakers.states().values()]).toEqual(['open'])
    const refused = await ask(harness.url)
    expect(refused.headers.get('retry-after')).toBe('1')
    expect(await errorOf(refused)).toMatchObject({ status: 503, code: 'upstream_unavailable' })
    expect(upstream.requests.length).toBe(3)

    await eventually(() => [...harness.breakers.states().values()][0] === 'half-open')
    let answer = () => {}
    upstream.play(async (exchange) => {
      await new Promise<void>((resolve) => {
        answer = resolve
      })
      exchange.reply(200, completionBody())
    }, replyPlain())
    const probe = ask(harness.url)
    await eventually(() => upstream.requests.length === 4)
    const others = await Promise.all(Array.from({ length: 5 }, () => ask(harness.url)))
    expect(others.map(({ status }) => status)).toEqual(Array(5).fill(503))
    expect(upstream.requests.length).toBe(4)
    answer()
    expect((await probe).status).toBe(200)
    expect([...harness.breakers.states().values()]).toEqual(['closed'])
    expect((await ask(harness.url)).status).toBe(200)
  })

  test('a failed probe opens it again', async () => {
    const upstream = await upstreamWith(broken(500))
    const harness = await gateway([upstream], { retries: { max_attempts: 1, breaker: { failures: 2, open_ms: 100 } } })
    for (let i = 0; i < 2; i++) await ask(harness.url)
    await eventually(() => [...harness.breakers.states().values()][0] === 'half-open')
    expect((await ask(harness.url)).status).toBe(502)
    expect([...harness.breakers.states().values()]).toEqual(['open'])
  })

  test('an open breaker sends requests to the next-best candidate without a try', async () => {
    const first = await upstreamWith(broken(500))
    const second = await upstreamWith(replyPlain())
    const harness = await gateway([first, second], { retries: { breaker: { failures: 2, open_ms: 60_000 } } })
    await ask(harness.url)
    const hits = first.requests.length
    expect((await ask(harness.url)).headers.get('x-router-model')).toBe('c1')
    expect(first.requests.length).toBe(hits)
  })
})

describe('400/404/422', () => {
  test.each([
    [400, OpenAI.BadRequestError],
    [404, OpenAI.NotFoundError],
    [422, OpenAI.UnprocessableEntityError],
  ])('%d: one hit, body passed through byte by byte', async (status, kind) => {
    const body = `{ "error": {"message":"bad field","type":"invalid_request_error","param":"tools[0]","code":null}, "extra": 12345678901234567890 }`
    const upstream = await upstreamWith(replyPlain(status, body))
    const spare = await upstreamWith(replyPlain())
    const harness = await gateway([upstream, spare])
    const response = await ask(harness.url)
    expect([response.status, await response.text()]).toEqual([status, body])
    const error = await sdk(harness)
      .chat.completions.create(question)
      .catch((caught) => caught)
    expect(error).toBeInstanceOf(kind)
    expect(error.param).toBe('tools[0]')
    expect([upstream.requests.length, spare.requests.length]).toEqual([2, 0])
    expect(new Set(harness.breakers.states().values())).toEqual(new Set(['closed']))
  })

  test.each([
    [
      'Gemini',
      [{ error: { code: 400, message: 'no such field', status: 'INVALID_ARGUMENT' } }],
      'no such field',
      '400',
    ],
    ['FastAPI', { detail: [{ loc: ['body', 'x'], msg: 'wrong' }] }, 'x: wrong', null],
    [
      'Mistral, of a field',
      {
        object: 'error',
        message: { detail: [{ type: 'extra_forbidden', loc: ['body', 'store'], msg: 'Extra inputs' }] },
      },
      'store: Extra inputs',
      null,
    ],
    [
      'Mistral',
      { object: 'error', message: 'bad model', type: 'invalid_model', param: null, code: '1500' },
      'bad model',
      '1500',
    ],
    ['Ollama', { error: 'model not loaded' }, 'model not loaded', null],
    ['a page', '<html>Not here</html>', 'The model provider refused the request (HTTP 400).', null],
  ])("%s's error becomes OpenAI's shape", async (_, body, message, code) => {
    const harness = await gateway([await upstreamWith(replyPlain(400, body))])
    expect(await errorOf(await ask(harness.url))).toEqual({ status: 400, message, code })
  })
})

describe('401/403', () => {
  test.each([401, 402, 403])('%d: 502 without the provider key; another provider may still answer', async (status) => {
    const body = {
      error: { message: `Incorrect API key provided: ${KEY}`, type: 'invalid_request_error', code: 'invalid_api_key' },
    }
    const upstream = await upstreamWith(replyPlain(status, body))
    const alone = await gateway([upstream])
    const response = await ask(alone.url)
    expect(JSON.stringify([...response.headers])).not.toContain(KEY)
    expect(await errorOf(response)).toMatchObject({ status: 502, code: 'upstream_auth' })
    expect(upstream.requests.length).toBe(1)
    const [result] = await alone.settled(1)
    expect(result?.error?.attempts).toMatchObject([{ status, error: `http_${status}` }])

    const both = await gateway([upstream, await upstreamWith(replyPlain())])
    expect((await ask(both.url)).headers.get('x-router-model')).toBe('c1')
  })
})

describe('refused / DNS failure', () => {
  test('refused: the next candidate, at once', async () => {
    const harness = await gateway([await refusedOrigin(), await upstreamWith(replyPlain())])
    expect((await ask(harness.url)).headers.get('x-router-model')).toBe('c1')
    const [result] = await harness.settled(1)
    expect(result?.forwarded?.attempts).toMatchObject([{ status: null, error: 'connect' }, { error: null }])
  })

  test('a name that does not resolve: 502 when nobody else is there', async () => {
    const harness = await gateway(['http://provider.invalid'], { retries: { max_attempts: 1 } })
    expect(await errorOf(await ask(harness.url))).toMatchObject({ status: 502, code: 'upstream_unreachable' })
  })

  test('an address that never answers SYN: failover once the connect timeout has passed', async () => {
    // Its backlog is full, so the kernel drops what comes next; where a system answers all the same, the first-byte
    // timer ends it.
    const harness = await gateway(['http://192.0.2.1', await upstreamWith(replyPlain())], {
      provider: { connect_timeout_ms: 300 },
      timeouts: { answer_ms: 4_000 },
    })
    expect((await ask(harness.url)).headers.get('x-router-model')).toBe('c1')
    expect((await harness.settled(1))[0]?.ms).toBeLessThan(5_000)
  })
})

describe('reset on a reused idle socket before any byte', () => {
  test('300 POSTs to an upstream that closes idle sockets: 0 client errors', async () => {
    let answered = 0
    const upstream = await upstreamWith((exchange) => {
      exchange.reply(200, completionBody())
      // At once, a little later, or as the next request arrives: FIN and request cross.
      const turn = answered++ % 3
      if (turn === 0) exchange.close()
      else if (turn === 1) setTimeout(() => exchange.close(), 1)
      else exchange.socket.once('data', () => exchange.reset())
    })
    const harness = await gateway([upstream], { retries: { max_attempts: 1 } })
    const statuses: number[] = []
    for (let i = 0; i < 300; i++) {
      const response = await ask(harness.url)
      await response.arrayBuffer()
      statuses.push(response.status)
    }
    expect(statuses.filter((status) => status !== 200)).toEqual([])
    // Some requests did run into a reset, and were sent once more; for the record that is one attempt.
    expect(upstream.requests.length).toBeGreaterThan(300)
    expect(harness.results.filter(({ forwarded }) => forwarded?.attempts.length !== 1)).toEqual([])
  })

  test('a reset on a fresh socket is a failure like any other: tries stay bounded', async () => {
    const upstream = await upstreamWith((exchange) => exchange.reset())
    const harness = await gateway([upstream], { retries: { max_attempts: 3 } })
    expect(await errorOf(await ask(harness.url))).toMatchObject({ status: 502, code: 'upstream_error' })
    expect(upstream.requests.length).toBe(3)
  })
})

describe('hang before the first byte', () => {
  test.each([false, true])(
    'stream %s: the next candidate answers, and the hanging socket is closed',
    async (stream) => {
      const hanging = await upstreamWith(stall)
      const harness = await gateway([hanging, await upstreamWith(stream ? replyStream() : replyPlain())], {
        timeouts: { first_byte_ms: 200, answer_ms: 200 },
      })
      const response = await ask(harness.url, { stream })
      expect([response.status, response.headers.get('x-router-model')]).toEqual([200, 'c1'])
      await response.text()
      await eventually(() => hanging.busy === 0)
    },
  )

  test('last: 504 at T', async () => {
    const hanging = await upstreamWith(stall)
    const harness = await gateway([hanging], { timeouts: { answer_ms: 500 } })
    expect(await errorOf(await ask(harness.url))).toMatchObject({ status: 504, code: 'upstream_timeout' })
    const [result] = await harness.settled(1)
    expect(result?.ms).toBeGreaterThanOrEqual(495)
    expect(hanging.requests.length).toBe(1)
    await eventually(() => hanging.busy === 0)
  })
})

const keepAlive: Script = async (exchange) => {
  exchange.stream()
  await exchange.every(20, () => exchange.chunk(': keep-alive\n\n'))
}

describe('200, then stall or only keep-alive comments', () => {
  test.each([
    [
      'stall',
      (async (exchange) => {
        exchange.stream()
        exchange.event(chunkOf({ role: 'assistant', content: '' }))
        await exchange.closed
      }) as Script,
    ],
    ['comments', keepAlive],
  ])('%s before output: failover', async (_, script) => {
    const first = await upstreamWith(script)
    const harness = await gateway([first, await upstreamWith(replyStream())], {
      timeouts: { first_byte_ms: 200, comments_ms: 200 },
    })
    const response = await ask(harness.url, { stream: true })
    expect([response.status, response.headers.get('x-router-model')]).toEqual([200, 'c1'])
    expect(await response.text()).toContain('[DONE]')
    await eventually(() => first.busy === 0)
  })

  test('a plain body that stalls: failover, too', async () => {
    const first = await upstreamWith(async (exchange) => {
      exchange.head(200, { 'content-type': 'application/json', 'content-length': '1000' })
      exchange.raw('{"id":')
      await exchange.closed
    })
    const harness = await gateway([first, await upstreamWith(replyPlain())], { timeouts: { answer_ms: 200 } })
    expect((await ask(harness.url)).headers.get('x-router-model')).toBe('c1')
    await eventually(() => first.busy === 0)
  })

  test('after output: an error frame on time, though comments go on', async () => {
    const upstream = await upstreamWith(async (exchange) => {
      exchange.stream()
      exchange.event(chunkOf({ content: 'Hello' }))
      await exchange.every(20, () => exchange.chunk(': keep-alive\n\n'))
    })
    const harness = await gateway([upstream], { timeouts: { content_idle_ms: 300, comments_ms: 300 } })
    const text = await (await ask(harness.url, { stream: true })).text()
    expect(text).toContain('Hello')
    expect(text).toMatch(
      /data: \{"error":\{"message":"[^"]+","type":"api_error","param":null,"code":"upstream_timeout"\}\}\n\n$/,
    )
    expect(text).not.toContain('[DONE]')
    const [result] = await harness.settled(1)
    expect(result?.outcome).toMatchObject({ error: 'timeout', finishReason: 'error', usageEstimated: true })
    await eventually(() => upstream.busy === 0)
  })
})

describe('slow-drip body', () => {
  const drip =
    (piece: () => string): Script =>
    async (exchange) => {
      exchange.head(200, {
        'content-type': exchange.json.stream ? 'text/event-stream' : 'application/json',
        'transfer-encoding': 'chunked',
      })
      await exchange.every(30, () => exchange.chunk(piece()))
    }

  test('stream: the total deadline ends it with an error frame', async () => {
    const upstream = await upstreamWith(drip(() => `data: ${JSON.stringify(chunkOf({ content: 'x' }))}\n\n`))
    const harness = await gateway([upstream], { timeouts: { total_ms: 500 } })
    const text = await (await ask(harness.url, { stream: true })).text()
    expect(text).toContain('upstream_timeout')
    await eventually(() => upstream.busy === 0)
  })

  test('plain: the total deadline ends it with 504', async () => {
    const upstream = await upstreamWith(drip(() => ' '))
    const harness = await gateway([upstream], { timeouts: { total_ms: 500 } })
    expect((await errorOf(await ask(harness.url))).status).toBe(504)
    await eventually(() => upstream.busy === 0)
  })
})

describe('error in the first SSE event', () => {
  const failing =
    (error: Record<string, unknown>, before: readonly unknown[] = []): Script =>
    (exchange) => {
      exchange.stream()
      for (const event of before) exchange.event(event)
      exchange.event({ error })
      exchange.end()
    }

  test.each([
    [{ message: 'slow down', code: 429 }, 429],
    [{ message: 'slow down', type: 'rate_limit_error' }, 429],
    [{ message: 'too long', type: 'invalid_request_error', param: 'messages', code: 'context_length_exceeded' }, 400],
    [{ message: 'boom', type: 'server_error' }, 502],
    [{ message: 'what' }, 502],
  ])('%j: the real status', async (error, status) => {
    const harness = await gateway([await upstreamWith(failing(error))])
    expect((await errorOf(await ask(harness.url, { stream: true }))).status).toBe(status)
  })

  test('failover, also when a role came before the error', async () => {
    const first = await upstreamWith(
      failing({ message: 'boom', type: 'server_error' }, [chunkOf({ role: 'assistant', content: '' })]),
    )
    const harness = await gateway([first, await upstreamWith(replyStream())])
    const response = await ask(harness.url, { stream: true })
    expect(response.headers.get('x-router-model')).toBe('c1')
    expect(await response.text()).not.toContain('boom')
  })
})

describe('reset or clean EOF mid-stream', () => {
  const thenEnds =
    (end: (exchange: Parameters<Script>[0]) => void): Script =>
    async (exchange) => {
      exchange.stream()
      for (const event of streamEvents(['Hello', ' there']).slice(0, 3)) exchange.event(event)
      await exchange.sleep(30)
      end(exchange)
    }

  test.each([
    ['reset', thenEnds((exchange) => exchange.reset())],
    ['connection closed', thenEnds((exchange) => exchange.close())],
    ['clean EOF', thenEnds((exchange) => exchange.end())],
  ])(
    '%s: an error frame, no [DONE], no second try; the official SDK raises; partial tokens are billed',
    async (_, script) => {
      const upstream = await upstreamWith(script)
      const spare = await upstreamWith(replyStream())
      const harness = await gateway([upstream, spare])
      const text = await (await ask(harness.url, { stream: true })).text()
      expect(text).toContain(' there')
      expect(text.trimEnd().split('\n\n').at(-1)).toMatch(/^data: \{"error":/)
      expect(text).not.toMatch(/\[DONE\]|"stop"/)

      let read = ''
      const error = await (async () => {
        const stream = await sdk(harness).chat.completions.create({ ...question, stream: true })
        for await (const chunk of stream) read += chunk.choices[0]?.delta.content ?? ''
      })().catch((caught) => caught)
      expect(error).toBeInstanceOf(OpenAI.APIError)
      expect(read).toBe('Hello there')

      expect([upstream.requests.length, spare.requests.length]).toEqual([2, 0])
      const [result] = await harness.settled(2)
      expect(result?.outcome).toMatchObject({ finishReason: 'error', usageEstimated: true, error: 'reset' })
      expect(result?.outcome?.usage.completionTokens).toBeGreaterThan(0)
    },
  )

  test.each([
    ['clean EOF', (exchange: Parameters<Script>[0]) => exchange.end()],
    ['reset', (exchange: Parameters<Script>[0]) => exchange.reset()],
  ])('%s after finish_reason: the answer is whole; no [DONE] is invented', async (_, end) => {
    const upstream = await upstreamWith(async (exchange) => {
      exchange.stream()
      for (const event of streamEvents().slice(0, -1)) exchange.event(event)
      await exchange.sleep(30)
      end(exchange)
    })
    const harness = await gateway([upstream])
    const text = await (await ask(harness.url, { stream: true })).text()
    expect(text).not.toMatch(/\[DONE\]|"error"/)
    expect((await harness.settled(1))[0]?.outcome).toMatchObject({
      finishReason: 'stop',
      error: null,
      usageEstimated: true,
    })
  })

  test('a last event without its blank line reaches the client, also when it is the first that says something', async () => {
    const only = `data: ${JSON.stringify(chunkOf({ role: 'assistant', content: 'Hello' }, 'stop'))}`
    const upstream = await upstreamWith((exchange) => {
      exchange.stream()
      exchange.chunk(only)
      exchange.end()
    })
    const harness = await gateway([upstream])
    expect(await (await ask(harness.url, { stream: true })).text()).toBe(`${only}\n\n`)
  })

  test("the provider's own error event mid-stream is passed on, and ends the stream", async () => {
    const upstream = await upstreamWith((exchange) => {
      exchange.stream()
      exchange.event(chunkOf({ content: 'Hello' }))
      exchange.event({ error: { message: 'overloaded', type: 'server_error', code: null, param: null } })
      exchange.end()
    })
    const harness = await gateway([upstream])
    const text = await (await ask(harness.url, { stream: true })).text()
    expect(text.trimEnd().split('\n\n').at(-1)).toContain('overloaded')
    expect((await harness.settled(1))[0]?.outcome).toMatchObject({ error: 'upstream', finishReason: 'error' })
  })
})

describe('events split at any byte', () => {
  test('an odd stream in odd pieces reaches the client unchanged', async () => {
    const events = streamEvents(['Grüße', ' 世界', ' 🌍'])
    const bytes = Buffer.concat([
      Buffer.from(': hello\r\n\r\n'),
      ...events.map((event) => Buffer.from(`id: 1\r\ndata: ${JSON.stringify(event)}\r\n\r\n`)),
      Buffer.from('data: [DONE]\r\n\r\n'),
    ])
    const upstream = await upstreamWith(async (exchange) => {
      exchange.stream()
      for (let at = 0; at < bytes.length; at += 7) {
        exchange.chunk(bytes.subarray(at, at + 7))
        if (at % 5 === 0) await exchange.sleep(1)
      }
      exchange.end()
    })
    const harness = await gateway([upstream])
    const response = await ask(harness.url, { stream: true, stream_options: { include_usage: true } })
    expect(Buffer.from(await response.arrayBuffer()).equals(bytes)).toBe(true)
  })
})

describe('invalid JSON, HTML 200 or empty body', () => {
  test.each([
    ['invalid JSON', replyPlain(200, '{"choices": [')],
    ['HTML', replyPlain(200, '<html></html>', { 'content-type': 'text/html' })],
    ['empty', replyPlain(200, '')],
    ['not a completion', replyPlain(200, '[]')],
    ['a redirect', replyPlain(302, '', { location: 'http://127.0.0.1:1/' })],
  ])('%s: 502, or the next candidate; never 200', async (_, script) => {
    const upstream = await upstreamWith(script)
    const harness = await gateway([upstream])
    expect((await errorOf(await ask(harness.url))).status).toBe(502)
    expect(upstream.requests.length).toBe(1)
    const both = await gateway([upstream, await upstreamWith(replyPlain())])
    expect((await ask(both.url)).headers.get('x-router-model')).toBe('c1')
  })

  test.each([
    ['empty', (exchange: Parameters<Script>[0]) => exchange.end()],
    ['JSON', (exchange: Parameters<Script>[0]) => exchange.chunk('nothing like an event\n\n')],
    ['only [DONE]', (exchange: Parameters<Script>[0]) => exchange.chunk('data: [DONE]\n\n')],
  ])('a stream that says nothing (%s) is no answer', async (_, write) => {
    const harness = await gateway([
      await upstreamWith((exchange) => {
        exchange.stream()
        write(exchange)
        exchange.end()
      }),
    ])
    expect((await errorOf(await ask(harness.url, { stream: true }))).status).toBe(502)
  })

  test('an error in a 200 is an error', async () => {
    const upstream = await upstreamWith(replyPlain(200, { error: { message: 'rate', code: 429 } }))
    const harness = await gateway([upstream])
    expect((await errorOf(await ask(harness.url))).status).toBe(429)
  })

  test('a body cut short: 502', async () => {
    const upstream = await upstreamWith((exchange) => {
      exchange.head(200, { 'content-type': 'application/json', 'content-length': '1000' })
      exchange.raw('{"id":')
      exchange.close()
    })
    const harness = await gateway([upstream], { retries: { max_attempts: 1 } })
    expect((await errorOf(await ask(harness.url))).status).toBe(502)
  })
})

describe('giant line or body', () => {
  const flood =
    (head: Record<string, string>, first: string): Script =>
    async (exchange) => {
      exchange.head(200, { ...head, 'transfer-encoding': 'chunked' })
      exchange.chunk(first)
      const piece = Buffer.alloc(1024 * 1024, 'x')
      const gone = exchange.closed.then(() => true)
      for (let i = 0; i < 200; i++) {
        exchange.chunk(piece)
        const room = new Promise<boolean>((resolve) => exchange.socket.once('drain', () => resolve(false)))
        if (exchange.socket.writableNeedDrain && (await Promise.race([gone, room]))) return
      }
    }

  test('a body of 200 MB: 502, the upstream is cancelled, memory is bounded', async () => {
    const upstream = await upstreamWith(flood({ 'content-type': 'application/json' }, '{"choices":[],"x":"'))
    const harness = await gateway([upstream])
    expect((await errorOf(await ask(harness.url))).status).toBe(502)
    await eventually(() => upstream.busy === 0)
  })

  test('an event of 200 MB: cut off with an error frame', async () => {
    const upstream = await upstreamWith(
      flood(
        { 'content-type': 'text/event-stream' },
        `data: ${JSON.stringify(chunkOf({ content: 'a' }))}\n\ndata: {"x":"`,
      ),
    )
    const harness = await gateway([upstream])
    const response = await ask(harness.url, { stream: true })
    let size = 0
    let tail = ''
    for await (const bytes of response.body as unknown as AsyncIterable<Uint8Array>) {
      size += bytes.length
      tail = (tail + Buffer.from(bytes.subarray(-400)).toString()).slice(-400)
    }
    expect(size).toBeLessThan(24 * 1024 * 1024)
    expect(tail).toContain('"error"')
    await eventually(() => upstream.busy === 0)
  })
})

describe('compressed body', () => {
  test.each([
    ['gzip', gzipSync],
    ['br', brotliCompressSync],
  ])('%s: decoded; content-encoding and its length are gone', async (encoding, compress) => {
    const plain = Buffer.from(JSON.stringify(completionBody('Grüße')))
    const upstream = await upstreamWith(replyPlain(200, compress(plain), { 'content-encoding': encoding }))
    const harness = await gateway([upstream])
    const response = await ask(harness.url)
    expect(response.headers.get('content-encoding')).toBe(null)
    expect(Buffer.from(await response.arrayBuffer()).equals(plain)).toBe(true)
    expect(upstream.requests[0]?.headers['accept-encoding']).toBe('identity')
  })

  test('a compressed stream is decoded, too', async () => {
    const text = `${streamEvents()
      .map((event) => `data: ${JSON.stringify(event)}\n\n`)
      .join('')}data: [DONE]\n\n`
    const upstream = await upstreamWith((exchange) => {
      exchange.stream({ 'content-encoding': 'gzip' })
      exchange.chunk(gzipSync(text))
      exchange.end()
    })
    const harness = await gateway([upstream])
    const answer = await (await ask(harness.url, { stream: true, stream_options: { include_usage: true } })).text()
    expect(answer).toBe(text)
  })

  test('garbage, an unknown coding, and a bomb are 502', async () => {
    const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024, ' '))
    for (const [body, encoding] of [
      [Buffer.from('nonsense'), 'gzip'],
      [Buffer.from('x'), 'magic'],
      [bomb, 'gzip'],
    ] as const) {
      const harness = await gateway([await upstreamWith(replyPlain(200, body, { 'content-encoding': encoding }))])
      expect((await errorOf(await ask(harness.url))).status).toBe(502)
    }
  })
})

describe('no usage in the answer', () => {
  test('plain: estimated and flagged, cost > 0', async () => {
    const { usage: _, ...body } = completionBody('A text of some length, to be counted.')
    const harness = await gateway([await upstreamWith(replyPlain(200, body))])
    await ask(harness.url)
    const [result] = await harness.settled(1)
    expect(result?.outcome?.usageEstimated).toBe(true)
    expect(result?.outcome && costUsd(result.outcome.usage, { input: 1, output: 2 })).toBeGreaterThan(0)
  })

  test('stream: at least a token an event', async () => {
    const harness = await gateway([await upstreamWith(replyStream(streamEvents(['a', 'b', 'c']).slice(0, -1)))])
    await (await ask(harness.url, { stream: true })).text()
    const [result] = await harness.settled(1)
    expect(result?.outcome).toMatchObject({ usageEstimated: true, finishReason: 'stop' })
    expect(result?.outcome?.usage.completionTokens).toBe(3)
  })
})
