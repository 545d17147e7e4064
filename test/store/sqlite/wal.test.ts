import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { WriteAheadLog, type Writers } from '../../../src/store/sqlite/wal.ts'

const MB = 1024 * 1024
let dir: string
let path: string
let db: DatabaseSync
let wal: WriteAheadLog
const sizeOf = (file: string) => statSync(file, { throwIfNoEntry: false })?.size ?? 0
const fill = (times = 4) => {
  for (let i = 0; i < times; i++) db.exec(`INSERT INTO t VALUES (randomblob(${MB}))`)
}

const truncate = () => db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.busy === 0
const writersOf = (truncateHere: () => boolean): Writers => ({ hold: vi.fn(), release: vi.fn(), truncateHere })
const posted = vi.spyOn(Worker.prototype, 'postMessage')
const jobs = () => posted.mock.calls.filter(([message]) => typeof message === 'object').length
/** Of a log in which nothing stands but its head and a page. */
const NOTHING = 8_192
/** Names the log: another one after each new beginning. */
const head = () => readFileSync(`${path}-wal`).subarray(0, 32).toString('hex')
let writers: Writers

beforeEach(() => {
  posted.mockClear()
  dir = mkdtempSync(join(tmpdir(), 'persona-router-wal-'))
  path = join(dir, 'store.db')
  db = new DatabaseSync(path, { timeout: 5_000 })
  db.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x BLOB)')
  writers = writersOf(truncate)
  wal = new WriteAheadLog(path, writers, MB)
})
afterEach(async () => {
  await wal.close()
  if (db.isOpen) db.close()
  rmSync(dir, { recursive: true })
})

test('is written back by its thread where it has grown large, and only there', async () => {
  await wal.look()
  expect(sizeOf(path)).toBeLessThan(MB)
  fill()
  await wal.look()
  expect(sizeOf(path)).toBeGreaterThan(4 * MB)
  expect(sizeOf(`${path}-wal`)).toBeLessThanOrEqual(MB)
})

test.each(['look', 'empty'] as const)('%s: the new log is begun on the thread, while nobody writes', async (call) => {
  fill()
  const before = head()
  vi.mocked(writers.hold).mockImplementation(() => expect(head()).toBe(before))
  vi.mocked(writers.release).mockImplementation(() => expect(head()).not.toBe(before))
  await wal[call]()
  for (const told of [writers.hold, writers.release]) expect(told).toHaveBeenCalledTimes(1)
  // Whoever writes next has nothing to wait for.
  const begun = head()
  fill(1)
  expect(head()).toBe(begun)
})

test('whoever writes waits for a moment at most, whatever becomes of the thread', async () => {
  fill()
  posted.mockImplementation(() => {})
  const asked = wal.look()
  const worker = posted.mock.contexts[0] as Worker
  const release = new Promise<void>((done) => vi.mocked(writers.release).mockImplementation(done))
  worker.emit('message', 'ready')
  expect(writers.hold).toHaveBeenCalledTimes(1)
  await release
  posted.mockReset()
  await worker.terminate()
  await asked
  expect(writers.release).toHaveBeenCalled()
})

test('is left alone once it is written back, until it grows again', async () => {
  fill()
  for (let i = 0; i < 3; i++) await wal.look()
  expect(jobs()).toBe(1)
  fill(6)
  for (let i = 0; i < 3; i++) await wal.look()
  expect(jobs()).toBe(2)
})

test('is emptied, for all that ask at once and again after an end of the thread', async () => {
  fill()
  await Promise.all([wal.empty(), wal.empty(), wal.look()])
  expect(sizeOf(`${path}-wal`)).toBeLessThan(NOTHING)
  fill()
  await wal.close()
  // Nothing is left to do it: whoever asks is not kept waiting.
  await wal.empty()
  expect(sizeOf(`${path}-wal`)).toBeGreaterThan(4 * MB)
})

test('nobody waits for ever for a reader that is in the way, and what is owed is made up for once it has gone', async () => {
  fill()
  const reader = new DatabaseSync(path)
  reader.exec('BEGIN')
  reader.prepare('SELECT count(*) FROM t').get()
  fill(1)
  await wal.empty()
  expect(sizeOf(`${path}-wal`)).toBeGreaterThan(NOTHING)
  await wal.look()
  expect(sizeOf(`${path}-wal`)).toBeGreaterThan(NOTHING)
  // So writers are not held up either.
  fill(1)
  reader.close()
  await wal.look()
  expect(sizeOf(`${path}-wal`)).toBeLessThan(NOTHING)
  // Nothing is owed any more.
  fill(1)
  await wal.look()
  expect(sizeOf(`${path}-wal`)).toBeGreaterThan(NOTHING)
})

test('a truncation that is owed is tried once more before the end', async () => {
  fill()
  const reader = new DatabaseSync(path)
  reader.exec('BEGIN')
  reader.prepare('SELECT count(*) FROM t').get()
  fill(1)
  await wal.empty()
  reader.close()
  await wal.close()
  expect(sizeOf(`${path}-wal`)).toBeLessThan(NOTHING)
})

test('is emptied here where no thread can be had, as often as it takes, and no thread is started over and over', async () => {
  const folder = join(dir, 'folder')
  mkdirSync(folder)
  writeFileSync(`${folder}-wal`, Buffer.alloc(2 * MB))
  const here = vi.fn(() => false)
  const none = new WriteAheadLog(folder, writersOf(here), MB)
  for (let i = 0; i < 3; i++) await none.look()
  expect(jobs()).toBe(1)
  expect(here).not.toHaveBeenCalled()
  fill()
  await none.empty()
  expect(here).toHaveBeenCalledTimes(1)
  here.mockImplementation(truncate)
  await none.look()
  expect(sizeOf(`${path}-wal`)).toBeLessThan(NOTHING)
  await none.look()
  expect(here).toHaveBeenCalledTimes(2)
  expect(jobs()).toBe(1)
  await none.close()
  await new WriteAheadLog(':memory:', writersOf(here)).empty()
  expect(here).toHaveBeenCalledTimes(2)
})
