import fc from 'fast-check'
import { expect, it } from 'vitest'
import { ArmReport } from '../../src/learning/arm-report.ts'

it('has the mean of each arm and its 95 % interval', () => {
  const rewards = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 2, maxLength: 50 })
  fc.assert(
    fc.property(rewards, (all) => {
      const arms = new ArmReport()
      arms.note('', 'other', 1)
      arms.note('acme', 'v1', -1)
      for (const reward of all) arms.note('', 'v1', reward)
      const mean = all.reduce((sum, x) => sum + x, 0) / all.length
      const variance = all.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (all.length - 1)
      const { v1, other } = arms.report('')
      expect(v1?.mean).toBeCloseTo(mean, 10)
      expect(v1?.interval?.[1]).toBeCloseTo(mean + 1.96 * Math.sqrt(variance / all.length), 10)
      expect(other).toEqual({ rewards: 1, mean: 1, interval: null })
      expect(arms.report('acme')).toEqual({ v1: { rewards: 1, mean: -1, interval: null } })
    }),
  )
})
