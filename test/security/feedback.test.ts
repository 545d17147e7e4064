import { afterAll, beforeAll, expect, test } from 'vitest'
import { call, complete } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { completionBody, startUpstream, type Upstream } from '../support/upstream.ts'

/** Feedback reaches the answer that it is about, and no other. */
let redis: RedisServer
let upstream: Upstream
let replicas: RunningGateway[] = []
let answers = 0

beforeAll(async () => {
  redis = await startRedis()
  // Ollama draws its ids from 999 numbers; these repeat all the sooner.
  upstream = await startUpstream((exchange) =>
    exchange.reply(200, { ...completionBody(), id: `chatcmpl-${answers++ % 40}` }),
  )
  const config = {
    store: { kind: 'redis', url: redis.url },
    providers: {
      up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, auth: 'none', key_required: false },
    },
    candidates: [{ name: 'one', provider: 'up', price: { input: 1, output: 2 } }],
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

test('at the other replica, at once: none of 80 is lost', async () => {
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
}, 60_000)

test('enumerating a provider’s ids rates nobody else’s answer', async () => {
  const given = await Promise.all(
    Array.from({ length: 40 }, (_, i) => feed(replica(i), 'mallory', { completion_id: `chatcmpl-${i}` })),
  )
  expect(given.map(({ status }) => status)).toEqual(Array(40).fill(404))
})
