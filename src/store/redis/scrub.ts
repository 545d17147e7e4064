import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { eachOnItsOwn } from '../../runtime/each.ts'
import { CLEAR, isClear, scrubEdges, scrubRows } from '../scrub.ts'
import type { ReadVectors, StoredEdge } from '../store.ts'
import { decodeOldEdge, encodeEdge } from '../stored-values.ts'
import type { RedisAccess } from './access.ts'
import * as keys from './keys.ts'
import { onNodeOf } from './nodes.ts'
import { keptIn } from './stream.ts'

const SLICE = 64
const KEYS_A_SCAN = 200
const PAUSE_MS = 20
/** One replica at a time; one that dies is followed by another. */
const LOCK_MS = 60_000

/**
 * Takes the query vectors that earlier versions kept in clear out of logs and edges, in slices. A log that holds some
 * is copied: for a while it is there twice.
 *
 * @returns how many there were; once a tenant had none, it is not looked again
 */
export async function scrubVectors(redis: RedisAccess, read: ReadVectors): Promise<number> {
  let scrubbed = 0
  const tenants = await redis.askLong(keys.TENANTS, () => redis.client.smembers(keys.TENANTS))
  await eachOnItsOwn(tenants, async (tenant) => {
    const [lock, done] = [keys.scrubbing(tenant), keys.isScrubbed(tenant)]
    if ((await redis.askLong(tenant, () => redis.client.exists(done))) === 1) return
    if ((await redis.askLong(tenant, () => redis.client.set(lock, '1', 'PX', LOCK_MS, 'NX'))) === null) return
    try {
      const found = (await scrubLog(redis, tenant, read)) + (await scrubAllEdges(redis, tenant, read))
      if (found === 0) await redis.askLong(tenant, () => redis.client.set(done, '1'))
      scrubbed += found
    } finally {
      await redis.askLong(tenant, () => redis.client.del(lock))
    }
  })
  return scrubbed
}

async function scrubLog(redis: RedisAccess, tenant: string, read: ReadVectors): Promise<number> {
  const [stream, copy] = [keys.interactions(tenant), keys.scrubbed(tenant)]
  if (!(await hasClear(redis, tenant, stream))) return 0
  await redis.askLong(tenant, () => redis.client.unlink(copy))
  let scrubbed = 0
  for (let from = '-'; ; await sleep(PAUSE_MS, undefined, { ref: false })) {
    await redis.askLong(tenant, () => redis.client.pexpire(keys.scrubbing(tenant), LOCK_MS))
    const entries = await redis.askLong(tenant, () => redis.client.xrangeBuffer(stream, from, '+', 'COUNT', SLICE))
    const rows = entries.map(([id, fields]) => ({ id: String(id), json: keptIn(fields).json }))
    const clear = rows.filter(({ json }) => json.includes(CLEAR))
    const clean = await scrubRows(
      clear.map(({ json }) => json),
      read,
    )
    const documents = new Map(clear.map(({ id }, i) => [id, clean[i] as string]))
    const args = [rows.length, ...rows.flatMap(({ id }) => [id, documents.get(id) ?? ''])]
    scrubbed += clear.length
    if ((await redis.runLong(tenant, 'copy-interactions', [stream, copy], args)) === 1) return scrubbed
    const last = entries.at(-1)
    if (last) from = `(${last[0]}`
  }
}

async function hasClear(redis: RedisAccess, tenant: string, stream: string): Promise<boolean> {
  for (let from = '-'; ; await sleep(PAUSE_MS, undefined, { ref: false })) {
    const entries = await redis.askLong(tenant, () => redis.client.xrangeBuffer(stream, from, '+', 'COUNT', SLICE))
    const last = entries.at(-1)
    if (!last) return false
    if (entries.some(([, fields]) => keptIn(fields).json.includes(CLEAR))) return true
    from = `(${last[0]}`
  }
}

const scrubAllEdges = (redis: RedisAccess, tenant: string, read: ReadVectors) =>
  onNodeOf(redis, tenant, (node) => scrubEdgesOn(redis, node, tenant, read))

async function scrubEdgesOn(redis: RedisAccess, node: Redis, tenant: string, read: ReadVectors): Promise<number> {
  let [scrubbed, cursor] = [0, '0']
  do {
    const [next, found] = await redis.askLong(tenant, () =>
      node.scan(cursor, 'MATCH', keys.edges(tenant, '*'), 'COUNT', KEYS_A_SCAN),
    )
    cursor = next
    for (const key of found) scrubbed += await scrubEdgesAt(redis, tenant, key, read)
    await sleep(PAUSE_MS, undefined, { ref: false })
  } while (cursor !== '0')
  return scrubbed
}

async function scrubEdgesAt(redis: RedisAccess, tenant: string, key: string, read: ReadVectors): Promise<number> {
  const fields = await redis.askLong(tenant, () => redis.client.hgetallBuffer(key))
  const clear = Object.entries(fields)
    .map(([id, bytes]) => ({ id, bytes, edge: decodeOldEdge(bytes) }))
    .filter(({ edge }) => isClear(edge))
  if (clear.length === 0) return 0
  const clean = await scrubEdges(
    tenant,
    clear.map(({ edge }) => edge),
    read,
  )
  for (const [i, { id, bytes }] of clear.entries()) {
    await redis.runLong(tenant, 'replace-edge', [key], [id, bytes, encodeEdge(clean[i] as StoredEdge)])
  }
  return clear.length
}
