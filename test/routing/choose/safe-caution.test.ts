import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { FAVOURITE_ONLY, safeCaution } from '../../../src/routing/choose/safe-caution.ts'

/** Usual questions, each with a favourite at 0 and one rival that is better by `gain`, give or take `apart`. */
const usual = (rows: readonly (readonly [gain: number, apart: number])[]) => ({
  mean: Float32Array.from(rows.flatMap(([gain]) => [0, gain])),
  apart: Float32Array.from(rows.flatMap(([, apart]) => [0, apart])),
  candidates: 2,
  favourite: 0,
})

/** What the bench's rule makes of the same scores (router-model/tests/personabench/test_risk.py). */
const CASES: {
  favourite: number
  caution: number
  risk: number
  mean: number[][]
  apart: number[][]
  found: number
}[] = JSON.parse(readFileSync(new URL('../../fixtures/caution/cases.json', import.meta.url), 'utf8'))

describe('safeCaution', () => {
  it('is what the bench judges', () => {
    for (const { favourite, caution, risk, mean, apart, found } of CASES) {
      const scores = { mean: Float32Array.from(mean.flat()), apart: Float32Array.from(apart.flat()) }
      const candidates = mean[0]?.length as number
      expect(safeCaution({ ...scores, candidates, favourite }, { caution, risk })).toBe(found)
    }
  })

  it('is the configured caution where a gain is sure enough', () => {
    // Half a deviation: 69 %. One: 84 %.
    expect(safeCaution(usual([[0.1, 0.1]]), { caution: 0.15, risk: 0.2 })).toBe(0.15)
    expect(safeCaution(usual([[0.05, 0.1]]), { caution: 0.15, risk: 0.4 })).toBe(0.15)
  })

  it('keeps to everybody’s favourite where it is not', () => {
    expect(safeCaution(usual([[0.05, 0.1]]), { caution: 0.15, risk: 0.2 })).toBe(FAVOURITE_ONLY)
    expect(safeCaution(usual([[-0.1, 0.1]]), { caution: 0, risk: 0.5 })).toBe(FAVOURITE_ONLY)
    expect(safeCaution(usual([]), { caution: 0, risk: 0.5 })).toBe(FAVOURITE_ONLY)
  })

  it('leaves out gains that are doubtful until what is left is sure enough', () => {
    const doubtful = [0.04, 0.2] as const
    const sure = [0.2, 0.2] as const
    // With a caution of .15 both are taken (.24 of .4: 73 %), from .25 on the sure one alone (84 %).
    expect(safeCaution(usual([doubtful, sure]), { caution: 0.15, risk: 0.2 })).toBe(0.25)
  })

  it('is never less than the configured caution, and never less with less risk', () => {
    for (const caution of [0, 0.15, 0.3, 2]) {
      let before = 0
      for (const risk of [0.5, 0.3, 0.2, 0.1, 0.05, 0.01]) {
        const found = safeCaution(
          usual([
            [0.05, 0.2],
            [0.3, 0.2],
            [-0.1, 0.1],
          ]),
          { caution, risk },
        )
        expect(found).toBeGreaterThanOrEqual(Math.max(caution, before))
        before = found
      }
    }
  })
})
