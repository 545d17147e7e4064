import type { Logger } from '../observability/logger.ts'
import { lengthKey, lengthRow } from '../routing/choose/length-evidence.ts'
import type { Policy } from '../routing/policy.ts'
import type { InteractionRecord } from '../store/records/codec.ts'
import { summaryOf } from '../store/records/summary.ts'
import type { Store, StoredEdge } from '../store/store.ts'
import { type FindCandidate, messagesOf } from './belief.ts'
import { isFiniteVector } from './profile.ts'

/** The request that was answered. */
interface Asked {
  format?: string
  body: { n?: number | null }
}

export interface LengthsOptions {
  store: Pick<Store, 'addEvidence'>
  find: FindCandidate
  halfLifeDays: number
  log: Logger
  everyMs?: number
}

/** Ended as the model meant it to: an answer that was cut off says only that it would have been longer. */
const WHOLE: ReadonlySet<string> = new Set(['stop', 'tool_calls'])

/** Of a tenant, between two times at which they are read: a single run of `edge.onnx`. */
const AT_ONCE = 64

/** An outcome of no weight: `edge.onnx` says of it how long the answer is, and of its quality nothing. */
const NOTHING_ELSE = { kind: 'outcome', reward: 0, weight: 1e-9, costUsd: -1 } as const

/**
 * Learns how much candidates write from every answer, rated or not: what a card makes expect of lengths, and so of
 * dollars, follows a tenant's own requests within tens of answers. Nothing else is learned of an answer here, and what
 * is kept is a sum by candidate, as with latencies.
 */
export class Lengths {
  readonly #options: LengthsOptions
  readonly #waiting = new Map<Policy, Map<string, { seen: number; kept: StoredEdge[] }>>()
  #timer: NodeJS.Timeout | undefined
  #working: Promise<void> = Promise.resolve()

  constructor(options: LengthsOptions) {
    this.#options = options
  }

  note(policy: Policy | null, record: InteractionRecord, { format, body }: Asked): void {
    const { completionTokens } = record.usage
    // Tokens of several answers say little of one, and a text that goes on is no answer.
    if (format === 'completions' || (body.n ?? 1) > 1) return
    if (!policy || record.usageEstimated || !WHOLE.has(record.finishReason) || !(completionTokens > 0)) return
    const { id, ts, candidate, reading, reader, promptTokens, tenant } = summaryOf(record)
    if (!reading) return
    const edge = { ...NOTHING_ELSE, id, interaction: id, ts, candidate, reading, reader, vector: null, seq: 0 }
    this.#keep(policy, tenant, { ...edge, promptTokens, completionTokens })
    this.#timer ??= setTimeout(() => void this.flush(), this.#options.everyMs ?? 5_000).unref()
  }

  /** Learns from what waits. Losing some costs nothing: more answers come. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const waiting = [...this.#waiting].flatMap(([policy, tenants]) =>
      [...tenants].map(([tenant, { kept }]) => ({ policy, tenant, edges: kept })),
    )
    this.#waiting.clear()
    this.#working = this.#working.then(async () => {
      for (const { policy, tenant, edges } of waiting) {
        await this.#learn(policy, tenant, edges).catch((error: unknown) =>
          this.#options.log.warn({ err: error, tenant }, 'lengths of answers not learned'),
        )
      }
    })
    return this.#working
  }

  async close(): Promise<void> {
    await this.flush()
  }

  /** Evenly drawn where there are too many (reservoir sampling, Vitter 1985). */
  #keep(policy: Policy, tenant: string, edge: StoredEdge): void {
    const tenants = this.#waiting.get(policy) ?? new Map<string, { seen: number; kept: StoredEdge[] }>()
    this.#waiting.set(policy, tenants)
    const own = tenants.get(tenant) ?? { seen: 0, kept: [] }
    tenants.set(tenant, own)
    own.seen++
    const at = own.kept.length < AT_ONCE ? own.kept.length : Math.floor(Math.random() * own.seen)
    if (at < AT_ONCE) own.kept[at] = edge
  }

  async #learn(policy: Policy, tenant: string, edges: readonly StoredEdge[]): Promise<void> {
    const { store, find, halfLifeDays } = this.#options
    const sums = new Map<string, { sum: Float32Array; answers: number }>()
    for (const [i, messages] of (await messagesOf(policy, tenant, edges, find)).entries()) {
      const edge = edges[i]!
      if (!messages) continue
      const before = sums.get(edge.candidate)
      const sum = before ? before.sum.map((value, k) => value + messages.llm[k]!) : messages.llm
      sums.set(edge.candidate, { sum, answers: (before?.answers ?? 0) + 1 })
    }
    for (const [candidate, { sum, answers }] of sums) {
      if (!isFiniteVector(sum)) continue
      const row = lengthRow(sum, answers, Date.now())
      await store.addEvidence(tenant, lengthKey(policy.version), candidate, row, halfLifeDays)
    }
    if (sums.size > 0) policy.router.llms.refreshSoon(tenant)
  }
}
