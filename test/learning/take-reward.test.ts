import { expect, it } from 'vitest'
import type { Standing } from '../../src/learning/learner.ts'
import { type RewardDeps, takeReward } from '../../src/learning/take-reward.ts'
import type { RatedBy } from '../../src/routing/safety/gains.ts'
import type { GainNote } from '../../src/store/records/records.ts'
import { interaction, reward } from './support.ts'

const gain: GainNote = { baseline: 'b', policy: 'p', group: 'new', weight: 1, least: 0, largest: 2 }

/** What the certificate hears of a rating by a user of that standing. */
async function noted(standing: Partial<Standing>, of: object = {}, isFirst = true): Promise<RatedBy[]> {
  const heard: RatedBy[] = []
  const about = interaction('i', { gain, key: 'k', ...of })
  const deps = {
    recorder: { reward: () => undefined },
    metrics: { rewards: { inc: () => undefined }, storeErrors: { inc: () => undefined } },
    policies: { snapshot: () => ({ policy: { version: 'p' } }), audienceOf: () => '' },
    arms: { note: () => undefined },
    telemetry: null,
    learner: {
      apply: async (
        ...[, , , onFirst]: [unknown, unknown, unknown, ((one: Standing) => Promise<void>) | undefined]
      ) => {
        if (isFirst) await onFirst?.({ isHeard: true, ratings: 1, ...standing })
        return 'learned'
      },
    },
    gains: { note: async (...[, , , , by]: [unknown, unknown, unknown, unknown, RatedBy]) => heard.push(by) },
    log: { warn: () => undefined },
  } as unknown as RewardDeps
  await takeReward(deps, reward(about, 1), about)
  return heard
}

it('a rating counts in the certificate once, of a user who is heard, the first hundred of them', async () => {
  expect(await noted({})).toEqual([{ voice: expect.stringMatching(/^k\d+$/), isNew: false }])
  expect(await noted({ ratings: 0 }, { vouched: true })).toEqual([
    { voice: expect.stringMatching(/^u\d+$/), isNew: true },
  ])
  expect(await noted({}, {}, false)).toEqual([])
  expect(await noted({ isHeard: false })).toEqual([])
  expect(await noted({ ratings: 99 })).toHaveLength(1)
  expect(await noted({ ratings: 100 })).toEqual([])
  expect(await noted({}, { gain: null })).toEqual([])
})
