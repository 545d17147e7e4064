import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { openStore } from '../../src/store/index.ts'
import type { Limit } from '../../src/store/limits.ts'
import { call, complete, expectError } from '../support/clients.ts'
import { eventually as within } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { completionBody, type Exchange, startUpstream, type Upstream } from '../support/upstream.ts'

/** Limits hold while the store is full, paused, gone, or has lost its counters. */
const TENANTS = ['spent', 'fresh', 'rate', 'flight'] as const
type TenantName = (typeof TENANTS)[number]
const keyOf = (name: string) => `pr-${name}-0123456789abcdef`

/** Ten tokens at 1,000 dollars a million. */
const COST_USD = 0.01
const CAP_USD = 0.05
const LIMITS: Record<TenantName, object> = {
  spent: { usd_per_day: CAP_USD },
  fresh: { usd_per_day: CAP_USD },
  rate: { requests_per_minute: 10 },
  flight: { concurrent: 2 },
}
const budget: Limit = { scope: 'tenant', what: 'nanoUsd', window: 'day', max: CAP_USD * 1e9 }

const answered = (exchange: Exchange) =>
  exchange.reply(200, completionBody('Yes.', { usage: { prompt_tokens: 0, completion_tokens: 10, total_tokens: 10 } }))

let upstream: Upstream
beforeAll(async () => {
  upstream = await startUpstream(answered)
})
afterAll(() => upstream?.close())

/** However busy the machine is. */
vi.setConfig({ testTimeout: 180_000 })
const eventually = <T>(state: Parameters<typeof within<T>>[0], what: string) => within(state, what, 60_000)
/** A Redis that gets no core for a while is not away. */
const patient = ({ url }: RedisServer) => ({ store: { kind: 'redis', url, command_timeout_ms: 10_000 } })

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo()
  upstream.play(answered)
})

async function started(server: RedisServer, config: object = {}): Promise<RunningGateway> {
  const gateway = await startGateway({
    store: { kind: 'redis', url: server.url },
    providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
    candidates: [{ name: 'one', provider: 'up', price: { input: 0, output: 1_000 } }],
    tenants: [
      { name: 'test', keys: [TEST_KEY] },
      ...TENANTS.map((name) => ({ name, keys: [keyOf(name)], limits: LIMITS[name] })),
    ],
    ...config,
  })
  cleanUp.push(() => discard(gateway))
  return gateway
}

async function redis(...args: string[]): Promise<RedisServer> {
  const server = await startRedis(...args)
  cleanUp.push(() => server.discard())
  return server
}

/** Asks one after the other. @returns how many were answered */
async function ask(gateway: RunningGateway, tenant: TenantName, times: number): Promise<number> {
  let answered = 0
  for (let i = 0; i < times; i++) {
    const response = await complete(gateway, { model: 'one', max_tokens: 10 }, { key: keyOf(tenant) })
    const text = await response.text()
    if (response.status === 200) answered++
    else expect([response.status, expectError(text).code]).toEqual([429, expect.stringMatching(/quota|rate_limit/)])
  }
  return answered
}

const ready = async (gateway: RunningGateway) =>
  (await (await fetch(`${gateway.url}/readyz`)).json()) as {
    status: string
    components: Record<string, { state: string; detail: string }>
  }

/** Billionths of a dollar that the store has counted. */
async function counted(server: RedisServer, tenant: TenantName): Promise<number> {
  const store = await openStore({ kind: 'redis', url: server.url, command_timeout_ms: 5_000, retention_days: 90 })
  try {
    return (await store.limits.look(tenant, [budget]))[0]?.used ?? Number.NaN
  } finally {
    await store.close()
  }
}

const APPEND_ONLY = ['--appendonly', 'yes', '--appendfsync', 'always']

describe('Redis', () => {
  test.each([
    {
      what: 'full',
      breakIt: (server: RedisServer) => server.command('CONFIG', 'SET', 'maxmemory', '1'),
      mend: (server: RedisServer) => server.command('CONFIG', 'SET', 'maxmemory', '0'),
      cause: /takes no writes: .*OOM/,
    },
    {
      what: 'paused',
      breakIt: (server: RedisServer) => server.command('CLIENT', 'PAUSE', 6_000, 'ALL'),
      mend: () => undefined,
      cause: /takes no writes: /,
    },
    {
      what: 'a read-only replica',
      breakIt: (server: RedisServer) => server.command('REPLICAOF', '127.0.0.1', '1'),
      mend: (server: RedisServer) => server.command('REPLICAOF', 'NO', 'ONE'),
      cause: /takes no writes: .*READONLY/,
    },
    {
      what: 'killed',
      breakIt: (server: RedisServer) => server.kill(),
      mend: (server: RedisServer) => server.start(),
      cause: /takes no writes: /,
    },
  ])(
    '$what: budgets and rates hold, and what was spent meanwhile is counted once',
    async ({ breakIt, mend, cause }) => {
      const server = await redis(...APPEND_ONLY)
      const gateway = await started(server)
      expect(await ask(gateway, 'spent', 7)).toBe(5)
      expect(await ask(gateway, 'rate', 4)).toBe(4)
      await eventually(async () => (await counted(server, 'spent')) === CAP_USD * 1e9, 'what was spent is settled')
      await breakIt(server)
      expect(await ask(gateway, 'spent', 20)).toBe(0)
      expect(await ask(gateway, 'fresh', 20)).toBe(5)
      // Ten in any minute; the four of before fade while it is asked.
      expect(await ask(gateway, 'rate', 20)).toBeLessThanOrEqual(8)
      await eventually(async () => {
        const { status, components } = await ready(gateway)
        return status === 'degraded' && cause.test(components.store?.detail ?? '')
      }, 'the cause is told')
      await mend(server)
      await eventually(async () => (await ready(gateway)).components.limits?.state === 'ok', 'the store counts again')
      expect(await ask(gateway, 'fresh', 5)).toBe(0)
      // The spool tells the same once more.
      await eventually(
        async () => /^0 queued, 0 bytes/.test((await ready(gateway)).components.records?.detail ?? ''),
        'all records are delivered',
      )
      expect(await counted(server, 'fresh')).toBe(5 * COST_USD * 1e9)
      expect(await counted(server, 'spent')).toBe(5 * COST_USD * 1e9)
    },
  )

  test('gone: what a killed gateway had granted by itself is counted by the next one', async () => {
    const server = await redis(...APPEND_ONLY)
    const gateway = await started(server)
    await server.kill()
    expect(await ask(gateway, 'fresh', 3)).toBe(3)
    await gateway.stop('SIGKILL')
    await server.start()
    const next = await startGateway(
      {
        store: { kind: 'redis', url: server.url },
        providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
        candidates: [{ name: 'one', provider: 'up', price: { input: 0, output: 1_000 } }],
        tenants: TENANTS.map((name) => ({ name, keys: [keyOf(name)], limits: LIMITS[name] })),
      },
      { dir: gateway.dir },
    )
    cleanUp.push(() => next.stop('SIGKILL'))
    await eventually(async () => (await counted(server, 'fresh')) === 3 * COST_USD * 1e9, 'it is counted')
    expect(await ask(next, 'fresh', 5)).toBe(2)
  })

  test('evicts: a used-up budget stays used up, and it is told', async () => {
    const server = await redis('--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru')
    const gateway = await started(server, patient(server))
    const { status, components } = await ready(gateway)
    expect([status, components.store?.detail]).toEqual(['degraded', expect.stringContaining('allkeys-lru')])
    expect(await ask(gateway, 'spent', 7)).toBe(5)
    await eventually(async () => (await counted(server, 'spent')) === CAP_USD * 1e9, 'what was spent is settled')
    for (const key of (await server.command('KEYS', 'pr:{spent}:limit:*')) as string[]) await server.command('DEL', key)
    expect(await counted(server, 'spent')).toBe(0)
    // Who is known to be over a limit is refused without a look at the store, but for one request a second.
    await eventually(async () => {
      expect(await ask(gateway, 'spent', 5)).toBe(0)
      return (await counted(server, 'spent')) === CAP_USD * 1e9
    }, 'the counter is back')
    await server.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
  })

  test('really evicts, since others fill it: the same', async () => {
    const server = await redis('--maxmemory', '8mb', '--maxmemory-policy', 'allkeys-lru', '--maxmemory-samples', '64')
    const gateway = await started(server, patient(server))
    expect(await ask(gateway, 'spent', 7)).toBe(5)
    await eventually(async () => (await counted(server, 'spent')) === CAP_USD * 1e9, 'what was spent is settled')
    let filled = 0
    await eventually(async () => {
      await server.command('SET', `filler-${filled++}`, 'x'.repeat(200_000))
      return (await counted(server, 'spent')) === 0
    }, 'the counter is evicted')
    expect(await ask(gateway, 'spent', 20)).toBe(0)
  })

  test('is filled with the kept answers of one tenant: the others are counted as ever', async () => {
    const server = await redis('--maxmemory', '40mb')
    const gateway = await started(server, { ...patient(server), idempotency: { max_bytes: 16 * 1024 * 1024 } })
    upstream.play((exchange) => {
      const text = exchange.json.large ? 'x'.repeat(900_000) : 'Yes.'
      exchange.reply(
        200,
        completionBody(text, { usage: { prompt_tokens: 0, completion_tokens: 10, total_tokens: 10 } }),
      )
    })
    for (let i = 0; i < 60; i++) {
      const answer = await complete(
        gateway,
        { model: 'one', large: true },
        { headers: { 'idempotency-key': `k-${i}` } },
      )
      expect(answer.status).toBe(200)
      await answer.arrayBuffer()
    }
    const { components } = await ready(gateway)
    expect([components.store?.state, components.limits?.state]).toEqual(['ok', 'ok'])
    expect(await ask(gateway, 'spent', 20)).toBe(5)
    const bytes = Number(await server.command('HGET', 'pr:{test}:idempotency-bytes', ''))
    expect(bytes).toBeGreaterThan(8 * 1024 * 1024)
    expect(bytes).toBeLessThanOrEqual(16 * 1024 * 1024)
  })

  test('is filled with the kept responses of one tenant: another one keeps its own, and is counted as ever', async () => {
    const server = await redis('--maxmemory', '40mb')
    const gateway = await started(server, patient(server))
    upstream.play((exchange) => {
      const usage = { prompt_tokens: 0, completion_tokens: 10, total_tokens: 10 }
      exchange.reply(200, completionBody(randomBytes(450_000).toString('hex'), { usage }))
    })
    const respond = async (key: string, previous?: string) => {
      const body = { model: 'one', input: 'Hi', ...(previous !== undefined && { previous_response_id: previous }) }
      const answer = await call(gateway, '/v1/responses', { key, body })
      return { status: answer.status, id: ((await answer.json()) as { id: string }).id }
    }
    for (let i = 0; i < 60; i++) expect((await respond(TEST_KEY)).status).toBe(200)
    const bytes = Number(await server.command('HGET', 'pr:{test}:response-bytes', ''))
    expect(bytes).toBeGreaterThan(5 * 1024 * 1024)
    expect(bytes).toBeLessThanOrEqual(10 * 1024 * 1024)
    const { id } = await respond(keyOf('flight'))
    expect((await respond(keyOf('flight'), id)).status).toBe(200)
    const { components } = await ready(gateway)
    expect([components.store?.state, components.limits?.state]).toEqual(['ok', 'ok'])
    expect(await ask(gateway, 'spent', 20)).toBe(5)
  })

  test('gets no core for longer than a command may take: a race over two replicas is still decided by it', async () => {
    const server = await redis()
    const store = { kind: 'redis', url: server.url, command_timeout_ms: 1_000 }
    const [a, b] = await Promise.all([started(server, { store }), started(server, { store })])
    await Promise.all([ask(a, 'rate', 1), ask(b, 'rate', 1)])
    server.freeze()
    const asked = Array.from({ length: 40 }, (_, i) => ask(i % 2 ? a : b, 'fresh', 1))
    await sleep(1_500)
    server.thaw()
    const sum = (await Promise.all(asked)).reduce((all, one) => all + one, 0)
    expect(sum).toBeLessThanOrEqual(5)
  })

  test('loses all of its data: budgets go on', async () => {
    const server = await redis()
    const gateway = await started(server, patient(server))
    expect(await ask(gateway, 'fresh', 3)).toBe(3)
    await eventually(async () => (await counted(server, 'fresh')) === 3 * COST_USD * 1e9, 'it is settled')
    await server.command('FLUSHALL')
    expect(await ask(gateway, 'fresh', 10)).toBe(2)
  })

  test.each([
    {
      what: 'killed',
      breakIt: (server: RedisServer) => server.kill(),
      mend: (server: RedisServer) => server.start(),
    },
    {
      what: 'full',
      breakIt: (server: RedisServer) => server.command('CONFIG', 'SET', 'maxmemory', '1'),
      mend: (server: RedisServer) => server.command('CONFIG', 'SET', 'maxmemory', '0'),
    },
  ])(
    '$what, `refuse`: 503, at once and to all that is limited; `open`: no limit, but all is counted later',
    async (of) => {
      const server = await redis(...APPEND_ONLY)
      const strict = await started(server, { limits: { when_store_is_away: 'refuse' } })
      const open = await started(server, { limits: { when_store_is_away: 'open' } })
      await of.breakIt(server)
      const asked = TENANTS.map((name) => complete(strict, { model: 'one', max_tokens: 10 }, { key: keyOf(name) }))
      for (const refused of await Promise.all(asked)) {
        expect([refused.status, expectError(await refused.text()).code]).toEqual([503, 'limits_unavailable'])
      }
      // What has no limit is answered.
      expect((await complete(strict, { model: 'one' })).status).toBe(200)
      expect(await ask(open, 'fresh', 8)).toBe(8)
      expect(await ask(open, 'rate', 12)).toBe(12)
      await of.mend(server)
      await eventually(async () => (await counted(server, 'fresh')) === 8 * COST_USD * 1e9, 'it is counted')
      const again = await eventually(async () => {
        const response = await complete(strict, { model: 'one', max_tokens: 10 }, { key: keyOf('fresh') })
        return response.status !== 503 && response
      }, 'it can ask again')
      expect(again.status).toBe(429)
      expect(await ask(strict, 'spent', 6)).toBe(5)
    },
  )

  test('gone, two replicas: each grants its share of what was left', async () => {
    const server = await redis(...APPEND_ONLY)
    const [a, b] = await Promise.all([started(server), started(server)])
    expect((await ask(a, 'fresh', 1)) + (await ask(b, 'fresh', 1))).toBe(2)
    await eventually(async () => (await counted(server, 'fresh')) === 2 * COST_USD * 1e9, 'it is settled')
    await eventually(async () => {
      const told = await Promise.all([ready(a), ready(b)])
      return told.every(({ components }) => components.limits?.detail.includes('processes: 2'))
    }, 'both know of each other')
    await server.kill()
    const [here, there] = [await ask(a, 'fresh', 5), await ask(b, 'fresh', 5)]
    expect(here + there).toBeGreaterThan(0)
    expect(2 + here + there).toBeLessThanOrEqual(5)
  })
})
