import { Mean } from './tally.ts'

/**
 * A share of the requests to one LLM, the others to a second: what can be had without a router, at any cost between.
 */
export interface Mix {
  llms: readonly [string, string]
  /** Share of the first. */
  share: number
}

export interface Comparison {
  /** At the router's mean cost. */
  mix: Mix
  /** Reward of the mix, and how much more the router earns, request by request. */
  reward: number
  ahead: Mean
  /** What the cheapest mix costs that earns as much as the router; null where none does. */
  costOfEqual: number | null
}

interface Request {
  reward: number
  cost: number
  rewards: readonly number[]
  costs: readonly number[]
}

interface Point {
  name: string
  cost: number
  reward: number
}

/**
 * What fixed LLMs would have earned and cost on the very same requests: their means, and the upper hull of these, which
 * mixes of two LLMs reach (as in the quality-cost curves of RouterBench, arXiv 2403.12031).
 */
export class Frontier {
  readonly #names: readonly string[]
  readonly #requests: Request[] = []

  constructor(names: readonly string[]) {
    this.#names = names
  }

  /** One request: what the router's choice earned and cost, and what each LLM would have, in the order of the names. */
  add(reward: number, cost: number, rewards: readonly number[], costs: readonly number[]): void {
    this.#requests.push({ reward, cost, rewards, costs })
  }

  /** The router beside the best that fixed LLMs offer at its cost, and at its reward. */
  compare(): Comparison {
    const mean = (of: (request: Request) => number) =>
      this.#requests.reduce((sum, request) => sum + of(request), 0) / this.#requests.length
    const hull = upperHull(
      this.#names.map((name, i) => ({
        name,
        cost: mean(({ costs }) => costs[i] as number),
        reward: mean(({ rewards }) => rewards[i] as number),
      })),
    )
    const cost = mean((request) => request.cost)
    const reward = mean((request) => request.reward)
    const { from, to, share } = along(hull, ({ cost: at }) => at, cost)
    const [a, b] = [this.#names.indexOf(from.name), this.#names.indexOf(to.name)]
    const ahead = new Mean()
    for (const { reward: own, rewards } of this.#requests) {
      ahead.add(own - share * (rewards[a] as number) - (1 - share) * (rewards[b] as number))
    }
    const best = hull.at(-1) as Point
    const equal = along(hull, ({ reward: at }) => at, reward)
    return {
      mix: { llms: [from.name, to.name], share },
      reward: share * from.reward + (1 - share) * to.reward,
      ahead,
      costOfEqual: reward > best.reward ? null : equal.share * equal.from.cost + (1 - equal.share) * equal.to.cost,
    }
  }
}

/** From the cheapest to the one of the most reward, each worth its cost: slopes fall. */
function upperHull(points: readonly Point[]): Point[] {
  const hull: Point[] = []
  for (const point of [...points].sort((a, b) => a.cost - b.cost || b.reward - a.reward)) {
    if (hull.length > 0 && point.reward <= (hull.at(-1) as Point).reward) continue
    while (hull.length > 1 && slope(hull.at(-2) as Point, hull.at(-1) as Point) <= slope(hull.at(-1) as Point, point))
      hull.pop()
    hull.push(point)
  }
  return hull
}

const slope = (a: Point, b: Point) => (b.reward - a.reward) / (b.cost - a.cost || Number.MIN_VALUE)

/** The two neighbours on the hull between which `value` lies, and the share of the first; beyond the ends, the end. */
function along(hull: readonly Point[], of: (point: Point) => number, value: number) {
  const after = hull.findIndex((point) => of(point) >= value)
  const to = hull[after < 0 ? hull.length - 1 : after] as Point
  const from = hull[Math.max(0, (after < 0 ? hull.length : after) - 1)] as Point
  const share = after <= 0 ? (after < 0 ? 0 : 1) : (of(to) - value) / (of(to) - of(from))
  return { from: after < 0 ? to : from, to, share }
}
