import type { Candidate } from '../candidates/candidate.ts'
import { runUser, type UserBelief } from '../routing/model/user-graph.ts'
import type { Policy } from '../routing/policy.ts'
import { Tensor } from '../runtime/onnxruntime.ts'
import { dequantise, quantise } from '../runtime/quantise.ts'
import type { StoredEdge } from '../store/store.ts'
import { kindIndex } from './kinds.ts'
import { addMessage, blockOf, isFiniteVector, startBlocks } from './profile.ts'

/** A candidate of the running configuration by its name. */
export type FindCandidate = (name: string) => Candidate | undefined

/** What a reward tells: about the user [G], and about the LLM [V]. */
export interface Messages {
  user: Float32Array
  llm: Float32Array
}

export interface Belief {
  /** [H] */
  sums: Float32Array
  /** [S] */
  state: Float32Array
  /** What they tell of their tenant, [Y]. */
  told: Float32Array
}

/** No edges are gone. */
export const NOTHING_OLDER = new Float32Array(0)

/** One run of `edge.onnx` on so many rewards takes about a millisecond; requests get their turn in between. */
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
  const queries = await queriesOf(policy, edges)
  const readable = edges.flatMap((edge, index) => {
    const candidate = find(edge.candidate)
    const kind = kindIndex(policy.router.artifact.manifest.kinds, edge.kind)
    const query = queries[index]
    return candidate && kind >= 0 && query ? [{ edge, index, candidate, kind, query }] : []
  })
  if (readable.length === 0) return messages
  const found = await runEdges(policy, tenant, readable)
  for (const [i, { index }] of readable.entries()) {
    const { user, llm } = found[i] as Messages
    if (isFiniteVector(user) && isFiniteVector(llm)) messages[index] = { user, llm }
  }
  return messages
}

/**
 * The belief that a history gives: messages in order, each fading with every one that follows.
 *
 * @param older sums of what was said before the first of these edges, [G]; empty: nothing
 * @param onEach told what each edge says; null: it can't be read
 */
export async function rebuild(
  policy: Policy,
  tenant: string,
  edges: readonly StoredEdge[],
  find: FindCandidate,
  older: Float32Array = NOTHING_OLDER,
  onEach?: (messages: Messages | null, index: number) => void,
): Promise<Belief> {
  const { manifest, dims } = policy.router.artifact
  const { per_reward, block } = manifest.forget
  const sums = new Float32Array(dims.H)
  if (older.length === dims.G) sums.set(older, dims.H - dims.G)
  let newest = 0
  for (let start = 0; start < edges.length; start += CHUNK) {
    const some = edges.slice(start, start + CHUNK)
    for (const [i, messages] of (await messagesOf(policy, tenant, some, find)).entries()) {
      const own = blockOf(some[i]!.seq, block)
      startBlocks(sums, dims.G, own - newest)
      newest = own
      if (messages) addMessage(sums, messages.user, per_reward)
      onEach?.(messages, start + i)
    }
  }
  return { sums, ...(await believedOf(policy, tenant, sums)) }
}

/** Sums of what was said before the first edge that is kept, with messages of edges more that are not. */
export function withOlder(
  older: Float32Array,
  messages: readonly (Messages | null)[],
  { router }: Policy,
): Float32Array {
  if (messages.length === 0) return older
  const { manifest, dims } = router.artifact
  const sums = new Float32Array(dims.G)
  if (older.length === dims.G) sums.set(older)
  for (const one of messages) if (one) addMessage(sums, one.user, manifest.forget.per_reward)
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

/** What sums [H] of a tenant's user say. */
export const believedOf = async ({ router }: Policy, tenant: string, sums: Float32Array): Promise<UserBelief> =>
  runUser(router.artifact, sums, await router.llms.tenantSums(tenant))

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

async function runEdges(
  { router }: Policy,
  tenant: string,
  rows: readonly { edge: StoredEdge; candidate: Candidate; kind: number; query: Float32Array }[],
): Promise<Messages[]> {
  const { E, Q, Z, G, V } = router.artifact.dims
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
  const column = (read: (edge: StoredEdge) => number) =>
    new Tensor(
      'float32',
      Float32Array.from(rows, ({ edge }) => read(edge)),
      [n],
    )
  const outputs = await router.artifact.sessions.edge.run({
    [name]: new Tensor('float32', query, [n, width]),
    z: new Tensor('float32', z, [n, Z]),
    reward: column(({ reward }) => reward),
    kind: new Tensor(
      'int64',
      BigInt64Array.from(rows, ({ kind }) => BigInt(kind)),
      [n],
    ),
    weight: column(({ weight }) => weight),
    prompt_tokens: column(({ promptTokens }) => promptTokens),
    completion_tokens: column(({ completionTokens }) => completionTokens),
    cost_usd: column(({ costUsd }) => costUsd),
  })
  const [user, llm] = [outputs.user_message?.data, outputs.llm_message?.data] as [Float32Array, Float32Array]
  return rows.map((_, i) => ({ user: user.subarray(i * G, (i + 1) * G), llm: llm.slice(i * V, (i + 1) * V) }))
}
