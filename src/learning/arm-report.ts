import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../observability/logger.ts'
import { dayOf } from '../routing/choose/evidence.ts'
import { type Store, StoreError } from '../store/store.ts'

/** What users think of the answers under one policy, so far, of all replicas. */
export interface ArmSummary {
  rewards: number
  mean: number
  /** 95 % interval of the mean; null for fewer than two rewards. */
  interval: readonly [low: number, high: number] | null
}

export interface ArmReportOptions {
  store: Pick<Store, 'loadEvidence' | 'addEvidence' | 'dropEvidence'>
  log: Pick<Logger, 'warn'>
  flushMs?: number
}

const NORMAL_95 = 1.96
const FLUSH_MS = 1_000
/** Whom the policies compared serve, of a tenant: its users alone, or those of all tenants without their own. */
export type Audience = 'own' | 'shared'
/** Keys of the sums in the store. */
const keyOf = (audience: Audience) => `arms:${audience}`
/** Layout of the sums: of squares, of rewards, and how many. */
const SUMS = 3
/** A stored number counts to 16.7 million exactly: sums of one policy lie in so many rows. */
const SHARDS = 4
/** Last in a stored row is the day of its last reward. Sums with a day fade: these in a million years. */
const HARDLY_FADES = 1e9
/** A policy of which nobody has rated an answer for so long serves nobody. */
const KEPT_DAYS = 30

type Sums = Float64Array
/** By tenant: why what was heard of theirs could not be brought to the store. */
type Failures = Map<string, unknown>

/**
 * Mean reward by policy version: tells whether a canary does better or worse. Sums lie in the store, to which each
 * replica adds what it has heard about once a second.
 */
export class ArmReport {
  readonly #options: ArmReportOptions
  /** By tenant, audience and policy: what the store has not yet. */
  #waiting = new Map<string, Map<string, Sums>>()
  #timer: Promise<void> | null = null
  #flushed: Promise<Failures> = Promise.resolve(new Map())

  constructor(options: ArmReportOptions) {
    this.#options = options
  }

  note(tenant: string, audience: Audience, policy: string, reward: number): void {
    add(this.#waitingFor(tenant, audience), policy, [reward * reward, reward, 1])
    this.#timer ??= this.#flushSoon()
  }

  /**
   * By policy, of these tenants together. Tenants with policies of their own are not each other's control group. Of
   * those whose part of the store is away (`missing`): what this process has not brought there yet.
   */
  async report(
    tenants: readonly string[],
    audience: Audience,
  ): Promise<{ arms: Record<string, ArmSummary>; missing: { tenant: string; reason: string }[] }> {
    const sums = new Map<string, Sums>()
    const missing: { tenant: string; reason: string }[] = []
    // Once for all: each try waits for a store that is away.
    const failures = await this.#flushInTurn()
    await Promise.all(
      tenants.map(async (tenant) => {
        try {
          if (failures.has(tenant)) throw failures.get(tenant)
          await this.#load(tenant, audience, sums)
        } catch (error) {
          const reason = (error as Error).message
          this.#options.log.warn({ reason, tenant }, 'rewards by policy not loaded')
          missing.push({ tenant, reason })
        }
      }),
    )
    for (const tenant of tenants) {
      for (const [policy, own] of this.#waitingFor(tenant, audience)) add(sums, policy, own)
    }
    const arms = Object.fromEntries([...sums].map(([policy, own]) => [policy, summaryOf(own)]))
    return { arms, missing }
  }

  #waitingFor(tenant: string, audience: Audience): Map<string, Sums> {
    const name = `${audience}:${tenant}`
    const policies = this.#waiting.get(name) ?? new Map<string, Sums>()
    this.#waiting.set(name, policies)
    return policies
  }

  async #load(tenant: string, audience: Audience, into: Map<string, Sums>): Promise<void> {
    const { store } = this.#options
    const outdated: string[] = []
    for (const [name, sums] of await store.loadEvidence(tenant, keyOf(audience))) {
      const day = sums[SUMS] ?? Number.POSITIVE_INFINITY
      if (day < dayOf(Date.now()) - KEPT_DAYS) outdated.push(name)
      else add(into, name.slice(0, name.lastIndexOf('#')), sums)
    }
    if (outdated.length > 0) await store.dropEvidence(tenant, keyOf(audience), outdated)
  }

  async #flushSoon(): Promise<void> {
    await sleep(this.#options.flushMs ?? FLUSH_MS, undefined, { ref: false })
    this.#timer = null
    // Where the store is out of reach: with what comes next.
    await this.flush().catch(() => undefined)
  }

  /**
   * Brings to the store what it has not yet. What surely did not arrive stays; what may have is not brought twice.
   *
   * @throws StoreError
   */
  async flush(): Promise<void> {
    for (const failure of (await this.#flushInTurn()).values()) throw failure
  }

  #flushInTurn(): Promise<Failures> {
    // One that fails otherwise than by its rows must not end those after it.
    this.#flushed = this.#flushed.catch(() => undefined).then(() => this.#flush())
    return this.#flushed
  }

  async #flush(): Promise<Failures> {
    const waiting = this.#waiting
    this.#waiting = new Map()
    const rows = [...waiting].flatMap(([name, policies]) => {
      const at = name.indexOf(':')
      const whose = { audience: name.slice(0, at) as Audience, tenant: name.slice(at + 1) }
      return [...policies].map(([policy, sums]) => ({ ...whose, policy, sums }))
    })
    const tried = await Promise.allSettled(
      rows.map(async ({ tenant, audience, policy, sums }) => {
        // Rows without a day, which an earlier version wrote, have other names.
        const name = `${policy}#d${Math.floor(Math.random() * SHARDS)}`
        const row = Float32Array.of(...sums, dayOf(Date.now()))
        return this.#options.store.addEvidence(tenant, keyOf(audience), name, row, HARDLY_FADES)
      }),
    )
    const failures: Failures = new Map()
    tried.forEach((one, i) => {
      const { tenant, audience, policy, sums } = rows[i]!
      if (one.status === 'fulfilled') return
      failures.set(tenant, one.reason)
      if (!mayHaveArrived(one.reason)) add(this.#waitingFor(tenant, audience), policy, sums)
    })
    return failures
  }
}

const mayHaveArrived = (error: unknown) => error instanceof StoreError && error.mayBeDone

function add(to: Map<string, Sums>, policy: string, more: ArrayLike<number>): void {
  const sums = to.get(policy) ?? new Float64Array(SUMS)
  for (let i = 0; i < SUMS; i++) sums[i]! += more[i]!
  to.set(policy, sums)
}

function summaryOf([squares = 0, sum = 0, n = 0]: Sums): ArmSummary {
  const mean = sum / n
  const variance = Math.max(0, squares - sum * mean) / (n - 1)
  const half = n > 1 ? NORMAL_95 * Math.sqrt(variance / n) : null
  return { rewards: n, mean, interval: half === null ? null : [mean - half, mean + half] }
}
