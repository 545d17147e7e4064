import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NEW_USER } from '../../src/learning/profile.ts'
import { UserStates } from '../../src/learning/user-states.ts'
import { VectorVault } from '../../src/learning/vector-vault.ts'
import { openState } from '../../src/routing/model/packed-state.ts'
import type { Policy } from '../../src/routing/policy.ts'
import { floatBytes } from '../../src/store/bytes.ts'
import { plainState } from '../../src/store/plain-state.ts'
import { type Invalidation, type Store, type StoredUser, StoreError } from '../../src/store/store.ts'
import { findCandidate, silent, TINY_2, tinyPolicy } from '../routing/support.ts'
import { interaction, learnerOn, openTestStore, reward, withOverrides } from './support.ts'

let real: Store
let policy: Policy
let loads: number
let announce: (change: Invalidation) => void
let broken: boolean
let states: UserStates
const errors: string[] = []

beforeEach(async () => {
  real = openTestStore()
  policy = await tinyPolicy()
  loads = 0
  broken = false
  errors.length = 0
  const store = withOverrides(real, {
    loadUserState: async (tenant, user) => {
      loads++
      if (broken) throw new StoreError('away')
      return real.loadUserState(tenant, user)
    },
    subscribe: (listener) => {
      announce = listener
      return () => {}
    },
  })
  states = new UserStates({
    vault: new VectorVault(store, null),
    store,
    find: findCandidate,
    max: 3,
    deadlineMs: 5_000,
    log: silent,
    onStoreError: (call) => errors.push(call),
  })
})
afterEach(async () => {
  states.close()
  await real.close()
})

const STATE = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8)
const stored = (of: Partial<StoredUser> = {}): StoredUser => ({
  revision: 1,
  policy: 'tiny-1',
  rewards: 2,
  state: plainState(floatBytes(STATE)),
  older: new Float32Array(0),
  preferences: {},
  updatedAt: 1,
  since: 1,
  heardAt: 0,
  ...of,
})

describe('UserStates', () => {
  it('asks the store once, however many ask at once, and not again', async () => {
    await real.commitUser('acme', 'ann', stored(), [])
    const profiles = await Promise.all(Array.from({ length: 20 }, () => states.get(policy, 'acme', 'ann')))
    expect(loads).toBe(1)
    expect(new Set(profiles).size).toBe(1)
    expect(states.get(policy, 'acme', 'ann')).toBe(profiles[0])
    expect(profiles[0]).toMatchObject({ rewards: 2, degraded: false, state: STATE })
  })

  it('remembers that a user is new', async () => {
    expect(await states.get(policy, 'acme', 'nobody')).toBe(NEW_USER)
    expect(await states.get(policy, 'acme', 'nobody')).toBe(NEW_USER)
    expect(loads).toBe(1)
  })

  it('keeps no more users than it may', async () => {
    for (const user of ['a', 'b', 'c', 'd', 'a']) await states.get(policy, 'acme', user)
    expect(loads).toBe(5)
    await states.get(policy, 'acme', 'd')
    expect(loads).toBe(5)
  })

  it('drops what another process changed, also what is on its way', async () => {
    await real.commitUser('acme', 'ann', stored(), [])
    await states.get(policy, 'acme', 'ann')
    announce({ kind: 'user', tenant: 'acme', user: 'ann' })
    const late = states.get(policy, 'acme', 'ann')
    announce({ kind: 'user', tenant: 'acme', user: 'ann' })
    await late
    await states.get(policy, 'acme', 'ann')
    expect(loads).toBe(3)
    announce({ kind: 'user', tenant: 'other', user: 'ann' })
    announce({ kind: 'keys', tenant: 'acme' })
    await states.get(policy, 'acme', 'ann')
    expect(loads).toBe(3)
  })

  it('keeps what is as new as what is told: its own commits are told, too', async () => {
    await real.commitUser('acme', 'ann', stored(), [])
    await states.get(policy, 'acme', 'ann')
    const tell = (revision: number) => announce({ kind: 'user', tenant: 'acme', user: 'ann', revision })
    states.put(policy, 'acme', 'ann', stored({ revision: 2, rewards: 3 }))
    tell(1)
    tell(2)
    expect(await states.get(policy, 'acme', 'ann')).toMatchObject({ rewards: 3 })
    expect(loads).toBe(1)
    tell(3)
    await states.get(policy, 'acme', 'ann')
    expect(loads).toBe(2)
  })

  it('drops what is on its way, whichever revision is told', async () => {
    await real.commitUser('acme', 'ann', stored(), [])
    const late = states.get(policy, 'acme', 'ann')
    announce({ kind: 'user', tenant: 'acme', user: 'ann', revision: 1 })
    await late
    await states.get(policy, 'acme', 'ann')
    expect(loads).toBe(2)
  })

  it('treats users as new while the store is away, and asks again', async () => {
    await real.commitUser('acme', 'ann', stored(), [])
    broken = true
    expect(await states.get(policy, 'acme', 'ann')).toMatchObject({ state: null, degraded: true })
    expect(errors).toEqual(['loadUserState'])
    broken = false
    expect(await states.get(policy, 'acme', 'ann')).toMatchObject({ rewards: 2, degraded: false })
  })

  it('does not make a request wait for a store that hangs, and has the user when it answers', async () => {
    await real.commitUser('acme', 'ann', stored(), [])
    let open: () => void = () => {}
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    const store = withOverrides(real, {
      loadUserState: (tenant, user) => gate.then(() => real.loadUserState(tenant, user)),
    })
    const hanging = new UserStates({
      store,
      vault: new VectorVault(store, null),
      find: findCandidate,
      max: 10,
      deadlineMs: 10,
      log: silent,
    })
    expect(await hanging.get(policy, 'acme', 'ann')).toMatchObject({ state: null, degraded: true })
    open()
    await expect.poll(() => hanging.get(policy, 'acme', 'ann')).toMatchObject({ rewards: 2, degraded: false })
    hanging.close()
  })

  it('keeps a quarantined user from being scored until their next reward', async () => {
    await real.commitUser('acme', 'ann', stored(), [])
    await states.get(policy, 'acme', 'ann')
    states.quarantine(policy, 'acme', 'ann')
    expect(await states.get(policy, 'acme', 'ann')).toMatchObject({ state: null, rewards: 2 })
    states.put(policy, 'acme', 'ann', stored({ rewards: 3 }))
    expect(await states.get(policy, 'acme', 'ann')).toMatchObject({ rewards: 3, state: STATE })
  })

  it('makes a stored state that is broken anew from the history', async () => {
    const { learner, states: writer } = learnerOn(real)
    const about = interaction('i')
    await learner.apply(policy, reward(about, 1), about)
    const good = await real.loadUser('acme', 'ann')
    for (const state of [new Float32Array(8).fill(Number.NaN), new Float32Array(3)]) {
      const before = await real.loadUser('acme', 'ann')
      const broken = { ...(before as StoredUser), state: plainState(floatBytes(state)) }
      const next = { ...broken, revision: broken.revision + 1 }
      await real.commitUser('acme', 'ann', next, await real.loadEdges('acme', 'ann'))
      states.invalidate('acme', 'ann')
      expect((await states.get(policy, 'acme', 'ann')).state).toEqual(
        openState((good as StoredUser).state, policy.router.cold),
      )
    }
    writer.close()
  })

  it('has a user under each policy that asks for them', async () => {
    const { learner, states: writer } = learnerOn(real)
    const about = interaction('i')
    await learner.apply(policy, reward(about, 1), about)
    const next = await tinyPolicy(TINY_2)
    const [one, two] = [await states.get(policy, 'acme', 'ann'), await states.get(next, 'acme', 'ann')]
    expect(one.state).not.toEqual(two.state)
    expect(states.get(policy, 'acme', 'ann')).toBe(one)
    expect(states.get(next, 'acme', 'ann')).toBe(two)
    writer.close()
  })

  it('knows preferences also where there is no policy', async () => {
    await real.commitUser('acme', 'ann', stored({ preferences: { cost_weight: 1 } }), [])
    expect(await states.get(null, 'acme', 'ann')).toMatchObject({ state: null, preferences: { cost_weight: 1 } })
  })
})
