import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigSource } from '../../src/config/source.ts'
import { createApp } from '../../src/server/app.ts'
import { directly } from '../../src/server/direct.ts'
import { createHttpServer } from '../../src/server/http-server.ts'
import type { Services } from '../../src/services/contract.ts'
import { closeServices, createServices } from '../../src/services.ts'
import { silent } from '../routing/support.ts'
import { TEST_KEY, testConfig } from '../support/gateway.ts'
import { openRaw } from '../support/raw-http.ts'
import {
  completionBody,
  replyPlain,
  replyStream,
  type Script,
  startUpstream,
  type Upstream,
} from '../support/upstream.ts'

/** One gateway behind two servers: one asks its shortcut first, the other leaves everything to the app. */
let services: Services
let upstream: Upstream
let dir: string
const servers: Server[] = []
let taken = 0

const WRITE_IDLE_MS = 700

beforeAll(async () => {
  upstream = await startUpstream(replyPlain())
  dir = mkdtempSync(join(tmpdir(), 'both-ways-'))
  const path = join(dir, 'gateway.yaml')
  const config = {
    providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, api_key: 'sk-provider-key' } },
    candidates: [{ name: 'one', provider: 'up', model: 'model-one', price: { input: 1, output: 2 } }],
    retries: { max_attempts: 1, breaker: { failures: 1_000 } },
    router: { artifact: join(dir, 'none'), watch: false },
    server: {
      max_body_bytes: 1_500,
      body_timeout_ms: 400,
      headers_timeout_ms: 400,
      write_idle_timeout_ms: WRITE_IDLE_MS,
    },
  }
  // YAML holds JSON.
  writeFileSync(path, JSON.stringify(testConfig(config, dir)))
  services = await createServices(await ConfigSource.open(path, loadConfig(path)), silent)
  const shortcut = directly(services)
  const counted: typeof shortcut = async (request, response) => {
    const isTaken = await shortcut(request, response)
    if (isTaken) taken++
    return isTaken
  }
  for (const first of [counted, async () => false]) {
    const server = createHttpServer({
      fetch: createApp(services).fetch,
      shortcut: first,
      config: services.snapshot().config.server,
      cors: () => ({ origins: ['https://page.example'], max_age_s: 60 }),
      writeIdleMs: () => WRITE_IDLE_MS,
      errors: services,
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    servers.push(server)
  }
})
afterAll(async () => {
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
  if (services) await closeServices(services)
  await upstream?.close()
  rmSync(dir, { recursive: true, force: true })
})
afterEach(() => {
  vi.restoreAllMocks()
  upstream.play(replyPlain())
})

const AUTH = `authorization: Bearer ${TEST_KEY}`
const HOST = 'host: gateway.example'
const TEXT = '{"model":"one","messages":[{"role":"user","content":"Hi"}]}'
const STREAMED = TEXT.replace('{', '{"stream":true,')

const head = (line: string, headers: readonly string[]) => [line, ...headers, '', ''].join('\r\n')
const lengthOf = (body: string) => `content-length: ${Buffer.byteLength(body)}`
const post = (headers: readonly string[] = [], body = TEXT, path = '/v1/chat/completions', version = '1.1') =>
  head(`POST ${path} HTTP/${version}`, [HOST, AUTH, lengthOf(body), ...headers]) + body
const bare = (headers: readonly string[], body = TEXT) => head('POST /v1/chat/completions HTTP/1.1', headers) + body
const NEXT = head('GET /healthz HTTP/1.1', [HOST, 'connection: close'])

/**
 * All that comes back for a request and, once it is answered, for another on the same connection; what is new each time
 * is left out.
 */
async function ask(server: Server, bytes: string): Promise<string> {
  const connection = await openRaw(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  connection.send(bytes)
  await Promise.race([connection.answer(), connection.closed])
  connection.send(NEXT)
  await connection.closed
  return connection.received
    .replace(/^(date: ).*$/gim, '$1…')
    .replace(/"completed_at":\d+/g, '"completed_at":…')
    .replace(/(?:req_)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '…')
}

/**
 * Answers of both ways, which must be the same, as must be what is counted and logged; and whether the first came by
 * the shortcut.
 */
async function onBothWays(bytes: string, before: () => void = () => {}) {
  const found = []
  const takenBefore = taken
  for (const server of servers) {
    services.metrics.rejected.reset()
    const logged = vi.spyOn(services.log, 'error')
    before()
    const text = await ask(server, bytes)
    await vi.waitFor(() => expect(services.requests.size).toBe(0))
    const { values } = await services.metrics.rejected.get()
    found.push({ text, refusals: values, errors: logged.mock.calls.map(([, message]) => message) })
    vi.restoreAllMocks()
  }
  const [short, long] = found as [(typeof found)[number], unknown]
  expect(short).toEqual(long)
  return { ...short, isShort: taken > takenBefore }
}

test.each<[string, string, RegExp, Script?]>([
  ['a whole answer', post(), /^HTTP\/1\.1 200 /],
  ['a stream', post([], STREAMED), /^HTTP\/1\.1 200 [\s\S]*\[DONE\]/, replyStream()],
  ['a large answer', post(), /^HTTP\/1\.1 200 /, replyPlain(200, completionBody('x'.repeat(40_000)))],
  ['an answer of another status', post(), /^HTTP\/1\.1 404 /, replyPlain(404, { error: { message: 'no' } })],
  ['a provider that fails', post(), /^HTTP\/1\.1 502 /, replyPlain(500, 'broken')],
  ['a provider that closes', post(), /^HTTP\/1\.1 502 /, (exchange) => exchange.close()],
  [
    'a stream that breaks',
    post([], STREAMED),
    /"error":/,
    (exchange) => {
      exchange.stream()
      exchange.event({ choices: [{ index: 0, delta: { content: 'Hi' } }] })
      exchange.close()
    },
  ],
  [
    'an odd header of a provider',
    post(),
    /openai-organization: caf\xc3\xa9/,
    replyPlain(200, completionBody(), { 'openai-organization': 'caf\xe9' }),
  ],
  ['close', post(['connection: close']), /^HTTP\/1\.1 200 [\s\S]*connection: close/i],
  ['HTTP/1.0', post([], TEXT, '/v1/chat/completions', '1.0'), /^HTTP\/1\.1 200 /],
  [
    'HTTP/1.0, to be kept open',
    post(['connection: keep-alive'], TEXT, '/v1/chat/completions', '1.0'),
    /^HTTP\/1\.1 200 /,
  ],
  ['100 Continue', post(['expect: 100-continue']), /^HTTP\/1\.1 100 [\s\S]*HTTP\/1\.1 200 /],
  ['an unknown expectation', post(['expect: nothing']), /^HTTP\/1\.1 200 /],
  ['another protocol', post(['connection: upgrade', 'upgrade: h2c']), /^HTTP\/1\.1 200 /],
  [
    'chunks',
    bare([HOST, AUTH, 'transfer-encoding: chunked'], `${TEXT.length.toString(16)}\r\n${TEXT}\r\n0\r\n\r\n`),
    /^HTTP\/1\.1 200 /,
  ],
  ['two at once', post() + post(), /^HTTP\/1\.1 200 [\s\S]*HTTP\/1\.1 200 /],
  ['a bad one and a good one at once', post([], '{') + post(), /^HTTP\/1\.1 400 [\s\S]*HTTP\/1\.1 200 /],
  ['a slash at the end', post([], TEXT, '/v1/chat/completions/'), /^HTTP\/1\.1 200 /],
  ['two slashes', post([], TEXT, '//v1/chat/completions'), /^HTTP\/1\.1 200 /],
  ['no version in the path', post([], TEXT, '/chat/completions'), /^HTTP\/1\.1 200 /],
  [
    'a page of a configured origin',
    post(['origin: https://page.example']),
    /^HTTP\/1\.1 200 [\s\S]*access-control-allow-origin: https:\/\/page\.example\r\n/,
  ],
  [
    'a stream to a page of a configured origin',
    post(['origin: https://page.example'], STREAMED),
    /^HTTP\/1\.1 200 [\s\S]*access-control-allow-origin: https:\/\/page\.example\r\n/,
    replyStream(),
  ],
  ['a page of another origin', post(['origin: https://evil.example']), /^HTTP\/1\.1 200 (?![\s\S]*access-control)/],
  ['no JSON', post([], '{'), /^HTTP\/1\.1 400 /],
  ['nothing', post([], ''), /^HTTP\/1\.1 400 /],
  ['no such model', post([], TEXT.replace('"one"', '"none"')), /^HTTP\/1\.1 404 /],
  ['a bad knob', post(['x-router-cost-weight: much']), /^HTTP\/1\.1 /],
  ['a user whose name is too long', post([`x-user-id: ${'u'.repeat(300)}`]), /^HTTP\/1\.1 400 /],
  ['too much, declared', post([], TEXT.padEnd(1_501)), /^HTTP\/1\.1 413 [\s\S]*connection: close/],
  [
    'too much, and not all of it sent',
    bare([HOST, AUTH, 'content-length: 100000'], 'x'.repeat(3_000)),
    /^HTTP\/1\.1 413 /,
  ],
  [
    'too much in chunks',
    bare([HOST, AUTH, 'transfer-encoding: chunked'], `800\r\n${'x'.repeat(0x800)}\r\n0\r\n\r\n`),
    /^HTTP\/1\.1 413 /,
  ],
  ['a body that does not come', bare([HOST, AUTH, 'content-length: 10'], '{'), /^HTTP\/1\.1 408 /],
])('%s: the same on both ways', async (_, bytes, answer, script) => {
  const { text, isShort } = await onBothWays(bytes, () => script && upstream.play(script))
  expect(text).toMatch(answer)
  expect(isShort).toBe(true)
})

test.each<[string, string, RegExp]>([
  ['no key', bare([HOST, lengthOf(TEXT)]), /^HTTP\/1\.1 401 [\s\S]*www-authenticate/],
  ['a bad key', bare([HOST, 'authorization: Bearer pr-another-key-0123456789', lengthOf(TEXT)]), /^HTTP\/1\.1 401 /],
  ['two keys', post([AUTH]), /^HTTP\/1\.1 400 /],
  ['two users', post(['x-user-id: a', 'x-user-id: b']), /^HTTP\/1\.1 400 /],
  ['no host', bare([AUTH, lengthOf(TEXT)]), /^HTTP\/1\.1 400 /],
  ['two hosts', post([HOST]), /^HTTP\/1\.1 400 /],
  ['a bad host', bare(['host: a@b', AUTH, lengthOf(TEXT)]), /^HTTP\/1\.1 400 /],
  ['a host in capitals', bare(['host: Gateway.example', AUTH, lengthOf(TEXT)]), /^HTTP\/1\.1 200 /],
  ['an address of version 6', bare(['host: [::1]:8080', AUTH, lengthOf(TEXT)]), /^HTTP\/1\.1 200 /],
  ['a compressed body', post(['content-encoding: gzip']), /^HTTP\/1\.1 415 /],
  ['a body declared as not compressed', post(['content-encoding: identity']), /^HTTP\/1\.1 200 /],
  [
    'a response',
    post([], '{"model":"one","input":"Hi"}', '/v1/responses'),
    /^HTTP\/1\.1 200 [\s\S]*"object":"response"/,
  ],
  ['a response to nothing', post([], '{"model":"one"}', '/v1/responses'), /^HTTP\/1\.1 400 /],
  ['a query', post([], TEXT, '/v1/chat/completions?api-version=1'), /^HTTP\/1\.1 200 /],
  ['capitals', post([], TEXT, '/V1/chat/completions'), /^HTTP\/1\.1 404 /],
  ['another way to spell it', post([], TEXT, '/v1/chat/completion%73'), /^HTTP\/1\.1 /],
  ['a proxy’s target', post([], TEXT, 'http://gateway.example/v1/chat/completions'), /^HTTP\/1\.1 200 /],
  ['GET', head('GET /v1/chat/completions HTTP/1.1', [HOST, AUTH]), /^HTTP\/1\.1 404 /],
  ['HEAD', head('HEAD /v1/chat/completions HTTP/1.1', [HOST, AUTH]), /^HTTP\/1\.1 404 /],
  [
    'OPTIONS',
    head('OPTIONS /v1/chat/completions HTTP/1.1', [HOST, 'origin: https://page.example']),
    /^HTTP\/1\.1 401 /,
  ],
  ['PUT', post().replace('POST', 'PUT'), /^HTTP\/1\.1 404 /],
  ['HTTP/2.0', post([], TEXT, '/v1/chat/completions', '2.0'), /^HTTP\/1\.1 400 /],
  [
    'chunks under HTTP/1.0',
    head('POST /v1/chat/completions HTTP/1.0', [HOST, AUTH, 'transfer-encoding: chunked']),
    /^HTTP\/1\.1 400 /,
  ],
])('%s: left to the app, with and without the shortcut', async (_, bytes, answer) => {
  const { text, isShort } = await onBothWays(bytes)
  expect(text).toMatch(answer)
  expect(isShort).toBe(false)
})

const boom = () => {
  throw new Error('boom')
}

test.each<[string, () => void, RegExp]>([
  [
    'before a model is asked',
    () => vi.spyOn(services.admission, 'enter').mockImplementation(boom),
    /^HTTP\/1\.1 500 .*internal_error.*"status":"ok"/s,
  ],
  ['when the answer is recorded', () => vi.spyOn(services.recorder, 'interaction').mockImplementation(boom), /^$/],
  [
    'when an error is reported',
    () => {
      vi.spyOn(services.admission, 'enter').mockImplementation(boom)
      vi.spyOn(services.metrics.rejected, 'inc').mockImplementationOnce(boom)
    },
    /^HTTP\/1\.1 500 .*internal_error.*"status":"ok"/s,
  ],
])('an internal error, %s: the same on both ways', async (_, mistake, answer) => {
  const { text, errors } = await onBothWays(post(), mistake)
  expect(text).toMatch(answer)
  expect(errors).toContain('internal error')
})

test('what breaks a stream that has begun is logged with its cause', async () => {
  const warned = vi.spyOn(services.log, 'warn')
  upstream.play((exchange) => {
    exchange.stream()
    exchange.event({ choices: [{ index: 0, delta: { content: 'Hi' } }] })
    exchange.close()
  })
  await ask(servers[0] as Server, post([], STREAMED))
  expect(warned.mock.calls).toContainEqual([
    expect.objectContaining({ err: expect.objectContaining({ name: 'UpstreamError' }), error: 'reset' }),
    'an answer broke',
  ])

  upstream.play(replyStream())
  const { errors } = await onBothWays(post([], STREAMED), () => {
    vi.spyOn(services.recorder, 'interaction').mockImplementation(boom)
  })
  expect(errors).toContain('internal error')
})

test('a client that leaves while its key is looked up leaves nothing behind', async () => {
  for (const server of servers) {
    const { promise: known, resolve: tell } = Promise.withResolvers<void>()
    const caller = await services.authenticator.authenticate({ authorization: `Bearer ${TEST_KEY}` })
    vi.spyOn(services.authenticator, 'authenticate').mockImplementation(() => known.then(() => caller))
    const begin = vi.spyOn(services.requests, 'begin')
    const asked = upstream.requests.length
    const connection = await openRaw(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const left = new Promise<void>((resolve) =>
      server.once('request', (_, response) => void response.once('close', resolve)),
    )
    connection.send(post())
    await vi.waitFor(() => expect(services.authenticator.authenticate).toHaveBeenCalled())
    connection.destroy()
    await left
    tell()
    await vi.waitFor(() => expect(begin).toHaveBeenCalled())
    await vi.waitFor(() => expect(services.requests.size).toBe(0))
    expect(begin.mock.results[0]?.value.signal.aborted).toBe(true)
    expect(upstream.requests.length).toBe(asked)
    vi.restoreAllMocks()
  }
})

test('a request that is refused for its key is looked up once', async () => {
  const authenticate = vi.spyOn(services.authenticator, 'authenticate')
  const bad = bare([HOST, 'authorization: Bearer pr-nobody-gave-me-this-key', lengthOf(TEXT)])
  for (const server of servers) expect(await ask(server, bad)).toMatch(/^HTTP\/1\.1 401 /)
  expect(authenticate).toHaveBeenCalledTimes(2)
})

test('a client that leaves with several requests in work leaves nothing behind', async () => {
  for (const server of servers) {
    upstream.play((exchange) => exchange.closed)
    const connection = await openRaw(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    connection.send(post() + post() + post([], STREAMED))
    await vi.waitFor(() => expect(services.requests.size).toBe(3))
    await vi.waitFor(() => expect(upstream.busy).toBe(3))
    connection.destroy()
    await vi.waitFor(() => expect(services.requests.size).toBe(0))
    await vi.waitFor(() => expect(upstream.busy).toBe(0))
  }
})

/** More than kernels keep for a client that reads nothing, in answers that nobody waits for. */
async function fill(server: Server, bytes: string, count: number, last = '') {
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
  const connection = await openRaw(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  connection.socket.pause()
  const socket = await accepted
  connection.send(bytes.repeat(count) + last)
  await vi.waitFor(() => expect(socket.writableLength).toBeGreaterThan(0), { timeout: 10_000 })
  return { connection, socket }
}

test.each([
  ['chats', post(), 400],
  ['to the app, without a key', head('GET /metrics HTTP/1.1', [HOST]), 400],
])(
  'a client that sends many requests, %s, and reads no answer is cut off, however small the answers are',
  async (_, bytes, count) => {
    upstream.play(replyPlain(200, completionBody('x'.repeat(15_000))))
    for (const server of servers) {
      const { connection, socket } = await fill(server, bytes, count)
      await vi.waitFor(() => expect(socket.destroyed).toBe(true), { timeout: 10_000 })
      await vi.waitFor(() => expect(services.requests.size).toBe(0))
      connection.destroy()
    }
  },
)

test('a client that reads after all gets every answer, the last one also when it takes longer than the client may', async () => {
  for (const server of servers) {
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    upstream.play(async (exchange) => {
      if (exchange.request.body.includes('slow')) await released
      replyPlain(200, completionBody('x'.repeat(15_000)))(exchange)
    })
    const { connection, socket } = await fill(server, post(), 400, post([], TEXT.replace('Hi', 'slow')))
    connection.socket.resume()
    await vi.waitFor(() => expect(connection.answers).toBe(400), { timeout: 10_000 })
    await sleep(2 * WRITE_IDLE_MS)
    expect(socket.destroyed).toBe(false)
    release()
    await vi.waitFor(() => expect(connection.answers).toBe(401), { timeout: 10_000 })
    connection.destroy()
  }
})
