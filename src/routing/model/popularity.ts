/**
 * Standard deviation, in reward, of how far what usual people would like of an LLM's answers is from what other kinds
 * of people like of them: as `MISFIT` in `router_model/priors/people.py`.
 */
const MISFIT = 0.2

/**
 * What a tenant's users said of an LLM [V], as far as it says how well liked that LLM is (the last two numbers:
 * precision and information). That is measured against what usual people would like. Where others are frequent it is
 * also their taste in prices, which their kind tells already, and which more voices do not average out: so the mean of
 * what is said stays as it is, but no number of voices makes it surer than that misfit, times how frequent they are.
 *
 * @param people how frequent each kind of people is at the tenant, [J], the usual ones first; none: all are usual
 */
export function popularAmong(people: ArrayLike<number>, sum: Float32Array): Float32Array {
  const others = people.length > 0 ? 1 - (people[0] as number) : 0
  const [precision, information] = sum.subarray(-2) as unknown as [number, number]
  // Sums of voices that took something back may be below zero, by rounding.
  const share = 1 / (1 + Math.max(0, precision) * (MISFIT * others) ** 2)
  const made = sum.slice()
  made.set([share * precision, share * information], sum.length - 2)
  return made
}
