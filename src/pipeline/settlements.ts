import type { Amounts, Limits } from '../store/limits.ts'

const RETRY_MS = 1_000
const MAX_PENDING = 10_000

interface Settlement {
  tenant: string
  id: string
  amounts: Amounts
}

/**
 * Settles reservations off the request path. What the store can't take now is tried again until it is back; a
 * settlement counts once however often it is sent.
 */
export class Settlements {
  readonly #limits: Limits
  readonly #onError: () => void
  #pending: Settlement[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(limits: Limits, onError: () => void) {
    this.#limits = limits
    this.#onError = onError
  }

  settle(tenant: string, id: string, amounts: Amounts): void {
    void this.#send({ tenant, id, amounts })
  }

  /** Tries once more what is left. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    await Promise.all(
      this.#take().map((settlement) => this.#limits.settle(settlement.tenant, settlement.id, settlement.amounts)),
    ).catch(() => {})
  }

  async #send(settlement: Settlement): Promise<void> {
    try {
      await this.#limits.settle(settlement.tenant, settlement.id, settlement.amounts)
    } catch {
      this.#onError()
      // Beyond the bound a reservation expires by itself, and its upper estimate is given back.
      if (this.#pending.length < MAX_PENDING) this.#pending.push(settlement)
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined
        for (const waiting of this.#take()) void this.#send(waiting)
      }, RETRY_MS).unref()
    }
  }

  #take(): Settlement[] {
    const pending = this.#pending
    this.#pending = []
    return pending
  }
}
