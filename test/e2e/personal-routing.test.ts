import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { call, complete, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { completionBody, type Script, startUpstream, type Upstream } from '../support/upstream.ts'

type Kind = 'cheap and short' | 'dear and long'

const CANDIDATES = [
  { name: 'pico', price: { input: 0.05, output: 0.1 }, size_b: 3, description: 'Small, fast, terse.' },
  { name: 'nano', price: { input: 0.1, output: 0.2 }, size_b: 8, description: 'Small, for short answers.' },
  { name: 'grand', price: { input: 3, output: 15 }, size_b: 400, description: 'Frontier model, thorough.' },
  { name: 'opus', price: { input: 5, output: 25 }, size_b: 600, description: 'Frontier model, long answers.' },
]
const kindOf = (name: string): Kind => (name === 'pico' || name === 'nano' ? 'cheap and short' : 'dear and long')

/** Answers as the model's price says: a few words, or an essay. */
const byModel: Script = (exchange) => {
  const short = kindOf(String(exchange.json.model)) === 'cheap and short'
  const usage = { prompt_tokens: 20, completion_tokens: short ? 12 : 700 }
  exchange.reply(
    200,
    completionBody(short ? 'Yes.' : 'Well. '.repeat(600), {
      id: `chatcmpl-${Math.random()}`,
      usage: { ...usage, total_tokens: usage.prompt_tokens + usage.completion_tokens },
    }),
  )
}

const TOPICS = [
  'rivers',
  'tax law',
  'sourdough',
  'Rust lifetimes',
  'the French Revolution',
  'knee pain',
  'chess openings',
  'poems',
  'prime numbers',
  'gardening',
]
const lesson = (i: number) => `Tell me something about ${TOPICS[i % TOPICS.length]}, please.`
/** Questions that nobody rates. */
const EXAM = [
  'How do vaccines work?',
  'Write a limerick.',
  'Sort a list in Python.',
  'What is 17 * 23?',
  'Plan a weekend in Rome.',
  'Why is the sky blue?',
  'Translate "good night".',
  'Explain inflation.',
]

let upstream: Upstream

beforeAll(async () => {
  upstream = await startUpstream(byModel)
})
afterAll(() => upstream?.close())

const config = () => ({
  providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
  candidates: CANDIDATES.map((candidate) => ({
    ...candidate,
    provider: 'up',
    context_window: 128_000,
    capabilities: ['tools'],
  })),
})

/** Asks like any user, and says of each answer whether it was of the kind that they like. */
async function useAndRate(gateway: RunningGateway, user: string, likes: Kind, ratings: number): Promise<void> {
  for (let i = 0; i < ratings; i++) {
    const response = await complete(gateway, { messages: [{ role: 'user', content: lesson(i) }] }, { user })
    expect(response.status).toBe(200)
    const { id } = await response.json()
    const rating = kindOf(String(response.headers.get('x-router-model'))) === likes ? 'up' : 'down'
    expect((await call(gateway, '/v1/feedback', { user, body: { completion_id: id, rating } })).status).toBe(202)
  }
}

const examine = (gateway: RunningGateway, user: string) =>
  Promise.all(EXAM.map((question) => explain(gateway, question, { user })))

const kinds = (answers: { chosen: string }[]) => new Set(answers.map(({ chosen }) => kindOf(chosen)))

describe('one process, SQLite', () => {
  let gateway: RunningGateway

  beforeAll(async () => {
    gateway = await startGateway(config())
  })
  afterAll(() => discard(gateway))

  test('ten ratings, and each user is sent where they are pleased; a third is not moved', async () => {
    const before = await examine(gateway, 'cleo')
    await useAndRate(gateway, 'ada', 'cheap and short', 10)
    await useAndRate(gateway, 'ben', 'dear and long', 10)

    const [ada, ben, cleo] = [
      await examine(gateway, 'ada'),
      await examine(gateway, 'ben'),
      await examine(gateway, 'cleo'),
    ]
    expect(kinds(ada)).toEqual(new Set(['cheap and short']))
    expect(kinds(ben)).toEqual(new Set(['dear and long']))
    for (const answer of [...ada, ...ben]) {
      expect(answer.reason).toBe('personal')
      expect(answer.user.rewards).toBe(10)
    }
    expect(cleo.map(({ chosen }) => chosen)).toEqual(before.map(({ chosen }) => chosen))
    for (const answer of cleo) {
      expect(answer.reason).toBe('cold_start')
      expect(answer.user.rewards).toBe(0)
    }
  })

  test('and the answers come from there: the headers say so', async () => {
    for (const [user, kind] of [
      ['ada', 'cheap and short'],
      ['ben', 'dear and long'],
    ] as const) {
      for (const content of EXAM) {
        const response = await complete(
          gateway,
          { messages: [{ role: 'user', content }] },
          { user, headers: { 'x-router-explore': 'off' } },
        )
        expect(kindOf(String(response.headers.get('x-router-model')))).toBe(kind)
        expect(response.headers.get('x-router-reason')).toBe('personal')
        await response.text()
      }
    }
  })

  test('one rating changes the very next decision', async () => {
    const scores = async () => {
      const { candidates } = await explain(gateway, 'Why?', { user: 'dora' })
      return new Map(candidates.map(({ name, mean }) => [name, mean]))
    }
    const before = await scores()
    await useAndRate(gateway, 'dora', 'cheap and short', 1)
    const after = await scores()
    const gap = (of: Map<string, number>) => (of.get('pico') ?? 0) - (of.get('opus') ?? 0)
    expect(gap(after)).toBeGreaterThan(gap(before))
  })

  test('a later rating of the same answer takes the place of the earlier one', async () => {
    const response = await complete(gateway, {}, { user: 'eve' })
    const { id } = await response.json()
    for (const rating of ['up', 'down', 'up'])
      await call(gateway, '/v1/feedback', { user: 'eve', body: { completion_id: id, rating } })
    const profile = await (await call(gateway, '/v1/users/eve/profile')).json()
    expect(profile.rewards_counted).toBe(1)
    expect(profile.history).toMatchObject([{ reward: 1, candidate: response.headers.get('x-router-model') }])
  })

  test('kill -9 right after the last rating, and start again: nothing is forgotten', async () => {
    await useAndRate(gateway, 'fay', 'dear and long', 10)
    const before = await explain(gateway, 'How do vaccines work?', { user: 'fay' })
    await gateway.stop('SIGKILL')
    gateway = await startGateway(config(), { dir: gateway.dir })
    const after = await explain(gateway, 'How do vaccines work?', { user: 'fay' })
    expect(after.user.rewards).toBe(10)
    expect(after.chosen).toBe(before.chosen)
    expect(kinds(await examine(gateway, 'ada'))).toEqual(new Set(['cheap and short']))
    expect(kinds(await examine(gateway, 'fay'))).toEqual(new Set(['dear and long']))
  })

  test('erased, a user starts anew', async () => {
    expect((await call(gateway, '/v1/users/fay/profile', { method: 'DELETE' })).status).toBe(200)
    expect((await explain(gateway, 'Why?', { user: 'fay' })).user.rewards).toBe(0)
    expect((await call(gateway, '/v1/users/fay/profile')).status).toBe(404)
  })
})

describe('two processes, one Redis', () => {
  let redis: RedisServer
  let a: RunningGateway
  let b: RunningGateway

  beforeAll(async () => {
    redis = await startRedis()
    const store = { kind: 'redis', url: redis.url }
    ;[a, b] = await Promise.all([startGateway({ ...config(), store }), startGateway({ ...config(), store })])
  })
  afterAll(async () => {
    await Promise.all([discard(a), discard(b)])
    await redis?.discard()
  })

  test("feedback given at A changes B's next decision", async () => {
    // B keeps what it knows of both in memory from here on.
    for (const user of ['ada', 'ben']) expect((await explain(b, 'Why?', { user })).user.rewards).toBe(0)
    await useAndRate(a, 'ada', 'cheap and short', 10)
    await useAndRate(a, 'ben', 'dear and long', 10)
    for (const user of ['ada', 'ben']) {
      await eventually(async () => (await explain(b, 'Why?', { user })).user.rewards === 10, `B knows ${user}`, 5_000)
    }
    expect(kinds(await examine(b, 'ada'))).toEqual(new Set(['cheap and short']))
    expect(kinds(await examine(b, 'ben'))).toEqual(new Set(['dear and long']))
  })

  test('an answer of A can be rated at B, at once', async () => {
    const response = await complete(a, {}, { user: 'cleo' })
    const body = { request_id: response.headers.get('x-request-id'), rating: 'up' }
    await response.text()
    const accepted = await eventually(
      async () => {
        const rated = await call(b, '/v1/feedback', { user: 'cleo', body })
        return rated.status === 202
      },
      'B finds the answer of A',
      5_000,
    )
    expect(accepted).toBe(true)
    await eventually(
      async () => (await explain(a, 'Why?', { user: 'cleo' })).user.rewards === 1,
      'A knows of it',
      5_000,
    )
  })
})
