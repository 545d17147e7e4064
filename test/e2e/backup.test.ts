import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { readManifest } from '../../src/store/backup/manifest.ts'
import { edgeId } from '../../src/store/history.ts'
import { openStore } from '../../src/store/index.ts'
import { anEdge, aUser } from '../store/records.ts'
import { call, complete, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { ADMIN_KEY, discard, type RunningGateway, startGateway, TEST_KEY, testConfig } from '../support/gateway.ts'
import { type RedisCluster, type RedisServer, startRedis, startRedisCluster } from '../support/redis.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

const CLI = fileURLToPath(new URL('../../bin/persona-router.mjs', import.meta.url))
const NAMES = ['one', 'two', 'three']

let upstream: Upstream
let redis: RedisServer
let cluster: RedisCluster
const running: RunningGateway[] = []
const dirs: string[] = []

beforeAll(async () => {
  ;[upstream, redis, cluster] = await Promise.all([startUpstream(replyPlain()), startRedis(), startRedisCluster()])
})
afterAll(() => Promise.all([upstream?.close(), redis?.discard(), cluster?.discard()]))
afterEach(async () => {
  await Promise.all(running.splice(0).map(discard))
  await Promise.all([redis, ...cluster.masters].map((server) => server.command('FLUSHALL')))
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true })
})

const temporary = () => {
  const dir = mkdtempSync(join(tmpdir(), 'persona-router-move-'))
  dirs.push(dir)
  return dir
}

const configFor = (store: object, more: object = {}) => ({
  providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
  candidates: NAMES.map((name, i) => ({ name, provider: 'up', price: { input: i + 1, output: 2 * (i + 1) } })),
  store,
  router: {
    ...{ deadline_ms: 10_000, exploration_seed: 7, shared_after_users: 1 },
    // What users tell of their tenant and of LLMs moves strangers at once.
    shared_evidence: { min_answers: 1, min_age_hours: 0 },
  },
  tenants: [{ name: 'test', keys: [TEST_KEY] }],
  ...more,
})

async function start(config: Record<string, unknown>): Promise<RunningGateway> {
  const gateway = await startGateway(config, { dir: temporary() })
  running.push(gateway)
  return gateway
}

/** Runs the command line; rejects where it fails. */
const cli = async (config: string, ...args: string[]) =>
  (await promisify(execFile)(process.execPath, [CLI, '--config', config, ...args], { encoding: 'utf8' })).stdout

function fileFor(config: Record<string, unknown>): string {
  const dir = temporary()
  writeFileSync(join(dir, 'gateway.yaml'), stringify(testConfig(config, dir)))
  return join(dir, 'gateway.yaml')
}

/** The same decisions, and the same scores but for what the size of a batch does to the last digit of a float32. */
function expectSame(after: Explained[], before: Explained[]): void {
  for (const [i, { chosen, reason, user, candidates }] of after.entries()) {
    const was = before[i] as Explained
    expect({ chosen, reason, user }).toEqual({ chosen: was.chosen, reason: was.reason, user: was.user })
    expect(candidates.map(({ name, excluded }) => [name, excluded])).toEqual(
      was.candidates.map(({ name, excluded }) => [name, excluded]),
    )
    for (const [at, { mean }] of candidates.entries()) {
      const known = was.candidates[at]
      if (typeof mean === 'number') expect(Math.abs(mean - (known?.mean ?? 9))).toBeLessThan(1e-5)
      else expect(known?.mean).toBe(mean)
    }
  }
}
type Explained = Awaited<ReturnType<typeof explain>>

const sqliteIn = (dir: string) => ({ kind: 'sqlite', path: join(dir, 'store.db') })
const PLACES = {
  'SQLite to Redis': () => [sqliteIn(temporary()), { kind: 'redis', url: redis.url }],
  'Redis to a Cluster': () => [
    { kind: 'redis', url: redis.url },
    { kind: 'redis', cluster: cluster.addresses },
  ],
  'a Cluster to SQLite': () => [{ kind: 'redis', cluster: cluster.addresses }, sqliteIn(temporary())],
} as const

describe.each(Object.entries(PLACES))('%s, through real gateways', (_, places) => {
  test('what was stated, learned and issued holds as before', async () => {
    const [from, to] = places() as [object, object]
    let old = await start(configFor(from))
    const issued = (await cli(old.configFile, 'keys', 'create', '--tenant', 'test', '--user', 'eve')).trim()
    const revoked = (await cli(old.configFile, 'keys', 'create', '--tenant', 'test')).trim()
    const [id = ''] = (await cli(old.configFile, 'keys', 'list')).split('\n').at(-2)?.split('  ') ?? []
    await cli(old.configFile, 'keys', 'revoke', id)

    for (const [n, user] of ['ann', 'bob', 'eve', 'erased'].entries()) {
      const preferences = { deny: [NAMES[n % 3]] }
      expect((await call(old, `/v1/users/${user}/profile`, { method: 'PUT', user, body: preferences })).status).toBe(
        200,
      )
      for (let i = 0; i < 3; i++) {
        const response = await complete(old, {}, { user, headers: { 'x-conversation-id': `c-${user}` } })
        await response.text()
        const body = { request_id: response.headers.get('x-request-id'), rating: i === 0 ? 'down' : 'up' }
        expect((await call(old, '/v1/feedback', { user, body })).status).toBe(202)
      }
      await eventually(async () => (await explain(old, 'Hi', { user })).user.rewards >= 3, 'ratings are learned')
    }
    expect((await call(old, '/v1/users/erased/profile', { method: 'DELETE' })).status).toBe(200)
    const kept = await call(old, '/v1/responses', { user: 'ann', body: { model: 'two', input: 'Hi' } })
    const { id: response } = (await kept.json()) as { id: string }

    const seen = (gateway: RunningGateway) =>
      Promise.all(['ann', 'bob', 'eve', 'nobody'].map((user) => explain(gateway, 'What is 12 * 7?', { user })))
    // How long answers were is written when the gateway stops, at the latest: from then on predictions stand still.
    const unmeasured = await seen(old)
    await old.stop()
    old = await start(configFor(from))
    const before = await seen(old)
    const shortest = (of: Explained | undefined) =>
      Math.min(...(of?.candidates ?? []).map(({ completion_tokens }) => completion_tokens))
    expect(shortest(before[0])).toBeLessThan(0.5 * shortest(unmeasured[0]))
    const tellers = async (gateway: RunningGateway) => {
      const response = await call(gateway, '/admin/evidence?tenant=test', { key: ADMIN_KEY })
      const { people } = (await response.json()) as { people?: { opinions: { voice: string }[] } }
      return people?.opinions.map(({ voice }) => voice)
    }
    const told = await tellers(old)
    expect(told).toContain('key')
    const rewards = before[0]?.user.rewards ?? 0
    expect(rewards).toBeGreaterThanOrEqual(3)
    await old.stop()

    const directory = join(temporary(), 'backup')
    const next = configFor(to)
    const nextFile = fileFor(next)
    expect(await cli(old.configFile, 'backup', '--to', directory)).toMatch(/ {2}user +3\n/)
    expect(await cli(old.configFile, 'backup', '--to', directory, '--verify')).toMatch(/: whole, \d+ files/)
    expect(await cli(nextFile, 'restore', '--from', directory)).toMatch(/ {2}user +3 restored\n/)
    expect(await cli(nextFile, 'restore', '--from', directory, '--verify')).toMatch(/ {2}user +3 of 3 the same\n/)
    const again = await cli(nextFile, 'restore', '--from', directory)
    expect(again).toMatch(/ {2}user +3 there already, as new\n/)

    const moved = await start(next)
    expectSame(await seen(moved), before)
    expect(await tellers(moved)).toEqual(told)
    for (const [n, user] of ['ann', 'bob'].entries()) {
      const profile = (await (await call(moved, `/v1/users/${user}/profile`, { user })).json()) as object
      expect(profile).toMatchObject({ preferences: { deny: [NAMES[n]] } })
    }
    expect((await call(moved, '/v1/users/erased/profile')).status).toBe(404)
    expect((await complete(moved, {}, { key: issued })).status).toBe(200)
    expect((await complete(moved, {}, { key: revoked })).status).toBe(401)
    const got = await call(moved, `/v1/responses/${response}`, { user: 'ann' })
    expect([got.status, ((await got.json()) as { id: string }).id]).toEqual([200, response])
    // They go on learning from there.
    const answer = await complete(moved, {}, { user: 'ann', headers: { 'x-conversation-id': 'c-ann' } })
    await answer.text()
    const body = { request_id: answer.headers.get('x-request-id'), rating: 'up' }
    expect((await call(moved, '/v1/feedback', { user: 'ann', body })).status).toBe(202)
    await eventually(
      async () => (await explain(moved, 'Hi', { user: 'ann' })).user.rewards > rewards,
      'one rating more',
    )
  }, 180_000)
})

test('a store with users of another secret is refused, in words', async () => {
  const from = sqliteIn(temporary())
  const store = await openStore({ ...from, retention_days: 90 } as never)
  await store.commitUser('test', 'hashed', aUser())
  await store.secretFingerprint('the-fingerprint', [])
  await store.close()
  const directory = join(temporary(), 'backup')
  await cli(fileFor(configFor(from)), 'backup', '--to', directory)
  const restored = cli(fileFor(configFor({ kind: 'redis', url: redis.url })), 'restore', '--from', directory)
  await expect(restored).rejects.toThrow(/another secret than here: put that into identity\.secret/)
  expect(await redis.command('DBSIZE')).toBe(0)
})

test('killed in the middle, backup and restore are gone on with', async () => {
  const from = sqliteIn(temporary())
  const users = 3_000
  const store = await openStore({ ...from, retention_days: 90 } as never)
  const each = Array.from({ length: users }, (_, n) => n)
  await Promise.all(
    each.map((n) => store.commitUser('test', `p:u-${n}`, aUser(), [anEdge({ id: edgeId(`i-${n}`, 'rating') })])),
  )
  await store.close()
  const directory = join(temporary(), 'backup')
  const [old, next] = [fileFor(configFor(from)), fileFor(configFor({ kind: 'redis', url: redis.url }))]

  /** SIGKILL as soon as something is there. */
  const killed = async (args: string[], isThere: () => boolean | Promise<boolean>) => {
    const child = spawn(process.execPath, [CLI, ...args], { stdio: 'ignore' })
    const ended = new Promise((end) => child.once('exit', end))
    let isOver = false
    void ended.then(() => (isOver = true))
    while (!isOver && !(await isThere())) await new Promise((resolve) => setTimeout(resolve, 2))
    child.kill('SIGKILL')
    await ended
  }
  await killed(['--config', old, 'backup', '--to', directory], () => existsSync(join(directory, 'manifest.json')))
  await cli(old, 'backup', '--to', directory).catch((error: Error) => {
    // It was quicker than the signal.
    if (!/a whole backup already/.test(error.message)) throw error
  })
  expect(readManifest(directory)?.finished_at).not.toBeNull()
  const restoring = ['--config', next, 'restore', '--from', directory]
  await killed(restoring, async () => Number(await redis.command('DBSIZE')) > 100)
  expect(await cli(next, 'restore', '--from', directory)).toMatch(/ {2}user +/)
  expect(await cli(next, 'restore', '--from', directory, '--verify')).toMatch(/ {2}user +3000 of 3000 the same\n/)
}, 120_000)
