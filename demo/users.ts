import { costOf, type Llm, type Question } from './outcomes.ts'
import { normal, type Random } from './random.ts'

/** What one simulated person cares for. Nothing of it is ever told to the gateway: it sees ratings alone. */
export interface User {
  id: string
  persona: string
  quality: number
  cost: number
  /** Positive likes long answers. */
  length: number
  vendor: string | null
}

type Taste = Pick<User, 'quality' | 'cost' | 'length'>

const PERSONAS: Record<string, Taste & { loyal?: boolean }> = {
  'quality first': { quality: 0.8, cost: 0.05, length: 0 },
  'price first': { quality: 0.35, cost: 0.55, length: 0 },
  balanced: { quality: 0.55, cost: 0.25, length: 0 },
  terse: { quality: 0.45, cost: 0.1, length: -0.4 },
  thorough: { quality: 0.45, cost: 0.05, length: 0.35 },
  loyal: { quality: 0.4, cost: 0.15, length: 0, loyal: true },
}
const SPREAD = 0.08
const RATING_NOISE = 0.1

export function makeUsers(count: number, llms: readonly Llm[], random: Random): User[] {
  const names = Object.keys(PERSONAS)
  const vendors = [...new Set(llms.map(({ vendor }) => vendor))]
  return Array.from({ length: count }, (_, index) => {
    const persona = names[index % names.length] as string
    const { loyal, ...taste } = PERSONAS[persona] as Taste & { loyal?: boolean }
    const spread = (value: number) => value + SPREAD * normal(random)
    return {
      id: `user-${index}`,
      persona,
      quality: Math.max(0, spread(taste.quality)),
      cost: Math.max(0, spread(taste.cost)),
      length: spread(taste.length),
      vendor: loyal ? (vendors[Math.floor(random() * vendors.length)] as string) : null,
    }
  })
}

/** What this answer is worth to this user: -1 to 1. */
export function utility(user: User, question: Question, llm: Llm): number {
  const right = 2 * (question.scores[llm.name] ?? 0) - 1
  const dear = (Math.log10(costOf(question, llm)) + 3.2) / 1.2
  const long = (Math.log10(Math.max(question.chars[llm.name] ?? 1, 1)) - 2.8) / 0.4
  const liking = user.vendor === null ? 0 : llm.vendor === user.vendor ? 0.4 : -0.1
  const value = user.quality * right - user.cost * dear + user.length * long + liking
  return Math.max(-1, Math.min(1, value))
}

/** What he says of it: 0 to 1, with a person's noise. */
export function ratingOf(worth: number, random: Random): number {
  return Math.max(0, Math.min(1, (worth + 1) / 2 + RATING_NOISE * normal(random)))
}
