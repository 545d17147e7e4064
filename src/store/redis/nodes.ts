import { Cluster, Command, type Redis } from 'ioredis'
import { StoreError } from '../store.ts'
import type { RedisAccess } from './access.ts'
import * as keys from './keys.ts'

type Client = RedisAccess['client']

/** All servers that hold keys. @throws StoreError while one of them is away: what it holds would be passed over */
export function allNodes(client: Client): Redis[] {
  if (!(client instanceof Cluster)) return [client]
  const nodes = new Map(client.nodes('master').map((node) => [addressOf(node), node]))
  const masters = new Set(Array.from(client.slots, (slot) => slot?.[0] ?? ''))
  for (const master of masters) if (!nodes.has(master)) throw partAway(master)
  if (client.slots.length === 0) throw new StoreError('Redis Cluster: it is not known yet who has which keys')
  return [...nodes.values()]
}

/** The server that holds a tenant's keys. @throws StoreError while it is away */
export function nodeOf(client: Client, tenant: string): Redis {
  if (!(client instanceof Cluster)) return client
  const master = client.slots[slotOf(tenant)]?.[0] ?? ''
  const node = client.nodes('master').find((one) => addressOf(one) === master)
  if (!node) throw partAway(master)
  return node
}

/**
 * Does something with all keys of a tenant, at the server that holds them; once more where they have gone to another
 * one meanwhile.
 *
 * @returns the sum of what `work` returned. @throws StoreError while they are on their way: neither server has all
 */
export async function onNodeOf(
  redis: RedisAccess,
  tenant: string,
  work: (node: Redis) => Promise<number>,
): Promise<number> {
  const { client } = redis
  for (let sum = 0; ; ) {
    const node = nodeOf(client, tenant)
    sum += await work(node)
    if (!(client instanceof Cluster)) return sum
    const told = String(await redis.askLong(tenant, () => node.cluster('NODES')))
    if (told.includes(`[${slotOf(tenant)}->-`)) {
      throw new StoreError(`Redis Cluster: the slot of tenant '${tenant}' is being moved: try again once it is`)
    }
    // A server that has them no more says who has.
    await redis.askLong(tenant, () => client.exists(keys.tenantErased(tenant)))
    if (nodeOf(client, tenant) === node) return sum
  }
}

/** @throws StoreError that names the server */
export async function askNode<T>(redis: RedisAccess, node: Redis, command: () => Promise<T>): Promise<T> {
  try {
    return await redis.askLong(keys.NODES, command)
  } catch (error) {
    if (!(error instanceof StoreError) || !redis.isDivided) throw error
    throw new StoreError(`${addressOf(node)} is away: ${error.message}`, { mayBeDone: error.mayBeDone, cause: error })
  }
}

const slotOf = (tenant: string): number => new Command('get', [keys.tag(tenant)]).getSlot() ?? 0

const partAway = (master: string) =>
  new StoreError(`Redis Cluster: ${master === '' ? 'a part' : master} is away, and what it holds`)

export const addressOf = ({ options }: Redis) => `${options.host}:${options.port}`
