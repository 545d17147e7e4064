import { expect, test } from 'vitest'
import { gainOf, liftOf } from '../../../src/routing/safety/lift.ts'
import fc from '../../support/properties.ts'

const shares = fc
  .array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 2, maxLength: 6 })
  .map((list) => list.map((p) => p / list.reduce((sum, other) => sum + other)))

test('the mean over what may answer is the gain, whatever the centre; no value leaves its bounds', () => {
  fc.assert(
    fc.property(
      shares,
      fc.double({ min: 0.05, max: 1, noNaN: true }),
      fc.nat(5),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 6, maxLength: 6 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (wanted, routed, at, rewards, centre) => {
        const baseline = at % wanted.length
        const drawn = wanted.map((p, i) => routed * p + (i === baseline ? 1 - routed : 0))
        let mean = 0
        for (const [i, p] of drawn.entries()) {
          const { value, below, above } = gainOf(liftOf(drawn, wanted, i, baseline)!, rewards[i]!, centre)
          expect(value).toBeGreaterThanOrEqual(-below * (1 + 1e-9) - 1e-12)
          expect(value).toBeLessThanOrEqual(above * (1 + 1e-9) + 1e-12)
          mean += p * value
        }
        const gain = wanted.reduce((sum, p, i) => sum + p * rewards[i]!, 0) - rewards[baseline]!
        expect(Math.abs(mean - gain)).toBeLessThan(1e-9 * (1 + 1 / Math.min(...drawn)))
      },
    ),
  )
})

test('what the log can’t tell is no observation', () => {
  // The baseline never answers, can't answer, or a candidate that the router wants never does.
  expect(liftOf([1, 0], [1, 0], 0, 1)).toBeNull()
  expect(liftOf([0.5, 0.5], [0.5, 0.5], 0, -1)).toBeNull()
  expect(liftOf([1, 0], [0, 1], 0, 0)).toBeNull()
  // The router itself would choose the baseline: no gain, for sure.
  expect(liftOf([1, 0], [1, 0], 0, 0)).toEqual({ weight: 0, least: 0, largest: 0 })
})
