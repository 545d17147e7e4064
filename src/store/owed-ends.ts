import type { Claim, ClaimRequest, Idempotency, Keeping } from './limits.ts'
import { StoreError } from './store.ts'

const RETRY_MS = 500
/** Beyond these an end is forgotten, and the key is free when its claim has run out. */
const MAX_OWED = 10_000
const MAX_OWED_BYTES = 64 * 1024 * 1024

interface End {
  tenant: string
  key: string
  bytes: number
  tell: () => Promise<unknown>
}

/**
 * Retries the ends of claims that the store could not take. Without it, the key of a failed request would stay taken,
 * and a request that was answered would be answered again after its claim has run out.
 */
export class OwedEnds implements Idempotency {
  readonly #store: Idempotency
  /** By token. */
  readonly #owed = new Map<string, End>()
  #bytes = 0
  #timer: NodeJS.Timeout | undefined

  constructor(store: Idempotency) {
    this.#store = store
  }

  async claim(request: ClaimRequest): Promise<Claim> {
    // A retry of the same client comes by here mostly: it need not wait for the timer.
    if (this.#owed.size > 0) {
      const { tenant, key } = request
      await this.#tell((end) => end.key === key && end.tenant === tenant)
    }
    return this.#store.claim(request)
  }

  async complete(tenant: string, key: string, token: string, response: Buffer, keeping: Keeping): Promise<boolean> {
    const tell = () => this.#store.complete(tenant, key, token, response, keeping)
    return this.#end(token, { tenant, key, bytes: response.length, tell }, tell)
  }

  async release(tenant: string, key: string, token: string): Promise<void> {
    const tell = () => this.#store.release(tenant, key, token)
    return this.#end(token, { tenant, key, bytes: 0, tell }, tell)
  }

  /** Tries once more what is left. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#tell(() => true).catch(() => {})
    clearTimeout(this.#timer)
  }

  async #end<T>(token: string, end: End, tell: () => Promise<T>): Promise<T> {
    try {
      return await tell()
    } catch (error) {
      if (error instanceof StoreError) this.#owe(token, end)
      throw error
    }
  }

  #owe(token: string, end: End): void {
    this.#forget(token)
    if (this.#owed.size >= MAX_OWED || this.#bytes + end.bytes > MAX_OWED_BYTES) return
    this.#owed.set(token, end)
    this.#bytes += end.bytes
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#tell(() => true).catch(() => {})
    }, RETRY_MS).unref()
  }

  #forget(token: string): void {
    this.#bytes -= this.#owed.get(token)?.bytes ?? 0
    this.#owed.delete(token)
  }

  /** @throws StoreError where one of them still can't be told */
  async #tell(which: (end: End) => boolean): Promise<void> {
    const telling = [...this.#owed].filter(([, end]) => which(end))
    await Promise.all(
      telling.map(async ([token, end]) => {
        try {
          await end.tell()
        } catch (error) {
          if (error instanceof StoreError) {
            this.#owe(token, end)
            throw error
          }
        }
        if (this.#owed.get(token) === end) this.#forget(token)
      }),
    )
  }
}
