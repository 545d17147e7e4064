/**
 * Confidence sequence for the mean of observations that are bounded one by one, by betting: it holds at all times
 * together, so that it may be looked at after every observation (Waudby-Smith & Ramdas, "Estimating means of bounded
 * random variables by betting", JRSS B 2024, arXiv 2010.09686; one-sided bounds for importance-weighted rewards:
 * Waudby-Smith et al., arXiv 2210.10768, and Karampatziakis et al., arXiv 2102.09540).
 *
 * For each mean m of a grid two gamblers start with a capital of 1: one bets that the mean is above m, one that it is
 * below. If it is not, their capital is a supermartingale, and reaches 1 / alpha with probability alpha at most
 * (Ville's inequality). Stakes depend on what was seen before alone.
 *
 * The logarithms of capitals, and what the stakes need, are sums over observations: replicas add them in any order.
 */

/** Means that are tested, from -1 to 1 (differences of two rewards in [0, 1]), closest together around 0. */
const STEPS = 80
const GRID = Float64Array.from({ length: STEPS + 1 }, (_, i) => {
  const at = (2 * i) / STEPS - 1
  return at * Math.abs(at)
})

/** Layout of the sums: observations, their sum, the sum of their squares, then the log capitals above and below m. */
const COUNT = 0
const SUM = 1
const SQUARES = 2
const ABOVE = 3
const BELOW = ABOVE + GRID.length
export const SUMS = BELOW + GRID.length

/** One observation, with bounds known before it was made. */
export interface Observation {
  value: number
  /** value >= -below, and value <= above. */
  below: number
  above: number
}

/** An interval that holds the mean; `estimate` is the plain average. */
export interface Bounds {
  count: number
  estimate: number
  low: number
  high: number
}

/** Share of the capital that a stake may lose: less than all, so that no observation ruins a gambler. */
const LARGEST_STAKE = 0.75
/** What the stakes assume before anything was seen: a mean of 0 and this variance, worth so many observations. */
const PRIOR_VARIANCE = 0.25
const PRIOR_COUNT = 2

/**
 * What an observation adds to the sums, [SUMS].
 *
 * @param sums what was seen before, [SUMS]
 */
export function observe(sums: ArrayLike<number>, { value, below, above }: Observation): Float32Array {
  const added = new Float32Array(SUMS)
  added[COUNT] = 1
  added[SUM] = value
  added[SQUARES] = value * value
  const count = (sums[COUNT] ?? 0) + PRIOR_COUNT
  const mean = (sums[SUM] ?? 0) / count
  const variance = Math.max(1e-6, ((sums[SQUARES] ?? 0) + PRIOR_COUNT * PRIOR_VARIANCE) / count - mean * mean)
  for (let i = 0; i < GRID.length; i++) {
    const m = GRID[i] as number
    const gap = mean - m
    // About Kelly's stake for the mean and variance so far ("aGRAPA"); nobody bets against what was seen.
    const stake = Math.abs(gap) / (variance + gap * gap)
    if (gap > 0)
      added[ABOVE + i] = Math.log1p(Math.min(stake, LARGEST_STAKE / (below + Math.max(0, m) + 1e-9)) * (value - m))
    else if (gap < 0) {
      added[BELOW + i] = Math.log1p(Math.min(stake, LARGEST_STAKE / (above + Math.max(0, -m) + 1e-9)) * (m - value))
    }
  }
  return added
}

/**
 * The interval after all that was seen: the true mean leaves it, at any time, with probability `alpha` at most.
 *
 * @param sums [SUMS]; empty: nothing was seen
 */
export function boundsOf(sums: ArrayLike<number>, alpha: number): Bounds {
  const count = sums[COUNT] ?? 0
  if (count === 0) return { count: 0, estimate: 0, low: -1, high: 1 }
  const needed = Math.log(2 / alpha)
  let low = -1
  for (let i = 0; i < GRID.length && (sums[ABOVE + i] as number) >= needed; i++) low = GRID[i] as number
  let high = 1
  for (let i = GRID.length - 1; i >= 0 && (sums[BELOW + i] as number) >= needed; i--) high = GRID[i] as number
  return { count, estimate: (sums[SUM] as number) / count, low, high }
}
