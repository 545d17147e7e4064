import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createSecureServer, type Http2SecureServer } from 'node:http2'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { HttpClient } from '../../../src/providers/http/client.ts'
import { openHttp } from '../../../src/providers/http/open.ts'
import { readAll } from '../../../src/providers/http/read-all.ts'
import type { UpstreamError } from '../../../src/providers/provider.ts'
import { Authority } from '../../support/authority.ts'
import { eventually } from '../../support/eventually.ts'
import { type HttpProxy, startHttpProxy } from '../../support/http-proxy.ts'
import { freePort } from '../../support/redis.ts'
import { startUpstream } from '../../support/upstream.ts'

const authority = new Authority()
const others = new Authority('Other CA')
const own = authority.issue('localhost')
const ours = authority.issue('gateway')
const material = ({ cert, key }: { cert: string; key: string }) => ({
  cert: readFileSync(cert),
  key: readFileSync(key),
})

const close: (() => unknown)[] = []
afterEach(async () => {
  for (const undo of close.splice(0).reverse()) await undo()
})

async function listening<S extends Server | Http2SecureServer>(server: S, host = '127.0.0.1'): Promise<number> {
  server.listen(0, host)
  await once(server, 'listening')
  close.push(() => server.close())
  return (server.address() as AddressInfo).port
}

const tlsServer = (options: object = {}) =>
  createServer({ ...material(own), ...options }, (request, response) => {
    response.end(`${request.method} ${request.url} ${request.httpVersion}`)
  })

function client(origin: string, more: object = {}): HttpClient {
  const http = openHttp(origin, { connect_timeout_ms: 2_000, max_connections: 4, http2: false, ...more })
  close.push(() => http.close())
  return http
}

async function ask(http: HttpClient, body = Buffer.from('{}')): Promise<string> {
  const signal = AbortSignal.timeout(20_000)
  const answer = await http.send({ method: 'POST', path: '/v1/chat', headers: {}, body, signal })
  return `${answer.status} ${await readAll(answer.body, 1_000)}`
}

const fault = (http: HttpClient) =>
  ask(http).then(
    (answer) => expect.fail(answer),
    (error: UpstreamError) => `${error.fault}: ${error.message}`,
  )

async function proxy(options: Parameters<typeof startHttpProxy>[0] = {}): Promise<HttpProxy> {
  const started = await startHttpProxy(options)
  close.push(started.close)
  return started
}

describe('TLS', () => {
  it('takes a CA of one’s own, and no other', async () => {
    const origin = `https://127.0.0.1:${await listening(tlsServer())}`
    expect(await ask(client(origin, { tls: { ca_file: authority.ca } }))).toBe('200 POST /v1/chat 1.1')
    const untrusted = "connect: the provider's certificate was not accepted"
    expect(await fault(client(origin))).toBe(untrusted)
    expect(await fault(client(origin, { tls: { ca_file: others.ca } }))).toBe(untrusted)
    const elsewhere = authority.issue('elsewhere', 'DNS:elsewhere.example')
    const wrong = `https://127.0.0.1:${await listening(tlsServer(material(elsewhere)))}`
    expect(await fault(client(wrong, { tls: { ca_file: authority.ca } }))).toBe(untrusted)
  })

  it('shows a certificate where the server wants one', async () => {
    const wanting = tlsServer({ requestCert: true, rejectUnauthorized: true, ca: readFileSync(authority.ca) })
    const origin = `https://127.0.0.1:${await listening(wanting)}`
    const tls = { ca_file: authority.ca, cert_file: ours.cert, key_file: ours.key }
    expect(await ask(client(origin, { tls }))).toBe('200 POST /v1/chat 1.1')
    expect(await fault(client(origin, { tls: { ca_file: authority.ca } }))).toMatch(/^(connect|reset): /)
    const foreign = others.issue('gateway')
    expect(await fault(client(origin, { tls: { ...tls, cert_file: foreign.cert, key_file: foreign.key } }))).toMatch(
      /^(connect|reset): /,
    )
  })

  it('HTTP/2 where it is asked for and there; HTTP/1.1 otherwise', async () => {
    const server = createSecureServer({ ...material(own), allowHTTP1: true }, (request, response) => {
      response.end(request.httpVersion)
    })
    const origin = `https://127.0.0.1:${await listening(server)}`
    const tls = { ca_file: authority.ca }
    expect(await ask(client(origin, { tls }))).toBe('200 1.1')
    expect(await ask(client(origin, { tls, http2: true }))).toBe('200 2.0')
    const old = `https://127.0.0.1:${await listening(tlsServer())}`
    expect(await ask(client(old, { tls, http2: true }))).toBe('200 POST /v1/chat 1.1')
  })

  it('HTTP/2: an abort ends one answer, not the connection; one that breaks is a reset; both go on', async () => {
    const closed: string[] = []
    const server = createSecureServer(material(own), (request, response) => {
      response.stream.on('error', () => {}).on('close', () => closed.push(request.url))
      response.write('begun')
      if (request.url === '/break') setTimeout(() => response.stream.session?.destroy(), 50)
      if (request.url === '/whole') response.end()
    })
    const origin = `https://127.0.0.1:${await listening(server)}`
    const http = client(origin, { tls: { ca_file: authority.ca }, http2: true })
    const begin = async (path: string, signal = AbortSignal.timeout(20_000)) =>
      (await http.send({ method: 'POST', path, headers: {}, body: Buffer.from('{}'), signal })).body
    const abort = new AbortController()
    const aborted = await begin('/abort', abort.signal)
    const other = (await begin('/other'))[Symbol.asyncIterator]()
    abort.abort()
    await expect(readAll(aborted, 100)).rejects.toMatchObject({ fault: 'aborted' })
    await eventually(() => closed.includes('/abort'), 'the server sees it')
    expect(String((await other.next()).value)).toBe('begun')
    expect(closed).not.toContain('/other')
    await other.return?.()
    await eventually(() => closed.includes('/other'), 'given up')
    await expect(readAll(await begin('/break'), 100)).rejects.toMatchObject({ fault: 'reset' })
    expect(String(await readAll(await begin('/whole'), 100))).toBe('begun')
  })

  it('IPv6', async () => {
    const origin = `https://[::1]:${await listening(tlsServer(), '::1')}`
    expect(await ask(client(origin, { tls: { ca_file: authority.ca } }))).toBe('200 POST /v1/chat 1.1')
    expect(await fault(client(`http://[::1]:${await freePort()}`))).toBe('connect: the provider could not be reached')
  })
})

describe('a proxy', () => {
  it('tunnels https: sees host and port, neither path nor key; the connection is kept', async () => {
    const port = await listening(tlsServer())
    const { url, asked, tunnelled } = await proxy()
    const http = client(`https://localhost:${port}`, { proxy: url, tls: { ca_file: authority.ca }, max_connections: 1 })
    for (let i = 0; i < 3; i++) expect(await ask(http, Buffer.from('canary-body'))).toBe('200 POST /v1/chat 1.1')
    expect(asked).toEqual([`CONNECT localhost:${port}`])
    expect(tunnelled().includes('canary-body')).toBe(false)
    expect(tunnelled().length).toBeGreaterThan(1_000)
  })

  it('forwards http by its whole address', async () => {
    const upstream = await startUpstream((exchange) => exchange.reply(200, exchange.request.path))
    close.push(() => upstream.close())
    const { url, asked } = await proxy()
    const http = client(upstream.origin, { proxy: url })
    expect(await ask(http)).toBe('200 /v1/chat')
    expect(asked).toEqual([`POST ${upstream.origin}/v1/chat`])
    expect(upstream.requests[0]?.headers).not.toHaveProperty('proxy-authorization')
    expect(upstream.requests[0]?.headers.host).toBe(upstream.origin.slice('http://'.length))
  })

  it('with a name and a password; without the right one: connect, by name', async () => {
    const port = await listening(tlsServer())
    const { port: at } = await proxy({ credentials: 'bob:p@ss' })
    const origin = `https://localhost:${port}`
    const tls = { ca_file: authority.ca }
    expect(await ask(client(origin, { tls, proxy: `http://bob:p%40ss@127.0.0.1:${at}` }))).toMatch(/^200/)
    expect(await fault(client(origin, { tls, proxy: `http://127.0.0.1:${at}` }))).toBe(
      'connect: the proxy refused (407)',
    )
    expect(await fault(client('http://api.example', { proxy: `http://127.0.0.1:${at}` }))).toBe(
      'connect: the proxy refused (407)',
    )
  })

  it('each fault on the way is connect, in time; what comes behind the tunnel keeps its kind', async () => {
    const tls = { ca_file: authority.ca }
    const gone = `http://127.0.0.1:${await freePort()}`
    expect(await fault(client('https://api.example', { proxy: gone }))).toBe(
      'connect: the provider could not be reached',
    )
    const { url } = await proxy()
    expect(await fault(client(`https://localhost:${await freePort()}`, { proxy: url }))).toBe(
      'connect: the proxy refused (502)',
    )
    const port = await listening(tlsServer())
    expect(await fault(client(`https://localhost:${port}`, { proxy: url }))).toBe(
      "connect: the provider's certificate was not accepted",
    )
    const silent = await proxy({ answers: false })
    expect(await fault(client('https://api.example', { proxy: silent.url, connect_timeout_ms: 300 }))).toMatch(
      /^connect: /,
    )
    const resetting = tlsServer()
    resetting.removeAllListeners('request').on('request', (request) => request.socket.destroy())
    const origin = `https://localhost:${await listening(resetting)}`
    expect(await fault(client(origin, { proxy: url, tls }))).toMatch(/^reset: /)
  })

  it.each(['direct', 'tunnelled'])(
    'a kept TLS connection, %s, that breaks before any byte: once more, on a fresh one',
    async (way) => {
      let served = 0
      const server = createServer(material(own), (request, response) => {
        if (++served === 2) request.socket.destroy()
        else request.resume().on('end', () => response.end(`${served}`))
      })
      const origin = `https://localhost:${await listening(server)}`
      const { url, asked } = await proxy()
      const tls = { ca_file: authority.ca }
      const http = client(origin, { tls, max_connections: 1, proxy: way === 'direct' ? 'off' : url })
      expect(await ask(http)).toBe('200 1')
      expect(await ask(http)).toBe('200 3')
      expect(asked).toHaveLength(way === 'direct' ? 0 : 2)
    },
  )

  it('of the environment: not for loopback', async () => {
    const { url, asked } = await proxy()
    const upstream = await startUpstream((exchange) => exchange.reply(200, 'direct'))
    const names = ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'NO_PROXY', 'no_proxy']
    const before = names.map((name) => [name, process.env[name]] as const)
    close.push(() => upstream.close())
    for (const name of names) delete process.env[name]
    process.env.HTTP_PROXY = url
    try {
      expect(await ask(client(upstream.origin))).toBe('200 direct')
      expect(asked).toEqual([])
      // Any other address goes through it; this proxy takes every host for this machine.
      expect(await ask(client(`http://api.example:${upstream.port}`))).toBe('200 direct')
      expect(asked).toEqual([`POST http://api.example:${upstream.port}/v1/chat`])
    } finally {
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name]
        else process.env[name] = value
      }
    }
  })
})
