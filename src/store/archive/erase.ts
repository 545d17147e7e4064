import { userHash } from '../../runtime/keys.ts'
import type { Store } from '../store.ts'
import type { Archive } from './archive.ts'
import { KINDS } from './columns.ts'

const LOOKED_AT = ['user', 'ts', 'asked_at']

/** In the place of a user's hash: all of the tenant's were erased. */
const WHOLE_TENANT = ''

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
    const at = new Map(erasures.map((erasure) => [erasure.userHash, erasure.at]))
    gone += await eraseOf(archive, tenant, at)
  }
  // What the store has forgotten comes no more.
  if (fresh.length > 0) {
    await archive.saveErasures(Object.fromEntries(noted.map((erasure) => [nameOf(erasure), erasure.at])))
  }
  return gone
}

async function eraseOf(archive: Archive, tenant: string, at: ReadonlyMap<string, number>): Promise<number> {
  const hashes = new Map<string, string>()
  const hashOf = (user: string) => {
    const known = hashes.get(user) ?? userHash(user)
    hashes.set(user, known)
    return known
  }
  const erasedAt = (user: string) => Math.max(at.get(hashOf(user)) ?? -1, at.get(WHOLE_TENANT) ?? -1)
  /** Under the id of the row's time, or under the present one. */
  const isErased = ({ user, ts, asked_at }: Record<string, unknown>) => {
    const ids = [String(user), archive.presentId(tenant, String(user))]
    return Math.max(...ids.map(erasedAt)) >= Number(asked_at ?? ts)
  }
  let gone = 0
  for (const kind of KINDS) {
    for await (const file of archive.files(kind, { tenant })) {
      let any = false
      for await (const rows of archive.documents(file, LOOKED_AT)) any ||= rows.some(isErased)
      if (any) gone += await archive.rewrite(file, LOOKED_AT, (document) => !isErased(document))
      // Of a file's users at most.
      hashes.clear()
    }
  }
  archive.forgetMoves(tenant, (user) => erasedAt(user) >= 0)
  await archive.saveMoves()
  return gone
}
