import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { complete, expectError } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { measured } from '../support/measured.ts'
import { openRaw, postText, type RawConnection } from '../support/raw-http.ts'
import { type ScriptedGateway, startScripted } from '../support/scripted-gateway.ts'
import { replyPlain, type Upstream } from '../support/upstream.ts'

const HEADERS_TIMEOUT_MS = 1_000
const BODY_TIMEOUT_MS = 1_500
const MAX_CONNECTIONS = 64

let scripted: ScriptedGateway
let upstream: Upstream
let auth: string
const connections: RawConnection[] = []

beforeAll(async () => {
  scripted = await startScripted({
    server: {
      headers_timeout_ms: HEADERS_TIMEOUT_MS,
      body_timeout_ms: BODY_TIMEOUT_MS,
      max_connections: MAX_CONNECTIONS,
    },
  })
  upstream = scripted.upstream
  auth = `authorization: Bearer ${scripted.gateway.key}`
})
afterAll(() => scripted?.close())

let hitsBefore = 0
beforeEach(() => {
  hitsBefore = upstream.requests.length
})
afterEach(async () => {
  for (const connection of connections.splice(0)) {
    connection.destroy()
    await connection.closed
  }
})

const hits = () => upstream.requests.length - hitsBefore
const text = '{"model":"one","messages":[{"role":"user","content":"Hi"}]}'
const length = `content-length: ${text.length}`

async function open(): Promise<RawConnection> {
  const connection = await openRaw(scripted.gateway.url)
  connections.push(connection)
  return connection
}

/** One refusal, then the end of the connection; nobody was asked. */
async function expectRefused(bytes: Buffer | string, ...statuses: number[]) {
  const connection = await open()
  connection.send(bytes)
  const answer = await connection.answer()
  expect(statuses).toContain(answer.status)
  const error = expectError(answer.body)
  expect(answer.headers['x-request-id']).toMatch(/\S/)
  await connection.closed
  expect(connection.answers).toBe(1)
  expect(hits()).toBe(0)
  return error
}

describe('headers that name the caller, their user or the host, given twice: 400, never anonymous', () => {
  test.each([
    ['authorization, the same', () => ['host: gateway', auth, auth, length], 'authorization'],
    [
      'authorization, a good one first',
      () => ['host: gateway', auth, 'authorization: Bearer pr-another-key-0123456789', length],
      'authorization',
    ],
    [
      'authorization, a good one last',
      () => ['host: gateway', 'Authorization: Bearer pr-another-key-0123456789', auth, length],
      'authorization',
    ],
    ['host', () => ['host: gateway', 'host: elsewhere', auth, length], 'host'],
    ['a user', () => ['host: gateway', auth, 'x-user-id: ada', 'x-user-id: ben', length], 'x-user-id'],
  ])('%s', async (_, headers, param) => {
    const connection = await open()
    connection.send(postText(headers(), text))
    const answer = await connection.answer()
    expect(answer.status).toBe(400)
    const error = expectError(answer.body)
    if (error.param !== null) expect(error.param).toBe(param)
    expect(connection.answers).toBe(1)
    expect(hits()).toBe(0)
  })

  test.each([
    ['none', []],
    ['an empty one', ['host:']],
    ['two in one', ['host: gateway, elsewhere']],
    ['one with a user', ['host: evil@gateway']],
    ['one with a path', ['host: gateway/v1/models?']],
    ['one with a space', ['host: gate way']],
  ])('an invalid host: %s', async (_, host) => {
    await expectRefused(postText([...host, auth, length], text), 400)
  })

  test.each(['*', 'v1/chat/completions', 'ftp://gateway/v1/chat/completions', '/v1\\chat', '/v1/../v1/chat/%zz'])(
    'the target %s asks nobody',
    async (path) => {
      const connection = await open()
      connection.send(postText(['host: gateway', auth, length], text, path))
      const answer = await connection.answer()
      expect([400, 404]).toContain(answer.status)
      expectError(answer.body)
      expect(hits()).toBe(0)
    },
  )
})

describe('oversize or very many headers: 431, connection closed', () => {
  test.each([
    ['one of 64 KiB', () => ['host: gateway', auth, `x-big: ${'x'.repeat(64 * 1024)}`, length]],
    ['a name of 64 KiB', () => ['host: gateway', auth, `${'x'.repeat(64 * 1024)}: 1`, length]],
    [
      '40 of 1 KiB',
      () => ['host: gateway', auth, ...Array.from({ length: 40 }, (_, i) => `x-${i}: ${'x'.repeat(1024)}`), length],
    ],
    [
      '500, the key first',
      () => ['host: gateway', auth, length, ...Array.from({ length: 500 }, (_, i) => `x-${i}: 1`)],
    ],
    ['500, the key last', () => ['host: gateway', length, ...Array.from({ length: 500 }, (_, i) => `x-${i}: 1`), auth]],
    ['120, the key last', () => ['host: gateway', length, ...Array.from({ length: 120 }, (_, i) => `x-${i}: 1`), auth]],
    ['a URL of 64 KiB', () => null],
  ])('%s', async (_, headers) => {
    const lines = headers()
    await expectRefused(
      lines
        ? postText(lines, text)
        : postText(['host: gateway', auth, length], text, `/v1/chat/completions?${'x'.repeat(64 * 1024)}`),
      431,
    )
  })

  test('a hundred pass', async () => {
    const connection = await open()
    connection.send(
      postText(['host: gateway', auth, length, ...Array.from({ length: 97 }, (_, i) => `x-${i}: 1`)], text),
    )
    expect((await connection.answer()).status).toBe(200)
  })
})

describe('requests that two servers read differently: 400, one response, closed', () => {
  const chunked = `${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`
  const smuggled = 'GET /v1/models HTTP/1.1\r\nhost: gateway\r\n\r\n'
  test.each([
    [
      'content-length and transfer-encoding',
      () => ['host: gateway', auth, length, 'transfer-encoding: chunked'],
      chunked,
    ],
    [
      'transfer-encoding and content-length',
      () => ['host: gateway', auth, 'transfer-encoding: chunked', 'content-length: 4'],
      chunked,
    ],
    ['two lengths that differ', () => ['host: gateway', auth, length, 'content-length: 4'], text],
    ['two lengths in one', () => ['host: gateway', auth, `content-length: ${text.length}, 4`], text],
    ['a length with a sign', () => ['host: gateway', auth, `content-length: +${text.length}`], text],
    ['a hexadecimal length', () => ['host: gateway', auth, `content-length: 0x${text.length.toString(16)}`], text],
    ['an unknown encoding', () => ['host: gateway', auth, 'transfer-encoding: xchunked'], chunked],
    ['chunked twice, not last', () => ['host: gateway', auth, 'transfer-encoding: chunked, identity'], chunked],
    ['a space before the colon', () => ['host: gateway', auth, `content-length : ${text.length}`], text],
    ['a folded header', () => ['host: gateway', auth, 'x-a: 1\r\n transfer-encoding: chunked', length], text],
    ['a bare CR in a header', () => ['host: gateway', auth, 'x-a: 1\rtransfer-encoding: chunked', length], text],
    ['a NUL in a header', () => ['host: gateway', auth, 'x-a: 1\0', length], text],
    [
      'two codings',
      () => ['host: gateway', auth, 'transfer-encoding: identity', 'transfer-encoding: chunked'],
      chunked,
    ],
    ['a coding besides chunks', () => ['host: gateway', auth, 'transfer-encoding: gzip, chunked'], chunked],
    [
      'a chunk size with a sign',
      () => ['host: gateway', auth, 'transfer-encoding: chunked'],
      `-1\r\n${text}\r\n0\r\n\r\n`,
    ],
    [
      'a chunk size beyond 64 bits',
      () => ['host: gateway', auth, 'transfer-encoding: chunked'],
      `fffffffffffffffff\r\n${text}\r\n0\r\n\r\n`,
    ],
  ])('%s', async (_, headers, body) => {
    await expectRefused(postText(headers(), body + smuggled), 400)
  })

  test.each([
    'GARBAGE\r\n\r\n',
    'POST\r\n\r\n',
    '\0\0\0\0',
    'POST /v1/chat/completions HTTP/9.9\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc',
  ])('not HTTP: %j', async (bytes) => {
    await expectRefused(bytes, 400)
  })

  test.each([
    ['no version (HTTP/0.9)', '', [length], text],
    ['HTTP/2.0', ' HTTP/2.0', [length], text],
    ['chunks under HTTP/1.0', ' HTTP/1.0', ['transfer-encoding: chunked'], chunked],
  ])('%s', async (_, version, headers, body) => {
    const head = [`POST /v1/chat/completions${version}`, 'host: gateway', auth, ...headers, '', ''].join('\r\n')
    await expectRefused(head + body + smuggled, 400)
  })

  test.each([
    ['two codings', 'transfer-encoding: identity\r\ntransfer-encoding: chunked', chunked],
    ['a coding besides chunks', 'transfer-encoding: gzip, chunked', chunked],
    ['another protocol', `connection: upgrade\r\nupgrade: h2c\r\n${length}`, text],
  ])('no later request on its connection is served: %s', async (_, headers, body) => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    upstream.play(async (exchange) => {
      await released
      replyPlain()(exchange)
    })
    const good = postText(['host: gateway', auth, length], text)
    const connection = await open()
    connection.send(Buffer.concat([good, postText(['host: gateway', auth, headers], body)]))
    const asked = body === text ? 2 : 1
    await eventually(() => hits() === asked, 'what came before is asked')
    connection.send(good)
    // By the time that this is answered, it would be asked, too: the connection is held open by the first.
    await complete(scripted.gateway, { model: 'none' })
    release()
    await connection.closed
    upstream.play(replyPlain())
    expect([hits(), connection.answers]).toEqual([asked, 2])
  })

  test('broken bytes after a request take nothing from its answer, and nothing is served after them', async () => {
    const connection = await open()
    connection.send(
      Buffer.concat([postText(['host: gateway', auth, length], text), Buffer.from(`?\r\n\r\n${smuggled}`)]),
    )
    expect((await connection.answer()).status).toBe(200)
    await connection.closed
    expect([connection.answers, hits()]).toEqual([1, 1])
  })

  test('close ends the connection, under HTTP/1.0 too', async () => {
    const connection = await open()
    const head = 'POST /v1/chat/completions HTTP/1.0\r\nconnection: close\r\nconnection: keep-alive'
    connection.send(`${head}\r\nhost: gateway\r\n${auth}\r\n${length}\r\n\r\n${text}${smuggled}`)
    expect((await connection.answer()).status).toBe(200)
    await connection.closed
    expect([connection.answers, hits()]).toEqual([1, 1])
  })

  test('a request that was answered before its body came is not answered again', async () => {
    const connection = await open()
    connection.send('GET /healthz HTTP/1.1\r\nhost: gateway\r\ntransfer-encoding: chunked\r\n\r\n')
    await connection.answer()
    connection.send('?\r\n')
    await connection.closed
    expect(connection.answers).toBe(1)
  })

  test.each([
    ['no body', 'GET /healthz', []],
    ['a body', 'POST /v1/chat/completions', [length]],
  ])('another protocol is refused, and nothing after it is served: %s', async (_, line, headers) => {
    const connection = await open()
    const upgrade = ['connection: Upgrade, HTTP2-Settings', 'upgrade: h2c', 'http2-settings: AAEAAEAA']
    const request = [`${line} HTTP/1.1`, 'host: gateway', auth, ...upgrade, ...headers, '', ''].join('\r\n')
    connection.send(request + (headers.length > 0 ? text : '') + smuggled)
    connection.send(smuggled)
    const answer = await connection.answer()
    expect([answer.status, answer.headers.connection]).toEqual([200, 'close'])
    await connection.closed
    expect(connection.answers).toBe(1)
  })

  test('an unknown expectation is ignored', async () => {
    const connection = await open()
    connection.send(postText(['host: gateway', auth, 'expect: wonders', length], text))
    expect((await connection.answer()).status).toBe(200)
  })

  test('100 Continue comes before an answer, or not at all', async () => {
    const expecting = postText(['host: gateway', auth, 'expect: 100-continue', length], text)
    const connection = await open()
    connection.send(expecting)
    await eventually(() => connection.answers === 2, 'both')
    expect(connection.received).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /)
    const behind = await open()
    behind.send(Buffer.concat([expecting, expecting]))
    await eventually(() => behind.received.match(/200 OK/g)?.length === 2, 'both')
    expect(behind.received.match(/ 100 Continue/g)).toHaveLength(1)
  })

  test('a proper chunked body is read', async () => {
    const connection = await open()
    connection.send(postText(['host: gateway', auth, 'transfer-encoding: chunked'], chunked))
    expect((await connection.answer()).status).toBe(200)
  })
})

describe('slowloris', () => {
  test('headers that trickle in: 408 and closed, while others are served', async () => {
    const slow = await Promise.all(Array.from({ length: 20 }, open))
    for (const connection of slow) connection.send('POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n')
    const trickle = setInterval(() => {
      for (const connection of slow) connection.send('x-a: 1\r\n')
    }, 200)
    try {
      const times = await serveOthersUntil(Promise.all(slow.map(({ closed }) => closed)))
      measured('good requests while 20 slow headers come in, p99', `${quantile(times, 0.99).toFixed(0)} ms`)
      for (const { received } of slow) expect(received).toMatch(/^HTTP\/1\.1 408 /)
    } finally {
      clearInterval(trickle)
    }
    expect(hits()).toBeGreaterThan(0)
  })

  test('a body that trickles in: 408 and closed, while others are served', async () => {
    const slow = await Promise.all(Array.from({ length: 20 }, open))
    for (const connection of slow) connection.send(postText(['host: gateway', auth, 'content-length: 100000'], '{'))
    const trickle = setInterval(() => {
      for (const connection of slow) connection.send(' ')
    }, 200)
    try {
      await serveOthersUntil(Promise.all(slow.map(({ closed }) => closed)))
      for (const connection of slow) {
        const answer = await connection.answer()
        expect(answer.status).toBe(408)
        expectError(answer.body)
        expect(answer.headers['x-should-retry']).toBe('false')
      }
    } finally {
      clearInterval(trickle)
    }
  })

  test('a silent connection is closed', async () => {
    const silent = await open()
    await eventually(() => silent.isClosed, 'the silent connection is closed', 10_000)
  })

  test('connections are capped; when some close, others are accepted', async () => {
    const held = await Promise.all(Array.from({ length: MAX_CONNECTIONS + 16 }, open))
    // Without a word; those that only say nothing for too long are told so.
    await eventually(
      () => held.filter(({ isClosed, received }) => isClosed && received === '').length >= 16,
      'those over the cap are closed',
    )
    for (const connection of held) connection.destroy()
    await eventually(async () => {
      const response = await complete(scripted.gateway).catch(() => null)
      return response?.status === 200
    }, 'room again')
  })
})

/** Sends good requests one after the other until `end`; each must be answered. Gives milliseconds. */
async function serveOthersUntil(end: Promise<unknown>): Promise<number[]> {
  let over = false
  void end.then(() => {
    over = true
  })
  const times: number[] = []
  const until = performance.now() + 20_000
  while (!over) {
    if (performance.now() > until) throw new Error('The slow connections are still open.')
    const started = performance.now()
    const response = await complete(scripted.gateway)
    expect(response.status).toBe(200)
    await response.text()
    times.push(performance.now() - started)
    await sleep(10)
  }
  return times
}

const quantile = (values: number[], q: number) => values.sort((a, b) => a - b)[Math.floor(q * (values.length - 1))] ?? 0
