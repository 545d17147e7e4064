import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
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

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'persona-router-wal-'))
  path = join(dir, 'store.db')
  db = new DatabaseSync(path, { timeout: 5_000 })
  db.exec('PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x BLOB)')
  wal = new WriteAheadLog(path, MB)
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

test('nobody waits for ever: not for a reader that is in the way, nor where no thread can open the file', async () => {
  fill()
  const reader = new DatabaseSync(path)
  reader.exec('BEGIN')
  reader.prepare('SELECT count(*) FROM t').get()
  fill(1)
  await wal.empty()
  expect(sizeOf(`${path}-wal`)).toBeGreaterThan(0)
  reader.close()
  const none = new WriteAheadLog(join(dir, 'no', 'such', 'file'), MB)
  await none.empty()
  await new WriteAheadLog(':memory:').empty()
  await none.close()
})
