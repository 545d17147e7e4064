import { setTimeout as sleep } from 'node:timers/promises'

const MOST_MS = 50

/**
 * A rest after a step of long work, as long as the step took: so others get at least half of the time, however much
 * there is to do.
 *
 * @param from when the step began, on `performance.now()`'s clock
 */
export const restSince = (from: number): Promise<void> => sleep(Math.min(MOST_MS, performance.now() - from))
