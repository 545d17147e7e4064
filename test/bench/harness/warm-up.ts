import type { Asked, Bench } from './bench.ts'
import type { Subject } from './subjects.ts'

/** V8 is far from done optimising after one of these. */
const WINDOW_REQUESTS = 5_000
/** A slow peer would take minutes for so many. */
const WINDOW_SECONDS_MOST = 8
const SECONDS_MOST = 90
/** Cheaper by less than this is not cheaper. */
const TELLS = 0.05

/**
 * Asks a subject until its price no longer falls.
 *
 * @param most requests, a chunk of a stream counts as one; below a window it is a mere start
 * @returns requests, chunks counted
 */
export async function warmUp(bench: Bench, subject: Subject, most: number, asked: Asked = {}): Promise<number> {
  const until = performance.now() + SECONDS_MOST * 1e3
  const costs: number[] = []
  let done = 0
  while (done < most && performance.now() < until && !isWarm(costs)) {
    const windowEnds = performance.now() + WINDOW_SECONDS_MOST * 1e3
    let [requests, cpuUs] = [0, 0]
    while (requests < Math.min(WINDOW_REQUESTS, most) && performance.now() < windowEnds) {
      const round = await bench.round(subject, { ...asked, seconds: 0.45 })
      requests += round.requests * (asked.chunks ?? 1)
      cpuUs += round.cpuUs * round.requests
    }
    costs.push(cpuUs / requests)
    done += requests
  }
  return done
}

/** Neither of the last two windows tells a lower price than the windows before them. */
export function isWarm(costs: readonly number[]): boolean {
  const before = costs.slice(0, -2)
  return before.length > 0 && Math.min(...costs.slice(-2)) > (1 - TELLS) * Math.min(...before)
}
