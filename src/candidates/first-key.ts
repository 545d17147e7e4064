import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Config } from '../config/schema.ts'
import type { KeyRecord, Store } from '../store/store.ts'
import { hashKey, makeKey } from './keys.ts'

const NAME = 'first key'

/**
 * The first tenant key: made on the first start where there is none. It lies in the clear in a file that only its owner
 * can read, so that later starts show it again, until it is used for the first time, revoked or replaced.
 */
export class FirstKey {
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  /** The key, to be shown; null where it was used, or there are others. @throws StoreError */
  async show(store: Pick<Store, 'listKeys' | 'createKey'>, { tenants }: Config): Promise<string | null> {
    const keys = await store.listKeys()
    if (tenants.some(({ keys }) => keys.length > 0)) return this.#forget()
    const kept = existsSync(this.#file) ? readFileSync(this.#file, 'utf8').trim() : null
    if (kept !== null) {
      const now = Date.now()
      const valid = keys.filter(
        ({ revokedAt, expiresAt }) => revokedAt === null && (expiresAt === null || expiresAt > now),
      )
      if (valid.length === 1 && valid[0]?.hash === hashKey(kept)) return kept
      this.#forget()
    }
    // Also where the file is of a store that is gone, or of another one.
    if (keys.length > 0) return null
    const tenant = tenants[0]?.name ?? 'default'
    const { secret, record } = makeKey({ tenant, name: NAME, expiresAt: null, models: null, user: null, scopes: null })
    await store.createKey(record)
    writeFileSync(this.#file, `${secret}\n`, { mode: 0o600 })
    chmodSync(this.#file, 0o600)
    return secret
  }

  /** Whoever uses the key has it: the copy goes. */
  used({ name }: KeyRecord): void {
    if (name === NAME) this.#forget()
  }

  #forget(): null {
    try {
      rmSync(this.#file, { force: true })
    } catch {
      // A directory that is read-only now.
    }
    return null
  }
}
