import { isSettled } from '../store/records/records.ts'
import type { RecordFilter } from '../store/store.ts'
import { type Answered, LOOKED, SAID, type Said } from './answered.ts'
import { type AgainstBaseline, BaselineDifferences, dayOf } from './baseline-differences.ts'
import { type ShadowValue, ShadowValues } from './shadow-values.ts'
import { type TradeOff, TradeOffs } from './trade-offs.ts'

const NORMAL_95 = 1.96

interface Log {
  readInteractions(filter: RecordFilter): AsyncIterable<Answered[]>
  readRewards(filter: RecordFilter): AsyncIterable<Said[]>
}

/** Requests of one kind: one model's, one day's, those that the router or the baseline answered. */
export interface Part {
  requests: number
  failed: number
  cost_usd: number
  /** What the baseline would have cost for the same tokens; of requests where that is known. */
  baseline_usd: number
  /** `baseline_usd` less what these requests did cost; negative: they were dearer. */
  saved_usd: number
  ratings: number
  /** Mean of what users said themselves, -1 to 1, with its 95 % interval; null without (or with one) rating. */
  reward: number | null
  reward_interval: readonly [low: number, high: number] | null
  /** Milliseconds until the first output, and until the last. */
  ttft_ms_median: number | null
  total_ms_median: number | null
}

export interface Report {
  object: 'report'
  tenant: string
  /** ISO 8601, UTC. */
  since: string
  until: string
  /** Artifact versions that chose, the latest last. */
  policies: string[]
  total: Part
  /**
   * Who chose: `route`, `baseline`, `holdout`; `explicit`: the client named a model; `stated`: the user said who
   * answers such.
   */
  by_arm: Record<string, Part>
  by_model: Record<string, Part>
  /** Artifact versions, as they are compared in a canary: whichever replica answered. */
  by_policy: Record<string, Part>
  /** UTC days. */
  by_day: Record<string, Part>
  /** Users by what was known of them: `new`, `known`, `regular`; where a baseline is configured. */
  by_group: Record<string, Part>
  /** The router less the baseline, in reward, cost and latency. */
  against_baseline: AgainstBaseline
  /** Reward over cost, had a dollar weighed more or less. */
  trade_offs: TradeOff[]
  /** Shadow policies, by their version, in place of the live one. */
  shadows: Record<string, ShadowValue>
}

/**
 * What a tenant's requests cost and what users thought of them, from the log.
 *
 * Read twice, in batches: ratings first, of which the latest of an answer and user counts; a rating of an answer
 * outside the time that is asked for counts for nothing.
 */
export async function makeReport(
  store: Log,
  { tenant, since, until }: Required<Pick<RecordFilter, 'tenant' | 'since' | 'until'>>,
): Promise<Report> {
  const ratings = await ratingsOf(store, { tenant, since })
  const total = new Sums()
  const policies = new Map<string, number>()
  const tradeOffs = new TradeOffs()
  const differences = new BaselineDifferences()
  const shadows = new ShadowValues()
  const parts = {
    by_arm: new Map<string, Sums>(),
    by_model: new Map<string, Sums>(),
    by_policy: new Map<string, Sums>(),
    by_day: new Map<string, Sums>(),
    by_group: new Map<string, Sums>(),
  }
  for await (const batch of store.readInteractions({ tenant, since, until, fields: LOOKED })) {
    for (const record of batch) {
      const rating = ratings.get(`${record.id}\0${record.user}`)?.value
      total.add(record, rating)
      tradeOffs.add(record, rating)
      differences.add(record, rating)
      shadows.add(record, rating)
      policies.set(record.policy, record.ts)
      sumsOf(parts.by_arm, record.arm ?? (isSettled(record) ? record.reason : 'route')).add(record, rating)
      sumsOf(parts.by_model, record.chosen).add(record, rating)
      if (!isSettled(record)) sumsOf(parts.by_policy, record.policy).add(record, rating)
      sumsOf(parts.by_day, dayOf(record.ts)).add(record, rating)
      if (record.group) sumsOf(parts.by_group, record.group).add(record, rating)
    }
  }
  const shown = (sums: Map<string, Sums>) =>
    Object.fromEntries([...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, part]) => [name, part.part()]))
  return {
    object: 'report',
    tenant,
    since: new Date(since).toISOString(),
    until: new Date(until).toISOString(),
    policies: [...policies].sort(([, a], [, b]) => a - b).map(([version]) => version),
    total: total.part(),
    by_arm: shown(parts.by_arm),
    by_model: shown(parts.by_model),
    by_policy: shown(parts.by_policy),
    by_day: shown(parts.by_day),
    by_group: shown(parts.by_group),
    against_baseline: differences.report(),
    trade_offs: await tradeOffs.points(),
    shadows: shadows.report(),
  }
}

type Rated = Pick<Said, 'ts' | 'value'>

/** By answer and user. */
async function ratingsOf(store: Log, filter: RecordFilter): Promise<Map<string, Rated>> {
  const latest = new Map<string, Rated>()
  for await (const batch of store.readRewards({ ...filter, fields: SAID })) {
    for (const { kind, interaction, user, ts, value } of batch) {
      const id = `${interaction}\0${user}`
      if (kind === 'rating' && ts >= (latest.get(id)?.ts ?? 0)) latest.set(id, { ts, value })
    }
  }
  return latest
}

function sumsOf(parts: Map<string, Sums>, name: string): Sums {
  const sums = parts.get(name) ?? new Sums()
  parts.set(name, sums)
  return sums
}

/** So many times are kept for a median, evenly drawn (reservoir sampling, Vitter 1985). */
const RESERVOIR = 1_024

class Times {
  #seen = 0
  readonly #kept: number[] = []

  add(ms: number): void {
    this.#seen++
    const at = this.#kept.length < RESERVOIR ? this.#kept.length : Math.floor(Math.random() * this.#seen)
    if (at < RESERVOIR) this.#kept[at] = ms
  }

  get median(): number | null {
    return this.#kept.toSorted((a, b) => a - b)[this.#kept.length >> 1] ?? null
  }
}

class Sums {
  #requests = 0
  #failed = 0
  #cost = 0
  #baseline = 0
  #saved = 0
  #ratings = 0
  #mean = 0
  #squares = 0
  readonly #ttft = new Times()
  readonly #total = new Times()

  add(record: Answered, rating: number | undefined): void {
    this.#requests++
    if (record.status >= 400 || record.finishReason === 'error') this.#failed++
    this.#cost += record.costUsd
    if (record.baselineUsd != null) {
      this.#baseline += record.baselineUsd
      this.#saved += record.baselineUsd - record.costUsd
    }
    if (record.ttftMs !== null) {
      this.#ttft.add(record.ttftMs)
      this.#total.add(record.totalMs)
    }
    if (rating === undefined) return
    this.#ratings++
    const apart = rating - this.#mean
    this.#mean += apart / this.#ratings
    this.#squares += apart * (rating - this.#mean)
  }

  part(): Part {
    const half = NORMAL_95 * Math.sqrt(this.#squares / (this.#ratings - 1) / this.#ratings)
    return {
      requests: this.#requests,
      failed: this.#failed,
      cost_usd: this.#cost,
      baseline_usd: this.#baseline,
      saved_usd: this.#saved,
      ratings: this.#ratings,
      reward: this.#ratings === 0 ? null : this.#mean,
      reward_interval: this.#ratings < 2 ? null : [this.#mean - half, this.#mean + half],
      ttft_ms_median: this.#ttft.median,
      total_ms_median: this.#total.median,
    }
  }
}
