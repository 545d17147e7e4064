import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { adminCall, call, complete } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { type Exchange, startUpstream, type Upstream } from '../support/upstream.ts'

/** Answers as a worker, and grades as a judge. */
const upstream = (exchange: Exchange) => {
  const { model, stream } = exchange.json
  const content = model === 'judge' ? 'Well. {"score": 9}' : 'The sky scatters blue light.'
  const usage = { prompt_tokens: 10, completion_tokens: 6, total_tokens: 16 }
  if (!stream) {
    const choices = [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }]
    exchange.reply(200, { id: `chatcmpl-${Math.random()}`, object: 'chat.completion', model, choices, usage })
    return
  }
  exchange.stream()
  exchange.event({ id: 'c', choices: [{ index: 0, delta: { role: 'assistant', content } }] })
  exchange.event({ id: 'c', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })
  exchange.chunk('data: [DONE]\n\n')
  exchange.end()
}

const PRIVATE_KEY = 'pr-private-key-0123456789abcdef'

let server: Upstream
let gateway: RunningGateway

beforeAll(async () => {
  server = await startUpstream(upstream)
  const price = { input: 1, output: 1 }
  gateway = await startGateway({
    providers: {
      up: { kind: 'openai-compatible', base_url: `${server.origin}/v1`, key_required: false, auth: 'none' },
    },
    candidates: [
      { name: 'worker', provider: 'up', price },
      { name: 'judge', provider: 'up', price, groups: ['judges'] },
    ],
    tenants: [
      { name: 'test', keys: [TEST_KEY] },
      { name: 'private', keys: [PRIVATE_KEY], judged: false },
    ],
    router: {
      judge: { candidate: 'judge', rate: 1, concurrent: 50 },
      implicit_rewards: { abort: { enabled: true } },
      shadow: 'router-model/artifacts/current',
    },
  })
})
afterAll(async () => {
  await discard(gateway)
  await server?.close()
})

const question = { role: 'user', content: 'Why is the sky blue on a clear day in summer?' }
const answer = { role: 'assistant', content: 'The sky scatters blue light.' }

interface Exported {
  type: string
  kind?: string
  value?: number
  user?: string
  interaction?: string
  id?: string
  shadow?: { policy: string; candidates: unknown[] }
}

/** What the operator's export says. */
const exported = (): Exported[] =>
  execFileSync(process.execPath, ['bin/persona-router.mjs', '--config', gateway.configFile, 'export'], {
    encoding: 'utf8',
  })
    .trim()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))

const rewardsOf = (id: string | null) =>
  exported()
    .filter(({ type, interaction }) => type === 'reward' && interaction === id)
    .map(({ kind, value }) => [kind, value])

const ask = async (user: string, messages: object[], body: object = {}) => {
  const response = await complete(gateway, { messages, ...body }, { user })
  await response.text()
  return response.headers.get('x-request-id')
}

describe('what a conversation says of its answers', () => {
  it.each([
    ['the same request again counts against the first answer', [question], 'regeneration', -0.6],
    [
      'the question in better words, mildly',
      [{ role: 'user', content: 'Why is the sky so blue on a clear day in the summer?' }],
      'edit',
      -0.2,
    ],
    [
      'going on counts for it',
      [question, answer, { role: 'user', content: 'Thank you. Now a poem.' }],
      'continuation',
      0.2,
    ],
  ])('%s', async (_, next, kind, value) => {
    const headers = { 'x-conversation-id': kind }
    const first = await complete(gateway, { messages: [question] }, { user: kind, headers })
    await first.text()
    const id = first.headers.get('x-request-id')
    // The conversation is remembered off the request path.
    await expect
      .poll(
        async () => {
          await (await complete(gateway, { messages: next }, { user: kind, headers })).text()
          return rewardsOf(id)
        },
        { timeout: 10_000 },
      )
      .toContainEqual([kind, value])
  })
})

it.each([false, true])(
  'a judge grades what the client got (stream: %s), and is not asked about itself',
  async (stream) => {
    const id = await ask('judged', [question], { stream })
    await expect.poll(() => rewardsOf(id), { timeout: 10_000 }).toContainEqual(['judge', 0.8])
  },
)

it('a judge reads no answer of a tenant that keeps them to itself', async () => {
  const secret = 'What does nobody else may read?'
  const own = { ...gateway, key: PRIVATE_KEY }
  await (await complete(own, { messages: [{ role: 'user', content: secret }] })).text()
  // Answers are considered in the order in which they end: this one is judged after the other would have been.
  const later = await ask('later', [question])
  await expect.poll(() => rewardsOf(later), { timeout: 10_000 }).toContainEqual(['judge', 0.8])
  const judged = server.requests.map(({ body }) => body.toString()).filter((body) => body.includes('"model":"judge"'))
  expect(judged.length).toBeGreaterThan(0)
  expect(judged.join()).not.toContain(secret)
})

it('a shadow policy is recorded beside the one that chose', async () => {
  const id = await ask('shadowed', [question])
  await expect
    .poll(() => exported().find((row) => row.id === id)?.shadow?.candidates, { timeout: 10_000 })
    .toHaveLength(1)
})

it('the operator sees the mean reward by policy, with its interval', async () => {
  for (const rating of [1, 0.5, 1]) {
    const request_id = await ask('arms', [question])
    expect((await call(gateway, '/v1/feedback', { user: 'arms', body: { request_id, rating } })).status).toBe(202)
  }
  const { arms, policies } = (await (await adminCall(gateway, '/status')).json()) as {
    arms: Record<string, { rewards: number; mean: number; interval: [number, number] }>
    policies: { policy: string }
  }
  expect(arms[policies.policy]).toMatchObject({ rewards: 3, mean: expect.closeTo(2 / 3) })
})

it('a request narrows what its user’s profile states, and can not widen it', async () => {
  const profile = '/v1/users/strict/profile'
  const stated = { allow: ['worker'], max_cost_usd: 1 }
  expect((await call(gateway, profile, { method: 'PUT', body: stated })).status).toBe(200)
  const asked = (headers: Record<string, string>) =>
    complete(gateway, { messages: [question] }, { user: 'strict', headers }).then(async (answer) => [
      answer.status,
      (await answer.text()).includes('no_candidate'),
    ])
  expect(await asked({ 'x-router-deny': 'nothing-else' })).toEqual([200, false])
  expect(await asked({ 'x-router-allow': 'judge' })).toEqual([400, true])
})

it('the user of requests that name none can be exported and erased', async () => {
  await (await complete(gateway, { messages: [question] })).text()
  const profile = '/v1/users/~anonymous/profile'
  await expect.poll(async () => (await call(gateway, profile)).status, { timeout: 5_000 }).toBe(200)
  expect((await call(gateway, profile, { method: 'DELETE' })).status).toBe(200)
  expect((await call(gateway, profile)).status).toBe(404)
})
