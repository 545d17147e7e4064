import { z } from 'zod'
import { modeSchema } from '../../config/schema.ts'
import type { Logger } from '../../observability/logger.ts'
import type { Store } from '../../store/store.ts'
import type { Mode } from './gains.ts'

/** A switch at another process, where the store tells no one of it (SQLite), shows within this time. */
const REFRESH_MS = 5_000

interface Known {
  mode: Mode | null
  loadedAt: number
}

/** Modes that the operator switched to while the gateway runs: they go before the configuration's. */
export class Modes {
  readonly #store: Pick<Store, 'loadMode' | 'saveMode'>
  readonly #log: Pick<Logger, 'warn'>
  readonly #known = new Map<string, Known>()

  constructor(store: Pick<Store, 'loadMode' | 'saveMode'>, log: Pick<Logger, 'warn'>) {
    this.#store = store
    this.#log = log
  }

  /** What is known in memory; looked up again in the background where that is old. Null: nobody switched. */
  of(tenant: string): Mode | null {
    const known = this.#known.get(tenant)
    if (!known || performance.now() - known.loadedAt > REFRESH_MS) {
      this.#known.set(tenant, { mode: known?.mode ?? null, loadedAt: performance.now() })
      this.refresh(tenant)
    }
    return known?.mode ?? null
  }

  /** In the background; what is known stays until the store answers. */
  refresh(tenant: string): void {
    this.load(tenant).catch((error: Error) => this.#log.warn({ reason: error.message, tenant }, 'mode not loaded'))
  }

  /** @throws StoreError */
  async load(tenant: string): Promise<Mode | null> {
    const mode = storedMode.parse(await this.#store.loadMode(tenant))
    this.#known.set(tenant, { mode, loadedAt: performance.now() })
    return mode
  }

  /** @param mode null: the configuration's. @throws StoreError */
  async set(tenant: string, mode: Mode | null): Promise<void> {
    await this.#store.saveMode(tenant, mode)
    this.#known.set(tenant, { mode, loadedAt: performance.now() })
  }

  /** Switches may have been missed: each tenant's mode is looked up again at its next request. */
  suspectAll(): void {
    for (const known of this.#known.values()) known.loadedAt = Number.NEGATIVE_INFINITY
  }
}

/** What a later version may have written counts as nothing. */
const storedMode = z.union([modeSchema, z.null()]).catch(null)
