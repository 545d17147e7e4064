import { Redis } from 'ioredis'
import type { RedisConfig } from '../../config/schema.ts'
import type { Invalidation } from '../store.ts'
import { StoreError } from '../store.ts'
import { type Argument, defineScripts, type RunScript, type Script } from './commands.ts'
import { createRedis, type RedisClient } from './connection.ts'
import { RedisGuard } from './guard.ts'
import * as keys from './keys.ts'
import { RedisTrouble } from './trouble.ts'

/**
 * A reservation waits so much longer for its reply: decided without it, it might be granted what another replica has
 * been granted meanwhile.
 */
const PATIENCE_FACTOR = 4
/** Off the request path a call may take so much longer than `command_timeout_ms`. */
const BATCH_DEADLINE_FACTOR = 8

/** The connection, with a guard before each part of it that may be away by itself. Calls reject with `StoreError`. */
export class RedisAccess {
  readonly client: RedisClient
  readonly #script: RunScript
  readonly #deadlineMs: number
  readonly #trouble: RedisTrouble
  readonly #guards = new Map<string, RedisGuard>()

  /** @throws Error when the configuration is wrong; not when Redis is away */
  constructor(config: RedisConfig) {
    this.client = createRedis(config)
    this.#trouble = new RedisTrouble(this.client)
    this.#script = defineScripts(this.client)
    this.#deadlineMs = config.command_timeout_ms
  }

  /** A single server answers or it does not; a cluster may do so for some tenants only. */
  get isDivided(): boolean {
    return !(this.client instanceof Redis)
  }

  readonly run = (tenant: string, script: Script, on: string[], args: Argument[]): Promise<unknown> =>
    this.ask(tenant, () => this.#script(script, on, args))

  readonly runPatiently = (tenant: string, script: Script, on: string[], args: Argument[]): Promise<unknown> =>
    this.#told(
      tenant,
      this.#guardOf(tenant).run(
        () => this.#script(script, on, args),
        this.#deadlineMs,
        this.#deadlineMs * PATIENCE_FACTOR,
      ),
    )

  readonly runLong = (tenant: string, script: Script, on: string[], args: Argument[]): Promise<unknown> =>
    this.askLong(tenant, () => this.#script(script, on, args))

  ask<T>(tenant: string, command: () => Promise<T>): Promise<T> {
    return this.#run(tenant, command)
  }

  /** With more time: for batches, off the request path. */
  askLong<T>(tenant: string, command: () => Promise<T>): Promise<T> {
    return this.#run(tenant, command, this.#deadlineMs * BATCH_DEADLINE_FACTOR)
  }

  #run<T>(tenant: string, command: () => Promise<T>, deadlineMs = this.#deadlineMs): Promise<T> {
    if (this.#trouble.isFatal) return Promise.reject(new StoreError(`Redis is refused: ${this.#trouble.current}`))
    return this.#told(tenant, this.#guardOf(tenant).run(command, deadlineMs))
  }

  /** Of a cluster it is told whose part failed. */
  #told<T>(of: string, work: Promise<T>): Promise<T> {
    if (!this.isDivided) return work
    return work.catch((error: unknown) => {
      if (!(error instanceof StoreError)) throw error
      const whose = of.startsWith('pr:') ? of : `tenant '${of}'`
      throw new StoreError(`${error.message} (the part of ${whose})`, { mayBeDone: error.mayBeDone, cause: error })
    })
  }

  close(): void {
    for (const guard of this.#guards.values()) guard.stop()
    this.client.disconnect()
  }

  /** @param of a tenant; or a key of all, whose part is another than that of those beside it */
  #guardOf(of: string): RedisGuard {
    const part = this.isDivided ? of : ''
    let guard = this.#guards.get(part)
    if (!guard) {
      // No tenant is called so.
      const probed = of.startsWith('pr:') ? of : keys.probe(of)
      guard = new RedisGuard(
        () => this.client.exists(probed),
        this.#deadlineMs,
        () => this.#trouble.current,
      )
      this.#guards.set(part, guard)
    }
    return guard
  }
}

/** The last arguments of every script that tells the other replicas. */
export const announcing = (change: Invalidation) => [keys.CHANGES, JSON.stringify(change)]
