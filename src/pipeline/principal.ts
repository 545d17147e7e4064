import type { IncomingMessage } from 'node:http'
import type { Candidate } from '../candidates/candidate.ts'
import { selectCandidates, type Tenant, type UserIds } from '../candidates/tenants.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { unauthorized } from '../errors.ts'
import type { Caller } from './authenticate.ts'
import { userOf } from './identity.ts'

/** On whose behalf a request comes: the tenant whose key it is, and that tenant's user. */
export interface Principal {
  tenant: Tenant
  keyId: string
  /** As stored. */
  user: string
  /** Candidates that tenant and key may use. */
  allowed: readonly Candidate[]
}

/** @throws GatewayError 401 when the key's tenant is no longer configured; 400 for an impossible user id */
export function principalOf(
  snapshot: Snapshot,
  userIds: UserIds,
  caller: Caller,
  request: IncomingMessage,
  body?: { safety_identifier?: unknown; user?: unknown },
): Principal {
  const tenant = tenantOf(snapshot, caller)
  const user = userOf(request, snapshot.config.identity.headers, body)
  return {
    tenant,
    keyId: caller.keyId,
    user: userIds.stored(tenant.config, user),
    allowed: allowedCandidates(tenant, caller),
  }
}

/** @throws GatewayError 401 */
export function tenantOf(snapshot: Snapshot, caller: Caller): Tenant {
  const tenant = snapshot.tenants.get(caller.tenant)
  if (!tenant) throw unauthorized()
  return tenant
}

export function allowedCandidates(tenant: Tenant, caller: Caller): readonly Candidate[] {
  return caller.models === null ? tenant.candidates : selectCandidates(tenant.candidates, caller.models)
}
