import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { corpus, mutate, randomFrom, targets } from './fuzz/targets.ts'

/** Longer: `npm run fuzz`. */
const RUNS = 2_000

describe.each(Object.keys(targets))('%s: holds for any bytes', (name) => {
  const target = targets[name]!
  const inputs = corpus(name)

  test('the corpus', () => {
    expect(inputs.length).toBeGreaterThan(1)
    for (const bytes of inputs) target(bytes, randomFrom(1))
  })

  test('the corpus, changed', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const random = randomFrom(seed)
        target(mutate(inputs, random), random)
      }),
      { numRuns: RUNS },
    )
  })
})
