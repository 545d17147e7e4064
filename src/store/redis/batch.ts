import { microBatch } from '../../runtime/micro-batch.ts'
import { jsonArgument } from './commands.ts'
import { translate } from './guard.ts'

/** Redis does nothing else while a script runs. */
const OPERATIONS_PER_SCRIPT = 64
const SOON_MS = 5

/** As `commands/batch.lua` says: its name, then its arguments. */
export type BatchOperation = (string | number)[]

interface Operation {
  args: BatchOperation
  resolve: (reply: unknown) => void
  reject: (error: unknown) => void
}

/** Runs `batch.lua` for a tenant, within the usual deadline. */
export type RunBatch = (tenant: string, operations: Buffer) => Promise<unknown>

/**
 * What a tenant's requests ask of Redis together (`microBatch`) goes as one call of one script: a call costs the two
 * processes more than what it does there (docs/profile.md). In order; each succeeds or fails for itself.
 */
export class RedisBatch {
  readonly #run: RunBatch
  /** Calls without a reply so far. */
  #sent = 0
  #onAnswered: (() => void) | undefined
  #waiting = new Map<string, Operation[]>()
  #timer: NodeJS.Timeout | undefined

  constructor(run: RunBatch) {
    this.#run = run
  }

  /**
   * @param when `soon`: no caller waits for the result, so it may travel with the next operation that is asked for
   * `now`
   * @throws StoreError
   */
  ask(tenant: string, args: BatchOperation, when: 'now' | 'soon' = 'now'): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const operation = { args, resolve, reject }
      const operations = this.#waiting.get(tenant)
      if (operations) operations.push(operation)
      else this.#waiting.set(tenant, [operation])
      if (when === 'now') microBatch(this.#flush)
      else this.#timer ??= setTimeout(this.#flush, SOON_MS)
    })
  }

  /** Resolves when all has been answered. */
  async close(): Promise<void> {
    this.#flush()
    if (this.#sent > 0) await new Promise<void>((answered) => (this.#onAnswered = answered))
  }

  readonly #flush = () => {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const waiting = this.#waiting
    this.#waiting = new Map()
    for (const [tenant, operations] of waiting) {
      for (let i = 0; i < operations.length; i += OPERATIONS_PER_SCRIPT) {
        void this.#send(tenant, operations.slice(i, i + OPERATIONS_PER_SCRIPT))
      }
    }
  }

  async #send(tenant: string, operations: readonly Operation[]): Promise<void> {
    this.#sent++
    try {
      const replies = (await this.#run(tenant, jsonArgument(operations.map(({ args }) => args)))) as unknown[]
      for (const [i, { resolve, reject }] of operations.entries()) {
        const reply = replies[i]
        if (reply instanceof Error) reject(translate(reply))
        else resolve(reply)
      }
    } catch (error) {
      for (const { reject } of operations) reject(error)
    } finally {
      if (--this.#sent === 0) this.#onAnswered?.()
    }
  }
}
