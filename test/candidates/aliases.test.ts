import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { aliasTarget, orderAliases } from '../../src/candidates/aliases.ts'
import { loadConfig } from '../../src/config/load.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'

describe('which alias', () => {
  const target = (model: string, own: Record<string, string>, shared: Record<string, string> = {}) =>
    aliasTarget(orderAliases(own, shared), model)

  test('the most specific pattern, in whatever order they stand', () => {
    const aliases = { '*': 'any', 'gpt-*': 'gpt', 'gpt-4*': 'gpt4', 'gpt-4o': 'exact', 'gpt-*-mini': 'mini' }
    for (const entries of [Object.entries(aliases), Object.entries(aliases).toReversed()]) {
      const given = Object.fromEntries(entries)
      expect(['gpt-4o', 'gpt-4o-mini', 'gpt-4.1', 'gpt-5', 'o3'].map((model) => target(model, given))).toEqual([
        'exact',
        'mini',
        'gpt4',
        'gpt',
        'any',
      ])
    }
  })

  test("the tenant's before everyone's, however specific", () => {
    expect(target('gpt-4o', { 'gpt-*': 'own' }, { 'gpt-4o': 'shared' })).toBe('own')
    expect(target('gpt-4o', { 'gpt-4o': 'own' }, { 'gpt-4o': 'shared' })).toBe('own')
    expect(target('claude-x', { 'gpt-*': 'own' }, { 'claude-*': 'shared' })).toBe('shared')
  })

  test.each([
    ['claude-*', 'claude-', true],
    ['claude-*', 'Claude-4', false],
    ['a*a', 'a', false],
    ['a*b*b', 'axb', false],
    ['a*b*b', 'abb', true],
    ['*[1m]', 'claude-opus-5[1m]', true],
    ['gpt-4.1', 'gpt-4x1', false],
    ['**', '', true],
  ])('%s matches %s: %s', (pattern, model, does) => {
    expect(target(model, { [pattern]: 'hit' }) === 'hit').toBe(does)
  })

  test('patterns that make expressions slow take no time here', () => {
    const pattern = `${'a*'.repeat(60)}b`
    const before = performance.now()
    for (let i = 0; i < 1_000; i++) target('a'.repeat(256), { [pattern]: 'hit' })
    expect(performance.now() - before).toBeLessThan(5_000)
  })
})

describe('the configuration', () => {
  const problems = (config: Record<string, unknown>) => {
    const file = join(mkdtempSync(join(tmpdir(), 'aliases-')), 'gateway.yaml')
    const candidates = [{ name: 'a', provider: 'p', groups: ['default', 'big'] }]
    const providers = { p: { kind: 'openai-compatible', base_url: 'http://127.0.0.1:1', discover: false } }
    writeFileSync(file, stringify({ providers, candidates, ...config }))
    try {
      loadConfig(file, {})
      return []
    } catch (error) {
      return (error as { problems: string[] }).problems
    }
  }

  test('knows where aliases lead', () => {
    expect(problems({ aliases: { 'gpt-*': 'auto', 'claude-*': 'auto:big', o3: 'a' } })).toEqual([])
    expect(problems({ aliases: { 'gpt-*': 'gone', 'claude-*': 'auto:gone' } })).toEqual([
      "aliases.gpt-*: 'gone' is neither 'auto', 'auto:<group>' nor a candidate",
      "aliases.claude-*: 'auto:gone' is neither 'auto', 'auto:<group>' nor a candidate",
    ])
    expect(problems({ aliases: { auto: 'a', 'auto:big': 'a' } })).toHaveLength(2)
  })

  test("a tenant's leads only to what the tenant has", () => {
    const tenants = (target: string) => [{ name: 't', candidates: ['big'], aliases: { x: target } }]
    expect(problems({ tenants: tenants('a') })).toEqual([])
    expect(problems({ tenants: tenants('auto:default') })).toEqual([])
    expect(problems({ tenants: tenants('auto:small') })).toEqual([
      "tenants.0.aliases.x: 'auto:small' is neither 'auto', 'auto:<group>' nor a candidate",
    ])
  })
})

describe('a client with a fixed name', () => {
  let gateway: RunningGateway
  const OTHER_KEY = 'pr-other-key-0123456789abcdef'
  beforeAll(async () => {
    gateway = await startGateway({
      aliases: { 'gpt-*': 'auto', 'gpt-4o': 'sandbox-terse', 'claude-*': 'auto:sandbox', 'sandbox-*': 'auto' },
      tenants: [
        { name: 'test', keys: ['pr-test-key-0123456789abcdef'], aliases: { 'gpt-4o-mini': 'sandbox-coder' } },
        { name: 'other', keys: [OTHER_KEY], candidates: ['sandbox-terse'] },
      ],
    })
  })
  afterAll(() => discard(gateway))

  const openai = (key = gateway.key) => new OpenAI({ apiKey: key, baseURL: gateway.baseURL, maxRetries: 0 })
  const ask = async (model: string, key?: string) => {
    const { data, response } = await openai(key)
      .chat.completions.create({ model, messages: [{ role: 'user', content: 'Hello' }] })
      .withResponse()
    return {
      reason: String(response.headers.get('x-router-reason')).split(';')[0],
      model: response.headers.get('x-router-model'),
      body: data.model,
    }
  }

  test('is routed, and told who answered', async () => {
    const { reason, model, body } = await ask('gpt-5.6')
    expect(['personal', 'cold_start', 'explore']).toContain(reason)
    expect(model).toMatch(/^sandbox-/)
    expect(body).toBe(model)
    expect((await ask('claude-opus-5')).model).toMatch(/^sandbox-/)
  })

  test('gets the candidate that its name stands for', async () => {
    expect(await ask('gpt-4o')).toEqual({ reason: 'explicit', model: 'sandbox-terse', body: 'sandbox-terse' })
    expect((await ask('gpt-4o-mini')).model).toBe('sandbox-coder')
  })

  test("a candidate's own name stays its own", async () => {
    expect(await ask('sandbox-premium')).toMatchObject({ reason: 'explicit', model: 'sandbox-premium' })
  })

  test('a tenant and a key reach no more by an alias than by a name', async () => {
    expect((await ask('gpt-5.6', OTHER_KEY)).model).toBe('sandbox-terse')
    await expect(ask('claude-opus-5', OTHER_KEY)).resolves.toMatchObject({ model: 'sandbox-terse' })
    const created = await fetch(`${gateway.url}/admin/keys`, {
      method: 'POST',
      headers: { authorization: 'Bearer pr-admin-key-0123456789abcdef', 'content-type': 'application/json' },
      body: JSON.stringify({ tenant: 'test', name: 'terse', models: ['sandbox-terse'] }),
    })
    const { key } = (await created.json()) as { key: string }
    expect((await ask('gpt-5.6', key)).model).toBe('sandbox-terse')
    await expect(ask('gpt-4o-mini', key)).rejects.toMatchObject({ status: 404, code: 'model_not_found' })
    const ids = (await openai(key).models.list()).data.map(({ id }) => id)
    expect(ids).not.toContain('gpt-4o-mini')
    expect(ids).toContain('gpt-*')
  })

  test('the list of models has aliases behind `auto`, and each can be looked up', async () => {
    const { data } = await openai().models.list()
    const ids = data.map(({ id }) => id)
    expect(ids[0]).toBe('auto')
    expect(ids.slice(ids.indexOf('gpt-4o-mini'), ids.indexOf('sandbox-terse'))).toEqual([
      'gpt-4o-mini',
      'gpt-4o',
      'sandbox-*',
      'claude-*',
      'gpt-*',
    ])
    expect(await openai().models.retrieve('gpt-5.6')).toMatchObject({
      id: 'gpt-5.6',
      persona_router: { alias_of: 'auto' },
    })
    await expect(openai().models.retrieve('o3')).rejects.toMatchObject({ status: 404 })
  })

  test('a name that nothing matches is unknown as before', async () => {
    await expect(ask('o3')).rejects.toMatchObject({ status: 404, code: 'model_not_found' })
  })
})
