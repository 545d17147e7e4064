import type { DatabaseSync } from 'node:sqlite'
import { dayOf, USAGE_DAYS } from '../usage.ts'

/** Rows a table and slice: SQLite blocks the process meanwhile. */
const SLICE = 500
/** An answer that never ended (its process died) is forgotten after a day. */
const OPEN_MS = 86_400_000
/** Long enough for other processes to see a change; it names a user, who may have been erased. */
export const CHANGES_MS = 30_000

/** Deletes a slice of what is too old. True = there is more. */
export function sweep(db: DatabaseSync, retentionMs: number, now: number): boolean {
  let more = false
  const drop = (table: string, column: string, before: number) => {
    const { changes } = db
      .prepare(`DELETE FROM ${table} WHERE rowid IN (SELECT rowid FROM ${table} WHERE ${column} < ? LIMIT ?)`)
      .run(before, SLICE)
    more ||= changes === SLICE
  }
  db.exec('BEGIN IMMEDIATE')
  try {
    drop('interactions', 'ts', now - retentionMs)
    drop('rewards', 'ts', now - retentionMs)
    drop('changes', 'at', now - CHANGES_MS)
    db.prepare('UPDATE interactions SET text = NULL, text_expires_at = NULL WHERE text_expires_at < ?').run(now)
    db.prepare('DELETE FROM open_interactions WHERE ts < ?').run(now - OPEN_MS)
    db.prepare('DELETE FROM conversations WHERE expires_at < ?').run(now)
    db.prepare('DELETE FROM erasures WHERE at < ?').run(now - retentionMs)
    db.prepare('DELETE FROM refusals WHERE expires_at < ?').run(now)
    const dropUsage = db.prepare("DELETE FROM usage WHERE day < ? AND (scope = 'user') = ?")
    dropUsage.run(dayOf(now - retentionMs), 1)
    dropUsage.run(dayOf(now - USAGE_DAYS * 86_400_000), 0)
    db.prepare('DELETE FROM counters WHERE expires_at < ?').run(now)
    db.prepare('DELETE FROM reservations WHERE forget_at < ?').run(now)
    drop('idempotency', 'expires_at', now)
    drop('responses', 'expires_at', now)
    db.exec('COMMIT')
    return more
  } catch (error) {
    db.exec('ROLLBACK')
    throw error
  }
}
