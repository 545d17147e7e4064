import { expect, test } from 'vitest'
import { type ChooseInput, choose, NoCandidateError } from '../../../src/routing/choose/choose.ts'
import { choosePreferring } from '../../../src/routing/choose/prefer.ts'
import fc from '../../support/properties.ts'
import { candidate, routerConfig } from '../support.ts'

const score = (name: string, mean: number, speaks = false) => ({
  candidate: candidate(name, { ...(speaks && { apis: new Set(['chat', 'responses'] as const) }) }),
  mean,
  std: 0.1,
  parts: {},
  quality: 0.5,
  completionTokens: 300,
  costUsd: 0.001,
})

const input = (scores: ChooseInput['scores'], of: Partial<ChooseInput> = {}): ChooseInput => ({
  scores,
  by: 'graph',
  limits: { needs: new Set(), promptTokens: 100, maxTokens: null },
  explicit: null,
  stated: null,
  rewards: 0,
  explore: true,
  previous: null,
  baseline: null,
  policy: routerConfig(),
  random: 0.999999,
  ...of,
})

const MIXED = [score('a', 0.9), score('n1', 0.1, true), score('b', 0.5), score('n2', 0.3, true)]

test('those that can do all come first, however good the others are; the others follow', () => {
  const selection = choosePreferring('responses', input(MIXED, { explore: false }))
  expect(selection.ranking.map(({ name }) => name)).toEqual(['n2', 'n1', 'a', 'b'])
  expect(selection.scored.map(({ candidate: { name } }) => name)).toEqual(['n1', 'n2'])
  expect(selection.excluded.map(({ candidate: name, why }) => [name, why])).toEqual([
    ['a', 'capability'],
    ['b', 'capability'],
  ])
})

test.each<[string, Partial<ChooseInput>]>([
  ['a model that the client named', { explicit: 'a' }],
  ['a model that waits for its tool', { previous: { candidate: 'a', toolLoop: true, promptTokens: 0 } }],
])('%s is left alone', (_, of) => {
  expect(choosePreferring('responses', input(MIXED, of)).chosen.candidate.name).toBe('a')
})

test('where none of them fits, the others answer', () => {
  const limits = { needs: new Set<never>(), promptTokens: 100, maxTokens: null, deny: ['n1', 'n2'] }
  expect(choosePreferring('responses', input(MIXED, { limits, explore: false })).chosen.candidate.name).toBe('a')
  const none = { ...limits, allow: [] as string[] }
  expect(() => choosePreferring('responses', input(MIXED, { limits: none }))).toThrow(NoCandidateError)
})

test('without a preference, or where all or none speak it, nothing changes', () => {
  for (const [prefers, scores] of [
    [undefined, MIXED],
    ['messages', MIXED],
    ['responses', [score('n1', 0.1, true), score('n2', 0.3, true)]],
  ] as const) {
    expect(choosePreferring(prefers, input(scores))).toEqual(choose(input(scores)))
  }
})

test('propensities are of those that were chosen among, and each candidate is ranked once', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.double({ min: -1, max: 1, noNaN: true }), fc.boolean()), { minLength: 1, maxLength: 10 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (list, random) => {
        const scores = list.map(([mean, speaks], i) => score(`c${i}`, mean, speaks))
        const { ranking, scored, propensities, chosen } = choosePreferring('responses', input(scores, { random }))
        expect(new Set(ranking).size).toBe(scores.length)
        expect(propensities).toHaveLength(scored.length)
        expect(Math.abs(propensities.reduce((sum, p) => sum + p, 0) - 1)).toBeLessThan(1e-9)
        expect(scored).toContain(chosen)
        if (list.some(([, speaks]) => speaks)) expect(chosen.candidate.apis?.has('responses')).toBe(true)
      },
    ),
  )
})
