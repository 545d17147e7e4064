import { afterEach, beforeEach, expect, it } from 'vitest'
import { dropEvidence, type EvidenceDeps, showEvidence } from '../../src/api/admin-evidence.ts'
import type { Learner } from '../../src/learning/learner.ts'
import type { UserStates } from '../../src/learning/user-states.ts'
import { evidenceKey, evidenceName, PEOPLE, voiceOf } from '../../src/routing/choose/evidence.ts'
import { lengthKey, lengthRow } from '../../src/routing/choose/length-evidence.ts'
import type { Policy } from '../../src/routing/policy.ts'
import type { Store } from '../../src/store/store.ts'
import { interaction, learnerOn, openTestStore, reward } from '../learning/support.ts'
import { TINY_4, tinyPolicy } from '../routing/support.ts'
import { expectClose } from '../support/close.ts'

const VERSION = 'tiny-4'
const ANN = { user: 'ann', vouched: true, key: 'k' }

let store: Store
let policy: Policy
let learner: Learner
let states: UserStates
let deps: EvidenceDeps

beforeEach(async () => {
  store = openTestStore()
  policy = await tinyPolicy(TINY_4, (tenant) => store.loadEvidence(tenant, evidenceKey(VERSION)))
  ;({ learner, states } = learnerOn(store))
  const router = { shared_after_users: 5, shared_evidence: { key_weight: 8, half_life_days: 90 } }
  const snapshot = { config: { router, tenants: [] }, tenants: new Map([['acme', {}]]) }
  deps = { snapshot: () => snapshot, store, policies: {} } as unknown as EvidenceDeps
  for (const name of ['middle', 'dear']) {
    const row = lengthRow([1], 4, 4 * Math.LN2, Date.now())
    await store.addEvidence('acme', lengthKey(VERSION), evidenceName(name, voiceOf(ANN)), row, 90)
  }
})
afterEach(async () => {
  states.close()
  await store.close()
})

const asked = { tenant: 'acme', policy: VERSION }
const rate = async (id: string, value: number, by = learner) => {
  const about = interaction(id, ANN)
  await by.apply(policy, reward(about, value, { binary: false, ts: Date.now() }), about)
}
const told = async () =>
  (await store.loadEvidence('acme', evidenceKey(VERSION))).get(evidenceName(PEOPLE, voiceOf(ANN)))
const lengths = async () => [...(await store.loadEvidence('acme', lengthKey(VERSION))).keys()]

it('shows what users tell of their tenant beside what they say of candidates, not as one of them', async () => {
  expect(await showEvidence(deps, asked)).not.toHaveProperty('people')
  await rate('a', 1)
  const { candidates, people } = await showEvidence(deps, asked)
  expect(candidates.map(({ candidate }) => candidate)).toEqual(['middle'])
  expect(people).toMatchObject({ counts: false, voices: 1, opinions: [{ voice: 'vouched users', users: 1 }] })
  expect(people?.opinions[0]).not.toHaveProperty('mean')
})

it('shows how long answers to each voice were, and whether others are told', async () => {
  const { lengths: shown } = await showEvidence(deps, asked)
  const measured = [{ voice: 'vouched users', answers: 4, times_as_long: 2, last: expect.any(String) }]
  expect(shown?.toSorted((a, b) => (a.candidate < b.candidate ? -1 : 1))).toEqual([
    { candidate: 'dear', counts: false, voices: 1, measured },
    { candidate: 'middle', counts: false, voices: 1, measured },
  ])
})

it('forgets of one model what was said and measured of it', async () => {
  await rate('a', 1)
  const before = await told()
  const gone = await dropEvidence(deps, { ...asked, model: 'middle' })
  expect(gone).toMatchObject({ dropped: 1, lengths: 1 })
  expect(await lengths()).toEqual([evidenceName('dear', voiceOf(ANN))])
  expect(await told()).toEqual(before)
})

it('forgets all, whereupon who is known tells anew of their tenant, once', async () => {
  await rate('a', 0.5)
  const before = await told()
  expect(await dropEvidence(deps, { ...asked, model: undefined })).toMatchObject({ dropped: 2, lengths: 2 })
  expect([await told(), await lengths()]).toEqual([undefined, []])
  // Ratings of the same millisecond are as good as before.
  await new Promise((resolve) => setTimeout(resolve, 5))
  await rate('b', 0)
  const anew = await told()
  expect(anew?.slice(2, 4)).toEqual(Float32Array.of(1, 1))
  expect(Math.abs(anew?.[1] ?? 0)).toBeGreaterThan(Math.abs(before?.[1] ?? 0) / 2)
  await rate('c', 0, learnerOn(store).learner)
  await rate('d', 0)
  expectClose((await told())?.slice(2, 4), [1, 1])
})
