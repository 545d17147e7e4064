import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { END } from '../../runtime/end-worker.ts'
import type { Checkpoint, CheckpointJob } from './wal.ts'

/** Others write meanwhile; what they wrote is a few pages, and then fewer. */
const TRIES = 5
const BUSY_TIMEOUT_MS = 1_000

const db = new DatabaseSync(workerData.path, { timeout: BUSY_TIMEOUT_MS })
const passive = db.prepare('PRAGMA wal_checkpoint(PASSIVE)')

parentPort?.on('message', (job: CheckpointJob | typeof END) => {
  if (job === END) {
    db.close()
    parentPort?.close()
  } else parentPort?.postMessage({ isDone: isDone(job) } satisfies Checkpoint)
})

function isDone({ truncates }: CheckpointJob): boolean {
  try {
    for (let i = 0; i < TRIES; i++) {
      const { log, checkpointed } = passive.get() ?? {}
      if (log === checkpointed) break
    }
    // Holds writers up: by now it finds next to nothing to write.
    return !truncates || db.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.busy === 0
  } catch {
    return false
  }
}
