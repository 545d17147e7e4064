import { dirname, join } from 'node:path'
import type { RouterConfig, TenantConfig } from '../../config/schema.ts'

/** Configuration of one policy set. */
export interface WantedPolicies {
  artifact: string
  /** A missing artifact is an error. */
  mustExist: boolean
  shadow: string | null
  canary: NonNullable<RouterConfig['canary']> | null
}

export type TenantPolicies = Pick<TenantConfig, 'name' | 'artifact' | 'shadow' | 'canary'>

/** The audience of tenants with no artifact of their own; no tenant is called so. */
export const DEFAULT_AUDIENCE = ''

/**
 * Policy sets of a configuration. A tenant's artifact is looked for where `retrain` puts it: beside the shared one, in
 * `tenants/<name>/current`.
 *
 * @returns by tenant or `DEFAULT_AUDIENCE`
 */
export function wantedPolicies(router: RouterConfig, tenants: Iterable<TenantPolicies>): Map<string, WantedPolicies> {
  const { artifact, shadow, canary } = router
  const shared = { artifact, mustExist: true, shadow: shadow ?? null, canary: canary ?? null }
  const root = join(dirname(artifact), 'tenants')
  return new Map([
    [DEFAULT_AUDIENCE, shared],
    ...[...tenants].map((tenant): [string, WantedPolicies] => [
      tenant.name,
      {
        artifact: tenant.artifact ?? join(root, tenant.name, 'current'),
        mustExist: tenant.artifact !== undefined,
        shadow: tenant.shadow ?? null,
        canary: tenant.canary ?? null,
      },
    ]),
  ])
}
