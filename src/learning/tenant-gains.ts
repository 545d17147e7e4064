import type { Config } from '../config/schema.ts'
import { evidenceRules } from '../routing/choose/evidence.ts'
import { type Certificate, Gains } from '../routing/safety/gains.ts'
import type { Store } from '../store/store.ts'

/** What a version of the router gains over the baseline, by group of users. */
export interface Gain {
  policy: string
  baseline: string
  groups: Record<string, Certificate & { missing: Missing | null }>
}

/**
 * What a verdict lacks: so many more ratings, if the estimate stays; or `voices`: ratings of more people, or of others
 * than one who is loud. Null: it is there, or nothing points to one.
 */
export type Missing = { ratings: number } | 'voices'

/** An interval narrows with the root of its ratings. */
export function missingOf({ verdict, count, estimate, low, high }: Certificate): Missing | null {
  if (verdict !== 'open' || count === 0) return null
  if (low >= 0 || high <= 0) return 'voices'
  if (estimate === 0) return null
  const reached = estimate > 0 ? estimate - low : high - estimate
  return { ratings: Math.max(1, Math.ceil(count * (reached / Math.abs(estimate)) ** 2 - count)) }
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
    policies.map(async (policy) => {
      const groups = Object.entries(await gains.report({ tenant, policy, baseline }))
      const told = groups.map(([group, certificate]) => [group, { ...certificate, missing: missingOf(certificate) }])
      return { policy, baseline, groups: Object.fromEntries(told) as Gain['groups'] }
    }),
  )
  return all.filter(({ groups }) => Object.values(groups).some(({ count }) => count > 0))
}
