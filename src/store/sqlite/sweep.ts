import type { DatabaseSync } from 'node:sqlite'
import { dayOf, USAGE_DAYS } from '../usage.ts'

/** Rows a table and slice at most: SQLite blocks the process meanwhile. */
export const SLICE = 200
const DAY_MS = 86_400_000
/** An answer that never ended (its process died) is forgotten after a day. */
const OPEN_MS = DAY_MS
/** Long enough for other processes to see a change; it names a user, who may have been erased. */
export const CHANGES_MS = 30_000

/** Deletes a slice of what is too old. True = there is more. @param rows of each table */
export function sweep(db: DatabaseSync, retentionMs: number, now: number, rows = SLICE): boolean {
  let more = false
  const run = (sql: string, before: number | string) => {
    more = Number(db.prepare(sql).run(before, rows).changes) === rows || more
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
    const row = 'tenant, day, scope, id, model'
    for (const [of, days] of [
      ['user', retentionMs / DAY_MS],
      ['tenant', USAGE_DAYS],
      ['key', USAGE_DAYS],
    ] as const) {
      run(
        `DELETE FROM usage WHERE (${row}) IN (SELECT ${row} FROM usage WHERE day < ? AND scope = '${of}' LIMIT ?)`,
        dayOf(now - days * DAY_MS),
      )
    }
    drop('idempotency', 'expires_at', now)
    drop('responses', 'expires_at', now)
    db.exec('COMMIT')
    return more
  } catch (error) {
    db.exec('ROLLBACK')
    throw error
  }
}
