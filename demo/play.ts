import OpenAI from 'openai'
import type { Llm, Question } from './outcomes.ts'
import { type Random, seeded } from './random.ts'
import { ratingOf, type User, utility } from './users.ts'

export interface Game {
  gateway: { url: string; key: string }
  users: readonly User[]
  questions: readonly Question[]
  llms: readonly Llm[]
  /** Requests of each user. */
  turns: number
  seed: number
  /** Requests at once, of different users. */
  inFlight?: number
  /** No request starts after this, in milliseconds of `performance.now()`. */
  until?: number
  onAnswer?: (answer: Answer) => void
}

export interface Answer {
  /** Of the request. */
  id: string
  user: User
  /** From 0: which of their requests it was. */
  turn: number
  question: Question
  llm: Llm
  /** `personal`, `explore`, `fallback`, … */
  reason: string
  /** What it was worth to them: -1 to 1. */
  worth: number
}

/** Every user asks, reads, rates, and asks again. Which questions, and how they rate, depends on the seed alone. */
export async function play(game: Game): Promise<void> {
  const { gateway, users, turns, seed, inFlight = 16, until = Number.POSITIVE_INFINITY } = game
  const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: gateway.key, maxRetries: 0 })
  const randoms = new Map(users.map((user, i) => [user, seeded(seed * 100_003 + i)]))
  const busy = new Map<User, Promise<void>>()
  const queue = Array.from({ length: turns }, (_, turn) => users.map((user) => ({ user, turn })))
    .flat()
    .values()

  const work = async () => {
    for (const { user, turn } of queue) {
      if (performance.now() > until) return
      // A person reads an answer before they ask the next question.
      const asked = (busy.get(user) ?? Promise.resolve()).then(() =>
        ask(client, game, user, turn, randoms.get(user) as Random),
      )
      busy.set(user, asked)
      await asked
    }
  }
  await Promise.all(Array.from({ length: inFlight }, work))
}

async function ask(client: OpenAI, game: Game, user: User, turn: number, random: Random): Promise<void> {
  const question = game.questions[Math.floor(random() * game.questions.length)] as Question
  const { response } = await client.chat.completions
    .create(
      { model: 'auto', messages: [{ role: 'user', content: question.query }] },
      { headers: { 'x-user-id': user.id } },
    )
    .withResponse()
  const name = response.headers.get('x-router-model')
  const llm = game.llms.find((one) => one.name === name)
  if (!llm) throw new Error(`answered by ${name}, which is none of the candidates`)
  const worth = utility(user, question, llm)
  const id = response.headers.get('x-request-id') ?? ''
  await client.post('/feedback', {
    body: { request_id: id, rating: ratingOf(worth, random) },
    headers: { 'x-user-id': user.id },
  })
  const reason = response.headers.get('x-router-reason')?.split(';')[0] ?? ''
  game.onAnswer?.({ id, user, turn, question, llm, reason, worth })
}
