import type { Redis } from 'ioredis'
import { sharedOf, storedInteraction } from '../../src/store/records/codec.ts'
import * as keys from '../../src/store/redis/keys.ts'
import { keptIn } from '../../src/store/redis/stream.ts'
import type { StoredEdge } from '../../src/store/store.ts'
import { quantise } from '../learning/support.ts'
import { tinyEmbed } from '../routing/support.ts'

export const QUESTION = 'How do I hide a password?'
export const vector = quantise(tinyEmbed(QUESTION))
export const base64 = Buffer.from(vector.int8.buffer).toString('base64')
const clear = `"embedding":{"int8":"${base64}","scale":${vector.scale}}`

/** An edge as the version before wrote it: without a reading, the vector at the end. */
export function oldEdge({ reading: _, reader: __, vector: ___, ...rest }: StoredEdge, embedder: string): Buffer {
  const json = Buffer.from(JSON.stringify({ ...rest, embedder, scale: vector.scale }))
  const length = Buffer.alloc(2)
  length.writeUInt16LE(json.length)
  return Buffer.concat([length, json, Buffer.from(vector.int8.buffer)])
}

export const oldRow = (json: string, embedder: string) =>
  json
    .replace('"embedding":null', clear)
    .replace(/"embedder":"[^"]*"/, `"embedder":"${embedder}"`)
    .replace(/"reading":\{[^}]*\},"reader":"[^"]*",/, '')

/** Puts a tenant's rows and edges (by user) in Redis back to what the version before wrote. */
export async function ageInRedis(
  client: Redis,
  tenant: string,
  edges: Record<string, StoredEdge>,
  embedderOf: (user: string) => string = () => 'tiny',
): Promise<void> {
  const stream = `pr:{${tenant}}:interactions`
  const entries = await client.xrangeBuffer(stream, '-', '+')
  await client.del(stream)
  for (const [id, fields] of entries) {
    const { json: text, bytes } = keptIn(fields)
    const kept = JSON.parse(text)
    const shared = sharedOf(kept)
    const json = shared && (await client.hget(keys.shared(tenant, shared.ts), shared.id))
    const document = storedInteraction(kept, json, bytes)
    const { user, completion_id } = document
    const before = oldRow(JSON.stringify(document), embedderOf(user))
    await client.xadd(
      stream,
      id,
      ...['id', document.id, 'user', user, 'completion', completion_id ?? '', 'json', before],
    )
  }
  for (const [user, edge] of Object.entries(edges)) {
    await client.hset(`pr:{${tenant}}:edges:${user}`, edge.id, oldEdge(edge, embedderOf(user)))
    await client.zadd(`pr:{${tenant}}:edge-order:${user}`, edge.seq, edge.id)
  }
}
