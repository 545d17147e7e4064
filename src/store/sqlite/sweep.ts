import type { DatabaseSync } from 'node:sqlite'

/** Rows a table and slice: SQLite blocks the process meanwhile. */
export const SLICE = 200
/** An answer that never ended (its process died) is forgotten after a day. */
const OPEN_MS = 86_400_000
/** Long enough for other processes to see a change; it names a user, who may have been erased. */
export const CHANGES_MS = 30_000

/** Deletes a slice of what is too old. True = there is more. */
export function sweep(db: DatabaseSync, retentionMs: number, now: number): boolean {
  let more = false
  const run = (sql: string, before: number) => {
    more = Number(db.prepare(sql).run(before, SLICE).changes) === SLICE || more
  }
  /** @param row what tells a row from others */
  const drop = (table: string, column: string, before: number, row = 'rowid') =>
    run(`DELETE FROM ${table} WHERE (${row}) IN (SELECT ${row} FROM ${table} WHERE ${column} < ? LIMIT ?)`, before)
  db.exec('BEGIN IMMEDIATE')
  try {
    drop('interactions', 'ts', now - retentionMs)
    drop('rewards', 'ts', now - retentionMs)
    drop('changes', 'at', now - CHANGES_MS)
    run(
      `UPDATE interactions SET text = NULL, text_expires_at = NULL
        WHERE rowid IN (SELECT rowid FROM interactions WHERE text_expires_at < ? LIMIT ?)`,
      now,
    )
    drop('open_interactions', 'ts', now - OPEN_MS, 'tenant, id')
    drop('conversations', 'expires_at', now, 'tenant, id')
    drop('erasures', 'at', now - retentionMs, 'tenant, user_hash')
    drop('refusals', 'expires_at', now, 'tenant, deployment, field')
    drop('counters', 'expires_at', now, 'tenant, counter')
    drop('reservations', 'forget_at', now, 'tenant, id')
    drop('idempotency', 'expires_at', now)
    drop('responses', 'expires_at', now)
    db.exec('COMMIT')
    return more
  } catch (error) {
    db.exec('ROLLBACK')
    throw error
  }
}
