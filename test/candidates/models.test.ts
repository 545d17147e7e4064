import { readFileSync } from 'node:fs'
import { getModelRaw } from 'tokenlens'
import { describe, expect, it } from 'vitest'
import { knownModel, plainName } from '../../src/candidates/abilities.ts'
import { listCandidates } from '../../src/candidates/catalogue.ts'
import { loadConfig } from '../../src/config/load.ts'

const { config } = loadConfig('config/gateway.yaml', {})
const { candidates } = listCandidates(config, new Map())

describe('models.yaml', () => {
  it.each(candidates.map((one) => [one.name, one] as const))('%s has a price, an ability and a length', (_, one) => {
    const entry = config.candidates.find(({ name }) => name === one.name)
    expect(one.price.output).toBeGreaterThan(0)
    expect(one.price.output).toBeGreaterThanOrEqual(one.price.input)
    expect(one.ability?.mean, 'in abilities.json').toBeTypeOf('number')
    expect(one.ability?.sd).toBeLessThan(0.6)
    expect(entry?.benchmarks, 'the table says it').toEqual({})
  })

  it('has the prices of the catalogue wherever that knows the model of that provider', () => {
    const far = candidates.flatMap(({ name, provider, model, price }) => {
      const pricing = getModelRaw(`${provider}:${model}`)?.pricing
      if (pricing?.outputPerMTokens === undefined || pricing.inputPerMTokens === undefined) return []
      const off = (a: number, b: number) => Math.abs(a - b) / Math.max(a, b, 1e-9)
      const apart = Math.max(off(price.input, pricing.inputPerMTokens), off(price.output, pricing.outputPerMTokens))
      return apart > 0.05 && !CHANGED.has(name) ? [`${name}: ${JSON.stringify(pricing)}`] : []
    })
    expect(far).toEqual([])
  })

  it('knows today’s strongest models as stronger than small ones of before', () => {
    const ability = (name: string) => candidates.find((one) => one.name === name)?.ability?.mean ?? Number.NaN
    expect(ability('claude-sonnet-4-5')).toBeGreaterThan(ability('gpt-4.1-mini'))
    expect(ability('gpt-5.6-sol')).toBeGreaterThan(ability('gpt-4o-mini'))
    expect(ability('openrouter/llama-3.1-8b')).toBeLessThan(ability('gpt-4o-mini'))
  })
})

/** Cheaper since the catalogue was made (provider's price list, 2025-12). */
const CHANGED = new Set(['deepseek-chat'])

const { models: cases } = JSON.parse(
  readFileSync(new URL('../fixtures/cards/cards.json', import.meta.url), 'utf8'),
) as { models: { model: string; plain: string; ability: number | null }[] }

describe('names in the table of abilities', () => {
  it('reads names without provider, date and dots', () => {
    expect(plainName('anthropic/claude-3.5-sonnet')).toBe('claude-3-5-sonnet')
    expect(plainName('gpt-4o-mini-2024-07-18')).toBe('gpt-4o-mini')
    expect(plainName('meta-llama/Meta-Llama-3.1-8B-Instruct')).toBe('llama-3-1-8b')
    expect(knownModel('OpenAI/GPT-5')?.ability.mean).toBe(knownModel('gpt-5')?.ability.mean)
    expect(knownModel('no-such-model')).toBeUndefined()
  })

  it.each(cases)('finds $model as the Python package does', ({ model, plain, ability }) => {
    expect(plainName(model)).toBe(plain)
    expect(knownModel(model)?.ability.mean ?? null).toBe(ability)
  })

  it('finds most of what hosts call well-known models', () => {
    expect(cases.filter(({ ability }) => ability === null).map(({ model }) => model)).toEqual([
      // Smaller models of the maker's, of which nothing is known.
      'xai/grok-4.3-fast',
      'z-ai/glm-5-turbo',
      'gpt-5-turbo',
      'nobody/no-such-model-fp8',
      '',
    ])
  })

  it('takes a fast model for the big one only where a host serves it so', () => {
    const glm = knownModel('glm-5')?.ability.mean
    expect(knownModel('accounts/fireworks/models/glm-5-fast')?.ability.mean).toBe(glm)
    expect(knownModel('z-ai/glm-5-turbo')).toBeUndefined()
    expect(knownModel('grok-4-fast')?.ability.mean).not.toBe(knownModel('grok-4')?.ability.mean)
  })
})
