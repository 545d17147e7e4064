import type { DatabaseSync } from 'node:sqlite'
import { dayOf, USAGE_DAYS } from '../usage.ts'
import { INTERACTIONS, REWARDS } from './log-tables.ts'

/** Rows a table and slice at most: SQLite blocks the process meanwhile. */
export const SLICE = 200
const DAY_MS = 86_400_000
/** An answer that never ended (its process died) is forgotten after a day. */
const OPEN_MS = DAY_MS
/** Long enough for other processes to see a change; it names a user, who may have been erased. */
export const CHANGES_MS = 30_000

/** Deletes a slice of what is too old. True = there is more. @param rows of each table */
export type Sweep = (retentionMs: number, now: number, rows?: number) => boolean

/** Prepares its statements once: there are many, and mostly few rows for each. */
export function prepareSweep(db: DatabaseSync): Sweep {
  const steps = statements().map(({ sql, before }) => ({ statement: db.prepare(sql), before }))
  return (retentionMs, now, rows = SLICE) => {
    let more = false
    db.exec('BEGIN IMMEDIATE')
    try {
      for (const { statement, before } of steps) {
        more = Number(statement.run(before(now, retentionMs), rows).changes) === rows || more
      }
      db.exec('COMMIT')
      return more
    } catch (error) {
      db.exec('ROLLBACK')
      throw error
    }
  }
}

interface Step {
  /** Of what is before the first parameter so many rows as the second. */
  sql: string
  before: (now: number, retentionMs: number) => number | string
}

function statements(): Step[] {
  const isOver = (now: number) => now
  const isOld = (now: number, retentionMs: number) => now - retentionMs
  /** @param row what tells a row from others */
  const drop = (table: string, column: string, before: Step['before'], row = 'rowid') => ({
    sql: `DELETE FROM ${table} WHERE (${row}) IN (SELECT ${row} FROM ${table} WHERE ${column} < ? LIMIT ?)`,
    before,
  })
  const usage = (scope: string, days: (retentionMs: number) => number) => {
    const row = 'tenant, day, scope, id, model'
    return {
      sql: `DELETE FROM usage WHERE (${row}) IN (SELECT ${row} FROM usage WHERE day < ? AND scope = '${scope}' LIMIT ?)`,
      before: (now: number, retentionMs: number) => dayOf(now - days(retentionMs) * DAY_MS),
    }
  }
  return [
    ...[...INTERACTIONS, ...REWARDS].map((table) => drop(table, 'ts', isOld)),
    drop('changes', 'at', (now) => now - CHANGES_MS),
    ...INTERACTIONS.map((table) => ({
      sql: `UPDATE ${table} SET text = NULL, text_expires_at = NULL
        WHERE rowid IN (SELECT rowid FROM ${table} WHERE text_expires_at < ? LIMIT ?)`,
      before: isOver,
    })),
    drop('open_interactions', 'ts', (now) => now - OPEN_MS, 'tenant, id'),
    drop('conversations', 'expires_at', isOver, 'tenant, id'),
    drop('erasures', 'at', isOld, 'tenant, user_hash'),
    drop('moves', 'at', isOld, 'tenant, former'),
    drop('refusals', 'expires_at', isOver, 'tenant, deployment, field'),
    drop('counters', 'expires_at', isOver, 'tenant, counter'),
    drop('reservations', 'forget_at', isOver, 'tenant, id'),
    usage('user', (retentionMs) => retentionMs / DAY_MS),
    usage('tenant', () => USAGE_DAYS),
    usage('key', () => USAGE_DAYS),
    drop('idempotency', 'expires_at', isOver),
    drop('responses', 'expires_at', isOver),
  ]
}
