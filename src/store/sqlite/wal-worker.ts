import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { END } from '../../runtime/end-worker.ts'
import { type CheckpointJob, GO, type ToldByWorker } from './wal.ts'

/** Others write meanwhile; what they wrote is a few pages, and then fewer. */
const ROUNDS = 4
/** So many pages may be left for the time in which nobody writes. */
const FEW_PAGES = 64

const db = new DatabaseSync(workerData.path, { timeout: 1_000 })
const passive = db.prepare('PRAGMA wal_checkpoint(PASSIVE)')
const restart = db.prepare('PRAGMA wal_checkpoint(RESTART)')
const truncate = db.prepare('PRAGMA wal_checkpoint(TRUNCATE)')
const version = db.prepare('PRAGMA user_version')
const reader = new DatabaseSync(workerData.path, { timeout: 1_000 })
const look = reader.prepare('SELECT 1 FROM sqlite_schema LIMIT 1')
db.exec(`PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = ${workerData.bytes}`)
// From now on SQLite doesn't wait: it would hold up all writers until a reader is done.
db.exec('PRAGMA busy_timeout = 0')
let job: CheckpointJob | null = null

parentPort?.on('message', (message: CheckpointJob | typeof GO | typeof END) => {
  if (message === END) {
    reader.close()
    db.close()
    parentPort?.close()
  } else if (message === GO) tell({ isDone: job !== null && isBegunAnew(job) })
  else {
    job = message
    writeBack()
    tell('ready')
  }
})

const tell = (what: ToldByWorker) => parentPort?.postMessage(what)

/**
 * Most of it, while others write. Where all of it were written back, the next writer would begin the log anew and wait
 * for the disk: somebody who reads keeps it from that.
 */
function writeBack(): void {
  try {
    for (let round = 0; round < ROUNDS; round++) {
      reader.exec('BEGIN')
      look.get()
      const { log, checkpointed } = passive.get() ?? {}
      if (Number(log) - Number(checkpointed) <= FEW_PAGES) return
      reader.exec('COMMIT')
    }
  } catch {
    // Locked.
  }
}

/** The rest, while nobody of the process writes. @returns false: somebody who reads is in the way */
function isBegunAnew({ truncates }: CheckpointJob): boolean {
  try {
    if (reader.isTransaction) reader.exec('COMMIT')
    const checkpoint = truncates ? truncate : restart
    if (checkpoint.get()?.busy !== 0) return false
  } catch {
    return false
  }
  writeHead()
  return true
}

/** Whoever writes first writes the log's head and waits until the disk has it: here, since no event loop waits. */
function writeHead(): void {
  try {
    db.exec('BEGIN IMMEDIATE')
    db.exec(`PRAGMA user_version = ${Number(version.get()?.user_version)}; COMMIT`)
  } catch {
    // Somebody was faster.
    if (db.isTransaction) db.exec('ROLLBACK')
  }
}
