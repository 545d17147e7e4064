import type { Candidate } from '../candidates/candidate.ts'
import type { Policy } from '../routing/policy.ts'
import { Tensor } from '../runtime/onnxruntime.ts'
import { dequantise, quantise } from '../runtime/quantise.ts'
import type { StoredEdge } from '../store/store.ts'
import { kindIndex } from './kinds.ts'
import { addMessage, blockOf, isFiniteVector } from './profile.ts'

/** A candidate of the running configuration by its name. */
export type FindCandidate = (name: string) => Candidate | undefined

/** What a reward tells: about the user [G], and about the LLM [V]. */
export interface Messages {
  user: Float32Array
  llm: Float32Array
}

export interface Belief {
  /** [H], without zeros at the end. */
  sums: Float32Array
  /** [S], and as it is kept. */
  state: Float32Array
  packed: Uint8Array
  /** What they tell of their tenant, [Y]. */
  told: Float32Array
  /** What the last edge says of its LLM, [V]; null: it can't be read, or there is none. */
  last: Float32Array | null
  /** Messages to the user of edges that are not kept any more, of those that can be read. */
  gone: (Float32Array | null)[]
}

/** No edges are gone. */
export const NOTHING_OLDER = new Float32Array(0)

/** Rewards a run of `edge.onnx`: their messages are 20 KB each. */
const CHUNK = 64

/**
 * Messages of rewards under a policy, in order; null for those that it can't read: another reader's readings,
 * candidates that are no longer in the configuration, kinds that it does not know, numbers that are none.
 */
export async function messagesOf(
  policy: Policy,
  tenant: string,
  edges: readonly StoredEdge[],
  find: FindCandidate,
): Promise<(Messages | null)[]> {
  const messages: (Messages | null)[] = edges.map(() => null)
  const readable = await readableOf(policy, edges, find)
  for (let start = 0; start < readable.length; start += CHUNK) {
    const some = readable.slice(start, start + CHUNK)
    const found = await runEdges(policy, tenant, some)
    for (const [i, { index }] of some.entries()) {
      const { user, llm } = found[i] as Messages
      if (isFiniteVector(user) && isFiniteVector(llm)) messages[index] = { user, llm }
    }
  }
  return messages
}

/**
 * The belief that a history gives: messages in order, each fading with every one that follows.
 *
 * @param older sums of what was said before the first of these edges, [G]; empty: nothing
 */
export async function rebuild(
  policy: Policy,
  tenant: string,
  edges: readonly StoredEdge[],
  find: FindCandidate,
  older: Float32Array = NOTHING_OLDER,
): Promise<Belief> {
  const { G, H } = policy.router.artifact.dims
  const before = older.length === G ? new Float32Array(H) : null
  before?.set(older, H - G)
  const belief = await believed(policy, tenant, { sums: before, seq: 1 }, edges, find)
  const sums = new Float32Array(H)
  sums.set(belief.sums)
  return { ...belief, sums }
}

/**
 * The belief with edges more.
 *
 * @param before sums as they were, which are handed over, and the number of the newest edge in them
 * @param gone edges whose messages alone are asked for
 */
export async function believed(
  policy: Policy,
  tenant: string,
  before: { sums: Float32Array | null; seq: number },
  edges: readonly StoredEdge[],
  find: FindCandidate,
  gone: readonly StoredEdge[] = [],
): Promise<Belief> {
  const { artifact } = policy.router
  const { block } = artifact.manifest.forget
  const readable = await readableOf(policy, gone.length > 0 ? [...gone, ...edges] : edges, find)
  const newest = edges.at(-1)
  return artifact.believe({
    rewards: await feedsOf(policy, tenant, readable),
    gone: readable.filter(({ index }) => index < gone.length).length,
    tenant: await policy.router.llms.tenantSums(tenant),
    blocks: readable.map(({ edge }) => blockOf(edge.seq, block)),
    newest: blockOf(newest?.seq ?? before.seq, block),
    sums: before.sums,
    from: blockOf(before.seq, block),
    asksLast: newest !== undefined && readable.at(-1)?.edge === newest,
  })
}

/** Sums of what was said before the first edge that is kept, with messages of edges more that are not. */
export function withOlder(
  older: Float32Array,
  messages: readonly (Float32Array | null)[],
  { router }: Policy,
): Float32Array {
  if (messages.length === 0) return older
  const { manifest, dims } = router.artifact
  const sums = new Float32Array(dims.G)
  if (older.length === dims.G) sums.set(older)
  for (const one of messages) if (one) addMessage(sums, one, manifest.forget.per_reward)
  return sums
}

/** Edges as they may be written: a vector in clear, which earlier versions kept, is read and goes. */
export async function withoutVectorsInClear(
  policy: Policy,
  edges: readonly StoredEdge[],
): Promise<readonly StoredEdge[]> {
  const isClear = ({ vector }: StoredEdge) => vector !== null && 'plain' in vector.of
  if (!edges.some(isClear)) return edges
  const { reader } = policy.router.artifact.manifest
  const queries = reader ? await queriesOf(policy, edges) : []
  return edges.map((edge, i) => {
    const query = queries[i]
    if (!isClear(edge)) return edge
    return query ? { ...edge, reading: quantise(query), reader: reader ?? '', vector: null } : { ...edge, vector: null }
  })
}

/**
 * What `edge.onnx` takes of each query: what was read in it, anew from the vector where another reader did and a vector
 * was kept; null where neither is known. Older artifacts take the vector itself.
 */
export async function queriesOf(
  { router, embedder }: Policy,
  of: readonly Pick<StoredEdge, 'reading' | 'reader' | 'vector'>[],
): Promise<(Float32Array | null)[]> {
  const { manifest, dims } = router.artifact
  const queries = of.map(({ reading, reader }) =>
    reading && manifest.reader && reader === manifest.reader && reading.int8.length === dims.Q
      ? dequantise(reading)
      : null,
  )
  const unread = of.flatMap(({ vector }, index) => {
    if (queries[index] || !vector || !('plain' in vector.of) || vector.embedder !== embedder.version) return []
    return vector.of.plain.int8.length === dims.E ? [{ index, query: dequantise(vector.of.plain) }] : []
  })
  if (unread.length === 0) return queries
  const vectors = unread.map(({ query }) => query)
  const readings = (await router.read(vectors)) ?? vectors
  for (const [i, { index }] of unread.entries()) queries[index] = readings[i] as Float32Array
  return queries
}

interface Readable {
  edge: StoredEdge
  /** Among all that were asked for. */
  index: number
  candidate: Candidate
  kind: number
  query: Float32Array
}

async function readableOf(policy: Policy, edges: readonly StoredEdge[], find: FindCandidate): Promise<Readable[]> {
  const queries = await queriesOf(policy, edges)
  const { kinds } = policy.router.artifact.manifest
  return edges.flatMap((edge, index) => {
    const candidate = find(edge.candidate)
    const kind = kindIndex(kinds, edge.kind)
    const query = queries[index]
    return candidate && kind >= 0 && query ? [{ edge, index, candidate, kind, query }] : []
  })
}

async function feedsOf({ router }: Policy, tenant: string, rows: readonly Readable[]) {
  const { E, Q, Z } = router.artifact.dims
  const [name, width] = router.artifact.manifest.reader ? (['reading', Q] as const) : (['query', E] as const)
  const n = rows.length
  const states = await router.llms.rows(
    tenant,
    rows.map(({ candidate }) => candidate),
  )
  const query = new Float32Array(n * width)
  const z = new Float32Array(n * Z)
  for (const [i, row] of rows.entries()) {
    query.set(row.query, i * width)
    z.set(states[i]!, i * Z)
  }
  const floats = (data: Float32Array, dims: number[]) => ({ type: 'float32', data, dims }) as const
  const column = (read: (edge: StoredEdge) => number) => {
    // A typed array's `from` takes ten times as long, and histories are long.
    const numbers = new Float32Array(n)
    for (let i = 0; i < n; i++) numbers[i] = read(rows[i]!.edge)
    return floats(numbers, [n])
  }
  const kinds = BigInt64Array.from(rows, ({ kind }) => BigInt(kind))
  return {
    [name]: floats(query, [n, width]),
    z: floats(z, [n, Z]),
    reward: column(({ reward }) => reward),
    kind: { type: 'int64' as const, data: kinds, dims: [n] },
    weight: column(({ weight }) => weight),
    prompt_tokens: column(({ promptTokens }) => promptTokens),
    completion_tokens: column(({ completionTokens }) => completionTokens),
    cost_usd: column(({ costUsd }) => costUsd),
  }
}

async function runEdges(policy: Policy, tenant: string, rows: readonly Readable[]): Promise<Messages[]> {
  const { artifact } = policy.router
  const { G, V } = artifact.dims
  const fed = Object.entries(await feedsOf(policy, tenant, rows)).map(([name, { type, data, dims }]) => [
    name,
    new Tensor(type, data as Float32Array, dims),
  ])
  const n = rows.length
  const share = new Tensor('float32', new Float32Array(n).fill(1), [n, 1])
  const outputs = await artifact.sessions.edge.run({ ...Object.fromEntries(fed), share })
  const [user, llm] = [outputs.user_message?.data, outputs.llm_message?.data] as [Float32Array, Float32Array]
  return rows.map((_, i) => ({ user: user.subarray(i * G, (i + 1) * G), llm: llm.slice(i * V, (i + 1) * V) }))
}
