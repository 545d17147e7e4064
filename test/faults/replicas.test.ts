import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { editManifest } from '../routing/support.ts'
import { Balancer } from '../support/balancer.ts'
import { adminCall, call, complete, explain, metric } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { measured } from '../support/measured.ts'
import { exported } from '../support/records.ts'
import { type RedisCluster, type RedisServer, startRedis, startRedisCluster } from '../support/redis.ts'
import { completionBody, type Exchange, replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

/** Stated: what one replica is told, every other one knows within five seconds; mostly it takes milliseconds. */
const SEEN_WITHIN_MS = 5_000
const ARTIFACT = fileURLToPath(new URL('../../router-model/artifacts/current', import.meta.url))

let redis: RedisServer
let upstream: Upstream
let shared: string
let a: RunningGateway
let b: RunningGateway
let broken = false
let answers = 0

const config = (store: object) => ({
  store,
  identity: { secret: undefined },
  providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
  candidates: ['one', 'two'].map((name) => ({ name, provider: 'up', price: { input: 1, output: 2 } })),
  server: { drain_delay_ms: 500 },
  router: { artifact: join(shared, 'current'), embedder: 'static' },
  retries: { max_attempts: 1, breaker: { failures: 3, open_ms: 60_000 } },
})

beforeAll(async () => {
  upstream = await startUpstream((exchange: Exchange) =>
    broken
      ? exchange.reply(500, '{}')
      : replyPlain(200, completionBody('Hi.', { id: `chatcmpl-${++answers}` }))(exchange),
  )
  redis = await startRedis('--appendonly', 'yes', '--appendfsync', 'always')
  shared = mkdtempSync(join(tmpdir(), 'persona-router-artifacts-'))
  for (const version of ['first', 'second']) {
    cpSync(ARTIFACT, join(shared, version), { recursive: true, dereference: true })
    editManifest(join(shared, version), (manifest) => Object.assign(manifest, { version }))
  }
  symlinkSync('first', join(shared, 'current'))
  const both = config({ kind: 'redis', url: redis.url })
  ;[a, b] = await Promise.all([startGateway(both), startGateway(both)])
})
afterAll(async () => {
  await Promise.all([discard(a), discard(b)])
  await redis?.discard()
  await upstream?.close()
  rmSync(shared, { recursive: true, force: true })
})
beforeEach(() => {
  broken = false
})

/** How long until it is so; it must be within the stated time. */
async function seen(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const started = performance.now()
  await eventually(isSo, what, SEEN_WITHIN_MS)
  measured(`seen by the other replica: ${what}`, `${(performance.now() - started).toFixed(0)} ms`)
}

describe('two replicas on one Redis', () => {
  test('keep user ids under one secret that none was given', async () => {
    for (const gateway of [a, b]) {
      expect((await complete(gateway, {}, { user: 'ada' })).status).toBe(200)
    }
    const users = await eventually(async () => {
      const rows = await exported(a)
      return rows.length >= 2 && rows.map(({ user }) => user)
    }, 'both are recorded')
    expect(new Set(users).size).toBe(1)
    const [one, two] = [a, b].map(({ dir }) => readFileSync(join(dir, 'identity-secret'), 'utf8'))
    expect(one).toBe(two)
  })

  test('one that began without Redis takes on the secret of the others when Redis is back', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'persona-router-'))
    const secretOf = (directory: string) => readFileSync(join(directory, 'identity-secret'), 'utf8')
    writeFileSync(join(dir, 'identity-secret'), 'a-secret-of-its-own-0123456789\n')
    await redis.kill()
    const alone = await startGateway(config({ kind: 'redis', url: redis.url }), { dir })
    try {
      const early = await complete(alone, {}, { user: 'ada' })
      expect(early.status).toBe(200)
      expect(secretOf(dir)).toContain('of-its-own')
      await redis.start()
      await eventually(() => secretOf(dir) === secretOf(a.dir), 'the secret of all')
      const late = await eventually(async () => {
        const answer = await complete(alone, {}, { user: 'ada' })
        return answer.status === 200 && answer.headers.get('x-request-id')
      }, 'an answer')
      const rows = await eventually(async () => {
        const all = await exported(a)
        return all.some(({ id }) => id === late) && all
      }, 'it is recorded')
      const known = rows.find(({ id }) => id === late)?.user
      expect(rows.filter(({ user }) => user === known).length).toBeGreaterThanOrEqual(3)
    } finally {
      await discard(alone)
      await eventually(async () => (await fetch(`${b.url}/readyz`)).ok && (await explain(b, 'Hi')).user, 'b is back')
    }
  })

  test('what a user thinks, told to one, moves the other', async () => {
    const question = 'Which sorting algorithm is stable?'
    const user = 'bea'
    expect((await explain(b, question, { user })).user.rewards).toBe(0)
    const answer = await complete(a, { model: 'one', messages: [{ role: 'user', content: question }] }, { user })
    const { id } = await answer.json()
    const told = await call(a, '/v1/feedback', { user, body: { completion_id: id, rating: 'up' } })
    expect(told.status).toBe(202)
    await seen('feedback', async () => (await explain(b, question, { user })).user.rewards === 1)
    // How long the answer was is told a little later.
    await seen('the same scores', async () => {
      const [one, two] = await Promise.all([a, b].map((gateway) => explain(gateway, question, { user })))
      return isDeepStrictEqual(
        one?.candidates.map(({ mean }) => mean),
        two?.candidates.map(({ mean }) => mean),
      )
    })
  })

  test('a key that is made at one and revoked at one', async () => {
    const made = await (await adminCall(a, '/keys', { body: { tenant: 'test' } })).json()
    await seen('a new key', async () => (await call(b, '/v1/models', { key: made.key })).status === 200)
    await adminCall(a, `/keys/${made.id}`, { method: 'DELETE' })
    await seen('a revoked key', async () => (await call(b, '/v1/models', { key: made.key })).status === 401)
  })

  test('a new configuration, mounted as Kubernetes does, and a new artifact', async () => {
    const policyOf = async (gateway: RunningGateway) =>
      (await (await adminCall(gateway, '/status')).json()).policies.policy as string
    const before = await Promise.all([policyOf(a), policyOf(b)])
    expect(before[0]).toBe(before[1])
    for (const { configFile } of [a, b]) {
      const parsed = parse(readFileSync(configFile, 'utf8'))
      const more = { ...parsed, candidates: [...parsed.candidates, { ...parsed.candidates[0], name: 'three' }] }
      // ..data -> a directory; the file is a link into it.
      writeFileSync(`${configFile}.next`, stringify(more))
      symlinkSync(`${configFile}.next`, `${configFile}.link`)
      renameSync(`${configFile}.link`, configFile)
    }
    symlinkSync('second', join(shared, 'next'))
    renameSync(join(shared, 'next'), join(shared, 'current'))
    const models = async (gateway: RunningGateway) => (await call(gateway, '/v1/models')).text()
    for (const gateway of [a, b]) {
      await eventually(async () => (await models(gateway)).includes('"three"'), 'the configuration', 2 * SEEN_WITHIN_MS)
      await eventually(async () => (await policyOf(gateway)) !== before[0], 'the artifact', 2 * SEEN_WITHIN_MS)
    }
    expect(await policyOf(a)).toBe(await policyOf(b))
  })

  test('not a breaker: what one can’t reach, the other asks all the same', async () => {
    broken = true
    for (let i = 0; i < 3; i++) await complete(a, { model: 'two' })
    // Of one user's failures alone a probe of its own decides.
    await eventually(async () => (await metric(a, 'persona_router_breakers_open')) === 1, 'the breaker is open')
    broken = false
    expect((await complete(a, { model: 'two' })).status).toBe(503)
    expect((await complete(b, { model: 'two' })).status).toBe(200)
  })
})

describe('a rolling restart under load', () => {
  test('fails no request, and each has one record', async () => {
    const store = { kind: 'redis', url: redis.url }
    let replicas = [await startGateway(config(store)), await startGateway(config(store))]
    const balancer = await Balancer.start(...replicas.map(({ url }) => url))
    const reach = { ...replicas[0]!, url: balancer.url, baseURL: `${balancer.url}/v1` }
    const results: { status: number; id: string }[] = []
    let over = false
    const clients = Array.from({ length: 4 }, async () => {
      while (!over) {
        const response = await complete(reach, { model: 'one' }, { user: 'roll' })
        await response.arrayBuffer()
        results.push({ status: response.status, id: response.headers.get('x-request-id') ?? '' })
        // Leaves the processor to those that start.
        await sleep(10)
      }
    })
    try {
      for (const old of [...replicas]) {
        const next = await startGateway(config(store))
        balancer.add(next.url)
        await balancer.check()
        expect(await old.stop('SIGTERM')).toBe(0)
        balancer.remove(old.url)
        rmSync(old.dir, { recursive: true })
        replicas = [...replicas.filter((replica) => replica !== old), next]
      }
      over = true
      await Promise.all(clients)
      measured('requests during a rolling restart', `${results.length}, none failed`)
      expect(results.filter(({ status }) => status !== 200)).toEqual([])
      expect(results.length).toBeGreaterThan(50)
      const wanted = new Set(results.map(({ id }) => id))
      await eventually(async () => {
        const found = (await exported(replicas[0]!)).map(({ id }) => id).filter((id) => wanted.has(id))
        return found.length === wanted.size
      }, 'each is recorded once')
    } finally {
      over = true
      await Promise.allSettled(clients)
      await balancer.close()
      await Promise.all(replicas.map(discard))
    }
  }, 90_000)
})

describe('a Redis Cluster that loses a master under load', () => {
  let cluster: RedisCluster | undefined
  let gateway: RunningGateway | undefined
  afterAll(async () => {
    await discard(gateway)
    await cluster?.discard()
  })

  test('fails no request; each answer has one record when the replica has taken over', async () => {
    cluster = await startRedisCluster({ replicas: true })
    gateway = await startGateway(config({ kind: 'redis', cluster: cluster.addresses }))
    const ids: string[] = []
    const ask = async () => {
      const response = await complete(gateway!, { model: 'one' }, { user: `u-${ids.length}` })
      await response.arrayBuffer()
      expect(response.status).toBe(200)
      ids.push(response.headers.get('x-request-id') ?? '')
    }
    const askMore = async (count: number) => {
      for (let i = 0; i < count; i += 4) await Promise.all([ask(), ask(), ask(), ask()])
    }
    await askMore(40)
    // Whoever holds the tenant's part of the log.
    const slot = Number(await cluster.masters[0]!.command('CLUSTER', 'KEYSLOT', 'pr:{test}:interactions'))
    await cluster.masters[Math.floor((slot * 3) / 16_384)]!.kill()
    await askMore(200)
    const states = async () => (await (await fetch(`${gateway!.url}/readyz`)).json()).components.records.state
    await eventually(async () => (await states()) === 'ok', 'the records are delivered', 30_000)
    await askMore(20)
    const wanted = new Set(ids)
    await eventually(
      async () => {
        // A command that met the cluster in the middle of it is asked again.
        const rows = await exported(gateway!).catch(() => [])
        const found = rows.map(({ id }) => id).filter((id) => wanted.has(id))
        expect(new Set(found).size).toBe(found.length)
        return found.length === wanted.size
      },
      'each is recorded once',
      30_000,
    )
  }, 90_000)
})
