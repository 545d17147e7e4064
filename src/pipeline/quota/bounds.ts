import type { Tenant } from '../../candidates/tenants.ts'
import type { LimitsConfig, TenantConfig } from '../../config/schema.ts'
import { type Limit, lasting, otherUserScope, userScope } from '../../store/limits.ts'
import { NANO } from './usd.ts'

/** Under whose limits a request falls; null: no key was needed, or no user is named. */
export interface Limited {
  tenant: Tenant
  keyId: string | null
  /** As stored. */
  user: string | null
}

/** All limits that hold for a request of this key and user. */
export function limitsOf({ config }: Tenant, keyId: string, user: string): Limit[] {
  return [...sharedLimits(config, keyId), ...boundsOf(userScope(user), config.user_limits)]
}

/** Limits of a configured tenant and its keys: the same for all requests. */
const shared = new WeakMap<TenantConfig, Map<string, Limit[]>>()

function sharedLimits(config: TenantConfig, keyId: string): Limit[] {
  let ofKeys = shared.get(config)
  if (!ofKeys) {
    ofKeys = new Map()
    shared.set(config, ofKeys)
  }
  let limits = ofKeys.get(keyId)
  if (!limits) {
    limits = [...boundsOf('tenant', config.limits), ...boundsOf(`key:${keyId}`, config.key_limits)]
    ofKeys.set(keyId, limits.map(lasting))
  }
  return limits
}

/** In buckets of their own, as large as those of answers unless the configuration says otherwise. */
export function otherLimitsOf({ tenant: { config }, keyId, user }: Limited): Limit[] {
  return [
    ...otherBoundsOf('tenant#other', config.limits),
    ...(keyId === null ? [] : otherBoundsOf(`key#other:${keyId}`, config.key_limits)),
    ...(user === null ? [] : otherBoundsOf(otherUserScope(user), config.user_limits)),
  ]
}

function otherBoundsOf(scope: string, config: LimitsConfig): Limit[] {
  const max = config.other_requests_per_minute ?? config.requests_per_minute
  return max === undefined ? [] : [{ scope, what: 'requests', window: 'minute', max }]
}

function boundsOf(scope: string, config: LimitsConfig): Limit[] {
  const bounds: Limit[] = []
  const bound = (what: Limit['what'], window: Limit['window'], max: number | undefined) => {
    if (max !== undefined) bounds.push({ scope, what, window, max })
  }
  bound('requests', 'minute', config.requests_per_minute)
  bound('tokens', 'minute', config.tokens_per_minute)
  bound('requests', 'flight', config.concurrent)
  bound('nanoUsd', 'day', config.usd_per_day && Math.round(config.usd_per_day * NANO))
  bound('nanoUsd', 'month', config.usd_per_month && Math.round(config.usd_per_month * NANO))
  return bounds
}
