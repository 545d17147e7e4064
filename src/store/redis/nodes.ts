import { Cluster, Command, type Redis } from 'ioredis'
import { StoreError } from '../store.ts'
import type { RedisAccess } from './access.ts'
import * as keys from './keys.ts'

type Client = RedisAccess['client']

/** All servers that hold keys. @throws StoreError while one of them is away: what it holds would be passed over */
export function allNodes(client: Client): Redis[] {
  if (!(client instanceof Cluster)) return [client]
  const nodes = new Map(client.nodes('master').map((node) => [addressOf(node), node]))
  const masters = new Set(client.slots.map(([master]) => master ?? ''))
  for (const master of masters) if (!nodes.has(master)) throw partAway(master)
  if (client.slots.length === 0) throw new StoreError('Redis Cluster: it is not known yet who has which keys')
  return [...nodes.values()]
}

/** The server that holds a tenant's keys. @throws StoreError while it is away */
export function nodeOf(client: Client, tenant: string): Redis {
  if (!(client instanceof Cluster)) return client
  const slot = new Command('get', [keys.tag(tenant)]).getSlot()
  const master = client.slots[slot]?.[0] ?? ''
  const node = client.nodes('master').find((one) => addressOf(one) === master)
  if (!node) throw partAway(master)
  return node
}

/** @throws StoreError that names the server */
export async function askNode<T>(redis: RedisAccess, node: Redis, command: () => Promise<T>): Promise<T> {
  try {
    return await redis.askLong(keys.NODES, command)
  } catch (error) {
    if (!(error instanceof StoreError) || !redis.isDivided) throw error
    throw new StoreError(`${addressOf(node)} is away: ${error.message}`, { cause: error })
  }
}

const partAway = (master: string) =>
  new StoreError(`Redis Cluster: ${master === '' ? 'a part' : master} is away, and what it holds`)

export const addressOf = ({ options }: Redis) => `${options.host}:${options.port}`
