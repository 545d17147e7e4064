import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import fc from '../support/properties.ts'
import { HttpTarget, mutateHttp } from './fuzz/http.ts'
import { corpus, mutate, randomFrom, targets } from './fuzz/targets.ts'

/** Longer: `npm run fuzz`. */
const RUNS = 2_000
const HTTP_RUNS = 300

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

describe('http: a gateway that is sent any bytes', () => {
  const inputs = corpus('http')
  let http: HttpTarget
  beforeAll(async () => {
    http = await HttpTarget.start()
  })
  afterAll(() => http?.stop())

  test('the corpus', async () => {
    expect(inputs.length).toBeGreaterThan(10)
    const random = randomFrom(1)
    for (const bytes of inputs) await http.run(bytes, random)
    // What is good gets through, or nothing would have been tried.
    expect(http.forwarded).toBeGreaterThanOrEqual(8)
  })

  test('the corpus, changed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        const random = randomFrom(seed)
        await http.run(mutateHttp(inputs, random), random)
      }),
      // The same each time: what is rare is for the longer run to find.
      { numRuns: HTTP_RUNS, seed: 1, endOnFailure: true },
    )
  })
})
