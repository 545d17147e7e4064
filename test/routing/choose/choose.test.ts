import { describe, expect, it } from 'vitest'
import { type ChooseInput, choose, type Limits, NoCandidateError } from '../../../src/routing/choose/choose.ts'
import type { CandidateScore } from '../../../src/routing/router.ts'
import { expectClose } from '../../support/close.ts'
import fc from '../../support/properties.ts'
import { candidate, routerConfig } from '../support.ts'

const score = (
  name: string,
  mean: number,
  of: Parameters<typeof candidate>[1] = {},
  costUsd = 0.001,
): CandidateScore => ({
  candidate: candidate(name, of),
  mean,
  std: 0.1,
  parts: {},
  quality: 0.5,
  completionTokens: 300,
  costUsd,
})

const NO_LIMITS: Limits = { needs: new Set(), promptTokens: 100, maxTokens: null }
const policy = routerConfig()

const input = (scores: readonly CandidateScore[], of: Partial<ChooseInput> = {}): ChooseInput => ({
  scores,
  by: 'graph',
  limits: NO_LIMITS,
  explicit: null,
  stated: null,
  rewards: 0,
  explore: true,
  previous: null,
  baseline: null,
  policy,
  random: 0.999999,
  ...of,
})

const THREE = [score('a', 0.1), score('b', 0.5), score('c', 0.3)]

const anyScores = fc
  .array(
    fc.record({
      mean: fc.double({ min: -1, max: 1, noNaN: true }),
      explore: fc.boolean(),
      tools: fc.boolean(),
      costUsd: fc.double({ min: 0, max: 0.1, noNaN: true }),
      cached: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((list) =>
    list.map(({ mean, explore, tools, costUsd, cached }, i) =>
      score(
        `c${i}`,
        mean,
        {
          explore,
          capabilities: new Set(tools ? ['tools' as const] : []),
          price: { input: 1, output: 4, ...(cached !== null && { cachedInput: cached }) },
        },
        costUsd,
      ),
    ),
  )

const anyInput = fc
  .record({
    scores: anyScores,
    by: fc.constantFrom('graph' as const, 'fallback' as const),
    rewards: fc.nat(200),
    explore: fc.boolean(),
    random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    needsTools: fc.boolean(),
    maxCostUsd: fc.option(fc.double({ min: 0, max: 0.1, noNaN: true })),
    previous: fc.option(
      fc.record({ candidate: fc.nat(13).map((i) => `c${i}`), toolLoop: fc.boolean(), promptTokens: fc.nat(100_000) }),
    ),
  })
  .map(({ scores, needsTools, maxCostUsd, ...rest }) =>
    input(scores, {
      ...rest,
      limits: {
        ...NO_LIMITS,
        needs: new Set(needsTools ? (['tools'] as const) : []),
        ...(maxCostUsd !== null && { maxCostUsd }),
      },
    }),
  )

/** Undefined where no candidate is left. */
function chosen(of: ChooseInput) {
  try {
    return choose(of)
  } catch (error) {
    expect(error).toBeInstanceOf(NoCandidateError)
    return undefined
  }
}

describe('choose, whatever is asked', () => {
  it('has propensities that sum to 1, each between 0 and 1, one for each candidate that is left', () => {
    fc.assert(
      fc.property(anyInput, (of) => {
        const selection = chosen(of)
        if (!selection) return
        const { propensities, scored } = selection
        expect(propensities).toHaveLength(scored.length)
        expect(propensities.every((p) => p >= 0 && p <= 1)).toBe(true)
        expect(propensities.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12)
      }),
    )
  })

  it('chooses only what it had a chance to choose', () => {
    fc.assert(
      fc.property(anyInput, (of) => {
        const selection = chosen(of)
        if (!selection) return
        const index = selection.scored.indexOf(selection.chosen)
        expect(selection.propensities[index]).toBeGreaterThan(0)
      }),
    )
  })

  it('never relaxes a filter, and says of each candidate that it excluded why', () => {
    fc.assert(
      fc.property(anyInput, (of) => {
        const { needs, maxCostUsd = Number.POSITIVE_INFINITY } = of.limits
        const fits = ({ candidate: one, costUsd }: CandidateScore) =>
          [...needs].every((need) => one.capabilities.has(need)) && costUsd <= maxCostUsd
        const selection = chosen(of)
        expect(selection === undefined).toBe(!of.scores.some(fits))
        if (!selection) return
        expect(selection.scored).toEqual(of.scores.filter(fits))
        expect(selection.ranking).toHaveLength(selection.scored.length)
        expect(new Set(selection.ranking)).toEqual(new Set(selection.scored.map((one) => one.candidate)))
        expect(selection.ranking[0]).toBe(selection.chosen.candidate)
        expect(selection.excluded.map((one) => one.candidate)).toEqual(
          of.scores.filter((one) => !fits(one)).map((one) => one.candidate.name),
        )
      }),
    )
  })

  it('never changes the model inside a tool loop', () => {
    fc.assert(
      fc.property(anyInput, (of) => {
        if (!of.previous?.toolLoop) return
        const selection = chosen(of)
        const still = selection?.scored.find((one) => one.candidate.name === of.previous?.candidate)
        if (still) expect(selection).toMatchObject({ chosen: still, reason: 'sticky', detail: 'tool_loop' })
      }),
    )
  })

  it('explores neither when told not to, nor what is not to be explored, nor by a fallback’s ranks', () => {
    fc.assert(
      fc.property(anyInput, (of) => {
        const selection = chosen(of)
        if (!selection) return
        if (!of.explore || of.by === 'fallback') expect(selection.reason).not.toBe('explore')
        if (selection.reason === 'explore') expect(selection.chosen.candidate.explore).toBe(true)
      }),
    )
  })

  it('draws as often as it says', () => {
    fc.assert(
      fc.property(anyScores, fc.nat(50), (scores, rewards) => {
        const runs = 2_000
        const counts = new Map<string, number>()
        for (let i = 0; i < runs; i++) {
          const { chosen: one } = choose(input(scores, { rewards, random: (i + 0.5) / runs }))
          counts.set(one.candidate.name, (counts.get(one.candidate.name) ?? 0) + 1)
        }
        const { scored, propensities } = choose(input(scores, { rewards }))
        for (const [i, one] of scored.entries()) {
          // An even grid of random numbers: each share is right to one draw at either end.
          const share = (counts.get(one.candidate.name) ?? 0) / runs
          expect(Math.abs(share - (propensities[i] as number))).toBeLessThanOrEqual(1.01 / runs)
        }
      }),
      { numRuns: 30 },
    )
  })

  it('loses less by exploring than 1 / (base + per_reward x rewards), and less as it learns', () => {
    fc.assert(
      fc.property(anyScores, fc.nat(100), (scores, rewards) => {
        const lossAt = (n: number) => {
          const { scored, propensities } = choose(input(scores, { rewards: n }))
          const top = Math.max(...scored.map(({ mean }) => mean))
          return propensities.reduce((sum, p, i) => sum + p * (top - (scored[i]?.mean as number)), 0)
        }
        expect(lossAt(rewards)).toBeLessThan(1 / (policy.gamma.base + policy.gamma.per_reward * rewards))
        expect(lossAt(rewards + 10)).toBeLessThanOrEqual(lossAt(rewards) * (1 + 1e-9))
      }),
    )
  })
})

describe('choose', () => {
  it('takes the best for a known user, and says for a new one that it does not know them', () => {
    expect(choose(input(THREE, { rewards: 3, explore: false }))).toMatchObject({
      chosen: { candidate: { name: 'b' } },
      reason: 'personal',
      propensities: [0, 1, 0],
    })
    expect(choose(input(THREE, { explore: false })).reason).toBe('cold_start')
  })

  it('gives a task to whom the user stated for such, for sure, whoever else would answer', () => {
    const stated = { task: 'code', candidate: 'a' }
    const baseline = { candidate: 'b', routed: 0, why: 'holdout' as const }
    const previous = { candidate: 'c', toolLoop: false, promptTokens: 5_000 }
    for (const of of [{}, { baseline }, { previous }, { rewards: 9 }]) {
      expect(choose(input(THREE, { stated, ...of }))).toMatchObject({
        chosen: { candidate: { name: 'a' } },
        ...{ reason: 'stated', detail: 'code', propensities: [1, 0, 0], lift: null },
        ranking: [{ name: 'a' }, { name: 'b' }, { name: 'c' }],
      })
    }
  })

  it('puts the baseline next where the router is not let in, should whom the user stated or a tool’s result fail', () => {
    const stated = { task: 'code', candidate: 'a' }
    const previous = { candidate: 'a', toolLoop: true, promptTokens: 0 }
    const rankingOf = (more: Partial<ChooseInput>) => choose(input(THREE, more)).ranking.map(({ name }) => name)
    for (const more of [{ stated }, { previous }]) {
      for (const [why, routed] of [
        ['holdout', 0],
        ['baseline', 0],
        ['baseline', 0.1],
      ] as const) {
        expect(rankingOf({ ...more, baseline: { candidate: 'c', routed, why } })).toEqual(['a', 'c', 'b'])
      }
      expect(rankingOf({ ...more, baseline: { candidate: 'c', routed: 1, why: 'baseline' } })).toEqual(['a', 'b', 'c'])
      expect(rankingOf({ ...more, baseline: { candidate: 'a', routed: 0, why: 'baseline' } })).toEqual(['a', 'b', 'c'])
    }
  })

  it('chooses itself where whom the user stated can’t answer, or another reads its tool’s result', () => {
    const of = { stated: { task: 'code', candidate: 'a' }, explore: false }
    const denied = choose(input(THREE, { ...of, limits: { ...NO_LIMITS, deny: ['a'] } }))
    expect(denied).toMatchObject({ chosen: { candidate: { name: 'b' } }, reason: 'cold_start' })
    expect(choose(input(THREE.slice(1), of))).toMatchObject({ chosen: { candidate: { name: 'b' } } })
    const waiting = { candidate: 'c', toolLoop: true, promptTokens: 0 }
    expect(choose(input(THREE, { ...of, previous: waiting }))).toMatchObject({ reason: 'sticky', detail: 'tool_loop' })
    expect(choose(input(THREE, { ...of, explicit: 'c' })).reason).toBe('explicit')
  })

  it('explores by inverse gap weighting', () => {
    const { propensities, reason, chosen: one } = choose(input(THREE, { rewards: 10, random: 0 }))
    const perArm = policy.gamma.base + 10 * policy.gamma.per_reward
    expectClose(propensities[0], 1 / (3 * (1 + perArm * 0.4)), 1e-12)
    expectClose(propensities[2], 1 / (3 * (1 + perArm * 0.2)), 1e-12)
    expect([reason, one.candidate.name]).toEqual(['explore', 'a'])
  })

  it('tries others out however cautious the rule, as if no better than the best, less a deviation', () => {
    const doubted = [
      { ...score('kept', 0.2), apart: 0 },
      { ...score('liked', 0.5), apart: 0.1 },
      { ...score('odd', 0.1), apart: 0.2 },
    ]
    const never = { ...policy, caution: 100 }
    const { propensities } = choose(input(doubted, { policy: never }))
    const shareOf = (gap: number) => 1 / (3 * (1 + policy.gamma.base * gap))
    expectClose(propensities[1], shareOf(0.1), 1e-12)
    expectClose(propensities[2], shareOf(0.2 + 0.1), 1e-12)
    expectClose(propensities[0], 1 - (propensities[1] as number) - (propensities[2] as number), 1e-12)
  })

  it('ranks what is left by expected reward, for the case that the chosen one fails', () => {
    const { ranking } = choose(input(THREE, { random: 0 }))
    expect(ranking.map(({ name }) => name)).toEqual(['a', 'b', 'c'])
  })

  it('obeys a name, whatever the filters say', () => {
    const limits: Limits = { ...NO_LIMITS, deny: ['a'], isOpen: () => true }
    expect(choose(input(THREE, { explicit: 'a', limits }))).toMatchObject({
      chosen: { candidate: { name: 'a' } },
      reason: 'explicit',
      propensities: [1],
    })
  })

  it.each<[string, Partial<Limits>, Parameters<typeof candidate>[1]]>([
    ['not_allowed', { allow: ['fit'] }, {}],
    ['denied', { deny: ['odd'] }, {}],
    ['capability', { needs: new Set(['vision']) }, { capabilities: new Set() }],
    ['context_window', { promptTokens: 900, maxTokens: 200 }, { contextWindow: 1_000 }],
    ['output_limit', { maxTokens: 200 }, { maxOutputTokens: 100 }],
    ['latency', { maxLatencyMs: 100, latencyMs: (name) => (name === 'odd' ? 200 : undefined) }, {}],
    ['unavailable', { isOpen: ({ name }) => name === 'odd' }, {}],
  ])('excludes for %s', (why, limits, of) => {
    const odd = score('odd', 0.9, of)
    const fit = score('fit', 0.1, { capabilities: new Set(['vision']) })
    const selection = choose(input([odd, fit], { limits: { ...NO_LIMITS, ...limits } }))
    expect(selection.chosen).toBe(fit)
    expect(selection.excluded).toMatchObject([{ candidate: 'odd', why }])
  })

  it('says whether it is worth trying again when none is left', () => {
    const thrown = (limits: Partial<Limits>) => {
      try {
        choose(input(THREE, { limits: { ...NO_LIMITS, ...limits } }))
        return undefined
      } catch (error) {
        return error as NoCandidateError
      }
    }
    expect(thrown({ allow: ['nobody'] })).toMatchObject({ temporary: false, exclusions: { length: 3 } })
    expect(thrown({ isOpen: () => true })).toMatchObject({ temporary: true })
  })

  describe('in a conversation', () => {
    const price = { input: 2, output: 8, cachedInput: 0.2 }
    const [old, better] = [score('old', 0.3, { price }), score('better', 0.4)]
    const turn = (promptTokens: number, of: Partial<ChooseInput> = {}) =>
      choose(input([old, better], { previous: { candidate: 'old', toolLoop: false, promptTokens }, ...of }))

    it('stays while a switch is not worth the cold prompt cache', () => {
      // 100,000 tokens at $1.8 a million more than from the cache: $0.18, 3.6 on the scale of rewards.
      expect(turn(100_000)).toMatchObject({ chosen: old, reason: 'sticky', propensities: [1, 0] })
    })

    it('changes when it is', () => {
      expect(turn(100, { rewards: 5 })).toMatchObject({
        chosen: better,
        reason: 'personal',
        detail: 'switched',
        propensities: [0, 1],
      })
    })

    it('does not change for a trifle', () => {
      expect(
        choose(input([old, score('same', 0.31)], { previous: { candidate: 'old', toolLoop: false, promptTokens: 0 } }))
          .chosen,
      ).toBe(old)
    })

    it('is not left for the favourite’s sake alone, however cautious the rule', () => {
      const drawn = { ...old, apart: 0.2 }
      const previous = { candidate: 'old', toolLoop: false, promptTokens: 100_000 }
      const never = { ...policy, caution: 100 }
      expect(choose(input([drawn, better], { previous, policy: never })).chosen).toBe(drawn)
      expect(choose(input([drawn, better], { policy: never, explore: false })).chosen).toBe(better)
    })

    it('does not explore', () => {
      for (const random of [0, 0.3, 0.6, 0.99]) expect(turn(100, { random }).chosen).toBe(better)
    })

    it('chooses the best in a tool loop whose model is gone', () => {
      const previous = { candidate: 'gone', toolLoop: true, promptTokens: 10 }
      for (const random of [0, 0.5, 0.99]) expect(turn(10, { previous, random }).chosen).toBe(better)
    })

    it('chooses anew when it is not to be sticky, or when the old one is gone', () => {
      const loose = { ...policy, sticky: { ...policy.sticky, enabled: false } }
      expect(turn(100_000, { policy: loose, explore: false })).toMatchObject({ chosen: better, reason: 'cold_start' })
      expect(turn(100_000, { limits: { ...NO_LIMITS, deny: ['old'] } })).toMatchObject({ chosen: better })
    })
  })
})
