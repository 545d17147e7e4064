import { afterAll, beforeAll, expect, test } from 'vitest'
import { call, complete, expectError, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { completionBody, startUpstream, type Upstream } from '../support/upstream.ts'

/** Feedback reaches the answer that it is about, and no other. */
let redis: RedisServer
let upstream: Upstream
let replicas: RunningGateway[] = []
let answers = 0
let release = () => {}

beforeAll(async () => {
  redis = await startRedis()
  // Ollama draws its ids from 999 numbers; these repeat all the sooner.
  upstream = await startUpstream(async (exchange) => {
    const id = `chatcmpl-${answers++ % 40}`
    if (!exchange.json.stream) return exchange.reply(200, { ...completionBody(), id })
    const chunk = (delta: object, finish_reason: string | null = null) =>
      exchange.event({ id, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason }] })
    exchange.stream()
    chunk({ role: 'assistant', content: 'Hi' })
    await new Promise<void>((resolve) => {
      release = resolve
    })
    chunk({}, 'stop')
    exchange.chunk('data: [DONE]\n\n')
    exchange.end()
  })
  const config = {
    store: { kind: 'redis', url: redis.url },
    providers: {
      up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, auth: 'none', key_required: false },
    },
    candidates: [{ name: 'one', provider: 'up', price: { input: 1, output: 2 } }],
    feedback: { link_base_url: 'http://gateway.example' },
  }
  replicas = await Promise.all([1, 2].map(() => startGateway(config)))
})
afterAll(async () => {
  await Promise.all(replicas.map(discard))
  await upstream?.close()
  await redis?.kill()
})

const replica = (i: number) => replicas[i % 2] as RunningGateway
const feed = (gateway: RunningGateway, user: string, body: object) =>
  call(gateway, '/v1/feedback', { user, body: { rating: 'down', ...body } })

test('at the other replica, at once: none of 80 is lost, and each counts', async () => {
  let lost = 0
  for (let i = 0; i < 80; i++) {
    const user = `user-${i}`
    const answer = await complete(replica(i), { model: 'one' }, { user })
    const requestId = answer.headers.get('x-request-id')
    const { id } = await answer.json()
    const given = await feed(replica(i + 1), user, i % 2 ? { request_id: requestId } : { completion_id: id })
    if (given.status !== 202) lost++
    else expect((await given.json()).interaction_id).toBe(requestId)
  }
  expect(lost).toBe(0)
  for (let i = 0; i < 80; i++) {
    const user = `user-${i}`
    await eventually(
      async () => (await explain(replica(i), 'Hi', { user })).user.rewards === 1,
      `${user} is learned of`,
    )
  }
}, 60_000)

test('by a link, at the other replica, at once and while it streams: none of 24 is lost, and each counts', async () => {
  for (let i = 0; i < 24; i++) {
    const user = `linked-${i}`
    const answer = await complete(replica(i), { model: 'one', stream: i % 2 === 1 }, { user })
    const reader = answer.body?.getReader()
    await reader?.read()
    const link = String(answer.headers.get('x-router-feedback-url')).replace('http://gateway.example', '')
    const form = { method: 'POST', body: new URLSearchParams({ rating: 'up' }) }
    expect([i, (await fetch(replica(i + 1).url + link, form)).status]).toEqual([i, 200])
    release()
    while (!(await reader?.read())?.done);
    await eventually(
      async () => (await explain(replica(i), 'Hi', { user })).user.rewards === 1,
      `${user} is learned of`,
    )
  }
}, 60_000)

test('while it streams, by either id, at either replica: none of 20 is lost, and each counts', async () => {
  for (let i = 0; i < 20; i++) {
    const user = `streamed-${i}`
    const answer = await complete(replica(i), { model: 'one', stream: true }, { user })
    const reader = answer.body?.getReader()
    const first = new TextDecoder().decode((await reader?.read())?.value)
    const id = /"id":"([^"]+)"/.exec(first)?.[1]
    expect(id).toMatch(/^chatcmpl-/)
    const requestId = String(answer.headers.get('x-request-id'))
    const given = await feed(replica(i + (i >> 1)), user, i % 2 ? { request_id: requestId } : { completion_id: id })
    expect([i, given.status]).toEqual([i, 202])
    expect(await given.json()).toMatchObject({ status: 'accepted', interaction_id: requestId })
    await eventually(async () => (await explain(replica(i), 'Hi', { user })).user.rewards === 1, 'it is learned')
    release()
    while (!(await reader?.read())?.done);
  }
}, 60_000)

test('an id that several of a user’s answers have is not guessed at', async () => {
  const user = 'repeating'
  const ask = async (i: number) => {
    answers = 7
    const answer = await complete(replica(i), { model: 'one' }, { user })
    return { ...(await answer.json()), request: answer.headers.get('x-request-id') }
  }
  const [first, second] = [await ask(1), await ask(2)]
  expect(first.id).toBe(second.id)
  for (const i of [0, 1]) {
    const status = async () => (await feed(replica(i), user, { completion_id: first.id })).status
    await eventually(async () => (await status()) === 409, `both are known at replica ${i}`)
  }
  const refused = await feed(replica(1), user, { completion_id: first.id })
  expect(expectError(await refused.text())).toMatchObject({
    code: 'ambiguous_completion_id',
    param: 'completion_id',
    message: expect.stringContaining('request_id'),
  })
  expect((await feed(replica(1), user, { request_id: first.request })).status).toBe(202)
  // Others who have an answer with that id are not in the way.
  answers = 7
  const other = await (await complete(replica(0), { model: 'one' }, { user: 'other' })).json()
  expect(other.id).toBe(first.id)
  expect((await feed(replica(0), 'other', { completion_id: other.id })).status).toBe(202)
})

test('enumerating a provider’s ids rates nobody else’s answer', async () => {
  const given = await Promise.all(
    Array.from({ length: 40 }, (_, i) => feed(replica(i), 'mallory', { completion_id: `chatcmpl-${i}` })),
  )
  expect(given.map(({ status }) => status)).toEqual(Array(40).fill(404))
})
