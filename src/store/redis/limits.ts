import { type Amounts, type Limits, REMEMBER_MS, type Reservation, type ReserveRequest } from '../limits.ts'
import type { BatchOperation, RedisBatch } from './batch.ts'

export class RedisLimits implements Limits {
  readonly #batch: RedisBatch
  /** Reservations that others may soon be waiting for. */
  readonly #scarce = new Set<string>()

  constructor(batch: RedisBatch) {
    this.#batch = batch
  }

  async reserve({ tenant, id, limits, amounts, ttlMs }: ReserveRequest): Promise<Reservation> {
    const { requests, tokens, nanoUsd } = amounts
    const operation: BatchOperation = ['reserve', id, ttlMs, REMEMBER_MS, requests, tokens, nanoUsd]
    for (const { scope, what, window, max } of limits) operation.push(`${scope}:${what}:${window}`, max)
    const [refused = 0, ...numbers] = (await this.#batch.ask(tenant, operation)) as number[]
    const states = limits.map((_, i) => ({ remaining: numbers[2 * i]!, resetMs: numbers[2 * i + 1]! }))
    const granted = refused === 0
    if (granted && limits.some(({ window, max }, i) => window === 'flight' && states[i]!.remaining < max / 2)) {
      this.#scarce.add(id)
    }
    return { granted, refusedBy: limits[refused - 1] ?? null, states }
  }

  async settle(tenant: string, id: string, { requests, tokens, nanoUsd }: Amounts): Promise<boolean> {
    const when = this.#scarce.delete(id) ? 'now' : 'soon'
    return (await this.#batch.ask(tenant, ['settle', id, requests, tokens, nanoUsd], when)) === 1
  }
}
