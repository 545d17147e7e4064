import { FairTimer } from '../../runtime/fair-timer.ts'
import { inTime } from '../../runtime/in-time.ts'
import { StoreError } from '../store.ts'
import { redisCause } from './trouble.ts'

const FAILURES_TO_OPEN = 3
const PROBE_MS = 250

/** The server answers, but not as it should: what was asked may work later. */
const REFUSALS = /\b(OOM|READONLY|MISCONF|NOREPLICAS|NOAUTH|WRONGPASS|NOPERM|TRYAGAIN|MOVED|ASK)\b/
/** It answers, but can't serve. */
const OUTAGES = /\b(LOADING|CLUSTERDOWN|MASTERDOWN|BUSY|UNBLOCKED)\b/

/** ioredis, where there is no connection to send it by. */
const NOT_SENT = /enableOfflineQueue/

const SILENT = 'there is no connection yet'

/** Redis could not be asked, or did not answer in time: counted by the breaker. */
class Outage extends StoreError {}

/**
 * Stands before a Redis server (or a tenant's part of a cluster): every call has a deadline, and after a few failures
 * in a row calls fail without being sent. No request is used to try whether it is back: `probe` is, by a
 * timer.
 */
export class RedisGuard {
  readonly #probe: () => Promise<unknown>
  readonly #deadlineMs: number
  readonly #whyNotConnected: () => string | null
  /** Outages in a row. */
  #outages = 0
  #timer: NodeJS.Timeout | undefined
  #lastError = ''

  /** @param whyNotConnected what ioredis told of the connection, since calls fail without a cause */
  constructor(probe: () => Promise<unknown>, deadlineMs: number, whyNotConnected: () => string | null = () => null) {
    this.#probe = probe
    this.#whyNotConnected = whyNotConnected
    this.#deadlineMs = deadlineMs
  }

  /**
   * @param deadlineMs another deadline than the usual: for batches, off the request path
   * @param patienceMs how long a reply is waited for, though from the deadline on it counts as an outage
   * @throws StoreError when Redis can't be reached, does not answer in time, or refuses for now. Other errors are ours,
   * and come as they are.
   */
  async run<T>(work: () => Promise<T>, deadlineMs = this.#deadlineMs, patienceMs = deadlineMs): Promise<T> {
    if (this.#isAway) throw new StoreError(`Redis is away: ${this.#lastError}`)
    let isLate = false
    const late =
      patienceMs > deadlineMs
        ? new FairTimer(deadlineMs, () => {
            isLate = true
            this.#count()
          })
        : null
    try {
      const result = await this.#attempt(work, patienceMs)
      if (!isLate && !this.#isAway) this.#outages = 0
      return result
    } catch (error) {
      if (!isLate && error instanceof Outage) this.#count()
      throw error
    } finally {
      late?.clear()
    }
  }

  /** Of calls that were out together, one starts the probes. */
  #count(): void {
    if (!this.#isAway && ++this.#outages === FAILURES_TO_OPEN) this.#probeLater()
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  get #isAway(): boolean {
    return this.#outages >= FAILURES_TO_OPEN
  }

  async #attempt<T>(work: () => Promise<T>, deadlineMs: number): Promise<T> {
    try {
      return await inTime(work(), deadlineMs, () => {
        throw new Outage(`no answer within ${deadlineMs} ms`, { mayBeDone: true })
      })
    } catch (error) {
      const translated = translate(error, this.#whyNotConnected)
      if (translated instanceof StoreError) this.#lastError = translated.message
      throw translated
    }
  }

  #probeLater(): void {
    this.#timer = setTimeout(async () => {
      try {
        await this.#attempt(this.#probe, this.#deadlineMs)
        this.#outages = 0
      } catch {
        this.#probeLater()
      }
    }, PROBE_MS).unref()
  }
}

/** Without what was sent: ioredis puts the command and its arguments on its errors, and those are users' data. */
export function translate(error: unknown, whyNotConnected: () => string | null = () => null): unknown {
  if (!(error instanceof Error) || error instanceof StoreError) return error
  if (NOT_SENT.test(error.message)) return new Outage(whyNotConnected() ?? SILENT)
  if (error.name !== 'ReplyError') return new Outage(redisCause(error), { mayBeDone: true })
  delete (error as { command?: unknown }).command
  if (OUTAGES.test(error.message)) return new Outage(error.message)
  if (REFUSALS.test(error.message)) return new StoreError(redisCause(error))
  return error
}
