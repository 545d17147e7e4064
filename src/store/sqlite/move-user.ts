import { daysBack } from '../usage.ts'
import { erasedBefore } from './erasures.ts'
import type { SqliteFile } from './file.ts'
import type { SqliteLimits } from './limits.ts'
import type { SqliteMoves } from './moves.ts'
import { inSteps } from './steps.ts'

/**
 * Gives what is kept of a user another id. The belief goes last: a move that failed on the way is gone on with by the
 * next one. Of who was erased nothing moves: what is left under either id goes with the erasure that is under way.
 *
 * @param retentionMs how long sums of days are kept
 */
export async function moveUser(
  { file, limits, moves: noted }: { file: SqliteFile; limits: SqliteLimits; moves: SqliteMoves },
  tenant: string,
  from: string,
  to: string,
  retentionMs: number,
): Promise<boolean> {
  const { sql } = file
  const wasErased = () => [from, to].some((user) => erasedBefore(file)({ tenant, user, ts: 0 }))
  const mayMove = () => sql.userRevision.get(tenant, to) === undefined && !wasErased()
  const hasRows = () => sql.hasRows.some((statement) => statement.get(tenant, from))
  const counted = await file.write(() => {
    limits.carry(tenant, from, to)
    const moves = mayMove()
    if (moves && (hasRows() || sql.userRevision.get(tenant, from))) noted.note(tenant, from, to)
    for (const day of moves && hasRows() ? daysBack(retentionMs) : []) {
      sql.moveUsage.run(to, tenant, day, from)
      sql.dropUsage.run(tenant, day, from)
    }
    return [moves]
  })
  if (!counted) return false
  let moved = 0
  for (const statement of sql.moveSome) {
    moved += await inSteps(file, (most) => (wasErased() ? 0 : Number(statement.run(to, tenant, from, most).changes)))
  }
  return file.write(() => {
    if (!mayMove()) return [moved > 0]
    for (const statement of sql.moveUser) moved += Number(statement.run(to, tenant, from).changes)
    return [moved > 0, { kind: 'user', tenant, user: to }]
  })
}
