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

  get standardError(): number {
    return this.n > 1 ? Math.sqrt(this.#squares / (this.n - 1) / this.n) : 0
  }
}

/** One way of choosing, and how it fared. */
export class Tally {
  readonly name: string
  readonly reward = new Mean()
  readonly cost = new Mean()
  readonly regret = new Mean()
  /** Reward by the user's n-th request. */
  readonly byTurn: Mean[] = []

  constructor(name: string) {
    this.name = name
  }

  add(turn: number, reward: number, cost: number, best: number): void {
    this.reward.add(reward)
    this.cost.add(cost)
    this.regret.add(best - reward)
    this.byTurn[turn] ??= new Mean()
    this.byTurn[turn].add(reward)
  }
}
