import { limitsLeft } from '../api/usage.ts'
import type { Tenant } from '../candidates/tenants.ts'
import type { Quota } from '../pipeline/quota/quota.ts'
import type { Store } from '../store/store.ts'

/** Keys of which a page shows the limits; more are a matter for `GET /admin/usage`. */
const MOST_KEYS = 100

/** What a tenant and each of its keys have used and left of their limits, by key id. @throws StoreError */
export async function describeLimits(
  { quota, store }: { quota: Pick<Quota, 'look'>; store: Pick<Store, 'listKeys'> },
  tenant: Tenant,
) {
  const made = await store.listKeys(tenant.name)
  const ids = [
    ...tenant.config.keys.map((_, i) => `config-${tenant.name}-${i}`),
    ...made.filter(({ revokedAt }) => revokedAt === null).map(({ id }) => id),
  ]
  const nobody = { tenant, keyId: '', user: '' }
  const [ofTenant, ...ofKeys] = await Promise.all([
    limitsLeft(quota, nobody, 'tenant'),
    ...ids.slice(0, MOST_KEYS).map((keyId) => limitsLeft(quota, { ...nobody, keyId }, 'key')),
  ])
  return { tenant: ofTenant, keys: Object.fromEntries(ofKeys.map((limits, i) => [ids[i] as string, limits])) }
}
