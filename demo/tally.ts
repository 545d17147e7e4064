/** Mean, and its standard error. */
export class Mean {
  n = 0
  mean = 0
  #squares = 0

  add(value: number): void {
    this.n++
    const apart = value - this.mean
    this.mean += apart / this.n
    this.#squares += apart * (value - this.mean)
  }

  /** Takes in what another has seen (Chan et al. 1979). */
  join(other: Mean): void {
    const n = this.n + other.n
    if (n === 0) return
    const apart = other.mean - this.mean
    this.#squares += other.#squares + (apart * apart * this.n * other.n) / n
    this.mean += (apart * other.n) / n
    this.n = n
  }

  get standardError(): number {
    return this.n > 1 ? Math.sqrt(this.#squares / (this.n - 1) / this.n) : 0
  }
}

export interface Outcome {
  persona: string
  turn: number
  reward: number
  cost: number
  /** Reward of the answer that would have been best. */
  best: number
  /** Reward of the best single LLM's answer. */
  usual: number
}

/** One way of choosing, and how it fared. */
export class Tally {
  readonly name: string
  readonly reward = new Mean()
  readonly cost = new Mean()
  /** How much more the best answer to the question would have been worth. */
  readonly regret = new Mean()
  /** Reward by the user's n-th request. */
  readonly byTurn: Mean[] = []
  /** How much more than the best single LLM's answer to the same question, by the user's n-th request. */
  readonly aheadByTurn: Mean[] = []
  readonly byPersona = new Map<string, Mean>()
  /** How often it chose why. */
  readonly reasons = new Map<string, number>()

  constructor(name: string) {
    this.name = name
  }

  add({ persona, turn, reward, cost, best, usual }: Outcome): void {
    this.reward.add(reward)
    this.cost.add(cost)
    this.regret.add(best - reward)
    this.byTurn[turn] ??= new Mean()
    this.byTurn[turn].add(reward)
    this.aheadByTurn[turn] ??= new Mean()
    this.aheadByTurn[turn].add(reward - usual)
    if (!this.byPersona.has(persona)) this.byPersona.set(persona, new Mean())
    this.byPersona.get(persona)?.add(reward)
  }

  because(reason: string): void {
    this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1)
  }
}
