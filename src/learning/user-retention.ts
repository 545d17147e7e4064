import type { Config } from '../config/schema.ts'
import type { Logger } from '../observability/logger.ts'
import { eachOnItsOwn } from '../runtime/each.ts'
import type { Store } from '../store/store.ts'

const DAY_MS = 86_400_000
const EVERY_MS = 3_600_000
const NEXT_SLICE_MS = 50

export interface UserRetentionOptions {
  store: Pick<Store, 'dropIdleUsers'>
  /** In force. */
  config: () => Pick<Config, 'privacy' | 'tenants'>
  log: Logger
  everyMs?: number
}

/** Drops what was learned and stated of users who have not been here for `user_retention_days`, now and then. */
export class UserRetention {
  readonly #options: UserRetentionOptions
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: UserRetentionOptions) {
    this.#options = options
    this.#again(options.everyMs ?? EVERY_MS)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  /** One round over all tenants, in slices. @returns how many users went. @throws StoreError */
  async sweep(): Promise<number> {
    const { store, config } = this.#options
    const { privacy, tenants } = config()
    let total = 0
    await eachOnItsOwn(tenants, async ({ name, user_retention_days: days = privacy.user_retention_days }) => {
      for (let from = ''; !this.#closed; ) {
        const { dropped, next } = await store.dropIdleUsers(name, Date.now() - days * DAY_MS, from)
        total += dropped
        if (next === '') break
        from = next
        await new Promise((resolve) => setTimeout(resolve, NEXT_SLICE_MS).unref())
      }
    })
    return total
  }

  #again(ms: number): void {
    this.#timer = setTimeout(() => {
      this.sweep()
        .then((users) => users > 0 && this.#options.log.info({ users }, 'users who were not here for long are dropped'))
        .catch((err) => this.#options.log.warn({ err }, 'users who were not here for long are dropped later'))
        .finally(() => this.#closed || this.#again(ms))
    }, ms).unref()
  }
}
