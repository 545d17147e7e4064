/** What users think of the answers under one policy, so far, in this process. */
export interface ArmSummary {
  rewards: number
  mean: number
  /** 95 % interval of the mean; null for fewer than two rewards. */
  interval: readonly [low: number, high: number] | null
}

const NORMAL_95 = 1.96

type Arms = Map<string, { n: number; mean: number; squares: number }>

/**
 * Mean reward by policy version: tells whether a canary does better or worse. Constant memory (Welford's running
 * variance).
 */
export class ArmReport {
  readonly #audiences = new Map<string, Arms>()

  /** @param audience whom the policies compared serve: tenants' users are not each other's control group */
  note(audience: string, policy: string, reward: number): void {
    const arms: Arms = this.#audiences.get(audience) ?? new Map()
    this.#audiences.set(audience, arms)
    const arm = arms.get(policy) ?? { n: 0, mean: 0, squares: 0 }
    const apart = reward - arm.mean
    arm.n++
    arm.mean += apart / arm.n
    arm.squares += apart * (reward - arm.mean)
    arms.set(policy, arm)
  }

  report(audience: string): Record<string, ArmSummary> {
    return Object.fromEntries(
      [...(this.#audiences.get(audience) ?? [])].map(([policy, { n, mean, squares }]) => {
        const half = n > 1 ? NORMAL_95 * Math.sqrt(squares / (n - 1) / n) : null
        return [policy, { rewards: n, mean, interval: half === null ? null : [mean - half, mean + half] }]
      }),
    )
  }
}
