import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Candidate, Capability } from '../../../src/candidates/candidate.ts'
import type { CardFeature, Manifest } from '../../../src/routing/artifact/manifest.ts'
import { thinks } from '../../../src/routing/choose/ability.ts'
import { cardFeatures, cardText } from '../../../src/routing/choose/card.ts'
import { expectClose } from '../../support/close.ts'
import { candidate } from '../support.ts'

interface Golden {
  spec: CardFeature[]
  reading: Pick<Manifest, 'ability' | 'verbosity'>
  cards: { card: Record<string, unknown>; text: string; features: number[] }[]
  codes: { text: string; n: number; code: number[] }[]
}

/** From the Python package: see make.py beside it. */
const golden: Golden = JSON.parse(readFileSync(new URL('../../fixtures/cards/cards.json', import.meta.url), 'utf8'))

const FLAGS = ['tools', 'vision', 'json_schema'] as const

/** A candidate that says the same as a card of the Python package. */
function candidateOf(card: Record<string, unknown>) {
  const optional = {
    sizeB: card.size_b,
    openWeights: card.open_weights,
    reasoning: card.reasoning,
    effort: card.effort,
    released: card.released,
  }
  const { ability, ability_sd: sd, aspects } = card
  return candidate(card.name as string, {
    vendor: card.vendor as string,
    description: card.description as string,
    price: { input: card.input_price as number, output: card.output_price as number },
    contextWindow: card.context_window as number,
    capabilities: new Set<Capability>(FLAGS.filter((name) => card[name] === true)),
    benchmarks: card.benchmarks as Record<string, number>,
    verbosity: card.verbosity as Record<string, number>,
    ...(ability !== undefined && { ability: { mean: ability, sd, aspects } as NonNullable<Candidate['ability']> }),
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
  })
}

describe('card', () => {
  it.each(golden.cards)('reads $card.name as the Python package does', ({ card, text, features }) => {
    const one = candidateOf(card)
    const found = cardFeatures(one, golden.spec, golden.reading)
    for (const [i, { field }] of golden.spec.entries()) {
      // A candidate always says what it can do; a card of the training data may not.
      if (card[field] === undefined && (FLAGS as readonly string[]).includes(field)) continue
      expectClose(found[2 * i], features[2 * i])
      expect(found[2 * i + 1], field).toBe(features[2 * i + 1])
    }
    expect(cardText(one)).toBe(text)
  })

  it('a figure more makes the ability surer, and higher only where it is high', () => {
    const read = (benchmarks: Record<string, number>) => {
      const found = cardFeatures(candidate('one', { benchmarks }), golden.spec, golden.reading)
      const at = (field: string) => 2 * golden.spec.findIndex((entry) => entry.field === field)
      return { ability: found[at('ability')] as number, sd: found[at('ability_sd')] as number }
    }
    const few = read({ gpqa: 0.6 })
    const more = read({ gpqa: 0.6, mmlu: 0.6, humaneval: 0.5 })
    expect(more.sd).toBeLessThan(few.sd)
    expect(more.ability).toBeLessThan(few.ability)
    expect(read({}).sd).toBeGreaterThan(few.sd)
  })

  it.each([
    ['claude-opus-4-8', false],
    ['claude-3-7-sonnet-20250219', false],
    ['claude-opus-4-20250514', false],
    ['claude-sonnet-5', true],
    ['anthropic/claude-opus-5.5', true],
  ])('%s thinks where a request says nothing of it: %s', (model, expected) => {
    const one = candidate('mine', { vendor: 'anthropic', model, reasoning: true })
    expect(thinks(one)).toBe(expected)
    expect(thinks({ ...one, thinking: !expected })).toBe(!expected)
  })

  it('leaves out what is no number, and clips what is far out', () => {
    const spec: CardFeature[] = [
      { field: 'input_price', transform: 'log10', mean: 0, std: 0.1 },
      { field: 'benchmarks.mmlu', transform: 'identity', mean: 0, std: 1 },
      { field: 'colour', transform: 'identity', mean: 0, std: 1 },
    ]
    const one = candidate('x', { price: { input: 1e9, output: 0 }, benchmarks: { mmlu: Number.NaN } })
    expect([...cardFeatures(one, spec)]).toEqual([4, 1, 0, 0, 0, 0])
  })
})
