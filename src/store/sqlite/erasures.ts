import { createHash } from 'node:crypto'
import type { SqliteFile } from './file.ts'

/** Whether a record is older than the erasure of its user. There hardly ever is one: then nothing is looked up. */
export function erasedBefore({ sql }: SqliteFile): (row: { tenant: string; user: string; ts: number }) => boolean {
  if (!sql.anyErasure.get()) return () => false
  return ({ tenant, user, ts }) => Number(sql.erasure.get(tenant, hashOf(user))?.at ?? -1) >= ts
}

/** Erased users are remembered by a hash: their id is gone. */
export const hashOf = (user: string) => createHash('sha256').update(user).digest('base64url')
