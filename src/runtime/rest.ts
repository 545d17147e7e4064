import { setTimeout as sleep } from 'node:timers/promises'

/** Of long work, so much is done in one turn of the event loop: others wait for it. */
export const STEP_MS = 2
/** All long work that a client can ask for gets a quarter of the time together. */
const REST_PER_WORK = 3
/** A step that took longer was held up by something else. */
const MOST_MS = 20
const LEAST_ROWS = 8

let restsUntil = 0

/**
 * A rest after a step of long work, three times as long as the step took: so others get three quarters of the time,
 * however much there is to do. What works beside it, of whichever tenant, rests in turn.
 *
 * @param perWork how much longer than the step
 */
export function restAfter(ms: number, perWork = REST_PER_WORK): Promise<void> {
  const now = performance.now()
  restsUntil = Math.max(restsUntil, now) + perWork * Math.min(MOST_MS, ms)
  return sleep(restsUntil - now)
}

/** How many rows a step of long work takes: as many as it did in `STEP_MS` before, fewer on a slow machine. */
export class StepSize {
  rows: number
  readonly #most: number
  readonly #least: number

  /**
   * @param least a step takes some time whatever its rows, and what others write in its transaction: where that alone
   * is `STEP_MS`, fewer rows make it no shorter, and the work would never end
   */
  constructor(most: number, least = LEAST_ROWS) {
    this.#most = most
    this.#least = Math.min(least, most)
    this.rows = this.#least
  }

  /** Notes how long a step of `rows` took. */
  took(ms: number): void {
    const fits = Math.floor((this.rows * STEP_MS) / Math.max(0.01, ms))
    this.rows = Math.max(this.#least, Math.min(this.#most, 2 * this.rows, fits))
  }
}

/**
 * Pages of long work: whenever their reader has worked on them for a while, it rests before the next.
 *
 * @param perWork as `restAfter`
 */
export async function* withRests<T>(pages: AsyncIterable<T>, perWork?: number): AsyncGenerator<T> {
  let worked = 0
  let from = performance.now()
  for await (const page of pages) {
    // A page is read in about that time: in the rest it waited for the store, or for others.
    worked += Math.min(STEP_MS / 2, performance.now() - from)
    from = performance.now()
    yield page
    worked += performance.now() - from
    if (worked >= STEP_MS) {
      await restAfter(worked, perWork)
      worked = 0
    }
    from = performance.now()
  }
}

/** Between two looks at the clock. */
const ITEMS_A_LOOK = 64

/** The same for what is in memory: one after the other. */
export async function eachWithRests<T>(all: Iterable<T>, work: (one: T) => void, perWork?: number): Promise<void> {
  let from = performance.now()
  let items = 0
  for (const one of all) {
    work(one)
    if (++items % ITEMS_A_LOOK !== 0) continue
    const ms = performance.now() - from
    if (ms < STEP_MS) continue
    await restAfter(ms, perWork)
    from = performance.now()
  }
}
