import { LRUCache } from 'lru-cache'
import { ANONYMOUS } from '../candidates/tenants.ts'
import type { Logger } from '../observability/logger.ts'
import { dayOf, evidenceName, voiceOf } from '../routing/choose/evidence.ts'
import { lengthKey, lengthRow } from '../routing/choose/length-evidence.ts'
import type { Policy } from '../routing/policy.ts'
import { atMost } from '../runtime/lru.ts'
import type { InteractionRecord } from '../store/records/codec.ts'
import { summaryOf } from '../store/records/summary.ts'
import type { Store, StoredEdge } from '../store/store.ts'
import { type FindCandidate, messagesOf } from './belief.ts'
import { isFiniteVector } from './profile.ts'

/** The request that was answered. */
interface Asked {
  format?: string | undefined
  body: { n?: number | null }
  embedding: Float32Array | null
  /** How much it looks like agents' work, 0 to 1 (`toolShare`). */
  tools: number
}

export interface LengthsOptions {
  store: Pick<Store, 'addEvidence' | 'loadEvidence' | 'dropEvidence' | 'readInteractions'>
  find: FindCandidate
  /** Artifacts that serve somebody. */
  versions: () => Iterable<string>
  halfLifeDays: number
  log: Logger
  everyMs?: number
  now?: () => number
  /** 0 to 1. */
  random?: () => number
}

/** Ended as the model meant it to: an answer that was cut off says only that it would have been longer. */
const WHOLE: ReadonlySet<string> = new Set(['stop', 'tool_calls'])

/** Of a tenant, between two times at which they are read: a single run of `edge.onnx`. */
const AT_ONCE = 64

/**
 * Of one voice (`voiceOf`), a day and candidate, all are learned from, counted by each process for itself; of more, the
 * n-th with a chance of so many in n. That saves work, and who asks first on a day has no more say in it than others.
 */
const ALL_OF_A_VOICE = 16

/** Voices' counts in memory, some hundred bytes each; the one that has been quiet for longest goes. */
const MAX_COUNTS = 20_000

/** What waits to be learned of a tenant, by voice. */
type Waiting = Map<string, { seen: number; kept: Noted[] }>

interface Noted {
  user: string
  voice: string
  edge: StoredEdge
  embedding: Float32Array
  tools: number
}

/** Of the log of a user who is erased: hardly anybody is vouched for later only. */
const MOST_PAGES = 4

/** The most that an answer may differ from what its card makes expect, as a logarithm: a thousand times. */
const MOST_APART = Math.log(1_000)

/** An outcome of no weight: `edge.onnx` says of it how long the answer is, and of its quality nothing. */
const NOTHING_ELSE = { kind: 'outcome', reward: 0, weight: 1e-9, costUsd: -1 } as const

/**
 * Learns how much candidates write from every answer, rated or not: what a card makes expect of lengths, and so of
 * dollars, follows a tenant's own requests within tens of answers. Nothing else is learned of an answer here, and what
 * is kept is a sum by candidate and voice: who gets which, `lengthEvidence` says.
 */
export class Lengths {
  readonly #options: LengthsOptions
  readonly #now: () => number
  readonly #random: () => number
  readonly #waiting = new Map<Policy, Map<string, Waiting>>()
  readonly #counted = new LRUCache<string, { day: number; answers: number }>(atMost(MAX_COUNTS))
  #timer: NodeJS.Timeout | undefined
  #working: Promise<void> = Promise.resolve()

  constructor(options: LengthsOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#random = options.random ?? Math.random
  }

  note(policy: Policy | null, record: InteractionRecord, { format, body, embedding, tools }: Asked): void {
    const { completionTokens } = record.usage
    // Tokens of several answers say little of one, and a text that goes on is no answer.
    if (format === 'completions' || (body.n ?? 1) > 1) return
    if (!policy || record.usageEstimated || !WHOLE.has(record.finishReason) || !(completionTokens > 0)) return
    const { tenant, user, key = '', vouched = false } = record
    if (!record.reading || !embedding) return
    const voice = voiceOf({ user, key, vouched })
    // Beyond the first of a day few are looked at more closely.
    if (!this.#counts([policy.version, tenant, record.chosen, voice].join('\0'))) return
    const { id, ts, candidate, reading, reader, promptTokens } = summaryOf(record)
    const edge = { ...NOTHING_ELSE, id, interaction: id, ts, candidate, reading, reader, vector: null, seq: 0 }
    this.#keep(policy, tenant, { user, voice, embedding, tools, edge: { ...edge, promptTokens, completionTokens } })
    this.#timer ??= setTimeout(() => void this.flush(), this.#options.everyMs ?? 5_000).unref()
  }

  /** Learns from what waits. Losing some costs nothing: more answers come. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const waiting = [...this.#waiting].flatMap(([policy, tenants]) =>
      [...tenants].map(([tenant, voices]) => ({ policy, tenant, noted: inTurn(voices) })),
    )
    this.#waiting.clear()
    this.#working = this.#working.then(async () => {
      for (const { policy, tenant, noted } of waiting) {
        await this.#learn(policy, tenant, noted).catch((error: unknown) =>
          this.#options.log.warn({ err: error, tenant }, 'lengths of answers not learned'),
        )
      }
    })
    return this.#working
  }

  /**
   * Forgets what was measured for a user who is to be erased: what waits, and, where somebody vouched for them, the
   * sums that they are in, of the artifacts that serve. Others whose sums these were, too, are measured anew.
   *
   * @throws StoreError
   */
  async forget(tenant: string, user: string): Promise<void> {
    for (const tenants of this.#waiting.values()) {
      for (const own of tenants.get(tenant)?.values() ?? []) own.kept = own.kept.filter((one) => one.user !== user)
    }
    await this.#working
    if (user === ANONYMOUS || !(await this.#wasVouchedFor(tenant, user))) return
    const ending = evidenceName('', voiceOf({ user, key: '', vouched: true }))
    for (const version of new Set(this.#options.versions())) {
      const key = lengthKey(version)
      const names = [...(await this.#options.store.loadEvidence(tenant, key)).keys()]
      const theirs = names.filter((name) => name.endsWith(ending))
      if (theirs.length > 0) await this.#options.store.dropEvidence(tenant, key, theirs)
    }
  }

  async close(): Promise<void> {
    await this.flush()
  }

  /** Else they are in a key's sums, and whoever makes up users and erases them would reset others'. */
  async #wasVouchedFor(tenant: string, user: string): Promise<boolean> {
    let pages = 0
    for await (const page of this.#options.store.readInteractions({ tenant, user })) {
      if (page.some(({ vouched }) => vouched === true)) return true
      if (++pages >= MOST_PAGES) break
    }
    return false
  }

  /** Whether one answer more of this voice and candidate counts today. */
  #counts(of: string): boolean {
    const day = Math.floor(dayOf(this.#now()))
    const counted = this.#counted.get(of)
    const answers = (counted?.day === day ? counted.answers : 0) + 1
    // One that is there has just become the newest.
    if (counted) Object.assign(counted, { day, answers })
    else this.#counted.set(of, { day, answers })
    return answers <= ALL_OF_A_VOICE || this.#random() * answers < ALL_OF_A_VOICE
  }

  /** Evenly drawn where a voice has too many (reservoir sampling, Vitter 1985). */
  #keep(policy: Policy, tenant: string, noted: Noted): void {
    const tenants = this.#waiting.get(policy) ?? new Map<string, Waiting>()
    this.#waiting.set(policy, tenants)
    const voices: Waiting = tenants.get(tenant) ?? new Map()
    tenants.set(tenant, voices)
    const own = voices.get(noted.voice) ?? { seen: 0, kept: [] }
    voices.set(noted.voice, own)
    own.seen++
    const at = own.kept.length < AT_ONCE ? own.kept.length : Math.floor(Math.random() * own.seen)
    if (at < AT_ONCE) own.kept[at] = noted
  }

  async #learn(policy: Policy, tenant: string, noted: readonly Noted[]): Promise<void> {
    const { store, find, halfLifeDays } = this.#options
    const edges = noted.map(({ edge }) => edge)
    const found = (await messagesOf(policy, tenant, edges, find)).flatMap((messages, i) => {
      const { edge, voice, embedding, tools } = noted[i] as Noted
      const candidate = find(edge.candidate)
      return messages && candidate ? [{ ...edge, message: messages.llm, voice, embedding, tools, candidate }] : []
    })
    const expected = found.length > 0 ? await policy.router.tokensByCard(tenant, found) : []
    const sums = new Map<string, { sum: Float32Array; answers: number; apart: number }>()
    for (const [i, { candidate, voice, message, completionTokens }] of found.entries()) {
      const apart = Math.log(completionTokens / Math.max(1, expected[i] ?? Number.NaN))
      if (!Number.isFinite(apart)) continue
      const name = evidenceName(candidate.name, voice)
      const before = sums.get(name)
      sums.set(name, {
        sum: before ? before.sum.map((value, k) => value + (message[k] ?? 0)) : message,
        answers: (before?.answers ?? 0) + 1,
        apart: (before?.apart ?? 0) + Math.min(MOST_APART, Math.max(-MOST_APART, apart)),
      })
    }
    for (const [name, { sum, answers, apart }] of sums) {
      if (!isFiniteVector(sum)) continue
      const row = lengthRow(sum, answers, apart, this.#now())
      await store.addEvidence(tenant, lengthKey(policy.version), name, row, halfLifeDays)
    }
    if (sums.size > 0) policy.router.llms.refreshSoon(tenant)
  }
}

/** As many as are read at once, one of each voice in turn: a busy one leaves room for all others. */
function inTurn(voices: Waiting): Noted[] {
  const all: Noted[] = []
  const left = [...voices.values()].map(({ kept }) => shuffled(kept))
  for (let nth = 0; nth < AT_ONCE && all.length < AT_ONCE; nth++) {
    for (const one of shuffled(left)) if (nth < one.length && all.length < AT_ONCE) all.push(one[nth] as Noted)
  }
  return all
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
