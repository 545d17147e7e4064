import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { COMMITTED } from '../support/artifacts.ts'
import { call, complete, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { python } from '../support/python.ts'
import { exported } from '../support/records.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

const DAY_MS = 86_400_000
const TEXT_DAYS = 3
const QUESTION = 'Should I tell my sister Quenhilde about the inheritance?'
const MARK = 'Quenhilde'

/** One says nothing of what is kept or shared, one keeps text, two let others learn from their log. */
const TENANTS = [
  { name: 'silent', keys: ['pr-silent-0123456789abcdef'] },
  { name: 'keeping', keys: ['pr-keeping-0123456789abcdef'], keep_text_days: TEXT_DAYS },
  { name: 'giving', keys: ['pr-giving-0123456789abcdef'], share_training: true },
  { name: 'donor', keys: ['pr-donor-0123456789abcdef'], share_training: true },
].map((tenant) => ({ ...tenant, plain_user_ids: true }))
const keyOf = (name: string) => TENANTS.find((tenant) => tenant.name === name)?.keys[0] as string
const USERS = ['ann', 'bob']
const RATED = 3

/**
 * What `retrain` reads, by its own code, for each set of tenants named; "" = all that share: of whom how many rewards,
 * or why not.
 */
const READ_LOG = `
import json, sys
from pathlib import Path
from router_model.embedding import StaticEmbedder
from router_model.retrain.consent import ConsentError, choose_tenants, read_config
from router_model.retrain.logbook import read_logbook
from router_model.retrain.log import open_log
from router_model.train.weights import WEIGHTS_FILE, load_weights
source, config, embedder, *wanted = sys.argv[1:]
log, router = open_log(source), load_weights(Path(embedder).parent / WEIGHTS_FILE)
embedder = StaticEmbedder.load(Path(embedder))
def read(names):
    named = [name for name in names.split(",") if name]
    try:
        chosen = choose_tenants(log.tenants(), named, not named, read_config(Path(config)))
        book = read_logbook(log, chosen, embedder, None, router)
    except ConsentError as error:
        return str(error)
    rated = ["/".join(book.users[int(user)]) for user in book.edges.user]
    return {user: rated.count(user) for user in sorted(set(rated))}
print(json.dumps([read(names) for names in wanted]))
`

let upstream: Upstream
beforeAll(async () => {
  upstream = await startUpstream(replyPlain())
})
afterAll(() => upstream?.close())

interface Store {
  config: Record<string, unknown> | undefined
  /** Where `retrain --from` finds it. */
  source: (gateway: RunningGateway) => string
  /** Everything that is kept, as bytes. */
  everything: (gateway: RunningGateway) => Promise<string>
  close: () => Promise<void>
}

const sqlite = async (): Promise<Store> => ({
  config: undefined,
  source: ({ dir }) => `sqlite:${join(dir, 'gateway.db')}`,
  everything: async ({ dir }) => bytesUnder(dir),
  close: async () => {},
})

async function onRedis(): Promise<Store> {
  const redis: RedisServer = await startRedis()
  return {
    config: { kind: 'redis', url: redis.url },
    source: () => redis.url,
    everything: async ({ dir }) => {
      const keys = (await redis.command('KEYS', '*')) as string[]
      const values = await Promise.all(keys.map((key) => contentOf(redis, key)))
      return [...keys, ...values, bytesUnder(join(dir, 'spool'))].join('\n')
    },
    close: () => redis.discard(),
  }
}

async function contentOf(redis: RedisServer, key: string): Promise<string> {
  const type = await redis.command('TYPE', key)
  if (type === 'string') return String(await redis.command('GET', key))
  if (type === 'hash') return JSON.stringify(await redis.command('HGETALL', key))
  if (type === 'stream') return JSON.stringify(await redis.command('XRANGE', key, '-', '+'))
  if (type === 'set') return JSON.stringify(await redis.command('SMEMBERS', key))
  return JSON.stringify(await redis.command('ZRANGE', key, 0, -1))
}

/** Of the files of the data directory but the configuration. */
const bytesUnder = (dir: string): string =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== 'gateway.yaml')
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
    .join('\n')

describe.each([
  ['SQLite', sqlite],
  ['Redis', onRedis],
])('%s', (_, open) => {
  let store: Store
  let gateway: RunningGateway

  const readLog = async (...wanted: string[]) => {
    const { stdout, stderr } = await python(
      ...['-c', READ_LOG, store.source(gateway), gateway.configFile, join(COMMITTED, 'embedder'), ...wanted],
    )
    expect(stdout, stderr).not.toBe('')
    return JSON.parse(stdout)
  }

  beforeAll(async () => {
    store = await open()
    gateway = await startGateway({
      providers: {
        up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false, auth: 'none' },
      },
      candidates: ['one', 'two'].map((name) => ({ name, provider: 'up', price: { input: 1, output: 2 } })),
      tenants: TENANTS,
      ...(store.config && { store: store.config }),
    })
    for (const { name } of TENANTS) {
      for (const user of USERS) {
        for (let i = 0; i < RATED; i++) {
          const who = { key: keyOf(name), user, headers: { 'x-conversation-id': `${user}-${i}` } }
          const response = await complete(gateway, { messages: [{ role: 'user', content: QUESTION }] }, who)
          await response.text()
          const body = { request_id: response.headers.get('x-request-id'), rating: 'up' }
          expect((await call(gateway, '/v1/feedback', { ...who, body })).status).toBe(202)
        }
      }
    }
    await eventually(
      async () => (await exported(gateway)).length === TENANTS.length * USERS.length * RATED,
      'all records are stored',
    )
  }, 60_000)
  afterAll(async () => {
    await discard(gateway)
    await store?.close()
  })

  test('what was read in each question is kept, its text only where the tenant asked for it, for so many days', async () => {
    for (const row of await exported(gateway)) {
      expect(row.embedding).toBeNull()
      expect(row.reading?.int8).toMatch(/^[A-Za-z0-9+/=]{40,60}$/)
      expect(row.text).toBe(row.tenant === 'keeping' ? QUESTION : null)
      expect(row.text_expires_at).toBe(row.tenant === 'keeping' ? row.ts + TEXT_DAYS * DAY_MS : undefined)
    }
  })

  test('who was erased is unknown to the gateway and its export; the other is as before', async () => {
    const key = keyOf('silent')
    const erased = await call(gateway, '/v1/users/ann/profile', { key, method: 'DELETE' })
    expect(erased.status).toBe(200)

    expect((await call(gateway, '/v1/users/ann/profile', { key })).status).toBe(404)
    expect((await explain(gateway, 'Why?', { key, user: 'ann' })).user.rewards).toBe(0)
    expect((await explain(gateway, 'Why?', { key, user: 'bob' })).user.rewards).toBe(RATED)
    const rows = (await exported(gateway)).filter(({ tenant }) => tenant === 'silent')
    expect(rows.map(({ user }) => user)).toEqual(Array(RATED).fill('p:bob'))
    // The same name at another tenant is another person.
    expect((await explain(gateway, 'Why?', { key: keyOf('giving'), user: 'ann' })).user.rewards).toBe(RATED)
  })

  test('a later retraining sees nothing of them, and tenants together only where each of them said so', async () => {
    const both = (tenant: string) => USERS.map((user) => [`${tenant}/p:${user}`, RATED])
    expect(await readLog('silent', '', 'giving,silent')).toEqual([
      { 'silent/p:bob': RATED },
      Object.fromEntries(['donor', 'giving'].flatMap(both)),
      expect.stringContaining('silent did not opt in'),
    ])
  }, 120_000)

  test('no word of a question is left anywhere once those who asked are erased where text was kept', async () => {
    for (const user of USERS) {
      const erased = await call(gateway, `/v1/users/${user}/profile`, { key: keyOf('keeping'), method: 'DELETE' })
      expect(erased.status).toBe(200)
    }
    expect(await gateway.stop()).toBe(0)
    const kept = await store.everything(gateway)
    expect(kept).toContain('p:bob')
    expect(kept).not.toContain(MARK)
    expect(gateway.stdout() + gateway.stderr()).not.toContain(MARK)
  })
})
