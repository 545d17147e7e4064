import { readFileSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import type { Redis } from 'ioredis'
import { floatBytes, floatsOf } from '../../src/store/bytes.ts'
import { MAX_EDGES, type StoredEdge, type StoredUser } from '../../src/store/store.ts'
import { decodeOldEdge, encodeEdge } from '../../src/store/stored-values.ts'

/** A user as the version before this one kept them: sums and state as float32, each edge by itself. */
export interface EarlierUser extends Omit<StoredUser, 'state' | 'older' | 'sums'> {
  sums: Float32Array
  state: Float32Array
}

const SCRIPT = readFileSync(new URL('./earlier-commit-user.lua', import.meta.url), 'utf8')

/** What a replica of the version before does with users in Redis. Ids of edges are `<interaction>:<kind>`. */
export class EarlierReplica {
  readonly #client: Redis
  readonly #key: (what: string) => string

  constructor(client: Redis, tenant: string, user: string) {
    this.#client = client
    this.#key = (what) => `pr:{${tenant}}:${what}:${user}`
  }

  async load(): Promise<EarlierUser | null> {
    const fields = await this.#client.hgetallBuffer(this.#key('user'))
    if (!fields.revision) return null
    return {
      revision: Number(fields.revision),
      policy: String(fields.policy),
      rewards: Number(fields.rewards),
      sums: floatsOf(fields.sums as Buffer),
      state: floatsOf(fields.state as Buffer),
      preferences: JSON.parse(String(fields.preferences)),
      updatedAt: Number(fields.updated_at),
      since: Number(fields.since ?? 0),
      heardAt: Number(fields.heard_at ?? 0),
    }
  }

  async edges(): Promise<StoredEdge[]> {
    const edges = await this.#client.hvalsBuffer(this.#key('edges'))
    return edges.map(decodeOldEdge).sort((a, b) => a.seq - b.seq)
  }

  async commit(next: EarlierUser, edge?: StoredEdge): Promise<number> {
    const on = ['user', 'edges', 'edge-order', 'erased', 'erased-tenant'].map(this.#key)
    return (await this.#client.eval(
      SCRIPT,
      on.length,
      ...on,
      ...[next.revision, next.policy, next.rewards, floatBytes(next.sums), floatBytes(next.state)],
      ...[JSON.stringify(next.preferences), next.updatedAt, 'changes', '{}', MAX_EDGES, next.since, next.heardAt],
      ...[Date.now(), ...(edge ? [edge.id, edge.seq, encodeEdge(edge)] : [])],
    )) as number
  }

  /** As its `erase-user.lua` and `drop-user.lua` do. */
  async erase(): Promise<void> {
    await this.#client.del(...['user', 'edges', 'edge-order', 'salt'].map(this.#key))
  }
}

/** As the version before erases a user's interactions, which finds what is beside them by the fields of an entry. */
export async function eraseLogAsBefore(client: Redis, tenant: string, user: string): Promise<void> {
  const key = (what: string) => `pr:{${tenant}}:${what}`
  for (const member of await client.zrange(key(`user-log:${user}`), '0', '-1')) {
    const entry = member.slice(2)
    const [found] = await client.xrange(key('interactions'), entry, entry)
    const [, list = []] = found ?? []
    const fields = new Map<string, string>()
    for (let i = 0; i < list.length; i += 2) fields.set(String(list[i]), String(list[i + 1]))
    const [id, completion] = [fields.get('id'), fields.get('completion')]
    if (id) await client.del(key(`interaction:${id}`), key(`text:${id}`))
    if (completion) await client.del(key(`completion:${completion}`))
    await client.xdel(key('interactions'), entry)
  }
  await client.del(key(`user-log:${user}`))
}

/** Writes a user into a SQLite file as the version before did. */
export function writeAsBefore(
  db: DatabaseSync,
  tenant: string,
  name: string,
  user: EarlierUser,
  edges: readonly StoredEdge[],
): void {
  const { revision, policy, rewards, sums, state, preferences, updatedAt, since, heardAt } = user
  db.prepare('INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)').run(
    ...[tenant, name, revision, policy, rewards, floatBytes(sums), floatBytes(state)],
    ...[JSON.stringify(preferences), updatedAt, since, heardAt],
  )
  const add = db.prepare('INSERT OR REPLACE INTO edges VALUES (?, ?, ?, ?, ?)')
  for (const edge of edges) add.run(tenant, name, edge.id, edge.seq, encodeEdge(edge))
}
