import { describe, expect, it } from 'vitest'
import { listCandidates } from '../../src/candidates/catalogue.ts'
import { PriceList } from '../../src/candidates/price-list.ts'
import { yearOf } from '../../src/candidates/released.ts'
import { configSchema } from '../../src/config/schema.ts'

const prices = new PriceList(
  {
    acme: {
      models: {
        'nobody-knows-9': { cost: { input: 1, output: 2 }, release_date: '2026-07-01' },
        'nobody-knows-8': { cost: { input: 1, output: 2 }, release_date: 'soon' },
        'claude-3-5-haiku': { cost: { input: 1, output: 2 }, release_date: '2025-03-01' },
      },
    },
  },
  'test',
)

function released(entry: Record<string, unknown>): number | undefined {
  const config = configSchema.parse({
    providers: { acme: { kind: 'openai-compatible', base_url: 'https://api.acme.example/v1', api_key: 'k' } },
    candidates: [{ name: 'one', provider: 'acme', ...entry }],
  })
  const { candidates } = listCandidates(config, new Map(), [], prices)
  return candidates.find(({ name }) => name === 'one')!.released
}

describe('when a candidate came out', () => {
  it.each([
    ['2026-07-01', 2026.5],
    ['2026-07', 2026.538],
    ['2024-02-29', 2024.16],
    ['soon', undefined],
    ['2026-13', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('%s is %s', (date, year) => {
    expect(yearOf(date)).toBe(year)
  })

  it('is what the configuration says, else the table of abilities, else the catalogue', () => {
    expect(released({ model: 'nobody-knows-9' })).toBe(2026.5)
    expect(released({ model: 'nobody-knows-9', released: '2025-07-01' })).toBe(2025.5)
    expect(released({ model: 'claude-3-5-haiku' })).toBe(yearOf('2024-10-22'))
    expect(released({ model: 'nobody-knows-8' })).toBeUndefined()
    expect(released({ model: 'prod-7', known_as: 'nobody-knows-9' })).toBe(2026.5)
    expect(released({ model: 'prod-7', price: { input: 1, output: 1 } })).toBeUndefined()
  })

  it('is a month or a day', () => {
    expect(() => released({ model: 'nobody-knows-9', released: 'summer' })).toThrow(/released/)
  })
})
