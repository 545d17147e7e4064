import { LRUCache } from 'lru-cache'
import type { Logger } from '../observability/logger.ts'
import { dayOf, voiceOf } from '../routing/choose/evidence.ts'
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
  now?: () => number
}

/** Ended as the model meant it to: an answer that was cut off says only that it would have been longer. */
const WHOLE: ReadonlySet<string> = new Set(['stop', 'tool_calls'])

/** Of a tenant, between two times at which they are read: a single run of `edge.onnx`. */
const AT_ONCE = 64

/**
 * Of one voice (`voiceOf`), a day and candidate, counted by each process for itself: who asks a model for long answers
 * all day must not set what it is expected to cost the tenant's others.
 */
const OF_A_VOICE = 16

/** Voices' counts in memory, some hundred bytes each; the one that has been quiet for longest goes. */
const MAX_COUNTS = 20_000

/** What waits to be learned of a tenant, by voice. */
type Waiting = Map<string, { seen: number; kept: StoredEdge[] }>

/** An outcome of no weight: `edge.onnx` says of it how long the answer is, and of its quality nothing. */
const NOTHING_ELSE = { kind: 'outcome', reward: 0, weight: 1e-9, costUsd: -1 } as const

/**
 * Learns how much candidates write from every answer, rated or not: what a card makes expect of lengths, and so of
 * dollars, follows a tenant's own requests within tens of answers. Nothing else is learned of an answer here, and what
 * is kept is a sum by candidate, as with latencies.
 */
export class Lengths {
  readonly #options: LengthsOptions
  readonly #now: () => number
  readonly #waiting = new Map<Policy, Map<string, Waiting>>()
  readonly #counted = new LRUCache<string, { day: number; answers: number }>({ max: MAX_COUNTS })
  #timer: NodeJS.Timeout | undefined
  #working: Promise<void> = Promise.resolve()

  constructor(options: LengthsOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  note(policy: Policy | null, record: InteractionRecord, { format, body }: Asked): void {
    const { completionTokens } = record.usage
    // Tokens of several answers say little of one, and a text that goes on is no answer.
    if (format === 'completions' || (body.n ?? 1) > 1) return
    if (!policy || record.usageEstimated || !WHOLE.has(record.finishReason) || !(completionTokens > 0)) return
    const {
      id,
      ts,
      candidate,
      reading,
      reader,
      promptTokens,
      tenant,
      user,
      key = '',
      vouched = false,
    } = summaryOf(record)
    if (!reading) return
    const voice = voiceOf({ user, key, vouched })
    if (!this.#counts(JSON.stringify([policy.version, tenant, candidate, voice]))) return
    const edge = { ...NOTHING_ELSE, id, interaction: id, ts, candidate, reading, reader, vector: null, seq: 0 }
    this.#keep(policy, tenant, voice, { ...edge, promptTokens, completionTokens })
    this.#timer ??= setTimeout(() => void this.flush(), this.#options.everyMs ?? 5_000).unref()
  }

  /** Learns from what waits. Losing some costs nothing: more answers come. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const waiting = [...this.#waiting].flatMap(([policy, tenants]) =>
      [...tenants].map(([tenant, voices]) => ({ policy, tenant, edges: inTurn(voices) })),
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

  /** Whether one answer more of this voice and candidate counts today. */
  #counts(of: string): boolean {
    const day = Math.floor(dayOf(this.#now()))
    const counted = this.#counted.get(of)
    const answers = counted?.day === day ? counted.answers : 0
    if (answers >= OF_A_VOICE) return false
    this.#counted.set(of, { day, answers: answers + 1 })
    return true
  }

  /** Evenly drawn where a voice has too many (reservoir sampling, Vitter 1985). */
  #keep(policy: Policy, tenant: string, voice: string, edge: StoredEdge): void {
    const tenants = this.#waiting.get(policy) ?? new Map<string, Waiting>()
    this.#waiting.set(policy, tenants)
    const voices: Waiting = tenants.get(tenant) ?? new Map()
    tenants.set(tenant, voices)
    const own = voices.get(voice) ?? { seen: 0, kept: [] }
    voices.set(voice, own)
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

/** As many as are read at once, one of each voice in turn: a busy one leaves room for all others. */
function inTurn(voices: Waiting): StoredEdge[] {
  const edges: StoredEdge[] = []
  const left = [...voices.values()].map(({ kept }) => shuffled(kept))
  for (let nth = 0; nth < AT_ONCE && edges.length < AT_ONCE; nth++) {
    for (const one of shuffled(left)) if (nth < one.length && edges.length < AT_ONCE) edges.push(one[nth]!)
  }
  return edges
}

/** Fisher & Yates. */
function shuffled<T>(items: readonly T[]): T[] {
  const drawn = [...items]
  for (let i = drawn.length - 1; i > 0; i--) {
    const k = Math.floor(Math.random() * (i + 1))
    ;[drawn[i], drawn[k]] = [drawn[k]!, drawn[i]!]
  }
  return drawn
}
