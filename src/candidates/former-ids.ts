import type { Store } from '../store/store.ts'
import { overridden } from './overridden-store.ts'
import type { UserIds } from './tenants.ts'

/**
 * A store in which users who are kept under an id of a former secret are found, and from then on kept under the present
 * one: as they are touched.
 */
export function withFormerIds(store: Store, userIds: Pick<UserIds, 'former'>): Store {
  const moved = async (tenant: string, user: string) => {
    let any = false
    for (const id of userIds.former(tenant, user)) any = (await store.moveUser(tenant, id, user)) || any
    return any
  }
  const found = async <T>(load: () => Promise<T | null>, tenant: string, user: string): Promise<T | null> =>
    (await load()) ?? ((await moved(tenant, user)) ? load() : null)
  const overrides: Partial<Store> = {
    loadUser: (tenant, user) => found(() => store.loadUser(tenant, user), tenant, user),
    loadUserState: (tenant, user) => found(() => store.loadUserState(tenant, user), tenant, user),
    async eraseUser(tenant, user) {
      let rows = 0
      // Also of secrets that are no longer configured: archives have rows of that time.
      const former = new Set([...userIds.former(tenant, user), ...(await store.formerIds(tenant, user))])
      // The present one last: what another replica moves meanwhile is under it.
      for (const id of [...former, user]) rows += await store.eraseUser(tenant, id)
      return rows
    },
    async wasErased(tenant, user) {
      for (const id of [user, ...userIds.former(tenant, user)]) if (await store.wasErased(tenant, id)) return true
      return false
    },
  }
  return overridden(store, overrides)
}
