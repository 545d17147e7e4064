import { type Amounts, type Charge, type Limits, NO_AMOUNTS, type ReserveRequest } from '../../store/limits.ts'
import { StoreError } from '../../store/store.ts'
import type { Held, LocalCounts } from './local-counts.ts'

const RETRY_MS = 500
/** Ended requests that are kept in memory; what comes after them is in the spool alone. */
const MAX_CHARGES = 10_000

/** A request that was granted without the store, and is in work. */
interface Open {
  request: ReserveRequest
  held: Held
}

/**
 * What the store is to be told of one tenant's requests when it can be asked again. Until then the tenant is counted
 * here: a reservation that went past what is owed would find a budget that is spent already.
 */
export class Owed {
  readonly #limits: Limits
  readonly #counts: LocalCounts
  readonly #onSettled: () => void
  readonly #charges = new Map<string, { charge: Charge; held: Held | null }>()
  readonly #open = new Map<string, Open>()
  #timer: NodeJS.Timeout | undefined
  /** All that is owed is on its way: what is asked for now arrives after it. */
  isSettling = false

  /** @param onSettled nothing is owed any more */
  constructor(limits: Limits, counts: LocalCounts, onSettled: () => void) {
    this.#limits = limits
    this.#counts = counts
    this.#onSettled = onSettled
    this.#retryLater()
  }

  get size(): number {
    return this.#charges.size + this.#open.size
  }

  /** A request was granted without the store. */
  began(request: ReserveRequest, held: Held): void {
    this.#open.set(request.id, { request, held })
  }

  /** A request has ended, and the store does not know what it came to. */
  charge(charge: Charge, held: Held | null): void {
    this.#open.delete(charge.id)
    if (this.#charges.size < MAX_CHARGES) this.#charges.set(charge.id, { charge, held })
  }

  /** Tells the store all that is owed, in one go. @returns whether it has taken it */
  async settle(): Promise<boolean> {
    clearTimeout(this.#timer)
    this.isSettling = true
    const telling = [
      ...[...this.#open.values()].map((open) => this.#adopt(open)),
      ...[...this.#charges.values()].map(({ charge, held }) => this.#send(charge, held)),
    ]
    const told = await Promise.allSettled(telling)
    this.isSettling = false
    const isDone = told.every(({ status }) => status === 'fulfilled') && this.size === 0
    if (isDone) this.#onSettled()
    else this.#retryLater()
    return isDone
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #retryLater(): void {
    this.#timer = setTimeout(() => void this.settle(), RETRY_MS).unref()
  }

  /** What has been granted is reserved, whatever is left. */
  async #adopt({ request, held }: Open): Promise<void> {
    const limits = request.limits.map((limit) => ({ ...limit, max: Number.MAX_SAFE_INTEGER }))
    await takes(this.#limits.reserve({ ...request, limits }))
    // Unless it has ended meanwhile: then it is charged, and that settles the reservation.
    if (this.#open.delete(request.id)) this.#counts.moved(held, request.amounts)
  }

  async #send(charge: Charge, held: Held | null): Promise<void> {
    await takes(this.#limits.charge(charge))
    this.#charges.delete(charge.id)
    if (!held) return
    this.#counts.moved(held, charge.amounts)
    this.#counts.settled(held, charge.amounts)
  }
}

/** What the store will never take must not keep the tenant here for ever. @throws StoreError */
async function takes(work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (error) {
    if (error instanceof StoreError) throw error
  }
}

/** What frees a reservation that may have been made. */
export const nothingOf = ({ tenant, id, limits }: ReserveRequest, at: number): Charge => ({
  tenant,
  id,
  at,
  limits,
  amounts: NO_AMOUNTS satisfies Amounts,
})
