import { createHash } from 'node:crypto'
import {
  type Claim,
  type ClaimRequest,
  type Idempotency,
  type Keeping,
  MAX_REPLAY_BYTES,
  MAX_REPLAYS,
} from '../limits.ts'
import { StoreError } from '../store.ts'
import type { RunFor } from './commands.ts'
import type { MostFor } from './health.ts'
import * as keys from './keys.ts'

export class RedisIdempotency implements Idempotency {
  readonly #run: RunFor
  readonly #mostFor: MostFor

  /** @param mostFor what Redis has to spare for answers */
  constructor(run: RunFor, mostFor: MostFor) {
    this.#run = run
    this.#mostFor = mostFor
  }

  async claim({ tenant, user, key, bodyHash, token, askedAt, ttlMs }: ClaimRequest): Promise<Claim> {
    const hash = hashOf(key)
    const [state, response] = (await this.#run(
      tenant,
      'claim',
      [
        keys.idempotencyKey(tenant, hash),
        keys.idempotencyKeys(tenant),
        keys.userLog(tenant, user),
        keys.voidClaim(tenant, token),
        keys.idempotencyBytes(tenant),
        keys.erased(tenant, user),
        keys.tenantErased(tenant),
      ],
      [hash, bodyHash, token, ttlMs, MAX_REPLAYS, keys.idempotencyKey(tenant, ''), askedAt ?? Date.now()],
    )) as [Buffer, Buffer?]
    if (response) return { state: 'done', response }
    const outcome = String(state) as 'claimed' | 'in_flight' | 'mismatch' | 'void'
    if (outcome === 'void') throw new StoreError('The claim was given up before it arrived.')
    return { state: outcome }
  }

  async complete(
    tenant: string,
    key: string,
    token: string,
    response: Buffer,
    { keepMs, maxBytes }: Keeping,
  ): Promise<boolean> {
    const most = await this.#mostFor(response.length, maxBytes)
    const fits = response.length <= Math.min(MAX_REPLAY_BYTES, most)
    const kept = await this.#end(tenant, key, [token, fits ? keepMs : 0, fits ? response : '', most])
    return kept && fits
  }

  async release(tenant: string, key: string, token: string): Promise<void> {
    await this.#end(tenant, key, [token, 0, '', 0])
  }

  async #end(
    tenant: string,
    key: string,
    [token, ...rest]: [token: string, keepMs: number, response: Buffer | string, maxBytes: number],
  ): Promise<boolean> {
    const hash = hashOf(key)
    const on = [
      keys.idempotencyKey(tenant, hash),
      keys.idempotencyKeys(tenant),
      keys.voidClaim(tenant, token),
      keys.idempotencyBytes(tenant),
    ]
    const args = [hash, token, ...rest, keys.idempotencyKey(tenant, '')]
    return (await this.#run(tenant, 'complete', on, args)) === 1
  }
}

const hashOf = (key: string) => createHash('sha256').update(key).digest('base64url')
