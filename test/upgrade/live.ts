import { adminCall, type CallOptions, call, complete } from '../support/clients.ts'
import { type RunningGateway, TEST_KEY } from '../support/gateway.ts'
import { LONG, OPEN_KEY } from './world.ts'

/** An answer that somebody had. */
export interface Answer {
  user: string
  key: string
  /** Ours, and the provider's. */
  request: string
  completion: string
}

/** What a gateway's clients hold after `live`. */
export interface Memories {
  keys: Record<string, string>
  answers: Answer[]
  /** Ids of a chain, oldest first; of the user `cyd`. */
  responses: string[]
  /** The last turns of `ada`'s conversation `chat-ada`, as her client would send them again. */
  turns: Message[]
}

export interface Message {
  role: string
  content: string
}

export const QUESTIONS = ['What is 17 * 23?', 'Why is the sky blue?', 'Sort a list in Python.', 'Write a limerick.']
const ask = (content: string): Message => ({ role: 'user', content })

async function ok(response: Response): Promise<Response> {
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`)
  return response
}

/** Asks, and remembers the answer. */
async function answered(
  gateway: RunningGateway,
  memories: Memories,
  user: string,
  body: Record<string, unknown>,
  { key = TEST_KEY, ...options }: CallOptions = {},
): Promise<Answer & { text: string }> {
  const response = await ok(await complete(gateway, body, { user, key, ...options }))
  const whole = await response.text()
  const completion = /"id":\s*"([^"]+)"/.exec(whole)?.[1] ?? ''
  const answer = { user, key, request: response.headers.get('x-request-id') ?? '', completion }
  memories.answers.push(answer)
  const text = whole.startsWith('{') ? JSON.parse(whole).choices[0].message.content : ''
  return { ...answer, text }
}

export const rate = async (gateway: RunningGateway, answer: Answer, said: Record<string, unknown>): Promise<void> => {
  const body = { request_id: answer.request, ...said }
  await ok(await call(gateway, '/v1/feedback', { user: answer.user, key: answer.key, body }))
}

/**
 * What a gateway goes through in some months, in a second: users who rate in every way, conversations, chains of
 * responses, keys of all sorts, a user who is erased, one who has spent what they may.
 */
export async function live(gateway: RunningGateway): Promise<Memories> {
  const memories: Memories = { keys: { configured: TEST_KEY, open: OPEN_KEY }, answers: [], responses: [], turns: [] }
  await makeKeys(gateway, memories)
  await rateInAllWays(gateway, memories)
  await converse(gateway, memories)
  await respond(gateway, memories)
  await inTheOpen(gateway, memories)
  await spendAll(gateway, memories)
  await ok(
    await call(gateway, '/v1/users/bea/profile', { method: 'PUT', body: { deny: ['cheap'], cost_weight: 0.25 } }),
  )
  await ok(await call(gateway, '/v1/users/ada/profile', { method: 'PUT', body: { max_cost_usd: 0.5 } }))
  await ok(await adminCall(gateway, '/modes', { method: 'PUT', body: { tenant: 'open', mode: 'assist' } }))
  return memories
}

async function makeKeys(gateway: RunningGateway, memories: Memories): Promise<void> {
  const wanted = {
    plain: {},
    bound: { user: 'ada' },
    scoped: { scopes: ['chat', 'feedback:own'] },
    narrow: { models: ['cheap'] },
    dated: { expires_at: '2999-01-01T00:00:00Z' },
    revoked: {},
  }
  for (const [name, of] of Object.entries(wanted)) {
    const made = await (await ok(await adminCall(gateway, '/keys', { body: { tenant: 'test', name, ...of } }))).json()
    memories.keys[name] = made.key
    if (name === 'revoked') await ok(await adminCall(gateway, `/keys/${made.id}`, { method: 'DELETE' }))
  }
}

const SAID: Record<string, unknown>[] = [
  { rating: 'up' },
  { rating: 'down' },
  { rating: 0.8 },
  { rating: 0.1, preferred_model: 'dear' },
]

async function rateInAllWays(gateway: RunningGateway, memories: Memories): Promise<void> {
  for (const [u, user] of ['ada', 'bea', 'cyd'].entries()) {
    for (const [q, question] of QUESTIONS.entries()) {
      const answer = await answered(gateway, memories, user, { messages: [ask(question)] })
      await rate(gateway, answer, SAID[(u + q) % SAID.length] ?? {})
      // They think better of it: the later word counts.
      if (q === 0) await rate(gateway, answer, { rating: 'down' })
    }
  }
  for (const model of ['cheap', 'dear', 'auto']) {
    await answered(gateway, memories, 'dee', { model, stream: true, messages: [ask('Say hello.')] })
  }
  // `dear` refuses it, and that is remembered.
  const refused = { 'x-router-deny': 'cheap,middle' }
  await complete(gateway, { messages: [ask('Say hello.')], logit_bias: { 1: 1 } }, { user: 'dee', headers: refused })
}

async function converse(gateway: RunningGateway, memories: Memories): Promise<void> {
  const say = (user: string, messages: Message[]) =>
    answered(gateway, memories, user, { messages }, { headers: { 'x-conversation-id': `chat-${user}` } })
  for (const user of ['ada', 'bea']) {
    const first = [ask('Plan a day in Rome.')]
    await say(user, first)
    // The same again, and in other words.
    await say(user, first)
    const edited = [ask('Plan a day in Rome, with children.')]
    const { text } = await say(user, edited)
    const turns = [...edited, { role: 'assistant', content: text }, ask('And in the evening?')]
    const last = await say(user, turns)
    if (user === 'ada') memories.turns = [...turns, { role: 'assistant', content: last.text }]
  }
}

async function respond(gateway: RunningGateway, memories: Memories): Promise<void> {
  for (const input of ['My name is Cyd.', 'What is it?', 'Spell it.']) {
    const previous = memories.responses.at(-1)
    const body = { model: 'cheap', input, ...(previous !== undefined && { previous_response_id: previous }) }
    const response = await (await ok(await call(gateway, '/v1/responses', { user: 'cyd', body }))).json()
    memories.responses.push(response.id)
  }
}

/** A tenant that keeps plain ids, texts, vectors and comments. */
async function inTheOpen(gateway: RunningGateway, memories: Memories): Promise<void> {
  for (const question of QUESTIONS) {
    const answer = await answered(
      gateway,
      memories,
      'eve@example.com',
      { messages: [ask(question)] },
      { key: OPEN_KEY },
    )
    await rate(gateway, answer, { rating: 'up', comment: 'Zoë said: fine 🦉' })
  }
}

async function spendAll(gateway: RunningGateway, memories: Memories): Promise<void> {
  for (let asked = 0; asked < 10; asked++) {
    const body = { model: 'dear', messages: [ask(`Explain it ${LONG}.`)], max_tokens: 40_000 }
    const response = await complete(gateway, body, { user: 'max' })
    await response.text()
    if (response.status === 429) return
    memories.answers.push({
      user: 'max',
      key: TEST_KEY,
      request: response.headers.get('x-request-id') ?? '',
      completion: '',
    })
  }
  throw new Error('The budget has no end.')
}

/** Lives, and is erased. @returns their answer, of which something may come late */
export async function liveAndGo(gateway: RunningGateway): Promise<Answer> {
  const memories: Memories = { keys: {}, answers: [], responses: [], turns: [] }
  const answer = await answered(gateway, memories, 'dan', { messages: [ask('Remember me.')] })
  await rate(gateway, answer, { rating: 'up' })
  return answer
}

/** While the store takes nothing: it all ends in the spool. */
export async function liveWithoutStore(gateway: RunningGateway, memories: Memories): Promise<void> {
  for (const user of ['ada', 'bea']) {
    const answer = await answered(gateway, memories, user, { messages: [ask(`${QUESTIONS[0]} Quick.`)] })
    await rate(gateway, answer, { rating: 'up' })
  }
}
