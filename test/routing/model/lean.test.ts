import { beforeAll, describe, expect, it } from 'vitest'
import { loadArtifact } from '../../../src/routing/artifact/load.ts'
import { weightsOf } from '../../../src/routing/artifact/manifest.ts'
import { GraphRouter } from '../../../src/routing/model/graph-router.ts'
import { lean } from '../../../src/routing/model/lean.ts'
import { expectClose } from '../../support/close.ts'
import fc from '../../support/properties.ts'
import { CHEAP, DEAR, MIDDLE, routerConfig, silent } from '../support.ts'

/** Mean [2] and covariance [2, 2]. */
const belief = (scale: number) => Float32Array.of(0.5, -0.5, 2 * scale, 0.5 * scale, 0.5 * scale, 1 * scale)

describe('lean', () => {
  it('moves the mean by the covariance times what is said, of its own row alone', () => {
    const rows = new Float32Array([...belief(1), ...belief(1)])
    lean(rows, 6, 2, [
      [0, 1],
      [1, -2],
    ])
    expectClose([...rows.subarray(0, 6)], [...belief(1)])
    expectClose([...rows.subarray(6, 8)], [0.5 + 2 - 1, -0.5 + 0.5 - 2])
    expectClose([...rows.subarray(8)], [...belief(1).subarray(2)])
  })

  it('says what a prior with that mean would have: evidence outweighs it', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.1, max: 50, noNaN: true }),
        fc.double({ min: -2, max: 2, noNaN: true }),
        (precision, said) => {
          // One weight: prior N(.5, 2), evidence of that precision and of mean 1.
          const variance = 1 / (1 / 2 + precision)
          const state = Float32Array.of(variance * (0.5 / 2 + precision), variance)
          lean(state, 0, 1, [[0, said]])
          expectClose(state[0], variance * ((0.5 + 2 * said) / 2 + precision))
        },
      ),
    )
  })
})

describe('the taste that a tenant starts with', () => {
  let router: GraphRouter
  beforeAll(async () => {
    router = await GraphRouter.open({
      artifact: await loadArtifact(routerConfig().artifact),
      embed: () => new Float32Array(256),
      loadEvidence: async () => new Map(),
      candidatesOf: () => [CHEAP, MIDDLE, DEAR],
      deadlineMs: 10_000,
      log: silent,
    })
  })

  const query = (of = {}) => ({
    tenant: 'acme',
    embedding: new Float32Array(256),
    promptTokens: 100,
    state: null,
    ...of,
  })
  const gapOf = async (of = {}) => {
    const [cheap, , dear] = await router.score(query(of), [CHEAP, MIDDLE, DEAR])
    return (dear?.mean as number) - (cheap?.mean as number)
  }

  it('makes a new user’s scores lean towards quality or towards prices', async () => {
    const [quality, balanced, frugal] = [
      await gapOf({ taste: 'quality' }),
      await gapOf(),
      await gapOf({ taste: 'frugal' }),
    ]
    expect(quality).toBeGreaterThan(balanced)
    expect(balanced).toBeGreaterThan(frugal)
    expectClose((quality + frugal) / 2, balanced)
  })

  it('counts for less where more is known of the user, and not at all where the request says the trade-off', async () => {
    const weights = weightsOf(router.artifact.dims.S)
    const state = new Float32Array(router.artifact.dims.S)
    state.set([0.3, 0, 0, 0, 0, 0, 0, -0.1])
    for (let i = 0; i < weights; i++) state[weights + i * weights + i] = 1e-6
    const known = [await gapOf({ state, taste: 'quality' }), await gapOf({ state })] as const
    const gain = (await gapOf({ taste: 'quality' })) - (await gapOf())
    expect(Math.abs(known[0] - known[1])).toBeLessThan(gain / 50)
    expectClose(await gapOf({ taste: 'frugal', costWeight: 0.5 }), await gapOf({ costWeight: 0.5 }))
  })
})
