import {
  type Amounts,
  type Charge,
  isScarce,
  type Limit,
  type LimitState,
  type Limits,
  limitName,
  REMEMBER_MS,
  type Reservation,
  type ReserveRequest,
  type Settled,
} from '../limits.ts'
import type { BatchOperation, RedisBatch } from './batch.ts'

/** As `batch.lua` numbers them. */
const SETTLED: readonly Settled[] = ['before', 'now', 'unknown']

export class RedisLimits implements Limits {
  readonly #batch: RedisBatch
  readonly #count: () => number
  /** Reservations that others may soon be waiting for. */
  readonly #scarce = new Set<string>()

  /** @param count processes that use this Redis */
  constructor(batch: RedisBatch, count: () => number) {
    this.#batch = batch
    this.#count = count
  }

  get replicas(): number {
    return this.#count()
  }

  async reserve({ tenant, id, limits, amounts, ttlMs }: ReserveRequest): Promise<Reservation> {
    const { requests, tokens, nanoUsd } = amounts
    const operation: BatchOperation = ['reserve', id, ttlMs, REMEMBER_MS, requests, tokens, nanoUsd]
    for (const limit of limits) operation.push(limitName(limit), limit.max)
    const numbers = (await this.#batch.ask(tenant, operation)) as number[]
    const refused = numbers[0] ?? 0
    const states = statesOf(limits, numbers, 1)
    const granted = refused === 0
    const reservation = { granted, refusedBy: limits[refused - 1] ?? null, states }
    if (isScarce({ limits }, reservation)) this.#scarce.add(id)
    return reservation
  }

  async settle(tenant: string, id: string, { requests, tokens, nanoUsd }: Amounts): Promise<Settled> {
    const when = this.#scarce.delete(id) ? 'now' : 'soon'
    const settled = await this.#batch.ask(tenant, ['settle', id, requests, tokens, nanoUsd], when)
    return SETTLED[settled as number] as Settled
  }

  async look(tenant: string, limits: readonly Limit[]): Promise<LimitState[]> {
    if (limits.length === 0) return []
    const numbers = await this.#batch.ask(tenant, ['look', '', ...limits.map(limitName)])
    return statesOf(limits, numbers as number[], 0)
  }

  async charge({ tenant, id, at, limits, amounts: { requests, tokens, nanoUsd } }: Charge): Promise<void> {
    const names = limits.map(limitName)
    await this.#batch.ask(tenant, ['charge', id, REMEMBER_MS, at, requests, tokens, nanoUsd, ...names])
  }

  async restore(tenant: string, limit: Parameters<Limits['restore']>[1], amount: number): Promise<void> {
    await this.#batch.ask(tenant, ['restore', limitName(limit), Math.round(amount)])
  }
}

/** From `start` on three numbers a limit: used, milliseconds until its window ends, whether there was no counter. */
const statesOf = (limits: readonly Limit[], numbers: readonly number[], start: number): LimitState[] =>
  limits.map(({ max }, i) => {
    const at = start + 3 * i
    const used = numbers[at] as number
    return {
      used,
      remaining: Math.max(0, max - used),
      resetMs: numbers[at + 1] as number,
      isNew: numbers[at + 2] === 1,
    }
  })
