import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { WriteAheadLog } from '../../../src/store/sqlite/wal.ts'

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
const jobs = vi.spyOn(Worker.prototype, 'postMessage')

beforeEach(() => {
  jobs.mockClear()
  dir = mkdtempSync(join(tmpdir(), 'persona-router-wal-'))
  path = join(dir, 'store.db')
  db = new DatabaseSync(path, { timeout: 5_000 })
  db.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x BLOB)')
  wal = new WriteAheadLog(path, truncate, MB)
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
  // The next change begins it anew.
  const before = sizeOf(`${path}-wal`)
  fill(1)
  expect(sizeOf(`${path}-wal`)).toBe(before)
})

test('is left alone once it is written back, until it grows again', async () => {
  fill()
  for (let i = 0; i < 3; i++) await wal.look()
  expect(jobs).toHaveBeenCalledTimes(1)
  fill(6)
  for (let i = 0; i < 3; i++) await wal.look()
  expect(jobs).toHaveBeenCalledTimes(2)
})

test('is emptied, for all that ask at once and again after an end of the thread', async () => {
  fill()
  await Promise.all([wal.empty(), wal.empty(), wal.look()])
  expect(sizeOf(`${path}-wal`)).toBe(0)
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
  expect(sizeOf(`${path}-wal`)).toBeGreaterThan(0)
  await wal.look()
  expect(sizeOf(`${path}-wal`)).toBeGreaterThan(0)
  // So writers are not held up either.
  fill(1)
  reader.close()
  await wal.look()
  expect(sizeOf(`${path}-wal`)).toBe(0)
  // Nothing is owed any more.
  fill(1)
  await wal.look()
  expect(sizeOf(`${path}-wal`)).toBeGreaterThan(0)
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
  expect(sizeOf(`${path}-wal`)).toBe(0)
})

test('is emptied here where no thread can be had, as often as it takes, and no thread is started over and over', async () => {
  const folder = join(dir, 'folder')
  mkdirSync(folder)
  writeFileSync(`${folder}-wal`, Buffer.alloc(2 * MB))
  const here = vi.fn(() => false)
  const none = new WriteAheadLog(folder, here, MB)
  for (let i = 0; i < 3; i++) await none.look()
  expect(jobs).toHaveBeenCalledTimes(1)
  expect(here).not.toHaveBeenCalled()
  fill()
  await none.empty()
  expect(here).toHaveBeenCalledTimes(1)
  here.mockImplementation(truncate)
  await none.look()
  expect(sizeOf(`${path}-wal`)).toBe(0)
  await none.look()
  expect(here).toHaveBeenCalledTimes(2)
  expect(jobs).toHaveBeenCalledTimes(1)
  await none.close()
  await new WriteAheadLog(':memory:', here).empty()
  expect(here).toHaveBeenCalledTimes(2)
})
