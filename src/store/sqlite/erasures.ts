import { userHash } from '../../runtime/keys.ts'
import { ErasedError } from '../store.ts'
import type { SqliteFile } from './file.ts'

/** In the place of a user's hash: all of the tenant's were erased. */
export const WHOLE_TENANT = ''

/**
 * Whether a record is older than the erasure of its user, or of its tenant. There hardly ever is one: then nothing is
 * looked up. Erased users are remembered by a hash: their id is gone.
 */
export function erasedBefore({ sql }: SqliteFile): (row: { tenant: string; user: string; ts: number }) => boolean {
  if (!sql.anyErasure.get()) return () => false
  return ({ tenant, user, ts }) => Number(sql.erasure.get(tenant, userHash(user), WHOLE_TENANT)?.at ?? -1) >= ts
}

/** @throws ErasedError */
export function refuseErased(file: SqliteFile, row: { tenant: string; user: string; ts: number }): void {
  if (erasedBefore(file)(row)) throw new ErasedError('The user has been erased.')
}
