import { type Amounts, type Limits, REMEMBER_MS, type Reservation, type ReserveRequest } from './limits.ts'
import type { Argument, Script } from './redis-commands.ts'
import * as keys from './redis-keys.ts'

/** Runs a script for a tenant, within the usual deadline. */
export type RunFor = (tenant: string, script: Script, on: string[], args: Argument[]) => Promise<unknown>

export class RedisLimits implements Limits {
  readonly #run: RunFor

  constructor(run: RunFor) {
    this.#run = run
  }

  async reserve({ tenant, id, limits, amounts, ttlMs }: ReserveRequest): Promise<Reservation> {
    const reply = (await this.#run(
      tenant,
      'reserve',
      [
        keys.reservations(tenant),
        keys.reservation(tenant, id),
        ...limits.map(({ scope, what, window }) => keys.counter(tenant, `${scope}:${what}:${window}`)),
      ],
      [
        id,
        ttlMs,
        REMEMBER_MS,
        keys.reservation(tenant, ''),
        ...limits.flatMap(({ window, what, max }) => [window, what, max, amounts[what]]),
      ],
    )) as [number, ...Buffer[]]
    const [refused, ...numbers] = reply
    return {
      granted: refused === 0,
      refusedBy: limits[refused - 1] ?? null,
      states: limits.map((_, i) => ({ remaining: Number(numbers[2 * i]), resetMs: Number(numbers[2 * i + 1]) })),
    }
  }

  async settle(tenant: string, id: string, { requests, tokens, nanoUsd }: Amounts): Promise<boolean> {
    const on = [keys.reservations(tenant), keys.reservation(tenant, id)]
    return (await this.#run(tenant, 'settle', on, [id, requests, tokens, nanoUsd])) === 1
  }
}
