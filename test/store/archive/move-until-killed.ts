// Moves a SQLite store's log into an archive, and is killed on the way.
//   node move-until-killed.ts <store> <archive> <where> <how many files first>
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Archive } from '../../../src/store/archive/archive.ts'
import { moveRows } from '../../../src/store/archive/move.ts'
import { SqliteStore } from '../../../src/store/sqlite/store.ts'

const [path = '', folder = '', where = '', first = ''] = process.argv.slice(2)
const store = new SqliteStore({ kind: 'sqlite', path, retention_days: 36_500 })
const archive = Archive.open(folder, { make: true })
archive.tidy()
let left = Number(first)
const die = () => process.kill(process.pid, 'SIGKILL')

const add = archive.add.bind(archive)
archive.add = async (...args) => {
  if (where === 'writing' && left === 0) {
    const day = join(folder, 'tenant=acme', 'day=2026-11-27')
    mkdirSync(day, { recursive: true })
    writeFileSync(join(day, 'interactions-000000000000001-half.parquet.part'), 'PAR1 and no more')
    die()
  }
  const written = await add(...args)
  if (where === 'written' && left-- === 0) die()
  if (where === 'writing') left--
  return written
}
const drop = store.dropInteractions
Object.assign(store, {
  dropInteractions: async (rows: Parameters<typeof drop>[0]) => {
    if (where !== 'dropping' || left-- !== 0) return drop(rows)
    await drop(rows.slice(0, rows.length / 2))
    die()
  },
})
await moveRows(store, archive, { before: Number.MAX_SAFE_INTEGER, rows: 100 })
archive.close()
await store.close()
