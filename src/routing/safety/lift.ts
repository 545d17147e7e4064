import type { Observation } from './confidence-sequence.ts'

/**
 * What one answer can tell of the router's gain over the baseline: importance weight of the router's policy less that
 * of the baseline, of the candidate that answered, and the least and the largest over all that might have. Known before
 * the answer is rated, so that it can be kept beside it.
 */
export interface Lift {
  weight: number
  least: number
  largest: number
}

/**
 * Weights under exact propensities; null where the log can't tell what the baseline would have got: it never answers
 * such a request, nor does the router always choose it.
 *
 * @param drawn propensities with which candidates answer
 * @param routed propensities with which the router would choose; the baseline answers with what is missing to `drawn`
 * @param chosen index of the one that answered
 * @param baseline index of the baseline, -1 where it can't answer this request
 */
export function liftOf(
  drawn: readonly number[],
  routed: readonly number[],
  chosen: number,
  baseline: number,
): Lift | null {
  const weightOf = (i: number) => ((routed[i] ?? 0) - (i === baseline ? 1 : 0)) / (drawn[i] as number)
  const possible = drawn.flatMap((p, i) => (p > 0 ? [i] : []))
  if (!possible.includes(baseline) || !possible.includes(chosen)) return null
  // A candidate that the router would choose and that never answers: its part of the gain stays unseen.
  if (routed.some((p, i) => p > 0 && !possible.includes(i))) return null
  const weights = possible.map(weightOf)
  return { weight: weightOf(chosen), least: Math.min(...weights), largest: Math.max(...weights) }
}

/**
 * One rated answer as an observation whose mean is the router's gain, for rewards in [0, 1]. The reward is taken from
 * `centre`, which changes no mean (weights add up to nothing in expectation) and makes it smaller: so its bounds, too.
 *
 * @param centre a guess of the reward from earlier ones alone, in [0, 1]
 */
export function gainOf({ weight, least, largest }: Lift, reward: number, centre: number): Observation {
  return {
    value: (reward - centre) * weight,
    below: Math.max(centre * largest, (1 - centre) * -least, 0),
    above: Math.max((1 - centre) * largest, centre * -least, 0),
  }
}

/**
 * One comparison of an answer with the baseline's own to the same question, as an observation: its mean is how much
 * more often the router's answer is preferred. Like a preference, 1 for the better answer and 0 for the other.
 *
 * @param lift of the answer, which is not the baseline's
 * @param preferred 1: it is better than the baseline's, -1: worse, 0: neither
 */
export function preferenceOf({ weight, largest }: Lift, preferred: -1 | 0 | 1): Observation {
  return { value: weight * preferred, below: largest, above: largest }
}
