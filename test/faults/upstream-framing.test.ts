import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
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
  usageChunk,
} from '../support/upstream.ts'

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function gateway(scripts: Script[], options: Omit<HarnessOptions, 'origins'> = {}): Promise<Harness> {
  const upstreams = await Promise.all(scripts.map((script) => startUpstream(script)))
  closers.push(...upstreams.map((upstream: Upstream) => upstream.close))
  const harness = await startHarness({ ...options, origins: upstreams.map(({ origin }) => origin) })
  closers.push(harness.close)
  return harness
}

/** What the official SDK makes of a streamed answer. */
async function streamed(harness: Harness) {
  const client = new OpenAI({ baseURL: harness.url, apiKey: 'client-key', maxRetries: 0 })
  let text = ''
  const stream = await client.chat.completions.create({
    model: 'auto',
    messages: [{ role: 'user', content: 'Hi' }],
    stream: true,
  })
  for await (const { choices } of stream) text += choices[0]?.delta.content ?? ''
  return text
}

const text = async (harness: Harness, body: Record<string, unknown> = {}) =>
  (await ask(harness.url, { stream: true, ...body })).text()

describe('the frame is ended before what we insert', () => {
  test.each([
    ['a comment', ': keep-al'],
    ['a field name', 'dat'],
    ['data', 'data: {"id":"chatcmpl-1"'],
    ['data after an event name', 'event: message\ndata: {"id"'],
    ['an event without its blank line, half a line behind', 'data: {"x"\ndata: '],
  ])('a reset inside %s: the SDK raises its own error, with our code', async (_, half) => {
    for (const usage of [false, true]) {
      const harness = await gateway([
        async (exchange) => {
          exchange.stream()
          exchange.event(chunkOf({ content: 'one' }))
          exchange.chunk(half)
          await exchange.sleep(20)
          exchange.reset()
        },
      ])
      const body = await text(harness, usage ? { stream_options: { include_usage: true } } : {})
      expect(body).toMatch(/\n\ndata: \{"error":\{[^\n]*"code":"upstream_error"\}\}\n\n$/)
      const error = await streamed(harness).catch((caught) => caught)
      expect(error).toBeInstanceOf(OpenAI.APIError)
      expect(error.code).toBe('upstream_error')
    }
  })

  test('half an event too large to be held back: the connection breaks, so that the client sees an error', async () => {
    const harness = await gateway([
      async (exchange) => {
        exchange.stream()
        exchange.event(chunkOf({ content: 'one' }))
        exchange.chunk(`data: {"choices":[{"delta":{"content":"${'x'.repeat(200_000)}`)
        await exchange.sleep(50)
        exchange.reset()
      },
    ])
    await expect(streamed(harness)).rejects.toThrow()
    expect((await harness.settled(1))[0]?.outcome).toMatchObject({ error: 'reset', finishReason: 'error' })
  })

  test('an error in a shape on which no SDK raises is told anew', async () => {
    for (const ending of ['[{"error":{"code":503,"message":"overloaded"}}]\n\n', '{"error":"overloaded"}']) {
      const harness = await gateway([
        (exchange) => {
          exchange.stream()
          exchange.event(chunkOf({ content: 'one' }))
          exchange.chunk(ending)
          exchange.end()
        },
      ])
      const error = await streamed(harness).catch((caught) => caught)
      expect(error).toBeInstanceOf(OpenAI.APIError)
      expect(error.message).toContain('overloaded')
      expect((await harness.settled(1))[0]?.outcome?.error).toBe('upstream')
    }
  })
})

describe('after [DONE] nothing is sent', () => {
  test.each([
    ['stays open', () => {}],
    ['resets', (exchange: Parameters<Script>[0]) => exchange.reset()],
    ['goes on', (exchange: Parameters<Script>[0]) => exchange.every(5, () => exchange.chunk(': more\n\n'))],
  ])('an upstream that %s', async (_, after) => {
    const harness = await gateway(
      [
        async (exchange) => {
          exchange.stream()
          for (const event of streamEvents()) exchange.event(event)
          exchange.chunk('data: [DONE]\n\n')
          await exchange.sleep(10)
          await after(exchange)
        },
      ],
      { timeouts: { content_idle_ms: 300 } },
    )
    const started = performance.now()
    expect(await text(harness)).toMatch(/data: \[DONE\]\n\n$/)
    expect(performance.now() - started).toBeLessThan(5_000)
    expect((await harness.settled(1))[0]?.outcome).toMatchObject({ error: null, finishReason: 'stop' })
  })

  test('the connection of a provider that says goodbye is used again', async () => {
    const upstream = await startUpstream(replyStream())
    closers.push(upstream.close)
    const harness = await startHarness({ origins: [upstream.origin] })
    closers.push(harness.close)
    for (let i = 0; i < 5; i++) expect(await streamed(harness)).toBe('Hello there.')
    expect(upstream.connections).toBe(1)
  })
})

describe('presence is not meaning', () => {
  test.each(['', 'null', 'None', ' '])('finish_reason %j in every chunk, then a reset: an error', async (reason) => {
    const harness = await gateway([
      async (exchange) => {
        exchange.stream()
        exchange.event(chunkOf({ role: 'assistant', content: '' }, reason))
        exchange.event(chunkOf({ content: 'one' }, reason))
        await exchange.sleep(20)
        exchange.reset()
      },
    ])
    await expect(streamed(harness)).rejects.toThrow(OpenAI.APIError)
    expect((await harness.settled(1))[0]?.outcome).toMatchObject({ error: 'reset', finishReason: 'error' })
  })

  test('a role with an empty finish reason says nothing yet: another candidate can take over', async () => {
    const harness = await gateway([
      async (exchange) => {
        exchange.stream()
        exchange.event(chunkOf({ role: 'assistant', content: '' }, ''))
        await exchange.sleep(20)
        exchange.reset()
      },
      replyStream(),
    ])
    expect(await streamed(harness)).toBe('Hello there.')
  })

  test.each([null, {}, '', { message: null, code: null }])('error %j beside an answer is none', async (error) => {
    const plain = await gateway([replyPlain(200, completionBody('Hi', { error }))])
    expect((await ask(plain.url)).status).toBe(200)
    const events = streamEvents().map((event) => ({ ...event, ...(error !== null && error !== '' ? {} : { error }) }))
    expect(await streamed(await gateway([replyStream(events)]))).toBe('Hello there.')
  })

  test('an answer without choices is none, whatever else it holds', async () => {
    for (const body of [completionBody('', { choices: [] }), completionBody('', { choices: [null] })]) {
      const harness = await gateway([replyPlain(200, body), replyPlain()])
      expect((await ask(harness.url)).headers.get('x-router-model')).toBe('c1')
    }
  })

  test('an error in the only choice of a 200 is an error', async () => {
    const choice = {
      index: 0,
      message: { role: 'assistant', content: '' },
      finish_reason: 'error',
      error: { code: 502, message: 'gone' },
    }
    const harness = await gateway([replyPlain(200, completionBody('', { choices: [choice] })), replyPlain()])
    expect((await ask(harness.url)).headers.get('x-router-model')).toBe('c1')
  })

  test('zeros for usage, and an empty id, are neither', async () => {
    const body = completionBody('Hello', { id: '', usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } })
    const harness = await gateway([replyPlain(200, body)])
    await ask(harness.url)
    const outcome = (await harness.settled(1))[0]?.outcome
    expect(outcome).toMatchObject({ usageEstimated: true, completionId: null })
    expect(outcome?.usage.completionTokens).toBeGreaterThan(0)
  })
})

describe('the shape is judged by the first bytes', () => {
  const events = Buffer.from(
    `${streamEvents()
      .map((event) => `data: ${JSON.stringify(event)}\n\n`)
      .join('')}data: [DONE]\n\n`,
  )
  const labelled =
    (body: Buffer, headers: Record<string, string>): Script =>
    (exchange) =>
      exchange.reply(200, body, headers)
  const mark = Buffer.from([0xef, 0xbb, 0xbf])

  test.each(['application/json', 'text/plain', 'text/html', 'application/octet-stream'])(
    'events as %s',
    async (type) => {
      for (const body of [events, Buffer.concat([mark, events])]) {
        const harness = await gateway([labelled(body, { 'content-type': type })])
        const response = await ask(harness.url, { stream: true })
        expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/)
        expect(await response.text()).toContain('[DONE]')
        expect(await streamed(harness)).toBe('Hello there.')
      }
    },
  )

  test('a completion where events were asked for, whatever its label', async () => {
    const calls = [{ id: 'call_1', type: 'function', function: { name: 'read', arguments: '{"path":"a"}' } }]
    const body = completionBody('Hello there.', {})
    body.choices = [
      { ...body.choices[0], message: { role: 'assistant', content: 'Hello there.', tool_calls: calls } } as never,
    ]
    for (const type of ['text/event-stream', 'application/json']) {
      const harness = await gateway([labelled(Buffer.from(JSON.stringify(body)), { 'content-type': type })])
      expect(await streamed(harness)).toBe('Hello there.')
      const sent = await text(harness)
      expect(sent).toContain('"arguments":"{\\"path\\":\\"a\\"}"')
      expect(sent).not.toContain('"usage":{')
      expect((await harness.settled(2))[1]?.outcome).toMatchObject({ error: null, usageEstimated: false })
    }
  })

  test('events where a completion was asked for', async () => {
    const harness = await gateway([labelled(events, { 'content-type': 'application/json' })])
    const completion = (await (await ask(harness.url)).json()) as { choices: unknown[]; usage: unknown }
    expect(completion).toMatchObject({
      object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content: 'Hello there.' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 11 },
    })
    const torn = await gateway([labelled(events.subarray(0, 500), {}), replyPlain()])
    expect((await ask(torn.url)).headers.get('x-router-model')).toBe('c1')
  })

  test('a completion behind a byte-order mark', async () => {
    const body = Buffer.concat([mark, Buffer.from(JSON.stringify(completionBody()))])
    const harness = await gateway([labelled(body, {})])
    expect(await (await ask(harness.url)).json()).toEqual(completionBody())
  })

  const json = Buffer.from(JSON.stringify(completionBody()))
  test.each([
    ['deflate', deflateSync(json)],
    ['deflate', deflateRawSync(json)],
    ['gzip', gzipSync(json)],
    ['gzip', json],
    ['deflate', json],
    ['br', brotliCompressSync(json)],
    ['gzip, br', brotliCompressSync(gzipSync(json))],
    ['utf-8', json],
    ['none', json],
  ])('content-encoding %s', async (coding, body) => {
    const harness = await gateway([labelled(body, { 'content-encoding': coding })])
    expect(await (await ask(harness.url)).json()).toEqual(completionBody())
  })
})

describe('a model that thinks for long and only sends comments', () => {
  const thinking: Script = async (exchange) => {
    exchange.stream()
    for (let i = 0; i < 40; i++) {
      exchange.chunk(': thinking\n\n')
      await exchange.sleep(20)
    }
    for (const event of streamEvents()) exchange.event(event)
    exchange.chunk('data: [DONE]\n\n')
    exchange.end()
  }

  test('headers and comments go on after quiet_ms, no timer cuts it, and the first word is the first byte', async () => {
    const timeouts = { quiet_ms: 100, first_byte_ms: 300, content_idle_ms: 300 }
    const harness = await gateway([thinking], { timeouts })
    const response = await ask(harness.url, { stream: true })
    const reader = response.body?.getReader()
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toMatch(/^: thinking/)
    let rest = ''
    for (let part = await reader?.read(); !part?.done; part = await reader?.read())
      rest += Buffer.from(part?.value ?? [])
    expect(rest).toContain('[DONE]')
    const outcome = (await harness.settled(1))[0]?.outcome
    expect(outcome).toMatchObject({ error: null })
    expect(outcome?.ttftMs).toBeGreaterThan(600)
  })

  test('before quiet_ms a failure goes to the next candidate; after it, it is an error event', async () => {
    const dies: Script = async (exchange) => {
      exchange.stream()
      exchange.chunk(': thinking\n\n')
      await exchange.sleep(150)
      exchange.reset()
    }
    const early = await gateway([dies, replyStream()], { timeouts: { quiet_ms: 5_000 } })
    expect(await streamed(early)).toBe('Hello there.')
    const late = await gateway([dies, replyStream()], { timeouts: { quiet_ms: 30 } })
    await expect(streamed(late)).rejects.toThrow(OpenAI.APIError)
  })

  test('comments alone are given comments_ms', async () => {
    const forever: Script = async (exchange) => {
      exchange.stream()
      await exchange.every(20, () => exchange.chunk(': thinking\n\n'))
    }
    const timeouts = { quiet_ms: 50, comments_ms: 400, content_idle_ms: 100 }
    const harness = await gateway([forever], { timeouts })
    await expect(streamed(harness)).rejects.toThrow(OpenAI.APIError)
    expect((await harness.settled(1))[0]?.outcome).toMatchObject({ error: 'timeout' })
  })
})

test('a usage event that holds more is passed on', async () => {
  const cited = { ...usageChunk, citations: ['https://example.com/a'] }
  const harness = await gateway([replyStream([...streamEvents().slice(0, -1), cited])])
  expect(await text(harness)).toContain('https://example.com/a')
  expect((await harness.settled(1))[0]?.outcome).toMatchObject({ usageEstimated: false })
})
