import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { IdentitySecret } from '../../src/candidates/identity-secret.ts'
import { loadConfig } from '../../src/config/load.ts'
import { openStore } from '../../src/store/index.ts'
import type { Store } from '../../src/store/store.ts'
import { adminCall, call, complete, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import {
  chunkOf,
  completionBody,
  type Exchange,
  replyPlain,
  startUpstream,
  type Upstream,
} from '../support/upstream.ts'

const CLI = fileURLToPath(new URL('../../bin/persona-router.mjs', import.meta.url))

let upstream: Upstream
let redis: RedisServer
let client: Redis
const running: RunningGateway[] = []

beforeAll(async () => {
  upstream = await startUpstream(replyPlain())
  // What is looked for must be seen in what it keeps.
  redis = await startRedis('--rdbcompression', 'no')
  client = new Redis(redis.url)
})
afterAll(async () => {
  client?.disconnect()
  await redis?.discard()
  await upstream?.close()
})
afterEach(async () => {
  await Promise.all(running.splice(0).map(discard))
  await client.flushall()
})

async function start(config: Record<string, unknown> = {}, dir?: string): Promise<RunningGateway> {
  const gateway = await startGateway(
    {
      providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
      candidates: ['one', 'two'].map((name) => ({ name, provider: 'up', price: { input: 1, output: 2 } })),
      store: { kind: 'redis', url: redis.url },
      tenants: [{ name: 'test', keys: [TEST_KEY], plain_user_ids: true }],
      ...config,
    },
    dir === undefined ? {} : { dir },
  )
  running.push(gateway)
  return gateway
}

/** Asks, and rates the answer. */
async function askAndRate(gateway: RunningGateway, user: string): Promise<void> {
  upstream.play(replyPlain())
  const response = await complete(gateway, {}, { user })
  expect(await response.text()).toContain('Hello')
  const body = { request_id: response.headers.get('x-request-id'), rating: 'up' }
  expect((await call(gateway, '/v1/feedback', { user, body })).status).toBe(202)
  await eventually(async () => (await explain(gateway, 'Hi', { user })).user.rewards > 0, 'the rating is learned')
}

/** Keys and values in which the user's stored id stands. */
async function traces(id: string): Promise<string[]> {
  const found: string[] = []
  for (const key of await client.keys('*')) {
    const bytes = await client.dumpBuffer(key)
    if (key.includes(id) || bytes?.includes(id)) found.push(key)
  }
  return found
}

describe('a user who is erased at one replica while another one answers them', () => {
  test('does not come back: not by the answer, not by feedback on it, not by their conversation', async () => {
    const [a, b] = await Promise.all([start(), start()])
    await askAndRate(b, 'ann')
    let goOn = () => {}
    upstream.play(async (exchange: Exchange) => {
      exchange.stream()
      exchange.event(chunkOf({ role: 'assistant', content: 'One moment' }))
      await new Promise<void>((resolve) => {
        goOn = resolve
      })
      exchange.event(chunkOf({}, 'stop'))
      exchange.chunk('data: [DONE]\n\n')
      exchange.end()
    })
    const headers = { 'x-conversation-id': 'c', 'idempotency-key': 'once' }
    const streaming = await complete(b, { stream: true }, { user: 'ann', headers })
    const id = streaming.headers.get('x-request-id')

    const erased = await call(a, '/v1/users/ann/profile', { method: 'DELETE' })
    expect(erased.status).toBe(200)
    const body = { request_id: id, rating: 'down' }
    expect([202, 404]).toContain((await call(b, '/v1/feedback', { user: 'ann', body })).status)
    goOn()
    expect(await streaming.text()).toContain('[DONE]')
    // Two more of another user: what the first left to be written is behind them.
    await askAndRate(b, 'bob')
    await askAndRate(a, 'bob')
    for (const gateway of [a, b]) {
      expect((await call(gateway, '/v1/users/ann/profile')).status).toBe(404)
      expect((await explain(gateway, 'Hi', { user: 'ann' })).user.rewards).toBe(0)
    }
    await eventually(async () => (await traces('p:ann')).length === 0, 'nothing names the user')
    expect((await traces('p:bob')).length).toBeGreaterThan(0)
    // Who comes again is a new user.
    await askAndRate(b, 'ann')
  }, 120_000)
})

describe('a tenant', () => {
  test('is erased by command and by an admin, at once for every replica', async () => {
    const gateway = await start()
    await askAndRate(gateway, 'ann')
    const run = (...args: string[]) =>
      promisify(execFile)(process.execPath, [CLI, 'tenants', 'erase', ...args, '--config', gateway.configFile])
    await expect(run('test')).rejects.toMatchObject({ stderr: expect.stringContaining('--yes') })
    expect((await traces('test')).length).toBeGreaterThan(3)
    const { stdout, stderr } = await run('test', '--yes')
    expect(stdout).toMatch(/Erased tenant 'test': [1-9]\d* entries/)
    expect(stderr).toContain('still configured')
    expect(await traces('p:ann')).toEqual([])
    await eventually(async () => (await explain(gateway, 'Hi', { user: 'ann' })).user.rewards === 0, 'it is seen')
    await expect(run('nosuch', '--yes')).rejects.toMatchObject({ stderr: expect.stringContaining('Nothing is kept') })

    await askAndRate(gateway, 'bob')
    expect((await adminCall(gateway, '/tenants/test', { method: 'DELETE' })).status).toBe(200)
    expect(await traces('p:bob')).toEqual([])
    expect((await adminCall(gateway, '/tenants/nosuch', { method: 'DELETE' })).status).toBe(404)
  }, 120_000)
})

describe('the secret of user ids', () => {
  const tenants = [{ name: 'test', keys: [TEST_KEY] }]
  const [OLD, NEW] = ['the-old-secret-0123456789', 'the-new-secret-0123456789']

  test('that differs from that of the other replicas refuses to start; with the old one beside it, users are found', async () => {
    const old = await start({ tenants, identity: { secret: OLD } })
    await askAndRate(old, 'ann')
    upstream.play((exchange) => exchange.reply(200, { ...completionBody(), id: 'chatcmpl-3f9a1c77e2b04d55' }))
    const asked = await complete(old, { model: 'one' }, { user: 'ann' })
    const unrated = String(asked.headers.get('x-request-id'))
    const completion = (await asked.json()).id as string
    const other = start({ tenants, identity: { secret: NEW } })
    await expect(other).rejects.toThrow(/kept under another secret.*previous_secrets/s)

    const rotated = await start({ tenants, identity: { secret: NEW, previous_secrets: [OLD] } })
    const rewards = async () => (await explain(rotated, 'Hi', { user: 'ann' })).user.rewards as number
    const known = await rewards()
    expect(known).toBeGreaterThanOrEqual(1)
    const profile = await (await call(rotated, '/v1/users/ann/profile')).json()
    expect(profile).toMatchObject({ rewards_counted: known, interactions: [{}, {}] })
    // What they asked before, and rate now, is learned of them as they are now.
    for (const [i, named] of [{ request_id: unrated }, { completion_id: completion }].entries()) {
      const body = { ...named, rating: i === 0 ? 'up' : 'down' }
      expect((await call(rotated, '/v1/feedback', { user: 'ann', body })).status).toBe(202)
      await eventually(async () => (await rewards()) === known + 1, 'it is learned')
    }
    await askAndRate(rotated, 'ann')
    expect((await call(rotated, '/v1/users/ann/profile', { method: 'DELETE' })).status).toBe(200)
    expect((await call(rotated, '/v1/users/ann/profile')).status).toBe(404)
    // One that was missed in the roll-out.
    await expect(start({ tenants, identity: { secret: OLD } })).rejects.toThrow(/kept under another secret/)
  }, 120_000)

  test('that a gateway made for itself is known when one is configured later', async () => {
    const made = await start({ tenants, identity: { secret: undefined } })
    await askAndRate(made, 'ann')
    const configured = await start({ tenants, identity: { secret: NEW } })
    expect((await explain(configured, 'Hi', { user: 'ann' })).user.rewards).toBe(1)
  }, 120_000)

  test('is told again to a store that has lost it, and another one is noticed', async () => {
    const gateway = await start({ tenants, identity: { secret: undefined } })
    const config = loadConfig(gateway.configFile).config
    const store: Store = await openStore(config.store)
    const problems: string[] = []
    const identity = await IdentitySecret.open({
      configured: undefined,
      previous: [],
      file: `${gateway.dir}/another-secret`,
      store,
      onChange: () => {},
      onProblem: (problem) => problems.push(problem),
      lookEveryMs: 50,
    })
    const secret = await client.get('pr:shared-secret')
    expect(identity.secrets[0]).toBe(secret)
    await client.flushall()
    await eventually(async () => (await client.get('pr:shared-secret')) === secret, 'the secret is told again')
    await eventually(async () => (await client.get('pr:secret-fingerprint')) !== null, 'and its fingerprint')
    expect(identity.problem).toBeNull()
    await client.set('pr:secret-fingerprint', 'of-another')
    await eventually(() => problems.length > 0, 'it is noticed')
    expect(identity.problem).toContain('another secret')
    identity.close()
    await store.close()
  }, 120_000)
})
