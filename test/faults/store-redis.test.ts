import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { makeKey } from '../../src/candidates/keys.ts'
import type { RedisConfig } from '../../src/config/schema.ts'
import { openStore } from '../../src/store/index.ts'
import { Recorder } from '../../src/store/recorder/recorder.ts'
import type { Store } from '../../src/store/store.ts'
import { all, anEdge, anInteraction, aReward, aUser } from '../store/records.ts'
import { block } from '../support/block.ts'
import { LossyProxy } from '../support/lossy-proxy.ts'
import {
  freePort,
  RedisServer,
  startRedis,
  startRedisBehindSentinel,
  startRedisCluster,
  until,
} from '../support/redis.ts'

const APPEND_ONLY = ['--appendonly', 'yes', '--appendfsync', 'always']
const DEADLINE_MS = 250

const config = (server: Partial<RedisConfig>): RedisConfig => ({
  kind: 'redis',
  command_timeout_ms: DEADLINE_MS,
  retention_days: 90,
  ...server,
})

/** What is to be undone after a test, last first. */
const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo()
})

async function opened(server: Partial<RedisConfig>): Promise<Store> {
  const store = await openStore(config(server))
  cleanUp.push(() => store.close())
  return store
}

async function started(...args: string[]): Promise<RedisServer> {
  const server = await startRedis(...args)
  cleanUp.push(() => server.discard())
  return server
}

function recording(store: Store): Recorder {
  const dir = mkdtempSync(join(tmpdir(), 'persona-router-spool-'))
  const recorder = new Recorder(store, { path: dir, max_bytes: 1e8, flush_ms: 10 })
  cleanUp.push(async () => {
    await recorder.close()
    rmSync(dir, { recursive: true })
  })
  return recorder
}

const ids = (rows: { id: string }[]) => rows.map(({ id }) => id).sort()

/** Records as traffic would, until told to stop; says what it recorded. */
function traffic(recorder: Recorder, tenants = ['acme']): () => { id: string }[] {
  const rows: { id: string }[] = []
  const timer = setInterval(() => {
    for (const tenant of tenants) {
      const row = anInteraction({ tenant })
      recorder.interaction(row)
      recorder.reward(aReward({ tenant, interaction: row.id }))
      rows.push(row)
    }
  }, 1)
  cleanUp.push(() => clearInterval(timer))
  return () => {
    clearInterval(timer)
    return rows
  }
}

async function everythingOnce(store: Store, rows: { id: string }[]): Promise<void> {
  expect(ids(await all(store.readInteractions({})))).toEqual(ids(rows))
  expect((await all(store.readRewards({}))).map(({ interaction }) => interaction).sort()).toEqual(ids(rows))
}

describe('Redis', () => {
  test('down at boot: the store opens, calls fail as StoreError, records wait and arrive when it is up', async () => {
    const server = new RedisServer(await freePort(), APPEND_ONLY)
    cleanUp.push(() => server.discard())
    const store = await opened({ url: server.url })
    const recorder = recording(store)
    await expect(store.ping()).rejects.toMatchObject({ name: 'StoreError' })
    await expect(store.findKey('0'.repeat(64))).rejects.toMatchObject({ name: 'StoreError' })
    const rows = Array.from({ length: 50 }, () => anInteraction())
    for (const row of rows) recorder.interaction(row)
    expect(await recorder.flush()).toBe(false)
    expect(recorder.status()).toMatchObject({ queued: 50, dropped: 0, away: expect.any(String) })
    await server.start()
    await until(() => recorder.status().queued === 0)
    expect(ids(await all(store.readInteractions({})))).toEqual(ids(rows))
  })

  test('killed again and again under load: 0 records lost, 0 doubled', async () => {
    const server = await started(...APPEND_ONLY)
    const store = await opened({ url: server.url })
    const recorder = recording(store)
    const stop = traffic(recorder)
    for (let round = 0; round < 3; round++) {
      const { delivered } = recorder.status()
      await until(() => recorder.status().delivered > delivered + 20)
      await server.kill()
      await until(() => recorder.status().away !== null)
      await server.start()
      await until(() => recorder.status().away === null)
    }
    const rows = stop()
    await until(() => recorder.flush())
    await everythingOnce(store, rows)
    expect(recorder.status().dropped).toBe(0)
  })

  test('forgets its last seconds when it dies: they are delivered once more', async () => {
    const server = await started()
    const store = await opened({ url: server.url })
    const recorder = recording(store)
    const rows = Array.from({ length: 100 }, () => anInteraction())
    for (const row of rows) recorder.interaction(row)
    await until(() => recorder.flush())
    expect(await all(store.readInteractions({}))).toHaveLength(100)
    // Nothing was written to disk: it comes back empty.
    await server.kill()
    const meanwhile = anInteraction()
    recorder.interaction(meanwhile)
    await until(() => recorder.status().away !== null)
    await server.start()
    await until(() => recorder.flush())
    expect(ids(await all(store.readInteractions({})))).toEqual(ids([...rows, meanwhile]))
    expect(recorder.status()).toMatchObject({ queued: 0, delivered: 101, spooledBytes: 0 })
  })

  test('frozen: a call fails at its deadline, then calls cost nothing, and it thaws without loss', async () => {
    const server = await started()
    const store = await opened({ url: server.url })
    const recorder = recording(store)
    await store.commitUser('acme', 'u', aUser(), [anEdge()])
    server.freeze()
    cleanUp.push(() => server.thaw())
    const started_ = performance.now()
    await expect(store.loadUser('acme', 'u')).rejects.toThrow(`no answer within ${DEADLINE_MS} ms`)
    expect(performance.now() - started_).toBeGreaterThanOrEqual(DEADLINE_MS - 10)
    await until(() =>
      store.loadUser('acme', 'u').then(
        () => false,
        (error) => /Redis is away/.test(error.message),
      ),
    )
    // The breaker is open: not one of these reaches the socket, or a thousand deadlines would have to pass.
    for (let i = 0; i < 1_000; i++) {
      await expect(store.loadUser('acme', 'u')).rejects.toThrow(/Redis is away/)
    }
    const rows = Array.from({ length: 300 }, () => anInteraction())
    for (const row of rows) recorder.interaction(row)
    expect(await recorder.flush()).toBe(false)
    server.thaw()
    await until(() => recorder.flush())
    expect(ids(await all(store.readInteractions({})))).toEqual(ids(rows))
    expect(await store.loadUser('acme', 'u')).toMatchObject({ revision: 1 })
  })

  test('is not taken for dead where this process was too busy to read its replies', async () => {
    const server = await started()
    const store = await opened({ url: server.url })
    await store.commitUser('acme', 'u', aUser(), [anEdge()])
    const limit = { scope: 'tenant', what: 'requests', window: 'day', max: 100 } as const
    const asked = (id: string) => [
      store.loadUser('acme', 'u'),
      store.ping(),
      store.idempotency.claim({ tenant: 'acme', user: 'u', key: id, bodyHash: 'b', token: id, ttlMs: 60_000 }),
      store.limits.reserve({
        tenant: 'acme',
        id,
        limits: [limit],
        amounts: { requests: 1, tokens: 0, nanoUsd: 0 },
        ttlMs: 60_000,
      }),
    ]
    for (let i = 0; i < 4; i++) {
      const calls = asked(`r-${i}`)
      // Before they are written, or while their replies are on the way.
      if (i % 2 === 1) await new Promise((resolve) => setImmediate(resolve))
      block(2 * DEADLINE_MS)
      const [user, , claim, reserved] = await Promise.all(calls)
      expect(user).toMatchObject({ revision: 1 })
      expect(claim).toMatchObject({ state: 'claimed' })
      expect(reserved).toMatchObject({ granted: true })
    }
    // Nor is the connection.
    const last = Promise.all(asked('last'))
    await new Promise((resolve) => setImmediate(resolve))
    block(3_500)
    await last
    await store.ping()
  })

  test('a connection that says nothing is given up, and another one made', async () => {
    const sockets = new Set<Socket>()
    const silent = createServer((socket) => void sockets.add(socket.on('error', () => undefined))).listen(
      0,
      '127.0.0.1',
    )
    await once(silent, 'listening')
    cleanUp.push(() => {
      for (const socket of sockets) socket.destroy()
      silent.close()
    })
    await opened({ url: `redis://127.0.0.1:${(silent.address() as AddressInfo).port}` })
    // One for commands, and one for subscriptions.
    await until(() => sockets.size > 2)
  })

  test.each<
    [name: string, breakIt: (server: RedisServer) => Promise<unknown>, mend: (server: RedisServer) => Promise<unknown>]
  >([
    [
      'full (maxmemory)',
      (server) => server.command('CONFIG', 'SET', 'maxmemory', '1'),
      (server) => server.command('CONFIG', 'SET', 'maxmemory', '0'),
    ],
    [
      'a read-only replica',
      (server) => server.command('REPLICAOF', '127.0.0.1', '1'),
      (server) => server.command('REPLICAOF', 'NO', 'ONE'),
    ],
  ])('%s: writes fail as StoreError, reads go on, records wait', async (_, breakIt, mend) => {
    const server = await started()
    const store = await opened({ url: server.url })
    const recorder = recording(store)
    const before = anInteraction()
    await store.appendInteractions([before])
    await store.commitUser('acme', 'u', aUser(), [anEdge()])
    await breakIt(server)
    const rows = Array.from({ length: 20 }, () => anInteraction())
    for (const row of rows) recorder.interaction(row)
    expect(await recorder.flush()).toBe(false)
    for (let i = 0; i < 10; i++) {
      await expect(store.commitUser('acme', 'u', aUser({ revision: 2 }))).rejects.toMatchObject({ name: 'StoreError' })
      expect(await store.loadUser('acme', 'u')).toMatchObject({ revision: 1 })
      expect(await store.findInteraction('acme', before.id)).toMatchObject({ ended: true })
    }
    expect(recorder.status()).toMatchObject({ queued: 20, dropped: 0, rejected: 0 })
    await mend(server)
    await until(() => recorder.flush())
    expect(ids(await all(store.readInteractions({})))).toEqual(ids([before, ...rows]))
    expect(await store.commitUser('acme', 'u', aUser({ revision: 2 }))).toBe(true)
  })

  test('a refusal tells nothing of what was to be stored', async () => {
    const server = await started()
    const store = await opened({ url: server.url })
    await server.command('CONFIG', 'SET', 'maxmemory', '1')
    const error = await store.appendInteractions([anInteraction({ text: 'a secret prompt' })]).catch((thrown) => thrown)
    const { inspect } = await import('node:util')
    expect(error).toMatchObject({ name: 'StoreError' })
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('secret prompt')
  })

  test('emptied, and its scripts forgotten: the next calls work', async () => {
    const server = await started()
    const store = await opened({ url: server.url })
    await store.appendInteractions([anInteraction()])
    await store.commitUser('acme', 'u', aUser(), [anEdge()])
    await server.command('FLUSHALL')
    await server.command('SCRIPT', 'FLUSH')
    const row = anInteraction()
    await store.appendInteractions([row])
    expect(await store.commitUser('acme', 'u', aUser(), [anEdge()])).toBe(true)
    expect(await store.findInteraction('acme', row.id)).toMatchObject({ id: row.id })
    expect(ids(await all(store.readInteractions({ tenant: 'acme' })))).toEqual([row.id])
  })

  test('replies lost after the work was done: nothing is doubled when it is sent again', async () => {
    const server = await started()
    const direct = await opened({ url: server.url })
    const proxy = await LossyProxy.before(server.port)
    cleanUp.push(() => proxy.close())
    const store = await opened({ url: `redis://127.0.0.1:${proxy.port}` })
    const recorder = recording(store)
    const warmUp = anInteraction()
    recorder.interaction(warmUp)
    await until(() => recorder.flush())
    proxy.loseReplies(true)
    const rows = Array.from({ length: 100 }, () => anInteraction())
    for (const row of rows) {
      recorder.interaction(row)
      recorder.reward(aReward({ interaction: row.id }))
    }
    expect(await recorder.flush()).toBe(false)
    // Redis has some of them already, and we don't know.
    expect((await all(direct.readInteractions({ tenant: 'acme' }))).length).toBeGreaterThan(1)
    proxy.loseReplies(false)
    await until(() => recorder.flush())
    expect(proxy.lost).toBeGreaterThan(0)
    expect(ids(await all(direct.readInteractions({})))).toEqual(ids([warmUp, ...rows]))
    expect((await all(direct.readRewards({}))).map(({ interaction }) => interaction).sort()).toEqual(ids(rows))
  })

  test('a subscription that was interrupted says that changes may have been missed', async () => {
    const server = await started()
    const store = await opened({ url: server.url })
    const other = await opened({ url: server.url })
    const seen: string[] = []
    store.subscribe(({ kind }) => seen.push(kind))
    await until(async () => {
      await other.addEvidence('acme', 'p', 'c', Float32Array.of(1))
      return seen.includes('evidence')
    })
    await server.kill()
    await server.start()
    await until(() => seen.includes('all'))
    const count = seen.length
    await until(async () => {
      await other.addEvidence('acme', 'p', 'c', Float32Array.of(1)).catch(() => undefined)
      return seen.slice(count).includes('evidence')
    })
  })

  test('full: a key is revoked and a user erased all the same', async () => {
    const server = await started()
    const store = await opened({ url: server.url })
    const { record } = makeKey({ tenant: 'acme', name: '', expiresAt: null, models: null, user: null, scopes: null })
    await store.createKey(record)
    await store.commitUser('acme', 'u', aUser(), [anEdge()])
    await store.appendInteractions([anInteraction({ user: 'u' })])
    await server.command('CONFIG', 'SET', 'maxmemory', '1')
    expect(await store.revokeKey(record.id, 123)).toBe(true)
    expect(await store.findKey(record.hash)).toMatchObject({ revokedAt: 123 })
    expect(await store.eraseUser('acme', 'u')).toBe(3)
    expect(await store.loadUser('acme', 'u')).toBeNull()
  })

  test('needs its user and password, and does not repeat a wrong one', async () => {
    const server = await started()
    await server.command(
      'ACL',
      'SETUSER',
      'gate',
      'on',
      '>gate-secret',
      '~pr:*',
      'resetchannels',
      '&pr:*',
      '+@all',
      '-@admin',
    )
    const good = await opened({ url: server.url, username: 'gate', password: 'gate-secret' })
    await good.appendInteractions([anInteraction()])
    expect(await all(good.readInteractions({}))).toHaveLength(1)
    const bad = await opened({ url: server.url, username: 'gate', password: 'wrong-secret' })
    const error = await bad.ping().catch((thrown) => thrown)
    expect(error).toMatchObject({ name: 'StoreError' })
    expect(String(error)).not.toContain('wrong-secret')
  })

  test('speaks TLS, and trusts only the authority it was given', async ({ skip }) => {
    const dir = mkdtempSync(join(tmpdir(), 'persona-router-tls-'))
    cleanUp.push(() => rmSync(dir, { recursive: true }))
    const certificate = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=127.0.0.1']
    const names = ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', 'key.pem', '-out', 'cert.pem']
    const made = spawnSync('openssl', ['req', ...certificate, ...names], { cwd: dir })
    if (made.status !== 0) return skip('no openssl here to make a certificate with')
    const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')]
    const port = await freePort()
    const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert]
    const server = new RedisServer(await freePort(), ['--tls-port', `${port}`, ...files, '--tls-auth-clients', 'no'])
    cleanUp.push(() => server.discard())
    try {
      await server.start()
    } catch (error) {
      if (/Bad directive|tls-port/.test(String(error))) return skip('this redis-server was built without TLS')
      throw error
    }
    const url = `rediss://127.0.0.1:${port}`
    const trusting = await opened({ url, tls: { ca_file: cert, reject_unauthorized: true } })
    await trusting.ping()
    const wary = await opened({ url })
    await expect(wary.ping()).rejects.toMatchObject({ name: 'StoreError' })
  })
})

describe('Redis behind a Sentinel', () => {
  test('the master dies under load: the replica takes over, records go on, none doubled', async () => {
    const group = await startRedisBehindSentinel()
    cleanUp.push(() => group.discard())
    const store = await opened({ sentinel: { name: 'main', nodes: [group.sentinel.address] } })
    const recorder = recording(store)
    const stop = traffic(recorder)
    await until(() => recorder.status().delivered > 50)
    await group.master.kill()
    await until(() => recorder.status().away !== null)
    const { delivered } = recorder.status()
    await until(() => recorder.status().away === null && recorder.status().delivered > delivered + 50)
    const rows = stop()
    await until(() => recorder.flush())
    // Replicas copy asynchronously: the master may have taken the last batches with it, and no others.
    const stored = (await all(store.readInteractions({}))).map(({ id }) => id)
    expect(new Set(stored).size).toBe(stored.length)
    expect(stored.slice(-50)).toEqual(rows.slice(-50).map(({ id }) => id))
    expect(recorder.status()).toMatchObject({ dropped: 0, queued: 0 })
    expect(String(((await group.replica.command('ROLE')) as unknown[])[0])).toBe('master')
  })
})

describe('Redis Cluster', () => {
  test('a failover under load: 0 records lost, 0 doubled; then a dead shard takes only its own tenants with it', async () => {
    const cluster = await startRedisCluster({ replicas: true })
    cleanUp.push(() => cluster.discard())
    const store = await opened({ cluster: cluster.addresses })
    const tenants = ['a', 'b', 'c', 'd', 'e', 'f']
    const recorder = recording(store)
    const stop = traffic(recorder, tenants)
    await until(() => recorder.status().delivered > 50)
    for (const replica of cluster.replicas) await replica.command('CLUSTER', 'FAILOVER')
    await until(async () => {
      const roles = await Promise.all(cluster.replicas.map((replica) => replica.command('ROLE')))
      return roles.every((role) => String((role as unknown[])[0]) === 'master')
    })
    const { delivered } = recorder.status()
    await until(() => recorder.status().delivered > delivered + 50)
    const rows = stop()
    await until(() => recorder.flush())
    await everythingOnce(store, rows)
    expect(recorder.status().dropped).toBe(0)

    await Promise.all([cluster.masters[0]!.kill(), cluster.replicas[0]!.kill()])
    const firstThird = 16_384 / 3
    const slots = await Promise.all(
      tenants.map((tenant) => cluster.masters[1]!.command('CLUSTER', 'KEYSLOT', `pr:{${tenant}}:interactions`)),
    )
    expect(slots.some((slot) => Number(slot) < firstThird)).toBe(true)
    for (const [i, tenant] of tenants.entries()) {
      const load = () => store.loadUser(tenant, 'u')
      if (Number(slots[i]) < firstThird) {
        await until(() =>
          load().then(
            () => false,
            (error) => /Redis is away/.test(error.message),
          ),
        )
      } else {
        await until(() =>
          load().then(
            () => true,
            () => false,
          ),
        )
        for (let call = 0; call < 20; call++) expect(await load()).toBeNull()
      }
    }
  })
})
