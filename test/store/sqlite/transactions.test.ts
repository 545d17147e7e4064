import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate as nextTurn, setTimeout } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Limit } from '../../../src/store/limits.ts'
import { SqliteFile } from '../../../src/store/sqlite/file.ts'
import { SqliteLimits } from '../../../src/store/sqlite/limits.ts'
import { GO } from '../../../src/store/sqlite/wal.ts'
import type { Invalidation } from '../../../src/store/store.ts'

let dir: string
let file: SqliteFile
let limits: SqliteLimits

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sqlite-transactions-'))
  file = new SqliteFile(
    join(dir, 'store.db'),
    () => {},
    () => {},
  )
  limits = new SqliteLimits(
    file.db,
    (work, when) => file.write(() => [work()], when),
    (work) => file.read(work),
    1,
  )
  file.share(limits)
})

afterEach(async () => {
  await file.close()
  rmSync(dir, { recursive: true, force: true })
})

const DAY: Limit = { scope: 'tenant', what: 'nanoUsd', window: 'day', max: 100 }
const MINUTE: Limit = { scope: 'tenant', what: 'requests', window: 'minute', max: 1_000 }

const reserve = (id: string, nanoUsd: number) => {
  const amounts = { requests: 1, tokens: 0, nanoUsd }
  return limits.reserve({ tenant: 'acme', id, limits: [DAY, MINUTE], amounts, ttlMs: 60_000 })
}

const used = async () => (await limits.look('acme', [DAY, MINUTE])).map((state) => state.used)

const secret = (value: string) => file.write(() => [file.sql.proposeSecret.run(value).changes])

/** The thread asks for the file, and keeps it until it is told to go on. */
function holdThread() {
  const asked = Promise.withResolvers<() => void>()
  const postMessage = Worker.prototype.postMessage
  const posted = vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(function (this: Worker, ...sent) {
    if (sent[0] === GO) asked.resolve(() => postMessage.apply(this, sent as [unknown]))
    else postMessage.apply(this, sent as [unknown])
  })
  return { asked, posted }
}

test('writes wait, and nobody with them, while the thread begins the log anew', async () => {
  await secret('before')
  const { asked, posted } = holdThread()
  const emptied = file.emptyWal()
  const goOn = await asked.promise
  expect(file.isHeld).toBe(true)
  const written: string[] = []
  const writes = (['now', 'together', 'soon'] as const).map(async (when) => {
    await file.write(() => [file.sql.proposeSecret.run(when)], when)
    written.push(when)
  })
  // As long as it may take until a write would have been tried.
  for (let turn = 0; turn < 5; turn++) await setTimeout(10)
  expect(written).toEqual([])
  goOn()
  await Promise.all([emptied, ...writes])
  expect([file.isHeld, written.length]).toEqual([false, 3])
  posted.mockRestore()
})

test('a write that fails is undone alone, and those beside it are done', async () => {
  const done = await Promise.allSettled([
    reserve('a', 10),
    secret('first'),
    file.write(() => {
      throw new RangeError('no')
    }),
    reserve('b', 20),
  ])
  expect(done.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
  expect(await used()).toEqual([30, 2])
})

test('requests that share a transaction are counted one after the other', async () => {
  const reservations = await Promise.all(['a', 'b', 'c', 'd'].map((id) => reserve(id, 40)))
  expect(reservations.map(({ granted }) => granted)).toEqual([true, true, false, false])
  expect(reservations.map(({ states }) => states[0]?.used)).toEqual([40, 80, 80, 80])
  expect(await used()).toEqual([80, 2])
})

test('a reservation and its settlement in one transaction', async () => {
  const amounts = { requests: 1, tokens: 5, nanoUsd: 7 }
  const [, first, second] = await Promise.all([
    reserve('a', 40),
    limits.settle('acme', 'a', amounts),
    limits.settle('acme', 'a', amounts),
  ])
  expect([first, second]).toEqual(['now', 'before'])
  expect(await used()).toEqual([7, 1])
})

test('the same reservation once more is granted, and counted once', async () => {
  await Promise.all([reserve('a', 60), reserve('a', 60)])
  expect((await reserve('a', 60)).granted).toBe(true)
  expect((await reserve('b', 60)).granted).toBe(false)
  expect(await used()).toEqual([60, 1])
})

test('settlements of another process’s reservations count as well', async () => {
  await reserve('a', 40)
  const other = new SqliteLimits(
    file.db,
    (work, when) => file.write(() => [work()], when),
    (work) => file.read(work),
    1,
  )
  file.share(other)
  expect(await other.settle('acme', 'a', { requests: 1, tokens: 0, nanoUsd: 5 })).toBe('now')
  expect(await limits.settle('acme', 'a', { requests: 1, tokens: 0, nanoUsd: 5 })).toBe('before')
  expect(await used()).toEqual([5, 1])
})

test('another process is writing: writes wait for it in order, and nobody with them; too long, and they are told', async () => {
  const other = new DatabaseSync(join(dir, 'store.db'))
  other.exec('BEGIN IMMEDIATE')
  const done: string[] = []
  const write = (name: string) => secret(name).then(() => done.push(name))
  const waiting = [write('first'), write('second')]
  // The event loop turns meanwhile, reads are answered, and what comes later waits behind.
  await setTimeout(20)
  expect(await used()).toEqual([0, 0])
  waiting.push(write('third'))
  await setTimeout(20)
  expect(done).toEqual([])
  other.exec('COMMIT')
  await Promise.all(waiting)
  expect(done).toEqual(['first', 'second', 'third'])

  vi.useFakeTimers({ toFake: ['performance'] })
  other.exec('BEGIN IMMEDIATE')
  const early = secret('early')
  const told = expect(early).rejects.toMatchObject({ name: 'StoreError', message: 'SQLite: the file is locked' })
  await setTimeout(20)
  vi.advanceTimersByTime(990)
  const late = secret('late')
  await setTimeout(20)
  vi.advanceTimersByTime(20)
  await told
  other.exec('COMMIT')
  await late
  vi.useRealTimers()
  other.close()
})

test('of many that wait for another process, none waits for longer than the first', async () => {
  const other = new DatabaseSync(join(dir, 'store.db'))
  vi.useFakeTimers({ toFake: ['performance'] })
  other.exec('BEGIN IMMEDIATE')
  const told: number[] = []
  const writes = Array.from({ length: 200 }, (_, i) => secret(`${i}`).catch(() => told.push(i)))
  await setTimeout(20)
  vi.advanceTimersByTime(1_001)
  await writes[0]
  await nextTurn()
  expect(told.length).toBe(200)
  other.close()
  vi.useRealTimers()
})

test('closing waits for another process, and for the thread that begins the log anew meanwhile', async () => {
  const other = new DatabaseSync(join(dir, 'store.db'))
  await secret('before')
  const { asked, posted } = holdThread()
  other.exec('BEGIN IMMEDIATE')
  const write = secret('waits')
  const emptied = file.emptyWal()
  const closed = file.close()
  const goOn = await asked.promise
  expect(file.isHeld).toBe(true)
  other.exec('COMMIT')
  goOn()
  expect(await write).toBe(0)
  await Promise.all([emptied, closed])
  posted.mockRestore()
  other.close()
})

test('where a transaction can’t be rolled back, all hear why, and it does not stay in the way', async () => {
  const rollback = vi.spyOn(file.sql.rollback, 'run').mockImplementationOnce(() => {
    throw Object.assign(new Error('disk I/O error'), { code: 'ERR_SQLITE_ERROR', errcode: 10 })
  })
  const failing = file.write(() => {
    throw new RangeError('no')
  })
  await expect(failing).rejects.toThrow('no')
  expect(await secret('first')).toBe(1)
  expect(rollback).toHaveBeenCalledTimes(2)
})

test('whoever waits for a write has it, whatever those do who are told', async () => {
  const told: string[] = []
  const other = new SqliteFile(
    join(dir, 'other.db'),
    () => {},
    (change) => {
      told.push(change.kind)
      throw new Error('a listener')
    },
  )
  const work = (): [number, Invalidation] => [1, { kind: 'all' }]
  const waiting = Promise.all([other.write(work), other.write(work)])
  await expect(other.close()).rejects.toThrow('a listener')
  expect(await waiting).toEqual([1, 1])
  expect(told).toEqual(['all'])
  await other.close()
})
