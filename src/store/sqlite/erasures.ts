import { userHash } from '../../runtime/keys.ts'
import type { SqliteFile } from './file.ts'

/**
 * Whether a record is older than the erasure of its user. There hardly ever is one: then nothing is looked up. Erased
 * users are remembered by a hash: their id is gone.
 */
export function erasedBefore({ sql }: SqliteFile): (row: { tenant: string; user: string; ts: number }) => boolean {
  if (!sql.anyErasure.get()) return () => false
  return ({ tenant, user, ts }) => Number(sql.erasure.get(tenant, userHash(user))?.at ?? -1) >= ts
}
