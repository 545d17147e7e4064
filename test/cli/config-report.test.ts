import { once } from 'node:events'
import { mkdtempSync, readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { configReport } from '../../src/cli/config-report.ts'
import { crossCheck } from '../../src/config/cross-check.ts'
import type { LoadedConfig } from '../../src/config/load.ts'
import { configSchema } from '../../src/config/schema.ts'
import { SqliteStore } from '../../src/store/sqlite/store.ts'
import { Authority } from '../support/authority.ts'
import { replyPlain, startUpstream } from '../support/upstream.ts'

const KEY = 'sk-canary-0123456789abcdef'
const path = join(mkdtempSync(join(tmpdir(), 'check-')), 'gateway.db')
const good = await startUpstream((exchange) => {
  if (exchange.request.path !== '/v1/models') return replyPlain()(exchange)
  exchange.reply(200, { data: [{ id: 'gpt-5-mini' }, { id: 'other' }] })
})
const refusing = await startUpstream((exchange) =>
  exchange.reply(401, { error: { message: `Incorrect API key provided: ${KEY}` } }),
)
afterAll(() => Promise.all([good.close(), refusing.close()]))

const openai = (origin: string, more = {}) => ({ kind: 'openai-compatible', base_url: `${origin}/v1`, ...more })

const config = configSchema.parse({
  store: { kind: 'sqlite', path },
  providers: {
    good: openai(good.origin, { api_key: KEY }),
    refusing: openai(refusing.origin, { api_key: KEY }),
    gone: openai('http://127.0.0.1:9', { key_required: false }),
    keyless: openai(good.origin),
    lists: openai('http://127.0.0.1:9', { key_required: false, discover: true }),
  },
  candidates: [
    { name: 'mini', provider: 'good', model: 'gpt-5-mini' },
    { name: 'renamed', provider: 'good', model: 'gpt-4o' },
    { name: 'house', provider: 'good', model: 'house-7' },
    { name: 'refused', provider: 'refusing', model: 'gpt-4o' },
    { name: 'free', provider: 'gone', model: 'free-1' },
    { name: 'off', provider: 'keyless', model: 'gpt-4o', groups: ['eu'] },
  ],
  aliases: { 'gpt-*': 'off', 'claude-*': 'auto' },
  router: { baseline: 'off' },
  tenants: [
    { name: 'acme', keys: ['a-key-of-the-configuration'] },
    { name: 'void', candidates: ['eu'] },
  ],
})

const loaded = (config: LoadedConfig['config'], certificates: LoadedConfig['certificates'] = []) => ({
  ...{ config, certificates },
  files: ['gateway.yaml'],
})

it('is valid, as far as the file goes', () => expect(crossCheck(config)).toEqual([]))

it('tells of a certificate whose time is over, or soon will be', async () => {
  const [now, hour] = [Date.now(), 3_600_000]
  const of = async (from: number, until: number) =>
    (await configReport(loaded(config, [{ path: 'server.tls', from, until }]), { probe: false })).text
  expect(await of(now - hour, now + hour)).not.toContain('certificate')
  expect(await of(now - 20 * hour, now + hour)).toMatch(
    /To look at:\n {2}server\.tls: its certificate ends on .* UTC: renew/,
  )
  // One of ten years is renewed in its last month.
  const [tenYears, month] = [10 * 365 * 24 * hour, 30 * 24 * hour]
  expect(await of(now - tenYears, now + month + hour)).not.toContain('certificate')
  expect(await of(now - tenYears, now + month - hour)).toContain('renew')
  expect(await of(now - 20 * hour, now - hour)).toContain('server.tls: its certificate ended on 20')
  expect(await of(now + hour, now + 20 * hour)).toContain('server.tls: its certificate begins on 20')
})

it('tells what is in use, what is off and why, and what is likely not meant, asking nobody', async () => {
  const { text, isGood } = await configReport(loaded(config), { probe: false })
  expect(isGood).toBe(true)
  expect(text).toMatch(
    /^gateway\.yaml: good\. 4 usable candidates, 5 providers, 2 tenants\.\nCatalogue of prices: .*as of 2025/,
  )
  const lines = text.split('\n').map((line) => line.trim())
  expect(lines).toEqual(
    expect.arrayContaining([
      'mini, renamed, refused, free',
      "keyless: the api_key of provider 'keyless' is not set (1 candidate)",
      "house: its price is neither in the config nor in the catalogue, which knows no 'house-7' with one price",
      'tenant void: eu: no usable candidate',
      'tenant void: none of its candidates can be used: every request will fail',
      "tenant acme: alias gpt-* leads to 'off', which can't be used now",
      "router.baseline: 'off' can't be used now, so that there is none",
      'free: costs nothing here, so that limits in dollars do not count it',
      'free: nothing is known of what it can do; give it known_as, benchmarks or size_b',
      'lists: its candidates are what it lists; --probe asks it',
    ]),
  )
  expect(text).toContain('tenant void: has no key in the configuration (the store is not looked at without --probe)')
  expect(text).not.toContain('tenant acme: has no key')
  expect(text).not.toContain('alias claude-* leads')
  expect([good.requests.length, refusing.requests.length]).toEqual([0, 0])
})

it('with --probe asks each provider and the store, and never shows a key', async () => {
  const { text, isGood } = await configReport(loaded(config), { probe: true })
  expect(isGood).toBe(false)
  expect(text).toContain('ok   good: gpt-5-mini: answers, lists 2 models')
  expect(text).toContain('good does not list gpt-4o')
  expect(text).toContain('FAIL refusing: gpt-4o: refuses the key (401)')
  expect(text).toMatch(/FAIL gone: .*nothing listens there \(ECONNREFUSED\)/)
  expect(text).toMatch(/lists: it did not list its models: nothing listens there/)
  expect(text).toContain('tenant void: has no key in the configuration nor in the store')
  expect(text).not.toContain(KEY)
  expect(text).not.toContain('127.0.0.1')
})

it('a provider that wants a certificate of ours and says so by hanging up is told as that', async () => {
  const authority = new Authority()
  const { cert, key } = authority.issue('provider')
  const strictly = {
    ...{ cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(authority.ca) },
    ...{ requestCert: true, rejectUnauthorized: true },
  }
  const server = createServer(strictly, (_, outgoing) => outgoing.writeHead(404).end())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const asked = async (tls: object) => {
    const strict = openai(`https://127.0.0.1:${port}`, { api_key: KEY, tls: { ca_file: authority.ca, ...tls } })
    const config = configSchema.parse({
      store: { kind: 'sqlite', path },
      providers: { strict },
      candidates: [{ name: 'm', provider: 'strict', model: 'm' }],
      tenants: [{ name: 'acme', keys: ['a-key-of-the-configuration'] }],
    })
    return (await configReport(loaded(config), { probe: true })).text
  }
  const ours = authority.issue('gateway')
  expect(await asked({})).toMatch(/FAIL strict: .*\n {7}it may want a certificate of ours: tls\.cert_file/)
  expect(await asked({ cert_file: ours.cert, key_file: ours.key })).not.toContain('a certificate of ours')
  server.close()
})

it('a key in the store is one', async () => {
  const store = new SqliteStore({ kind: 'sqlite', path, retention_days: 90 })
  await store.createKey({
    id: 'k', tenant: 'void', name: '', hash: 'h', prefix: 'pr', createdAt: 0, expiresAt: null, revokedAt: null, models: null,
    user: null, scopes: null,
  }) // biome-ignore format: one record
  await store.close()
  expect((await configReport(loaded(config), { probe: true })).text).not.toContain('void: has no key')
})
