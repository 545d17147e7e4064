import { spawnSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, describe, expect, it } from 'vitest'
import type { RedisConfig } from '../../../src/config/schema.ts'
import { RedisStore } from '../../../src/store/redis/store.ts'
import { StoreError } from '../../../src/store/store.ts'
import { eventually } from '../../support/eventually.ts'
import { freePort, startRedis, startRedisCluster } from '../../support/redis.ts'

const dir = mkdtempSync(join(tmpdir(), 'redis-tls-'))
const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')]
spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=redis.example', '-keyout', key, '-out', cert]) // biome-ignore format: one command
const tlsPort = await freePort()
const locked = await startRedis('--requirepass', 'pass-word-canary')
const plain = await startRedis('--tls-port', `${tlsPort}`, '--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert, '--tls-auth-clients', 'no') // biome-ignore format: one command
const replica = await startRedis()
const cluster = await startRedisCluster()
await replica.command('replicaof', '127.0.0.1', '1')
const silent = createServer(() => {}).listen(0, '127.0.0.1')
/** As a Redis at its `maxclients`. */
const full = createServer((socket) => {
  socket.on('error', () => {})
  socket.write('-ERR max number of clients reached\r\n', () => socket.resetAndDestroy())
}).listen(0, '127.0.0.1')
/** As a web server, to which each line of ours is no request. */
const http = createServer((socket) => {
  socket.on('error', () => {}).on('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'))
}).listen(0, '127.0.0.1')
const closed = await freePort()
afterAll(() => {
  silent.close()
  full.close()
  http.close()
  return Promise.all([locked, plain, replica, cluster].map((one) => one.discard()))
})

type Server = Partial<RedisConfig>
const own = (server: Server): RedisConfig => ({ kind: 'redis', command_timeout_ms: 250, retention_days: 1, ...server })

/** What a write of this store fails with, in the end. */
async function failure(server: Server, expected: RegExp): Promise<string> {
  const store = new RedisStore(own(server))
  try {
    return await eventually(async () => {
      const error = await store.sharedSecret('proposed').then(
        () => null,
        (error: unknown) => error,
      )
      expect(error).toBeInstanceOf(StoreError)
      const { message } = error as Error
      return expected.test(message) && message
    }, `${expected}`)
  } finally {
    await store.close()
  }
}

describe('a store that can’t be used names the cause, and neither password nor address', () => {
  const cases: [string, () => Server, RegExp][] = [
    ['no password', () => ({ url: locked.url }), /NOAUTH: it wants a password \(store\.password\)/],
    ['a wrong one', () => ({ url: locked.url, password: 'canary-wrong' }), /WRONGPASS: /],
    ['a wrong user', () => ({ url: locked.url, username: 'bob', password: 'x' }), /WRONGPASS: /],
    ['nothing there', () => ({ url: `redis://127.0.0.1:${closed}` }), /nothing listens there \(ECONNREFUSED\)/],
    ['nothing there (IPv6)', () => ({ url: `redis://[::1]:${closed}` }), /nothing listens there \(ECONNREFUSED\)/],
    [
      'an unknown host',
      () => ({ url: 'redis://no-such-host.invalid' }),
      /host name (is not known|could not be looked up)/,
    ],
    ['another database', () => ({ url: `${plain.url}/99` }), /no database of that number/],
    [
      'a certificate of nobody',
      () => ({ url: `rediss://127.0.0.1:${tlsPort}` }),
      /TLS: its certificate is self-signed/,
    ],
    [
      'TLS, and the server speaks none',
      () => ({ url: plain.url.replace('redis:', 'rediss:') }),
      /no answer (yet )?to the attempt to connect.*; over TLS: does it speak that, at this port\?/,
    ],
    [
      'a host that says nothing',
      () => ({ url: `rediss://127.0.0.1:${(silent.address() as AddressInfo).port}` }),
      /no answer yet to the attempt to connect; over TLS/,
    ],
    ['a node of a Cluster', () => ({ url: cluster.masters[0]!.url }), /MOVED: it belongs to a Redis Cluster/],
    ['no Cluster', () => ({ cluster: [plain.address] }), /no Redis Cluster: name it by store\.url/],
    ['a Cluster with a password', () => ({ cluster: [locked.address] }), /NOAUTH/],
    ['a Cluster away', () => ({ cluster: [`127.0.0.1:${closed}`] }), /nothing listens there|no node of the Cluster/],
    ['no Sentinel', () => ({ sentinel: { name: 'm', nodes: [plain.address] } }), /is none \(store\.sentinel\.nodes\)/],
    ['Sentinels away', () => ({ sentinel: { name: 'm', nodes: [`127.0.0.1:${closed}`] } }), /no Sentinel answers/],
    [
      'one that is full',
      () => ({ url: `redis://127.0.0.1:${(full.address() as AddressInfo).port}` }),
      /maxclients|max number of clients/,
    ],
    [
      'one that is a web server',
      () => ({ url: `redis://127.0.0.1:${(http.address() as AddressInfo).port}` }),
      /what answers there is no Redis \(store\.url\)/,
    ],
    ['one that wants TLS', () => ({ url: `redis://127.0.0.1:${tlsPort}` }), /Does it want TLS \(rediss:\/\/\)\?/],
    ['a replica', () => ({ url: replica.url }), /READONLY: it is a replica/],
  ]
  it.each(cases)('%s', async (_, server, expected) => {
    const message = await failure(server(), expected)
    expect(message).not.toMatch(/canary|127\.0\.0\.1|enableOfflineQueue/)
  })
})

it('goes on as soon as the cause is gone', async () => {
  const port = await freePort()
  const store = new RedisStore(own({ url: `redis://127.0.0.1:${port}` }))
  await expect(store.ping()).rejects.toThrow(StoreError)
  const { RedisServer } = await import('../../support/redis.ts')
  const late = new RedisServer(port, [])
  await late.start()
  await eventually(() => store.ping().then(() => true, () => false), 'there') // biome-ignore format: one line
  await store.close()
  await late.discard()
})

it('a password that is replaced is taken with the next connection', async () => {
  const server = await startRedis('--requirepass', 'the-first')
  const file = join(dir, 'redis-password')
  writeFileSync(file, 'the-first\n')
  const store = new RedisStore(own({ url: server.url, password: 'the-first', password_file: file }))
  const other = new Redis(server.url, { password: 'the-first' })
  const heard: string[] = []
  const stop = store.subscribe(({ kind }) => heard.push(kind))
  try {
    await eventually(() => works(store), 'the first password')
    await other.config('SET', 'requirepass', 'the-second')
    writeFileSync(file, 'the-second\n')
    // All connections but this one, that which listens to changes included.
    await other.call('CLIENT', 'KILL', 'SKIPME', 'yes')
    await eventually(() => works(store), 'the second password', 20_000)
    await eventually(
      async () => {
        await store.saveMode('acme', 'observe')
        return heard.includes('mode')
      },
      'changes are heard again',
      20_000,
    )
  } finally {
    stop()
    other.disconnect()
    await store.close()
    await server.discard()
  }
})

const works = (store: RedisStore) =>
  store.saveMode('other', null).then(
    () => true,
    () => false,
  )

describe('a user of fewer rights', () => {
  const user = async (...rights: string[]) => {
    await plain.command('ACL', 'SETUSER', 'gate', 'reset', 'on', '>gate-secret', ...rights)
    return { url: plain.url, username: 'gate', password: 'gate-secret' }
  }

  it('as docs/operation.md has it does all, and hears what others change', async () => {
    const store = new RedisStore(own(await user('~pr:*', '&pr:*', '+@all', '-@admin', '-@dangerous', '+info')))
    const heard: string[] = []
    const stop = store.subscribe(({ kind }) => heard.push(kind))
    try {
      await eventually(() => works(store), 'it works')
      expect(await store.check()).toEqual([])
      await eventually(async () => {
        await store.saveMode('acme', 'observe')
        return heard.includes('mode')
      }, 'changes are heard')
    } finally {
      stop()
      await store.close()
    }
  })

  it('without channels, as Redis makes users: it is told, and nothing cached is believed', async () => {
    const store = new RedisStore(own(await user('~pr:*', '+@all', '-@admin')))
    const heard: string[] = []
    const stop = store.subscribe(({ kind }) => heard.push(kind))
    try {
      const told = /not heard: NOPERM: this user may not use channels: they need &pr:\*/
      const problems = async () => (await store.check().catch(() => [])).join()
      await eventually(async () => told.test(await problems()), `${told}`)
      await eventually(() => heard.includes('all'), 'nothing is believed')
      // Rights that are given later are used.
      await user('~pr:*', '&pr:*', '+@all', '-@admin')
      await eventually(async () => (await problems()) === '', 'nothing to tell')
    } finally {
      stop()
      await store.close()
    }
  })

  it.each([
    ['keys', ['~other:*', '&*', '+@all'], /NOPERM: this user may not use all keys that begin with pr:/],
    ['commands', ['~*', '&*', '+@all', '-@string'], /NOPERM: this user may not run all commands/],
  ])('without %s', async (_, rights, expected) => {
    expect(await failure(await user(...rights), expected)).toMatch(expected)
  })
})
