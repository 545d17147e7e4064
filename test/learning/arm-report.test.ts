import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { ArmReport } from '../../src/learning/arm-report.ts'
import { SqliteStore } from '../../src/store/sqlite/store.ts'
import { StoreError } from '../../src/store/store.ts'
import fc from '../support/properties.ts'

const NEVER_MS = 1e8
const log = { warn: vi.fn() }
let dir: string
let stores: SqliteStore[]
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'arms-'))
  // As two processes have one file open.
  stores = [0, 1].map(() => new SqliteStore({ kind: 'sqlite', path: join(dir, 'store.db'), retention_days: 90 }))
})
afterEach(async () => {
  for (const store of stores) await store.close()
  rmSync(dir, { recursive: true, force: true })
})

const double = fc.double({ min: -1, max: 1, noNaN: true })

it('has the mean of each arm over all replicas, and its 95 % interval', async () => {
  let run = 0
  await fc.assert(
    fc.asyncProperty(fc.array(double, { minLength: 2, maxLength: 30 }), async (all) => {
      const [one, two] = stores.map((store) => new ArmReport({ store, log, flushMs: NEVER_MS })) as [
        ArmReport,
        ArmReport,
      ]
      // Its own tenants in each run: the store has what earlier ones brought.
      const [acme, bell, own] = ['acme', 'bell', 'own'].map((name) => `${name}-${run}`) as [string, string, string]
      run++
      one.note(acme, 'shared', 'other#1', 1)
      two.note(own, 'own', 'v1', -1)
      for (const [i, reward] of all.entries()) (i % 2 ? one : two).note(i % 3 ? acme : bell, 'shared', 'v1', reward)
      await two.flush()
      const mean = all.reduce((sum, x) => sum + x, 0) / all.length
      const variance = all.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (all.length - 1)
      const { v1, 'other#1': other } = (await one.report([acme, bell], 'shared')).arms
      expect(v1?.rewards).toBe(all.length)
      expect(v1?.mean).toBeCloseTo(mean, 5)
      expect(v1?.interval?.[1]).toBeCloseTo(mean + 1.96 * Math.sqrt(variance / all.length), 3)
      expect(other).toEqual({ rewards: 1, mean: 1, interval: null })
      expect(await two.report([acme, bell], 'shared')).toEqual(await one.report([acme, bell], 'shared'))
      expect((await one.report([own], 'own')).arms).toEqual({ v1: { rewards: 1, mean: -1, interval: null } })
      expect(await one.report([own], 'shared')).toEqual({ arms: {}, missing: [] })
    }),
    { numRuns: 20 },
  )
})

it('is brought to the store by itself, and outlives the process', async () => {
  const report = new ArmReport({ store: stores[0]!, log, flushMs: 1 })
  report.note('acme', 'shared', 'v1', 0.5)
  const other = new ArmReport({ store: stores[1]!, log })
  await vi.waitFor(async () => expect((await other.report(['acme'], 'shared')).arms.v1?.rewards).toBe(1))
})

it('keeps what the store did not take, and brings it once', async () => {
  const [store] = stores as [SqliteStore]
  let isAway = true
  const flaky = {
    loadEvidence: store.loadEvidence.bind(store),
    dropEvidence: store.dropEvidence.bind(store),
    addEvidence: (...args: Parameters<SqliteStore['addEvidence']>) =>
      isAway ? Promise.reject(new StoreError('away')) : store.addEvidence(...args),
  }
  const report = new ArmReport({ store: flaky, log, flushMs: NEVER_MS })
  report.note('acme', 'shared', 'v1', 1)
  report.note('acme', 'shared', 'v1', 0)
  expect(await report.report(['acme'], 'shared')).toMatchObject({ arms: { v1: { rewards: 2, mean: 0.5 } } })
  expect(log.warn).toHaveBeenCalledWith({ reason: 'away', tenant: 'acme' }, 'rewards by policy not loaded')
  isAway = false
  for (let i = 0; i < 2; i++) {
    expect(await report.report(['acme'], 'shared')).toMatchObject({ arms: { v1: { rewards: 2, mean: 0.5 } } })
  }
  expect(await new ArmReport({ store, log }).report(['acme'], 'shared')).toMatchObject({ arms: { v1: { rewards: 2 } } })
})

it('brings once for all tenants what a store did not take, and never twice what it may have taken', async () => {
  const [store] = stores as [SqliteStore]
  const add = vi.fn(async (...args: Parameters<SqliteStore['addEvidence']>) => {
    await store.addEvidence(...args)
    throw new StoreError('no answer in time', { mayBeDone: true })
  })
  const report = new ArmReport({
    store: {
      loadEvidence: store.loadEvidence.bind(store),
      dropEvidence: store.dropEvidence.bind(store),
      addEvidence: add,
    },
    log,
    flushMs: NEVER_MS,
  })
  const tenants = ['acme', 'bell', 'cobalt']
  for (const tenant of tenants) report.note(tenant, 'shared', 'v1', 1)
  await report.report(tenants, 'shared')
  expect(add).toHaveBeenCalledTimes(3)
  expect(await report.report(tenants, 'shared')).toMatchObject({ arms: { v1: { rewards: 3 } } })
  expect(add).toHaveBeenCalledTimes(3)

  const away = vi.fn(() => Promise.reject(new StoreError('away')))
  const waiting = new ArmReport({
    store: { loadEvidence: away, dropEvidence: away, addEvidence: away },
    log,
    flushMs: NEVER_MS,
  })
  for (const tenant of tenants) waiting.note(tenant, 'shared', 'v1', 1)
  expect(await waiting.report(tenants, 'shared')).toMatchObject({ arms: { v1: { rewards: 3 } } })
  expect(away).toHaveBeenCalledTimes(3)
})

it('forgets a policy under which nobody has rated for a month', async () => {
  const [store] = stores as [SqliteStore]
  const report = new ArmReport({ store, log, flushMs: NEVER_MS })
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 40 * 86_400_000 })
  try {
    report.note('acme', 'shared', 'old', 1)
    report.note('acme', 'shared', 'live', 1)
    await report.flush()
  } finally {
    vi.useRealTimers()
  }
  // Of all rows that it may lie in, as days pass.
  for (let i = 0; i < 100; i++) {
    report.note('acme', 'shared', 'live', 0)
    await report.flush()
  }
  expect(await report.report(['acme'], 'shared')).toMatchObject({ arms: { live: { rewards: 101 } } })
  expect(Object.keys((await report.report(['acme'], 'shared')).arms)).toEqual(['live'])
  expect([...(await store.loadEvidence('acme', 'arms:shared')).keys()].length).toBeLessThanOrEqual(4)
})

it("tells the others' rewards where one tenant's part of the store is away, and who is missing", async () => {
  const [store] = stores as [SqliteStore]
  const apart =
    <A extends unknown[], R>(work: (tenant: string, ...args: A) => Promise<R>) =>
    (tenant: string, ...args: A): Promise<R> =>
      tenant === 'gone' ? Promise.reject(new StoreError('gone is away')) : work(tenant, ...args)
  const parts = {
    loadEvidence: apart(store.loadEvidence.bind(store)),
    dropEvidence: apart(store.dropEvidence.bind(store)),
    addEvidence: apart(store.addEvidence.bind(store)),
  }
  const earlier = new ArmReport({ store: parts, log, flushMs: NEVER_MS })
  earlier.note('here', 'shared', 'v9', 1)
  await earlier.flush()
  const report = new ArmReport({ store: parts, log, flushMs: NEVER_MS })
  for (const tenant of ['gone', 'here']) report.note(tenant, 'shared', 'v9', 0)
  expect(await report.report(['gone', 'here', 'quiet'], 'shared')).toMatchObject({
    arms: { v9: { rewards: 3 } },
    missing: [{ tenant: 'gone', reason: 'gone is away' }],
  })
})

it('goes on after a failure that is none of its rows', async () => {
  const store = stores[0]!
  const report = new ArmReport({ store, log, flushMs: NEVER_MS })
  report.note('acme', 'shared', 'v1', 1)
  const now = vi.spyOn(Date, 'now').mockImplementationOnce(() => {
    throw new RangeError('no time')
  })
  await expect(report.flush()).rejects.toThrow('no time')
  now.mockRestore()
  report.note('acme', 'shared', 'v1', 0.5)
  expect((await report.report(['acme'], 'shared')).arms.v1?.rewards).toBe(2)
})
