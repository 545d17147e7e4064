import { costOf, type Llm, type Question, tokensOf } from './outcomes.ts'
import { normal, type Random } from './random.ts'

/** What a user cares for when they ask about one thing. */
interface Taste {
  quality: number
  cost: number
  /** Positive likes long answers. */
  length: number
}

/** One simulated person. Nothing of this is ever told to the gateway: it sees ratings alone. */
export interface User {
  id: string
  persona: string
  /** By the question's task. */
  tastes: Record<string, Taste>
  /** By vendor and by LLM. */
  likings: Record<string, number>
  /** A generous or a strict rater. */
  bias: number
}

/**
 * The six kinds of people of the benchmark, with its units and spreads (`router_model/data/population.py`); these ones
 * are new to the router. What an expert is outside of their subject: one who looks at the price.
 */
const PERSONAS: Record<string, Taste> = {
  'quality first': { quality: 0.46, cost: 0.02, length: 0 },
  'price first': { quality: 0.15, cost: 0.2, length: 0 },
  balanced: { quality: 0.32, cost: 0.1, length: 0 },
  terse: { quality: 0.26, cost: 0.05, length: -0.17 },
  thorough: { quality: 0.26, cost: 0.04, length: 0.15 },
  expert: { quality: 0.55, cost: 0.02, length: 0.03 },
}
const LOG10_COST = { centre: -3.5, scale: 0.8 }
const LOG_TOKENS = { centre: Math.log(150), scale: 0.9 }
const SPREAD = { factor: 0.3, offset: 0.04, task: 0.6, vendor: 0.09, llm: 0.07, bias: 0.15 }
const TASK_DEPENDENT = 0.4
const RATING_NOISE = 0.075

export function makeUsers(
  count: number,
  llms: readonly Llm[],
  tasks: readonly string[],
  random: Random,
  personas = PERSONAS,
): User[] {
  const names = Object.keys(personas)
  const liked = [...new Set(llms.map(({ vendor }) => vendor))]
  return Array.from({ length: count }, (_, index) => {
    const persona = names[index % names.length] as string
    const centre = personas[persona] as Taste
    const own = person(centre, random)
    const thrifty = person(PERSONAS['price first'] as Taste, random)
    const depends = random() < TASK_DEPENDENT
    const tasteOf = (): Taste => {
      const mine = persona === 'expert' ? 1 / (1 + Math.exp(-4 * normal(random))) : 1
      const mixed = (part: keyof Taste) => mine * own[part] + (1 - mine) * thrifty[part]
      const factor = () => (depends ? Math.exp(SPREAD.task * normal(random)) : 1)
      return { quality: mixed('quality') * factor(), cost: mixed('cost') * factor(), length: mixed('length') }
    }
    return {
      id: `user-${index}`,
      persona,
      tastes: Object.fromEntries(tasks.map((task) => [task, tasteOf()])),
      likings: Object.fromEntries([
        ...liked.map((vendor) => [vendor, SPREAD.vendor * normal(random)]),
        ...llms.map(({ name }) => [name, SPREAD.llm * normal(random)]),
      ]),
      bias: SPREAD.bias * normal(random),
    }
  })
}

/** Somebody near a persona's centre. */
function person(centre: Taste, random: Random): Taste {
  const near = (value: number) =>
    value * Math.exp(SPREAD.factor * normal(random) - SPREAD.factor ** 2 / 2) + SPREAD.offset * normal(random)
  return { quality: near(centre.quality), cost: near(centre.cost), length: near(centre.length) }
}

/** What this answer is worth to this user: about -1 to 1. */
export function utility(user: User, question: Question, llm: Llm): number {
  const taste = user.tastes[question.task] as Taste
  const right = 2 * (question.scores[llm.name] ?? 0) - 1
  const dear = (Math.log10(costOf(question, llm)) - LOG10_COST.centre) / LOG10_COST.scale
  const tokens = Math.max(tokensOf(question.chars[llm.name] ?? 0), 1)
  const long = (Math.log(tokens) - LOG_TOKENS.centre) / LOG_TOKENS.scale
  const liking = (user.likings[llm.vendor] ?? 0) + (user.likings[llm.name] ?? 0)
  return taste.quality * right - taste.cost * dear + taste.length * long + liking + user.bias
}

/** What they say of it: 0 to 1, with a person's noise. */
export function ratingOf(worth: number, random: Random): number {
  return Math.max(0, Math.min(1, (worth + 1) / 2 + RATING_NOISE * normal(random)))
}
