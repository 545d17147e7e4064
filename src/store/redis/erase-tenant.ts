import type { Redis } from 'ioredis'
import type { Erasure } from '../store.ts'
import type { RedisAccess } from './access.ts'
import * as keys from './keys.ts'
import { allNodes, askNode, onNodeOf } from './nodes.ts'
import type { RedisTenantKeys } from './tenant-keys.ts'

const KEYS_A_SCAN = 500

/**
 * Erases a tenant: its keys, and everything that its hash tag names, in slices. First notes when, so that what comes
 * later of requests that began before is left out.
 *
 * @param rememberMs how long that is remembered
 * @returns how many keys of Redis and of the tenant went
 */
export async function eraseTenant(
  redis: RedisAccess,
  tenantKeys: RedisTenantKeys,
  tenant: string,
  rememberMs: number,
): Promise<number> {
  const { client } = redis
  await redis.askLong(tenant, () => client.set(keys.tenantErased(tenant), Date.now(), 'PX', rememberMs))
  let gone = 0
  for (const { id, hash } of await tenantKeys.listKeys(tenant)) {
    await redis.askLong(keys.tenantKeys.records, () => client.hdel(keys.tenantKeys.records, hash, `${hash}:revoked`))
    await redis.askLong(keys.tenantKeys.records, () => client.hdel(keys.tenantKeys.ids, id))
    gone++
  }
  gone += await onNodeOf(redis, tenant, (node) => eraseOn(redis, node, tenant))
  await redis.askLong(keys.TENANTS, () => client.srem(keys.TENANTS, tenant))
  for (const kind of ['keys', 'all']) {
    await redis.askLong(keys.CHANGES, () => client.publish(keys.CHANGES, JSON.stringify({ kind, tenant })))
  }
  return gone
}

async function eraseOn(redis: RedisAccess, node: Redis, tenant: string): Promise<number> {
  const mark = keys.tenantErased(tenant)
  let [gone, cursor] = [0, '0']
  do {
    const [next, found] = await redis.askLong(tenant, () =>
      node.scan(cursor, 'MATCH', `${keys.tag(tenant)}*`, 'COUNT', KEYS_A_SCAN),
    )
    cursor = next
    const theirs = found.filter((key) => key !== mark)
    if (theirs.length > 0) gone += await redis.askLong(tenant, () => node.unlink(theirs))
  } while (cursor !== '0')
  return gone
}

/**
 * Of one tenant or of all, those included that are gone.
 *
 * @throws StoreError also while a part of a cluster is away, or the one tenant's keys are on their way to another part
 */
export async function listErasures(redis: RedisAccess, of?: string): Promise<Erasure[]> {
  const erasures: Erasure[] = []
  if (of === undefined) {
    for (const node of allNodes(redis.client)) erasures.push(...(await erasuresOn(redis, node, '*')))
  } else {
    await onNodeOf(redis, of, async (node) => erasures.push(...(await erasuresOn(redis, node, of))))
  }
  return erasures
}

async function erasuresOn(redis: RedisAccess, node: Redis, of: string): Promise<Erasure[]> {
  const erasures: Erasure[] = []
  let cursor = '0'
  do {
    const [next, found] = await askNode(redis, node, () =>
      node.scan(cursor, 'MATCH', `${keys.tenantErased(of)}*`, 'COUNT', KEYS_A_SCAN),
    )
    cursor = next
    const times = await Promise.all(found.map((key) => askNode(redis, node, () => node.get(key))))
    for (const [i, key] of found.entries()) {
      const [, tenant, userHash] = /^pr:\{([^}]*)\}:erased:(.*)$/s.exec(key) ?? []
      const at = times[i] ?? null
      if (tenant !== undefined && userHash !== undefined && at !== null) {
        erasures.push({ tenant, userHash, at: Number(at) })
      }
    }
  } while (cursor !== '0')
  return erasures
}
