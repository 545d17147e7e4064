import { restAfter } from '../../runtime/rest.ts'
import { countersOfUsers } from '../limits.ts'
import { daysBack } from '../usage.ts'
import type { RedisAccess } from './access.ts'
import * as keys from './keys.ts'
import type { RedisMoves } from './moves.ts'

/** Entries of a log index a script: Redis does nothing else meanwhile. */
const ENTRIES_PER_SCRIPT = 256
const DAYS_PER_SCRIPT = 32

/**
 * Gives what is kept of a user another id. The belief goes last: a move that failed on the way is gone on with by the
 * next one. Of who was erased nothing moves: what is left under either id goes with the erasure that is under way.
 *
 * @param retentionMs how long sums of days are kept
 */
export async function moveUser(
  redis: RedisAccess,
  moves: RedisMoves,
  tenant: string,
  from: string,
  to: string,
  retentionMs: number,
): Promise<boolean> {
  let moved = 0
  const marks = [keys.erased(tenant, from), keys.erased(tenant, to), keys.tenantErased(tenant)]
  const [hasLog, isKnown] = await redis.ask(tenant, () =>
    Promise.all([keys.userLog, keys.user].map((key) => redis.client.exists(key(tenant, from)))),
  )
  // First: a move that fails on the way is one all the same.
  if (hasLog || isKnown) await moves.note(tenant, from, to, [keys.user(tenant, to), ...marks])
  if (hasLog) {
    const days = daysBack(retentionMs).map((day) => keys.usersUsage(tenant, day))
    for (let i = 0; i < days.length; i += DAYS_PER_SCRIPT) {
      await redis.runLong(tenant, 'move-usage', [...marks, ...days.slice(i, i + DAYS_PER_SCRIPT)], [from, to])
    }
    const logs = [keys.userLog(tenant, from), keys.userLog(tenant, to), keys.user(tenant, to), ...marks]
    for (let entries = ENTRIES_PER_SCRIPT; entries === ENTRIES_PER_SCRIPT; moved += entries) {
      const started = performance.now()
      entries = Number(await redis.runLong(tenant, 'move-log', logs, [ENTRIES_PER_SCRIPT]))
      if (entries === ENTRIES_PER_SCRIPT) await restAfter(performance.now() - started)
    }
  }
  const both = [keys.user, keys.edges, keys.edgeOrder, keys.salt].flatMap((key) => [key(tenant, from), key(tenant, to)])
  const counters = countersOfUsers([from, to], Date.now()).flatMap(({ names }) => names)
  const args = counters.map((counter) => `limit:${counter}`)
  return Number(await redis.run(tenant, 'move-user', [...both, keys.tag(tenant), ...marks], args)) + moved > 0
}
