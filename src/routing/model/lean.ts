/**
 * Leans a belief by information about single weights, as if it had been part of the prior: the mean moves by C b, less
 * and less as the covariance C shrinks with what the user says. What is known of other weights moves along.
 *
 * @param states rows of a mean [K] and a covariance [K, K]
 * @param at where the row begins that is to lean
 */
export function lean(
  states: Float32Array,
  at: number,
  weights: number,
  information: readonly [number, number][],
): void {
  for (const [weight, said] of information) {
    for (let i = 0; i < weights; i++) {
      states[at + i]! += said * (states[at + weights * (1 + i) + weight] as number)
    }
  }
}
