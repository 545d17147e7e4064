import { userHash, userKey } from '../../runtime/keys.ts'
import type { BackupStore } from './contract.ts'
import type { BackupRow } from './rows.ts'

/**
 * Erases users who were erased elsewhere, and of whom the store has something that is older than that: what they said
 * since then stays. The tenant keys of erased tenants go, too.
 *
 * @throws StoreError
 */
export async function eraseWhatIsErased(store: BackupStore): Promise<void> {
  const done = new Set<string>()
  for await (const { rows } of store.backup.read('')) {
    for (const row of rows) {
      if (row.type === 'key') {
        const { id, tenant, createdAt, revokedAt } = row.key
        if (revokedAt === null && (await store.backup.erasedAt(tenant, '')) >= createdAt) {
          await store.revokeKey(id, Date.now())
        }
        continue
      }
      const of = subjectOf(row)
      if (!of || done.has(userKey(of.tenant, of.user))) continue
      const at = await store.backup.erasedAt(of.tenant, userHash(of.user))
      if (at < of.ts) continue
      done.add(userKey(of.tenant, of.user))
      await store.eraseUser(of.tenant, of.user, at)
    }
  }
}

/** Whose row it is, and how old at least. */
function subjectOf(row: BackupRow): { tenant: string; user: string; ts: number } | null {
  if (row.type === 'interaction' || row.type === 'reward') return row.record
  if (row.type === 'user') return { ...row, ts: row.stored.since || row.stored.updatedAt }
  if (row.type === 'response') return { ...row, ts: row.response.ts }
  if (row.type === 'conversation') return { tenant: row.tenant, user: row.state.user, ts: row.state.ts }
  return null
}
