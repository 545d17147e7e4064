import { addMessage, isFiniteVector, startBlocks, withoutZerosAtEnd } from '../../learning/profile.ts'
import { Tensor } from '../../runtime/onnxruntime.ts'
import type { Manifest } from '../artifact/manifest.ts'
import type { Graph } from '../artifact/types.ts'
import { type BeliefJob, type Believed, type SentTensors, sizeOf } from './belief-job.ts'
import { packState } from './packed-state.ts'
import { runUser } from './user-graph.ts'

/** Graphs of an artifact, and a new user's state under it. */
export interface Believer {
  edge: Graph
  user: Graph
  manifest: Pick<Manifest, 'dims' | 'forget'>
  cold: Float32Array
  /** [H], where jobs come one by one. */
  scratch?: Float32Array
  /** As many for jobs that come together. */
  together?: Float32Array
}

/** Rewards whose messages are made by themselves in one run: a message is 16 KB. */
const CHUNK = 64
/** Sums of more messages have a run of their own: rows that fill up the others cost more than its start. */
const LARGE = 32
/** In the place of an age: part of no sum. */
const GONE = -1

/** @throws where a graph fails */
export async function believe(by: Believer, job: BeliefJob): Promise<Believed> {
  const { dims, forget } = by.manifest
  // Memory that was never touched before costs more than what is done with it: sums are 66 KB.
  const sums = by.scratch ?? new Float32Array(dims.H)
  const start = () => {
    sums.fill(0)
    if (job.sums) sums.set(job.sums.subarray(0, dims.H))
  }
  start()
  // Who has rated little has most blocks empty, and empty ones are not looked at.
  let used = sums.subarray(0, Math.min(dims.H, dims.G * blocksOf(job, dims.G)))
  let last = by.edge.inputNames?.includes('share') ? await addShared(by, job, used) : null
  if (!last || !isFiniteVector(used)) {
    start()
    used = sums
    last = await addEach(by, job, sums, forget.per_reward)
  }
  const { state, told } = await runUser(by.user, dims, sums, job.tenant)
  const { length } = withoutZerosAtEnd(used)
  return {
    ...{ sums: sums.slice(0, length), state, told, packed: packState(state, by.cold) },
    last: job.asksLast ? last.llm : null,
    gone: last.gone.map((message) => (isFiniteVector(message) ? message : null)),
  }
}

/** Blocks of sums that hold something with a job's rewards. */
export function blocksOf({ sums, from, blocks, newest, gone }: BeliefJob, size: number): number {
  let most = sums ? Math.ceil(sums.length / size) + Math.max(0, newest - from) : 1
  for (let row = gone; row < blocks.length; row++) most = Math.max(most, newest - blocks[row]! + 1)
  return most
}

interface Added {
  /** What the last reward says of its LLM. */
  llm: Believed['last']
  gone: Float32Array[]
}

/** Message by message, for graphs that give no sums. What is no finite number says nothing. */
async function addEach({ edge, manifest }: Believer, job: BeliefJob, sums: Float32Array, fade: number): Promise<Added> {
  const { G, V } = manifest.dims
  const { rewards, blocks, newest } = job
  const gone: Float32Array[] = []
  let [at, last]: [number, Believed['last']] = [job.from, null]
  for (let start = 0; start < blocks.length; start += CHUNK) {
    const some = Array.from({ length: Math.min(CHUNK, blocks.length - start) }, (_, i) => start + i)
    const ones = new Float32Array(some.length).fill(1)
    const found = await edge.run(fed(picked(rewards, some), ones, some.length))
    const [users, llms] = [found.user_message?.data, found.llm_message?.data] as [Float32Array, Float32Array]
    for (const [i, row] of some.entries()) {
      const user = users.subarray(i * G, (i + 1) * G)
      const llm = llms.subarray(i * V, (i + 1) * V)
      if (row < job.gone) {
        gone.push(user.slice())
        continue
      }
      startBlocks(sums, G, blocks[row]! - at)
      at = blocks[row]!
      last = isFiniteVector(user) && isFiniteVector(llm) ? llm.slice() : null
      if (last) addMessage(sums, user, fade)
    }
  }
  startBlocks(sums, G, newest - at)
  return { llm: last, gone }
}

/**
 * Sums of messages by blocks, which the graph makes without making each. The last reward is a sum of its own, so that
 * what it says is known.
 */
async function addShared({ edge, manifest }: Believer, job: BeliefJob, sums: Float32Array): Promise<Added> {
  const { G, V, H } = manifest.dims
  const { rewards, blocks, newest } = job
  const n = blocks.length
  startBlocks(sums, G, newest - job.from)
  const fade = manifest.forget.per_reward
  const faded = fade ** (n - job.gone)
  if (faded !== 1) for (let i = 0; i < sums.length; i++) sums[i]! *= faded
  const groups = new Map<number, number[]>()
  const ageOf = (row: number) => Math.min(H / G - 1, newest - blocks[row]!)
  for (let row = job.gone; row < n - 1; row++) {
    const alike = groups.get(ageOf(row))
    if (alike) alike.push(row)
    else groups.set(ageOf(row), [row])
  }
  const all = [...groups]
  const runs = all.filter(([, rows]) => rows.length > LARGE).map((one) => [one])
  const small = all.filter(([, rows]) => rows.length <= LARGE)
  const gone: Float32Array[] = []
  for (let row = 0; row < job.gone; row++) small.push([GONE, [row]])
  if (n > job.gone) small.push([ageOf(n - 1), [n - 1]])
  let last: Believed['last'] = null
  for (const run of small.length > 0 ? [...runs, small] : runs) {
    const most = Math.max(...run.map(([, rows]) => rows.length))
    const share = new Float32Array(run.length * most)
    // What fills a sum up has no share in it.
    const places = run.flatMap(([, rows]) => Array.from({ length: most }, (_, i) => rows[i] ?? rows[0]!))
    for (const [u, [, rows]] of run.entries()) {
      for (const [i, row] of rows.entries()) share[u * most + i] = row < job.gone ? 1 : fade ** (n - 1 - row)
    }
    const found = await edge.run(fed(picked(rewards, places), share, run.length))
    const [users, llms] = [found.user_message?.data, found.llm_message?.data] as [Float32Array, Float32Array]
    for (const [u, [age, rows]] of run.entries()) {
      const sum = users.subarray(u * G, (u + 1) * G)
      if (age === GONE) {
        gone.push(sum.slice())
        continue
      }
      for (let i = 0; i < G; i++) sums[age * G + i]! += sum[i]!
      if (rows.at(-1) !== n - 1) continue
      const llm = llms.slice(u * V, (u + 1) * V)
      last = isFiniteVector(llm) && isFiniteVector(sum) ? llm : null
    }
  }
  return { llm: last, gone }
}

/** Rows of tensors, in the order asked for. */
function picked(tensors: SentTensors, rows: readonly number[]): SentTensors {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { type, data, dims }]) => {
      const width = sizeOf(dims.slice(1))
      const taken = new (data.constructor as Float32ArrayConstructor)(rows.length * width)
      for (const [to, from] of rows.entries()) {
        taken.set((data as Float32Array).subarray(from * width, (from + 1) * width), to * width)
      }
      return [name, { type, data: taken, dims: [rows.length, ...dims.slice(1)] }]
    }),
  )
}

export const fed = (tensors: SentTensors, share: Float32Array, sums: number): Record<string, Tensor> => ({
  ...Object.fromEntries(
    Object.entries(tensors).map(([name, { type, data, dims }]) => [
      name,
      new Tensor(type, data as Float32Array, dims as number[]),
    ]),
  ),
  share: new Tensor('float32', share, [sums, share.length / sums]),
})
