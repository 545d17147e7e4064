import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Learner, type LearnerOptions } from '../../src/learning/learner.ts'
import { UserStates } from '../../src/learning/user-states.ts'
import { VectorVault } from '../../src/learning/vector-vault.ts'
import type { Policy } from '../../src/routing/policy.ts'
import type { RewardRecord } from '../../src/store/records/codec.ts'
import { SqliteStore } from '../../src/store/sqlite/store.ts'
import type { InteractionSummary, Store } from '../../src/store/store.ts'
import { findCandidate, POOL, silent, tinyEmbed } from '../routing/support.ts'

export const newTestFile = (): string => join(mkdtempSync(join(tmpdir(), 'learn-')), 'store.db')

export const openTestStore = (path = newTestFile()): Store =>
  new SqliteStore({ kind: 'sqlite', path, retention_days: 90 })

/** Everybody's first word counts for others. */
export const HEARD_AT_ONCE = { minAnswers: 1, minAgeMs: 0, halfLifeDays: 90 }

export function learnerOn(store: Store, find = findCandidate, of: Partial<LearnerOptions> = {}) {
  const vault = of.vault ?? new VectorVault(store, null)
  const states = new UserStates({ store, vault, find, max: 1_000, deadlineMs: 5_000, log: silent })
  return { states, learner: new Learner({ store, states, vault, find, hearing: HEARD_AT_ONCE, log: silent, ...of }) }
}

export function quantise(vector: Float32Array): { int8: Int8Array; scale: number } {
  const scale = Math.max(...vector.map(Math.abs)) / 127 || 1
  return { int8: Int8Array.from(vector, (value) => Math.round(value / scale)), scale }
}

/** What the tiny artifacts read in a text: its vector's first two numbers. */
export const tinyReading = (text: string) => quantise(tinyEmbed(text).subarray(0, 2))

export const QUESTION = 'Why is the sky blue?'

export const interaction = (id: string, of: Partial<InteractionSummary> = {}): InteractionSummary => ({
  id,
  tenant: 'acme',
  user: 'ann',
  conversation: null,
  candidate: 'middle',
  reading: tinyReading(QUESTION),
  reader: 'tiny',
  vector: null,
  promptTokens: 20,
  completionTokens: 300,
  costUsd: 0.001,
  ts: 1,
  ended: true,
  ...of,
})

let clock = 1_000

export const reward = (about: InteractionSummary, value: number, of: Partial<RewardRecord> = {}): RewardRecord => ({
  interaction: about.id,
  tenant: about.tenant,
  user: about.user,
  kind: 'rating',
  value,
  weight: 1,
  binary: true,
  ts: clock++,
  preferredModel: null,
  comment: null,
  ...of,
})

/** Expected reward of each candidate of the pool for a user's question. */
export async function meansFor(
  policy: Policy,
  states: UserStates,
  user: string,
  tenant = 'acme',
): Promise<Record<string, number>> {
  const { state } = await states.get(policy, tenant, user)
  const scores = await policy.router.score({ tenant, embedding: tinyEmbed(QUESTION), promptTokens: 20, state }, POOL)
  return Object.fromEntries(scores.map(({ candidate, mean }) => [candidate.name, mean]))
}

/** A store some of whose methods are replaced, as by one that is away. */
export const withOverrides = (store: Store, overrides: Partial<Store>): Store =>
  new Proxy(store, {
    get: (target, name) => {
      const value = Reflect.get(overrides, name) ?? Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
