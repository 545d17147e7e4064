import { LRUCache } from 'lru-cache'
import { userHash } from '../../runtime/keys.ts'
import { atMost } from '../../runtime/lru.ts'
import type { Erasure } from '../store.ts'

/** In the place of a user's hash: all of the tenant's were erased. */
const WHOLE_TENANT = ''
const MAX_HASHES = 10_000

/** Whether the user of an archived row, or all of its tenant, has been erased since they asked. */
export type IsErased = (tenant: string, document: Readonly<Record<string, unknown>>) => boolean

/** @param presentId of who has got another id since the row was archived */
export function erasedAmong(
  erasures: readonly Erasure[],
  presentId: (tenant: string, user: string) => string,
): IsErased {
  const byTenant = new Map(
    [...Map.groupBy(erasures, ({ tenant }) => tenant)].map(([tenant, some]) => {
      return [tenant, new Map(some.map((erasure) => [erasure.userHash, erasure.at]))]
    }),
  )
  const hashes = new LRUCache<string, string>(atMost(MAX_HASHES))
  const hashOf = (user: string) => {
    const known = hashes.get(user) ?? userHash(user)
    hashes.set(user, known)
    return known
  }
  return (tenant, { user, ts, asked_at }) => {
    const at = byTenant.get(tenant)
    if (!at) return false
    const ids = [String(user), presentId(tenant, String(user))]
    const erasedAt = Math.max(at.get(WHOLE_TENANT) ?? -1, ...ids.map((id) => at.get(hashOf(id)) ?? -1))
    return erasedAt >= Number(asked_at ?? ts)
  }
}
