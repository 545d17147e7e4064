import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RedisConfig } from '../../../src/config/schema.ts'
import { RedisStore } from '../../../src/store/redis/store.ts'
import { Authority } from '../../support/authority.ts'
import { eventually } from '../../support/eventually.ts'
import { freePort, RedisServer, startRedis } from '../../support/redis.ts'

// As managed installations have them: Sentinels with a password of their own, with and without TLS.
const authority = new Authority()
const { cert, key } = authority.issue('localhost')
const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', authority.ca]
const servers: RedisServer[] = []
let plain: RedisServer
let mixed: RedisServer

beforeAll(async () => {
  const tlsPort = await freePort()
  const master = await startRedis('--requirepass', 'of-redis', '--tls-port', `${tlsPort}`, ...files, '--tls-auth-clients', 'no') // biome-ignore format: one command
  servers.push(master)
  plain = await sentinelOf(master.port, ['requirepass of-sentinel', 'user scout on >of-scout +@all ~* &*'])
  const tls = ['tls-replication yes', ...files.map((text) => text.replace(/^--/, ''))]
  mixed = await sentinelOf(
    tlsPort,
    tls.reduce<string[]>((lines, text) => {
      if (text.startsWith('/')) lines[lines.length - 1] += ` ${text}`
      else lines.push(text)
      return lines
    }, []),
  )
})
afterAll(() => Promise.all(servers.map((server) => server.discard())))

async function sentinelOf(port: number, lines: string[]): Promise<RedisServer> {
  const sentinel = new RedisServer(await freePort(), [])
  servers.push(sentinel)
  const config = join(sentinel.dir, 'sentinel.conf')
  const monitor = [`sentinel monitor main 127.0.0.1 ${port} 1`, 'sentinel auth-pass main of-redis']
  writeFileSync(
    config,
    [`port ${sentinel.port}`, 'bind 127.0.0.1', `dir ${sentinel.dir}`, ...lines, ...monitor].join('\n'),
  )
  await sentinel.start([config, '--sentinel'], /monitor master main/)
  return sentinel
}

type Sentinel = NonNullable<RedisConfig['sentinel']>

/** What a write comes to, in the end. */
async function outcome(
  sentinel: Omit<Sentinel, 'name'>,
  more: Partial<RedisConfig>,
  expected: RegExp,
): Promise<string> {
  const store = new RedisStore({
    ...{ kind: 'redis', command_timeout_ms: 1_000, retention_days: 1 },
    ...{ sentinel: { name: 'main', ...sentinel }, ...more },
  })
  try {
    let said = ''
    const isSo = async () => {
      said = await store.sharedSecret('proposed').then(
        () => 'written',
        (error: Error) => error.message,
      )
      return expected.test(said)
    }
    await eventually(isSo, `${expected}`).catch(() => undefined)
    return said
  } finally {
    await store.close()
  }
}

const password = 'of-redis'
it.each([
  ['a password of its own', () => ({ password: 'of-sentinel' }), /written/],
  ['a user of its own', () => ({ username: 'scout', password: 'of-scout' }), /written/],
  ['none where it wants one', () => ({}), /the Sentinels want a password \(store\.sentinel\.password\)/],
  ['a wrong one', () => ({ password: 'x' }), /the Sentinels do not take this .*\(store\.sentinel\.password\)/],
])('a Sentinel with %s', async (_, options, expected) => {
  expect(await outcome({ nodes: [plain.address], ...options() }, { password }, expected)).toMatch(expected)
})

it('a Redis that wants another password than its Sentinels', async () => {
  const sentinel = { nodes: [plain.address], password: 'of-sentinel' }
  const expected = /NOAUTH: it wants a password \(store\.password\)/
  expect(await outcome(sentinel, {}, expected)).toMatch(expected)
})

it('Sentinels without TLS before a Redis with it', async () => {
  const tls = { ca_file: authority.ca, reject_unauthorized: true }
  expect(await outcome({ nodes: [mixed.address], tls: false }, { password, tls }, /written/)).toBe('written')
})
