// Moves a SQLite store's log into an archive, and is killed on the way; of a bucket the environment says where it is.
//   node move-until-killed.ts <store> <archive> <where> <how many files first>
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { S3 } from '@aws-sdk/client-s3'
import { Archive } from '../../../src/store/archive/archive.ts'
import { moveRows } from '../../../src/store/archive/move.ts'
import { SqliteStore } from '../../../src/store/sqlite/store.ts'

const [path = '', folder = '', where = '', first = ''] = process.argv.slice(2)
const store = new SqliteStore({ kind: 'sqlite', path, retention_days: 36_500 })
const archive = await Archive.open(folder, { make: true })
await archive.tidy()
let left = Number(first)
const die = () => process.kill(process.pid, 'SIGKILL')

async function writeHalf(path: string): Promise<void> {
  const [, Bucket, prefix] = /^s3:\/\/([^/]+)\/?(.*)$/.exec(folder) ?? []
  if (Bucket === undefined) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(`${join(folder, path)}.part`, 'PAR1 and no more')
    return
  }
  const key = { Bucket, Key: prefix === '' ? path : `${prefix}/${path}` }
  const s3 = new S3({ forcePathStyle: true })
  const { UploadId } = await s3.createMultipartUpload(key)
  await s3.uploadPart({ ...key, UploadId, PartNumber: 1, Body: 'PAR1 and no more' })
}

const add = archive.add.bind(archive)
archive.add = async (...args) => {
  if (where === 'writing' && left === 0) {
    await writeHalf('tenant=acme/day=2026-11-27/interactions-000000000000001-half.parquet')
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
await archive.close()
await store.close()
