import type { Config } from '../config/schema.ts'
import { evidenceRules } from '../routing/choose/evidence.ts'
import { type Certificate, Gains } from '../routing/safety/gains.ts'
import type { Store } from '../store/store.ts'

/** What a version of the router gains over the baseline, by group of users. */
export interface Gain {
  policy: string
  baseline: string
  groups: Record<string, Certificate>
}

/** Of each version that has counted ratings; null where the tenant has no baseline. @throws StoreError */
export async function gainsOfTenant(
  store: Store,
  { router, tenants }: Config,
  tenant: string,
  policies: readonly string[],
): Promise<Gain[] | null> {
  const baseline = tenants.find(({ name }) => name === tenant)?.baseline ?? router.baseline
  if (baseline === undefined) return null
  const gains = new Gains({ store, rules: evidenceRules(router), log: { warn: () => undefined } })
  const all = await Promise.all(
    policies.map(async (policy) => ({ policy, baseline, groups: await gains.report({ tenant, policy, baseline }) })),
  )
  return all.filter(({ groups }) => Object.values(groups).some(({ count }) => count > 0))
}
