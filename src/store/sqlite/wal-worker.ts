import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { END } from '../../runtime/end-worker.ts'
import type { Checkpoint, CheckpointJob } from './wal.ts'

/** Others write meanwhile; what they wrote is a few pages, and then fewer. */
const TRIES = 5
/** For a second: most that are in the way, readers above all, are so for less. */
const TRUNCATIONS = 20
const BETWEEN_MS = 50

const db = new DatabaseSync(workerData.path, { timeout: 1_000 })
const passive = db.prepare('PRAGMA wal_checkpoint(PASSIVE)')
const truncate = db.prepare('PRAGMA wal_checkpoint(TRUNCATE)')
// From now on SQLite doesn't wait: it would hold up all writers until a reader is done.
db.exec('PRAGMA busy_timeout = 0')
const never = new Int32Array(new SharedArrayBuffer(4))

parentPort?.on('message', (job: CheckpointJob | typeof END) => {
  if (job === END) {
    db.close()
    parentPort?.close()
  } else parentPort?.postMessage({ isDone: isDone(job) } satisfies Checkpoint)
})

function isDone({ truncates }: CheckpointJob): boolean {
  const isWhole = isWrittenBack()
  if (!truncates) return isWhole
  for (let i = 1; ; i++) {
    if (isTruncated()) return true
    if (i === TRUNCATIONS) return false
    Atomics.wait(never, 0, 0, BETWEEN_MS)
  }
}

function isWrittenBack(): boolean {
  try {
    for (let i = 0; i < TRIES; i++) {
      const { busy, log, checkpointed } = passive.get() ?? {}
      if (busy === 0 && log === checkpointed) return true
    }
  } catch {
    // Locked.
  }
  return false
}

/** Holds writers up: by now it finds next to nothing to write. */
function isTruncated(): boolean {
  try {
    return truncate.get()?.busy === 0
  } catch {
    return false
  }
}
