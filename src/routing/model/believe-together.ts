import { isFiniteVector, startBlocks, withoutZerosAtEnd } from '../../learning/profile.ts'
import { Tensor } from '../../runtime/onnxruntime.ts'
import { type BeliefJob, type Believed, type SentTensors, sizeOf } from './belief-job.ts'
import { type Believer, believe, blocksOf, fed } from './believe.ts'
import { packState } from './packed-state.ts'

/** Sums of so many users are half a megabyte. */
export const MOST_TOGETHER = 8

/**
 * As `believe` of each, in order: rewards of users whose sums are known, which wait together, are one run of either
 * graph, since most of what a run costs is the start of its operators.
 *
 * @throws where a graph fails
 */
export async function believeTogether(by: Believer, jobs: readonly BeliefJob[]): Promise<Believed[]> {
  const groups = new Map<string, number[]>()
  for (const [index, job] of jobs.entries()) {
    // Who has more blocks of sums needs more of `user.onnx`, and so would all who are in the same run.
    const key = isOneMore(by, job) ? `${blocksOf(job, by.manifest.dims.G)}` : `alone ${index}`
    const group = groups.get(key)
    if (group) group.push(index)
    else groups.set(key, [index])
  }
  const believed: Believed[] = []
  for (const group of groups.values()) {
    const some = group.map((index) => jobs[index]!)
    const found = some.length > 1 ? await inOneRun(by, some) : [null]
    for (const [i, index] of group.entries()) believed[index] = found[i] ?? (await believe(by, some[i]!))
  }
  return believed
}

const isOneMore = ({ edge }: Believer, { blocks, gone, asksLast }: BeliefJob) =>
  blocks.length === 1 && gone === 0 && asksLast && (edge.inputNames?.includes('share') ?? false)

/** Null for what is no finite number. */
async function inOneRun(by: Believer, jobs: readonly BeliefJob[]): Promise<(Believed | null)[]> {
  const { dims, forget } = by.manifest
  const { G, H, S, V, Y } = dims
  const n = jobs.length
  const told = await by.edge.run(fed(joined(jobs.map(({ rewards }) => rewards)), new Float32Array(n).fill(1), n))
  const [users, llms] = [told.user_message?.data, told.llm_message?.data] as [Float32Array, Float32Array]
  by.together ??= new Float32Array(MOST_TOGETHER * H)
  const sums = by.together.subarray(0, n * H).fill(0)
  const tenant = new Float32Array(n * Y)
  const used = jobs.map((job, i) => {
    const own = sums.subarray(i * H, i * H + Math.min(H, G * blocksOf(job, G)))
    if (job.sums) own.set(job.sums.subarray(0, own.length))
    startBlocks(own, G, job.newest - job.from)
    if (forget.per_reward !== 1) for (let k = 0; k < own.length; k++) own[k]! *= forget.per_reward
    const at = G * Math.min(H / G - 1, job.newest - job.blocks[0]!)
    for (let k = 0; k < G; k++) own[at + k]! += users[i * G + k]!
    if (job.tenant) tenant.set(job.tenant, i * Y)
    return own
  })
  const feeds = { sums: new Tensor('float32', sums, [n, H]), tenant: new Tensor('float32', tenant, [n, Y]) }
  const { state: states, tenant_message: of } = await by.user.run(Y > 0 ? feeds : { sums: feeds.sums })
  const row = (tensor: Tensor | undefined, width: number, i: number) =>
    ((tensor?.data ?? new Float32Array(0)) as Float32Array).slice(i * width, (i + 1) * width)
  return used.map((own, i) => {
    const llm = llms.slice(i * V, (i + 1) * V)
    if (!isFiniteVector(own) || !isFiniteVector(llm)) return null
    const state = row(states, S, i)
    const known = { sums: withoutZerosAtEnd(own).slice(), state, packed: packState(state, by.cold) }
    return { ...known, told: row(of, Y, i), last: llm, gone: [] }
  })
}

/** Rows of each, one after the other. */
function joined(all: readonly SentTensors[]): SentTensors {
  return Object.fromEntries(
    Object.entries(all[0]!).map(([name, { type, data, dims }]) => {
      const width = sizeOf(dims.slice(1))
      const rows = new (data.constructor as Float32ArrayConstructor)(all.length * width)
      for (const [i, of] of all.entries()) rows.set(of[name]!.data as Float32Array, i * width)
      return [name, { type, data: rows, dims: [all.length, ...dims.slice(1)] }]
    }),
  )
}
