import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { parseFeedback } from '../../src/api/feedback.ts'
import { parsePreferences } from '../../src/api/profiles.ts'
import { ConfigError, loadConfig } from '../../src/config/load.ts'
import { parseRawBody } from '../../src/openai/raw-body.ts'
import { apiKey } from '../../src/providers/api-key.ts'
import { call, complete, expectError } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { rawRequest } from '../support/raw-http.ts'
import { completionBody, type Exchange, replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

/** Where nobody must go. */
let canary: Upstream
let upstream: Upstream
let gateway: RunningGateway
let script: (exchange: Exchange) => unknown = replyPlain()

beforeAll(async () => {
  canary = await startUpstream(replyPlain())
  upstream = await startUpstream(async (exchange) => void (await script(exchange)))
  const provider = { base_url: `${upstream.origin}/v1`, api_key: 'sk-provider-key-0123456789' }
  gateway = await startGateway({
    log: { level: 'debug' },
    providers: {
      up: { kind: 'openai-compatible', ...provider },
      claude: { kind: 'anthropic', ...provider },
      sandbox: { kind: 'sandbox', enabled: true },
    },
    candidates: ['up', 'claude'].map((name) => ({
      name,
      provider: name,
      price: { input: 1, output: 2 },
      context_window: 10_000_000,
      capabilities: ['tools', 'vision'],
    })),
    retries: { max_attempts: 1, breaker: { failures: 1_000 } },
  })
})
afterAll(async () => {
  await discard(gateway)
  await Promise.all([upstream?.close(), canary?.close()])
})
afterEach(() => {
  script = replyPlain()
})

describe('requests to other servers (SSRF)', () => {
  const content = () => [
    { type: 'text', text: `See ${canary.origin}/text` },
    { type: 'image_url', image_url: { url: `${canary.origin}/image.png` } },
  ]

  test.each(['up', 'claude'])('what a message points to is for the provider alone: %s', async (model) => {
    await complete(gateway, { model, messages: [{ role: 'user', content: content() }] })
    await call(gateway, '/v1/router/explain', { body: { model, messages: [{ role: 'user', content: content() }] } })
    expect(canary.connections).toBe(0)
  })

  test.each([301, 302, 303, 307, 308])('a redirect of a provider (%i) is not followed', async (status) => {
    script = (exchange) => exchange.reply(status, '', { location: `${canary.origin}/v1/chat/completions` })
    const answer = await complete(gateway, { model: 'up' })
    expect(answer.status).toBe(502)
    expect(await answer.text()).not.toContain(canary.origin)
    expect(canary.connections).toBe(0)
  })

  test('it is no proxy: another host in the target, in Host, in forwarding headers', async () => {
    const { port } = canary
    for (const target of [
      `http://127.0.0.1:${port}/v1/models`,
      '//127.0.0.1/v1/models',
      `/v1/models?url=${canary.origin}`,
    ]) {
      await rawRequest(
        gateway.url,
        `GET ${target} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nauthorization: Bearer ${gateway.key}\r\nx-forwarded-host: 127.0.0.1:${port}\r\nforwarded: host=127.0.0.1:${port}\r\n\r\n`,
      )
    }
    await rawRequest(gateway.url, `CONNECT 127.0.0.1:${port} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n\r\n`).catch(
      () => null,
    )
    expect(canary.connections).toBe(0)
  })
})

describe('headers', () => {
  test('none of the client reaches a provider', async () => {
    const before = upstream.requests.length
    const headers = {
      cookie: 'session=client-secret',
      'x-user-id': 'client-secret',
      'x-forwarded-for': 'client-secret',
      'proxy-authorization': 'client-secret',
      // Another key than the one in `authorization` would be refused.
      'x-api-key': gateway.key,
      'api-key': gateway.key,
      'openai-organization': 'client-secret',
      'anthropic-beta': 'client-secret',
      'x-conversation-id': 'client-secret',
    }
    for (const model of ['up', 'claude']) {
      await complete(gateway, { model }, { headers: { ...headers, 'idempotency-key': `client-secret-${model}` } })
    }
    const seen = JSON.stringify(upstream.requests.slice(before).map((request) => request.headers))
    expect(upstream.requests.length - before).toBe(2)
    expect(seen).not.toContain('client-secret')
    expect(seen).not.toContain(gateway.key)
    // Another key beside the one that counts is refused: no provider sees either.
    const twoKeys = await complete(gateway, { model: 'up' }, { headers: { 'x-api-key': 'client-secret' } })
    expect(twoKeys.status).toBe(400)
    expect(upstream.requests.length - before).toBe(2)
  })

  test.each([
    ['UTF-8', 'openai-organization: Zoë 世界'],
    ['Latin-1', 'openai-organization: \xff\xfe'],
    ['a status for us', 'retry-after: 1, x-router-model: other'],
    ['a cookie', 'set-cookie: a=b'],
    ['our own', 'x-request-id: forged\r\nx-router-model: forged\r\nx-router-cost-usd: 0'],
  ])('of a provider: %s', async (_, lines) => {
    script = (exchange) => {
      const body = JSON.stringify(completionBody())
      exchange.raw(Buffer.from(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${lines}\r\n\r\n${body}`, lines.includes('世') ? 'utf8' : 'latin1')) // biome-ignore format: bytes
    }
    const answer = await complete(gateway, { model: 'up' })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('set-cookie')).toBeNull()
    expect(answer.headers.get('x-router-model')).toBe('up')
    expect(answer.headers.get('x-request-id')).toMatch(/^req_/)
  })

  test.each(['a\r\nx-injected: 1', 'a\nx-injected: 1', 'a\0b', '\u2028', 'é\r\n\r\nHTTP/1.1 200 OK'])(
    'a model, a user, a conversation of %j splits no answer and no log line',
    async (evil) => {
      const body = { model: evil, user: evil, metadata: { a: evil }, messages: [{ role: 'user', content: 'Hi' }] }
      const answer = await call(gateway, '/v1/chat/completions', { body })
      expect([400, 404]).toContain(answer.status)
      expectError(await answer.text())
      const good = await call(gateway, '/v1/chat/completions', { body: { ...body, model: 'up' } })
      const byPath = await call(gateway, `/v1/models/${encodeURIComponent(evil)}`)
      const profile = await call(gateway, `/v1/users/${encodeURIComponent(evil)}/profile`)
      for (const { headers } of [answer, good, byPath, profile]) expect(headers.get('x-injected')).toBeNull()
      for (const line of gateway.stdout().split('\n').slice(0, -1)) {
        expect(() => JSON.parse(line)).not.toThrow()
        expect([...line].every((char) => char >= ' ' && char !== '\x7f')).toBe(true)
      }
    },
  )
})

describe('names that a client makes up, in what was left off', () => {
  const odd = 'x\r\nx-injected: 1, é中\0'
  const user = { role: 'user', content: 'Hi' }
  test.each([
    ['a type of tool', '/v1/responses', { input: 'Hi', tools: [{ type: odd }] }],
    ['a type of item', '/v1/responses', { input: [user, { type: odd }] }],
    ['a type of tool', '/v1/messages', { max_tokens: 9, messages: [user], tools: [{ type: odd, name: 'x' }] }],
    [
      'thousands of them',
      '/v1/responses',
      { input: 'Hi', tools: Array.from({ length: 5_000 }, (_, i) => ({ type: `${odd}${i}` })) },
    ],
  ])('%s, by %s: the answer comes, its header is one line of bounded length', async (_, path, fields) => {
    const answer = await call(gateway, path, { body: { model: 'up', ...fields } })
    expect(answer.status, await answer.text()).toBe(200)
    expect(answer.headers.get('x-injected')).toBeNull()
    const told = answer.headers.get('x-router-dropped') ?? ''
    expect(told).toMatch(/^(tools|input)\.x\?\?x-injected:\?1\?/)
    expect(told).toMatch(/^[\x20-\x7e]{1,2200}$/)
  })
})

test('a compressed request is not unpacked', async () => {
  const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024, ' '))
  const answer = await call(gateway, '/v1/chat/completions', { body: bomb, headers: { 'content-encoding': 'gzip' } })
  expect([400, 415]).toContain(answer.status)
  expectError(await answer.text())
})

// An expression that tries again from each character would take minutes to hours for so much.
describe('text that is slow for regular expressions', () => {
  const SIZE = 200_000
  const many = (text: string) => text.repeat(Math.ceil(SIZE / text.length))
  const texts: Record<string, string> = {
    spaces: `${many(' ')}x`,
    'line ends': `${many('\n')}x`,
    stops: `${many('. ')}x`,
    'question marks': `${many('?!')}x`,
    digits: `${many('1')}x`,
    'sums without end': `${many('1+')}x`,
    'digits and spaces': `1${many(' ')}x`,
    brackets: many('('),
    braces: many('{'),
    quotes: many('"'),
    backslashes: many('\\'),
    ticks: many('`'),
    capitals: ` ${many('A')}`,
    'capital words': many(' A-'),
    hyphens: many('a-'),
    accents: many('e\u0301'),
    surrogates: many('\ud83d'),
    'data urls': `data:a${many(';a=b')},`,
  }
  test.each(Object.keys(texts))('%s', async (name) => {
    const text = texts[name] ?? ''
    for (const model of ['up', 'claude', 'sandbox-premium']) {
      const answer = await complete(gateway, {
        model,
        messages: [
          {
            role: 'user',
            content: [
              { type: 'text', text },
              { type: 'image_url', image_url: { url: text } },
            ],
          },
        ],
        max_tokens: 5,
      })
      expect(answer.status).toBeLessThan(503)
      const plain = await complete(gateway, { model, messages: [{ role: 'user', content: text }], max_tokens: 5 })
      expect(plain.status).toBeLessThan(503)
    }
  })
})

describe('prototype pollution', () => {
  const bodies = [
    '{"__proto__":{"polluted":1}}',
    '{"constructor":{"prototype":{"polluted":1}}}',
    '{"model":"up","messages":[{"role":"user","content":"Hi","__proto__":{"polluted":1}}],"__proto__":{"polluted":1}}',
    '{"rating":"up","request_id":"a","__proto__":{"polluted":1}}',
    '{"preferences":{"__proto__":{"polluted":1}}}',
  ]
  const isClean = () => expect(({} as Record<string, unknown>).polluted).toBeUndefined()

  test.each(bodies)('%s', (text) => {
    for (const parse of [(raw: Buffer) => parseRawBody(raw), parseFeedback, parsePreferences]) {
      try {
        parse(Buffer.from(text))
      } catch (error) {
        expect(error).toMatchObject({ status: 400 })
      }
      isClean()
    }
  })

  test('in a configuration', () => {
    const dir = mkdtempSync(join(tmpdir(), 'persona-router-config-'))
    const file = join(dir, 'gateway.yaml')
    writeFileSync(file, '__proto__: { polluted: 1 }\nconstructor: { prototype: { polluted: 1 } }\n')
    expect(() => loadConfig(file)).toThrow(ConfigError)
    isClean()
    rmSync(dir, { recursive: true })
  })

  test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'a name of %s is just unknown',
    async (name) => {
      expect((await complete(gateway, { model: name })).status).toBe(404)
      expect((await complete(gateway, { model: `auto:${name}` })).status).toBe(404)
      expect((await call(gateway, `/v1/models/${name}`)).status).toBe(404)
      expect((await complete(gateway, { model: 'up' }, { user: name })).status).toBe(200)
    },
  )
})

describe('a key in a file', () => {
  let dir: string
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'persona-router-key-'))
  })
  afterAll(() => rmSync(dir, { recursive: true, force: true }))
  const read = (file: string) => apiKey({ api_key_file: file }, 'api_key').read()

  test('is read through the links of a mounted secret', () => {
    writeFileSync(join(dir, 'real'), 'sk-real\n')
    symlinkSync('real', join(dir, 'link'))
    expect(read(join(dir, 'link'))).toBe('sk-real')
  })

  test('that is a directory, a device, a pipe, huge, or not there, is none', () => {
    writeFileSync(join(dir, 'huge'), 'x'.repeat(1024 * 1024))
    const odd = [dir, join(dir, 'huge'), join(dir, 'none'), join(dir, 'a\0b')]
    if (process.platform !== 'win32') {
      execFileSync('mkfifo', [join(dir, 'pipe')])
      odd.push(join(dir, 'pipe'), '/dev/zero')
    }
    for (const file of odd) expect(read(file)).toBeUndefined()
  })
})
