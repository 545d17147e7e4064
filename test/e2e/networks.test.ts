import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Authority } from '../support/authority.ts'
import { complete } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, type TestConfig } from '../support/gateway.ts'
import { startHttpProxy } from '../support/http-proxy.ts'
import { freePort, RedisServer } from '../support/redis.ts'
import { chunkOf, replyPlain, startUpstream, usageChunk } from '../support/upstream.ts'

vi.setConfig({ testTimeout: 240_000 })

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo()
})

const authority = new Authority()

async function gateway(config: TestConfig, env: Record<string, string> = {}): Promise<RunningGateway> {
  const started = await startGateway(config, { env })
  cleanUp.push(() => discard(started))
  return started
}

const candidates = [{ name: 'm', provider: 'p', price: { input: 1, output: 1 } }]

describe('a provider behind a corporate network', () => {
  it('is reached through the environment’s proxy, with its own CA and our certificate; loopback is not', async () => {
    const server = authority.issue('api.corp.example', 'DNS:api.corp.example')
    const ours = authority.issue('gateway')
    const subjects: string[] = []
    const upstream = createServer(
      {
        cert: readFileSync(server.cert),
        key: readFileSync(server.key),
        ca: readFileSync(authority.ca),
        requestCert: true,
        rejectUnauthorized: true,
      },
      (incoming, outgoing) => {
        subjects.push((incoming.socket as TLSSocket).getPeerCertificate().subject.CN as unknown as string)
        incoming.resume().on('end', () => {
          outgoing.setHeader('content-type', 'application/json')
          outgoing.end(JSON.stringify({ choices: [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' }], usage: { prompt_tokens: 1, completion_tokens: 1 } })) // biome-ignore format: one answer
        })
      },
    ).listen(0, '127.0.0.1')
    await once(upstream, 'listening')
    cleanUp.push(() => upstream.close())
    const proxy = await startHttpProxy({ credentials: 'corp:word' })
    cleanUp.push(proxy.close)
    const local = await startUpstream(replyPlain())
    cleanUp.push(() => local.close())
    const { port } = upstream.address() as AddressInfo
    const running = await gateway(
      {
        providers: {
          p: {
            kind: 'openai-compatible',
            base_url: `https://api.corp.example:${port}/v1`,
            api_key: 'sk-behind-the-proxy-canary',
            tls: { ca_file: authority.ca, cert_file: ours.cert, key_file: ours.key },
          },
          local: { kind: 'openai-compatible', base_url: `${local.origin}/v1`, key_required: false },
        },
        candidates: [...candidates, { name: 'near', provider: 'local' }],
      },
      { HTTPS_PROXY: `http://corp:word@127.0.0.1:${proxy.port}`, HTTP_PROXY: proxy.url },
    )
    const answer = await complete(running, { model: 'm' })
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('hi')])
    expect(subjects).toEqual(['gateway'])
    expect(proxy.asked).toEqual([`CONNECT api.corp.example:${port}`])
    expect(proxy.tunnelled().includes('canary')).toBe(false)
    expect((await complete(running, { model: 'near' })).status).toBe(200)
    expect(proxy.asked).toHaveLength(1)
    expect(running.stdout()).not.toContain('corp:word')
  })

  it('a proxy that is away is a provider that is away: the next candidate answers', async () => {
    const local = await startUpstream(replyPlain())
    cleanUp.push(() => local.close())
    const running = await gateway({
      providers: {
        p: { kind: 'openai-compatible', base_url: 'https://api.corp.example/v1', api_key: 'k'.repeat(20), proxy: 'http://127.0.0.1:9' },
        local: { kind: 'openai-compatible', base_url: `${local.origin}/v1`, key_required: false },
      },
      candidates: [...candidates, { name: 'near', provider: 'local' }],
    }) // biome-ignore format: one configuration
    for (let i = 0; i < 4; i++) {
      const answer = await complete(running)
      expect([answer.status, answer.headers.get('x-router-model')]).toEqual([200, 'near'])
      await answer.text()
    }
    const refused = await complete(running, { model: 'm' })
    expect(refused.status).toBeGreaterThanOrEqual(500)
    expect(await refused.text()).not.toMatch(/127\.0\.0\.1|corp/)
  })
})

describe('TLS of our own', () => {
  const first = authority.issue('first')
  const second = authority.issue('second')

  function tlsCall(port: number, path: string, options: object = {}, body?: string) {
    return new Promise<{ status: number; text: string; subject: string }>((done, fail) => {
      const sent = request({ host: '127.0.0.1', port, path, ca: readFileSync(authority.ca), method: body ? 'POST' : 'GET', agent: false, ...options }, (answer) => {
        const { subject } = (answer.socket as TLSSocket).getPeerCertificate() as PeerCertificate
        let text = ''
        answer.setEncoding('utf8').on('data', (chunk) => {
          text += chunk
        })
        answer.on('end', () => done({ status: answer.statusCode ?? 0, text, subject: String(subject.CN) }))
      }) // biome-ignore format: one request
      sent.on('error', fail).end(body)
    })
  }

  it('serves HTTPS; a renewed certificate is taken in, and a stream goes on meanwhile', async () => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    const upstream = await startUpstream(async (exchange) => {
      exchange.stream()
      exchange.event(chunkOf({ role: 'assistant', content: 'Wait' }))
      await released
      exchange.event(chunkOf({ content: ' for it.' }, 'stop'))
      exchange.event(usageChunk)
      exchange.chunk('data: [DONE]\n\n')
      exchange.end()
    })
    cleanUp.push(() => upstream.close())
    const port = await freePort()
    const cert_file = join(authority.dir, 'live.pem')
    const key_file = join(authority.dir, 'live-key.pem')
    const install = ({ cert, key }: typeof first) => {
      copyFileSync(cert, cert_file)
      copyFileSync(key, key_file)
    }
    install(first)
    const running = await gateway({
      server: { port, tls: { cert_file, key_file } },
      providers: { p: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
      candidates,
    })
    expect(running.stderr()).toContain(`https://127.0.0.1:${port}`)
    expect(await tlsCall(port, '/healthz')).toMatchObject({ status: 200, subject: 'first' })

    const headers = { authorization: `Bearer ${running.key}`, 'content-type': 'application/json' }
    const stream = tlsCall(port, '/v1/chat/completions', { headers }, JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'hi' }] })) // biome-ignore format: one request
    await eventually(() => upstream.busy === 1, 'the stream has begun')
    install(second)
    await eventually(async () => (await tlsCall(port, '/healthz')).subject === 'second', 'the new certificate')
    release()
    const { status, text, subject } = await stream
    expect([status, subject]).toEqual([200, 'first'])
    expect(text).toMatch(/Wait[\s\S]* for it\.[\s\S]*\[DONE\]/)

    // A key that does not fit: told, and the last good pair stays.
    copyFileSync(first.key, key_file)
    const told = async () => JSON.parse((await tlsCall(port, '/readyz')).text).components.configuration
    await eventually(async () => (await told()).state === 'degraded', 'told')
    expect((await told()).detail).toMatch(/server\.tls: not usable: the key is that of another certificate/)
    expect(await tlsCall(port, '/healthz')).toMatchObject({ status: 200, subject: 'second' })

    // The container stays healthy, its configuration broken or not.
    const check = () => spawnSync(process.execPath, ['docker/healthcheck.mjs'], { env: { ...process.env, PORT: `${port}`, PERSONA_ROUTER_CONFIG: running.configFile } }).status // biome-ignore format: one command
    expect(check()).toBe(0)
    install(second)
    await eventually(async () => (await told()).state === 'ok', 'mended')
    expect(check()).toBe(0)

    // One whose time is over is served, since there is no other, and told.
    const components = async () => {
      const { text } = await tlsCall(port, '/readyz', { rejectUnauthorized: false })
      return JSON.parse(text).components
    }
    expect((await components()).certificates).toEqual({ state: 'ok' })
    install(authority.issue('over', undefined, 0))
    await eventually(async () => (await components()).certificates.state === 'degraded', 'told')
    expect((await components()).certificates.detail).toMatch(/^server\.tls: its certificate ended on 20\d\d-/)
    install(second)
    await eventually(async () => (await components()).certificates.state === 'ok', 'renewed')

    await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow()
    const stalled = connect({
      host: '127.0.0.1',
      port,
      ca: readFileSync(authority.ca),
      ALPNProtocols: ['h2', 'http/1.1'],
    })
    await once(stalled, 'secureConnect')
    expect(stalled.alpnProtocol).toBe('http/1.1')
    stalled.destroy()
  })
})

describe('IPv6', () => {
  it.each(['::', '::1', '[::1]'])('host %s', async (host) => {
    const running = await gateway({ server: { host } })
    const port = new URL(running.url).port
    expect((await fetch(`http://[::1]:${port}/healthz`)).status).toBe(200)
    expect(running.stderr()).toContain(host === '::' ? `http://127.0.0.1:${port}` : `http://[::1]:${port}`)
    if (host === '::') expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200)
  })

  it('a provider', async () => {
    const upstream = await startUpstream(replyPlain())
    cleanUp.push(() => upstream.close())
    const { createServer: createTcp, connect: connectTcp } = await import('node:net')
    const relay = createTcp((socket) => void socket.pipe(connectTcp(upstream.port, '127.0.0.1')).pipe(socket))
    relay.listen(0, '::1')
    await once(relay, 'listening')
    cleanUp.push(() => relay.close())
    const { port } = relay.address() as AddressInfo
    const running = await gateway({
      providers: { p: { kind: 'openai-compatible', base_url: `http://[::1]:${port}/v1`, key_required: false } },
      candidates,
    })
    expect((await complete(running, { model: 'm' })).status).toBe(200)
  })
})

it('a collector of telemetry is reached in the same way, with its own CA', async () => {
  const { cert, key } = authority.issue('collector.corp.example', 'DNS:collector.corp.example')
  const paths = new Set<string>()
  const collector = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (incoming, outgoing) => {
    paths.add(incoming.url ?? '')
    incoming.resume().on('end', () => outgoing.end())
  }).listen(0, '127.0.0.1')
  await once(collector, 'listening')
  cleanUp.push(() => collector.close(), () => collector.closeAllConnections()) // biome-ignore format: one step
  const proxy = await startHttpProxy({ credentials: 'corp:word' })
  cleanUp.push(proxy.close)
  const provider = await startUpstream(replyPlain())
  cleanUp.push(() => provider.close())
  const { port } = collector.address() as AddressInfo
  const endpoint = `https://collector.corp.example:${port}`
  const running = await gateway(
    {
      providers: { p: { kind: 'openai-compatible', base_url: `${provider.origin}/v1`, key_required: false } },
      candidates,
      telemetry: { otlp: { endpoint, ca_file: authority.ca }, interval_ms: 200, delay_ms: 50 },
    },
    { HTTPS_PROXY: proxy.url.replace('http://', 'http://corp:word@') },
  )
  expect((await complete(running)).status).toBe(200)
  await eventually(() => ['/v1/traces', '/v1/metrics'].every((path) => paths.has(path)), 'spans and figures', 60_000)
  expect(proxy.asked).toContain(`CONNECT collector.corp.example:${port}`)
  expect(running.stdout() + running.stderr()).not.toContain('corp:word')
})

it('authorities of SSL_CERT_FILE and SSL_CERT_DIR are trusted by whatever connects', async () => {
  const issuers = { file: new Authority('of a file'), directory: new Authority('of a directory') }
  const bundle = join(issuers.directory.dir, 'corp.crt')
  copyFileSync(issuers.directory.ca, bundle)
  const keys = await generateKeyPair('ES256')
  const jwks = { keys: [{ ...(await exportJWK(keys.publicKey)), kid: 'k', alg: 'ES256' }] }
  const [byFile, byDirectory] = [issuers.file.issue('outside'), issuers.directory.issue('store')]
  const asked = new Set<string>()
  const outside = createServer({ cert: readFileSync(byFile.cert), key: readFileSync(byFile.key) }, (incoming, outgoing) => {
    asked.add(incoming.url ?? '')
    const answer = { choices: [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' }], usage: { prompt_tokens: 1, completion_tokens: 1 } }
    outgoing.setHeader('content-type', 'application/json')
    incoming.resume().on('end', () => outgoing.end(JSON.stringify(incoming.url === '/jwks' ? jwks : answer)))
  }).listen(0, '127.0.0.1') // biome-ignore format: one server
  await once(outside, 'listening')
  cleanUp.push(() => outside.close(), () => outside.closeAllConnections()) // biome-ignore format: one step
  const origin = `https://localhost:${(outside.address() as AddressInfo).port}`
  const port = await freePort()
  const files = ['--tls-cert-file', byDirectory.cert, '--tls-key-file', byDirectory.key, '--tls-ca-cert-file', bundle]
  const redis = new RedisServer(await freePort(), ['--tls-port', `${port}`, ...files, '--tls-auth-clients', 'no'])
  cleanUp.push(() => redis.discard())
  const hasTls = await redis.start().then(
    () => true,
    (error) => !/Bad directive|tls-port/.test(String(error)),
  )
  const config = {
    ...(hasTls && { store: { kind: 'redis', url: `rediss://localhost:${port}` } }),
    providers: { p: { kind: 'openai-compatible', base_url: `${origin}/v1`, key_required: false } },
    candidates,
    identity: { jwt: { header: 'x-user-jwt', jwks_url: `${origin}/jwks`, required: true } },
    telemetry: { otlp: { endpoint: origin }, metrics: false, delay_ms: 50 },
    webhook: { url: `${origin}/hook` },
  }
  const none = join(issuers.file.dir, 'nowhere')
  const directories = `${none}:${issuers.directory.dir}`
  const running = await gateway(config, { SSL_CERT_FILE: issuers.file.ca, SSL_CERT_DIR: directories })
  expect(running.stderr()).toContain(`SSL_CERT_DIR: ${none} can’t be read (ENOENT); it is left out.`)
  const soon = Math.floor(Date.now() / 1000) + 300
  const token = await new SignJWT({ sub: 'ann', exp: soon })
    .setProtectedHeader({ alg: 'ES256', kid: 'k' })
    .sign(keys.privateKey)
  const answer = await complete(running, { model: 'm' }, { headers: { 'x-user-jwt': token } })
  expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('hi')])
  const ready = await fetch(`${running.url}/readyz`)
  expect((await ready.json()).components.store).toMatchObject({ state: 'ok' })
  writeFileSync(running.configFile, 'candidates: 7\n')
  const all = ['/v1/chat/completions', '/jwks', '/v1/traces', '/hook']
  await eventually(() => all.every((path) => asked.has(path)), 'whatever connects has come through', 60_000)
})
