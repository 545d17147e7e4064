import { restSince } from '../../runtime/rest.ts'
import { daysBack } from '../usage.ts'
import type { SqliteFile } from './file.ts'
import type { SqliteLimits } from './limits.ts'

/** Rows a transaction: SQLite blocks the process meanwhile. */
const MOVED_AT_ONCE = 100

/**
 * Gives what is kept of a user another id. The belief goes last: a move that failed on the way is gone on with by the
 * next one.
 *
 * @param retentionMs how long sums of days are kept
 */
export async function moveUser(
  { file, limits }: { file: SqliteFile; limits: SqliteLimits },
  tenant: string,
  from: string,
  to: string,
  retentionMs: number,
): Promise<boolean> {
  const { sql } = file
  const isKnown = () => sql.userRevision.get(tenant, to) !== undefined
  const counted = await file.write(() => {
    limits.carry(tenant, from, to)
    const moves = !isKnown()
    for (const day of moves && sql.hasRows.get(tenant, from) ? daysBack(retentionMs) : []) {
      sql.moveUsage.run(to, tenant, day, from)
      sql.dropUsage.run(tenant, day, from)
    }
    return [moves]
  })
  if (!counted) return false
  let moved = 0
  for (const statement of sql.moveSome) {
    for (let went = MOVED_AT_ONCE; went === MOVED_AT_ONCE; moved += went) {
      const started = performance.now()
      went = await file.write(() => [Number(statement.run(to, tenant, from, MOVED_AT_ONCE).changes)])
      if (went === MOVED_AT_ONCE) await restSince(started)
    }
  }
  return file.write(() => {
    if (isKnown()) return [moved > 0]
    for (const statement of sql.moveUser) moved += Number(statement.run(to, tenant, from).changes)
    return [moved > 0, { kind: 'user', tenant, user: to }]
  })
}
