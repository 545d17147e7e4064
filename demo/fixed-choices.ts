import type { Llm, Question } from './outcomes.ts'
import { type User, utility } from './users.ts'

/**
 * What a team without a router could choose at best: the LLM whose answers are worth most to these users together. In
 * hindsight.
 */
export const bestFor = (users: readonly User[], questions: readonly Question[], llms: readonly Llm[]): Llm =>
  most(llms, (llm) => sum(users, (user) => sum(questions, (question) => utility(user, question, llm))))

export const cheapestOf = (llms: readonly Llm[]): Llm => most(llms, ({ price }) => -price.output)

function most<T>(items: readonly T[], worth: (item: T) => number): T {
  const values = items.map(worth)
  return items[values.indexOf(Math.max(...values))] as T
}

const sum = <T>(items: readonly T[], of: (item: T) => number) => items.reduce((total, item) => total + of(item), 0)
