import type { Erasure, Store } from '../store.ts'
import type { Archive } from './archive.ts'
import { KINDS } from './columns.ts'
import { erasedAmong } from './erased.ts'

const LOOKED_AT = ['user', 'ts', 'asked_at']

/**
 * Carries out in an archive what was erased in the store since the last time: files that hold rows of erased users are
 * written anew without them. A run that was killed is followed by another one, which does it again.
 *
 * @param onProblem told where it can't be read what was carried out before: then all is again
 * @returns how many rows went. @throws ArchiveError, StoreError
 */
export async function eraseRows(
  store: Pick<Store, 'listErasures'>,
  archive: Archive,
  onProblem: (problem: string) => void = () => {},
): Promise<number> {
  const done = await archive.loadErasures(onProblem)
  const noted = await store.listErasures()
  const nameOf = ({ tenant, userHash: user }: (typeof noted)[number]) => `${tenant} ${user}`
  const fresh = noted.filter((erasure) => (done[nameOf(erasure)] ?? -1) < erasure.at)
  let gone = 0
  for (const [tenant, erasures] of Map.groupBy(fresh, (erasure) => erasure.tenant)) {
    gone += await eraseOf(archive, tenant, erasures)
  }
  // What the store has forgotten comes no more.
  if (fresh.length > 0) {
    await archive.saveErasures(Object.fromEntries(noted.map((erasure) => [nameOf(erasure), erasure.at])))
  }
  return gone
}

async function eraseOf(archive: Archive, tenant: string, erasures: readonly Erasure[]): Promise<number> {
  const erased = erasedAmong(erasures, (name, user) => archive.presentId(name, user))
  const isErased = (document: Record<string, unknown>) => erased(tenant, document)
  let gone = 0
  for (const kind of KINDS) {
    for await (const file of archive.files(kind, { tenant })) {
      let any = false
      for await (const rows of archive.documents(file, LOOKED_AT)) any ||= rows.some(isErased)
      if (any) gone += await archive.rewrite(file, LOOKED_AT, (document) => !isErased(document))
    }
  }
  archive.forgetMoves(tenant, (user) => isErased({ user, ts: 0 }))
  await archive.saveMoves()
  return gone
}
