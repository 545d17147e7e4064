import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, test } from 'vitest'
import type { StoreConfig } from '../../src/config/schema.ts'
import { openStore } from '../../src/store/index.ts'
import type { ClaimRequest } from '../../src/store/limits.ts'
import type { Store } from '../../src/store/store.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { LossyProxy } from '../support/lossy-proxy.ts'
import { type RedisServer, startRedis, until } from '../support/redis.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

const LONG_MS = 600_000
const KEEPING = { keepMs: LONG_MS, maxBytes: 1e9 }
const TENANT = 'acme'

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo()
})

async function redisServer(): Promise<RedisServer> {
  const server = await startRedis('--appendonly', 'yes', '--appendfsync', 'always')
  cleanUp.push(() => server.discard())
  return server
}

async function opened(config: Partial<StoreConfig>): Promise<Store> {
  const store = await openStore({ command_timeout_ms: 250, retention_days: 90, ...config } as StoreConfig)
  cleanUp.push(() => store.close())
  return store
}

const redisStore = (port: number) => opened({ kind: 'redis', url: `redis://127.0.0.1:${port}` })

async function lossyProxy(server: RedisServer): Promise<LossyProxy> {
  const proxy = await LossyProxy.before(server.port)
  cleanUp.push(() => proxy.close())
  return proxy
}

const aClaim = (): ClaimRequest => ({
  tenant: TENANT,
  user: 'u',
  key: 'k',
  bodyHash: 'b',
  token: randomUUID(),
  ttlMs: LONG_MS,
})

/** What a request would find; one that is told nothing gives its claim up, as the gateway does. */
async function stateOf(store: Store): Promise<string> {
  const claim = aClaim()
  try {
    return (await store.idempotency.claim(claim)).state
  } catch {
    await store.idempotency.release(TENANT, 'k', claim.token).catch(() => undefined)
    return 'away'
  }
}

describe('a claim of which nothing is known', () => {
  test('Redis frozen: it may be done; given up, the key is free for every process after the thaw', async () => {
    const server = await redisServer()
    const [store, other] = [await redisStore(server.port), await redisStore(server.port)]
    const claim = aClaim()
    server.freeze()
    cleanUp.push(() => server.thaw())
    await expect(store.idempotency.claim(claim)).rejects.toMatchObject({ name: 'StoreError', mayBeDone: true })
    await expect(store.idempotency.release(TENANT, 'k', claim.token)).rejects.toMatchObject({ name: 'StoreError' })
    server.thaw()
    await until(async () => (await stateOf(other)) === 'claimed')
    // And from then on it is the other's.
    expect(await stateOf(store)).toBe('in_flight')
  })

  test('Redis frozen for longer than the connection lives: the claim in its socket does not hold', async () => {
    const server = await redisServer()
    const [store, other] = [await redisStore(server.port), await redisStore(server.port)]
    const claim = aClaim()
    server.freeze()
    cleanUp.push(() => server.thaw())
    await expect(store.idempotency.claim(claim)).rejects.toMatchObject({ mayBeDone: true })
    await expect(store.idempotency.release(TENANT, 'k', claim.token)).rejects.toMatchObject({ name: 'StoreError' })
    await new Promise((resolve) => setTimeout(resolve, 5_000))
    server.thaw()
    await until(async () => (await stateOf(other)) === 'claimed')
  })

  test('given up before it arrives, it holds nothing', async () => {
    const server = await redisServer()
    const store = await redisStore(server.port)
    const claim = aClaim()
    await store.idempotency.release(TENANT, 'k', claim.token)
    await expect(store.idempotency.claim(claim)).rejects.toMatchObject({ name: 'StoreError', mayBeDone: false })
    expect(await stateOf(store)).toBe('claimed')
  })

  test('its reply lost: the retry passes in this process as soon as Redis answers', async () => {
    const server = await redisServer()
    const proxy = await lossyProxy(server)
    const store = await redisStore(proxy.port)
    const direct = await redisStore(server.port)
    // The server knows the script then.
    await store.idempotency.claim({ ...aClaim(), key: 'another' })
    proxy.loseReplies(true)
    const claim = aClaim()
    await expect(store.idempotency.claim(claim)).rejects.toMatchObject({ mayBeDone: true })
    // It was done, and nobody was told.
    await until(async () => (await stateOf(direct)) === 'in_flight')
    await expect(store.idempotency.release(TENANT, 'k', claim.token)).rejects.toMatchObject({ name: 'StoreError' })
    proxy.loseReplies(false)
    await until(async () => (await stateOf(store)) === 'claimed')
  })

  test('Redis dead: nothing was sent, and nothing is owed', async () => {
    const server = await redisServer()
    const store = await redisStore(server.port)
    await server.kill()
    await until(() =>
      store.idempotency.claim(aClaim()).then(
        () => false,
        ({ mayBeDone }) => mayBeDone === false,
      ),
    )
  })
})

describe('an answer whose end the store could not take', () => {
  test('is kept as soon as Redis is back', async () => {
    const server = await redisServer()
    const [store, other] = [await redisStore(server.port), await redisStore(server.port)]
    const claim = aClaim()
    await store.idempotency.claim(claim)
    server.freeze()
    cleanUp.push(() => server.thaw())
    const response = Buffer.from('an answer')
    const complete = store.idempotency.complete(TENANT, 'k', claim.token, response, KEEPING)
    await expect(complete).rejects.toMatchObject({ name: 'StoreError' })
    server.thaw()
    await until(async () => (await stateOf(other)) === 'done')
    expect(await other.idempotency.claim(aClaim())).toEqual({ state: 'done', response })
  })

  test('is kept as soon as the SQLite file is free', async () => {
    const path = storeFile()
    const store = await opened({ kind: 'sqlite', path })
    const claim = aClaim()
    await store.idempotency.claim(claim)
    const free = lock(path)
    const complete = store.idempotency.complete(TENANT, 'k', claim.token, Buffer.from('an answer'), KEEPING)
    await expect(complete).rejects.toMatchObject({ name: 'StoreError' })
    await expect(store.idempotency.claim(aClaim())).rejects.toMatchObject({ name: 'StoreError', mayBeDone: false })
    free()
    await until(async () => (await stateOf(store)) === 'done')
  })
})

describe('a request with an Idempotency-Key', () => {
  interface Subject {
    gateway: RunningGateway
    upstream: Upstream
  }

  async function subject(store: object, whenAway = 'refuse'): Promise<Subject> {
    const upstream = await startUpstream(replyPlain())
    cleanUp.push(() => upstream.close())
    const gateway = await startGateway({
      store,
      idempotency: { when_store_is_away: whenAway },
      providers: {
        up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false, auth: 'none' },
      },
      candidates: [{ name: 'scripted', provider: 'up', price: { input: 1, output: 2 } }],
    })
    cleanUp.push(() => discard(gateway))
    return { gateway, upstream }
  }

  async function ask({ gateway }: Subject, key: string | null = 'order-1') {
    const response = await fetch(`${gateway.baseURL}/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${TEST_KEY}`,
        'content-type': 'application/json',
        ...(key !== null && { 'idempotency-key': key }),
      },
      body: JSON.stringify({ model: 'scripted', messages: [{ role: 'user', content: 'hi' }] }),
    })
    return { status: response.status, headers: response.headers, text: await response.text() }
  }

  /** Refused with nobody asked; then answered once, and replayed. */
  async function refusedThenOnce(asked: Subject, mend: () => unknown): Promise<void> {
    const { upstream } = asked
    for (let i = 0; i < 3; i++) {
      const refused = await ask(asked)
      expect(refused.status).toBe(503)
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(JSON.parse(refused.text)).toMatchObject({
        error: { type: 'api_error', code: 'idempotency_unavailable', param: 'idempotency-key' },
      })
    }
    expect(upstream.requests).toHaveLength(0)
    await mend()
    let answer = await ask(asked)
    await until(async () => {
      if (answer.status !== 200) answer = await ask(asked)
      return answer.status === 200
    })
    await until(async () => (await ask(asked)).headers.get('idempotency-replayed') === 'true')
    expect((await ask(asked)).text).toBe(answer.text)
    expect(upstream.requests).toHaveLength(1)
  }

  test('is refused while Redis is frozen, and answered once after that', async () => {
    const server = await redisServer()
    const asked = await subject({ kind: 'redis', url: server.url })
    server.freeze()
    cleanUp.push(() => server.thaw())
    await refusedThenOnce(asked, () => server.thaw())
  })

  test('is refused while Redis is dead, and answered once after that; others are served', async () => {
    const server = await redisServer()
    const asked = await subject({ kind: 'redis', url: server.url })
    await server.kill()
    expect((await ask(asked, null)).status).toBe(200)
    asked.upstream.requests.length = 0
    await refusedThenOnce(asked, () => server.start())
  })

  test('is refused while replies get lost, and answered once after that', async () => {
    const server = await redisServer()
    const proxy = await lossyProxy(server)
    const asked = await subject({ kind: 'redis', url: `redis://127.0.0.1:${proxy.port}` })
    proxy.loseReplies(true)
    await refusedThenOnce(asked, () => proxy.loseReplies(false))
  })

  test('is refused while the SQLite file is locked, and answered once after that', async () => {
    const path = storeFile()
    const asked = await subject({ kind: 'sqlite', path })
    const free = lock(path)
    await refusedThenOnce(asked, free)
  })

  test('is answered once though Redis freezes between claim and answer', async () => {
    const server = await redisServer()
    const asked = await subject({ kind: 'redis', url: server.url })
    const { promise: told, resolve: tell } = Promise.withResolvers<void>()
    asked.upstream.play((exchange) => told.then(() => replyPlain()(exchange)))
    const first = ask(asked)
    await until(() => asked.upstream.requests.length === 1)
    server.freeze()
    cleanUp.push(() => server.thaw())
    tell()
    const { status, text } = await first
    expect(status).toBe(200)
    expect((await ask(asked)).status).toBe(503)
    server.thaw()
    await until(async () => (await ask(asked)).headers.get('idempotency-replayed') === 'true')
    expect((await ask(asked)).text).toBe(text)
    expect(asked.upstream.requests).toHaveLength(1)
  })

  test('is forwarded where the operator wants it so', async () => {
    const server = await redisServer()
    const asked = await subject({ kind: 'redis', url: server.url }, 'forward')
    server.freeze()
    cleanUp.push(() => server.thaw())
    expect((await ask(asked)).status).toBe(200)
    server.thaw()
    await until(async () => (await ask(asked, 'order-2')).status === 200)
    // The first key is not stuck, whatever became of its claim.
    await until(async () => (await ask(asked)).status === 200)
  })
})

/** A file for a store, in a directory that goes after the test. */
function storeFile(): string {
  const dir = mkdtempSync(join(tmpdir(), 'persona-router-idempotency-'))
  cleanUp.push(() => rmSync(dir, { recursive: true, force: true }))
  return join(dir, 'gateway.db')
}

/** Another process in the middle of a write. Returns the way to end it. */
function lock(path: string): () => void {
  const db = new DatabaseSync(path)
  db.exec('BEGIN IMMEDIATE')
  cleanUp.push(() => db.close())
  return () => db.exec('COMMIT')
}
