import { afterAll, beforeAll, expect, test } from 'vitest'
import { call, complete, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

let upstream: Upstream
let gateway: RunningGateway | undefined
beforeAll(async () => {
  upstream = await startUpstream(replyPlain())
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

const configured = (name: string, more: object = {}) => ({
  providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
  candidates: [
    { name, provider: 'up', model: 'dear-model', price: { input: 3, output: 6 }, ...more },
    ...['b', 'c'].map((other) => ({ name: other, provider: 'up', price: { input: 1, output: 2 } })),
  ],
})

test('a renamed candidate keeps its history: ratings, stated preferences, conversations, reports, its old name', async () => {
  gateway = await startGateway(configured('dear'))
  const { dir } = gateway
  const ask = async (user: string, model: string) => {
    const response = await complete(gateway as RunningGateway, { model }, { user })
    await response.text()
    return response
  }
  for (let i = 1; i <= 6; i++) {
    const id = (await ask('ada', 'dear')).headers.get('x-request-id')
    expect((await call(gateway, '/v1/feedback', { user: 'ada', body: { request_id: id, rating: 'up' } })).status).toBe(
      202,
    )
  }
  const preferences = { deny: ['dear'] }
  await call(gateway, '/v1/users/bob/profile', { method: 'PUT', user: 'bob', body: preferences })
  const wish = { prefer: { code: 'dear' } }
  await call(gateway, '/v1/users/cleo/profile', { method: 'PUT', user: 'cleo', body: wish })
  const first = gateway
  await eventually(async () => (await explain(first, 'Hi', { user: 'ada' })).user.rewards >= 6, 'ratings are learned')
  const liking = async (user: string, name: string) => {
    const { candidates } = await explain(gateway as RunningGateway, 'Hi', { user })
    return candidates.find((one) => one.name === name)
  }
  // How long its answers were is written when the gateway stops, at the latest.
  const unmeasured = await liking('ada', 'dear')
  await gateway.stop()
  gateway = await startGateway(configured('dear'), { dir })
  const before = await liking('ada', 'dear')
  expect(before?.completion_tokens).toBeLessThan(0.5 * (unmeasured?.completion_tokens ?? 0))
  const stranger = await liking('nobody', 'dear')
  expect(before?.mean).toBeGreaterThan((stranger?.mean ?? 1) + 0.01)
  await gateway.stop()

  gateway = await startGateway(configured('dear2', { formerly: ['dear'] }), { dir })
  const after = await liking('ada', 'dear2')
  // What its name alone tells of it is another's, and small.
  expect(Math.abs((after?.mean ?? 9) - (before?.mean ?? 0))).toBeLessThan(0.25 * (before?.mean ?? 0))
  expect(after?.mean).toBeGreaterThan((stranger?.mean ?? 1) + 0.01)
  expect(after?.completion_tokens).toBeLessThan(0.5 * (unmeasured?.completion_tokens ?? 0))
  expect(await liking('bob', 'dear2')).toMatchObject({ excluded: expect.stringContaining('denied') })
  expect((await ask('bob', 'dear2')).status).toBe(403)
  const code = await explain(gateway, 'Write a Python function that sorts a list.', { user: 'cleo' })
  expect(code).toMatchObject({ chosen: 'dear2', reason: 'stated' })
  const answered = await ask('ada', 'dear')
  expect([answered.status, answered.headers.get('x-router-model')]).toEqual([200, 'dear2'])
  const profile = (await (await call(gateway, '/v1/users/ada/profile', { user: 'ada' })).json()) as {
    history: { candidate: string }[]
  }
  expect(new Set(profile.history.map(({ candidate }) => candidate))).toEqual(new Set(['dear2']))
  const stated = async (user: string) =>
    (await (await call(gateway as RunningGateway, `/v1/users/${user}/profile`, { user })).json()).preferences
  expect(await stated('bob')).toEqual({ deny: ['dear2'] })
  expect(await stated('cleo')).toEqual({ prefer: { code: 'dear2' } })
  const { user: bob } = await explain(gateway, 'Hi', { user: 'bob' })
  expect(bob).toMatchObject({ preferences: { deny: ['dear2'] } })
  // Whoever reads, changes and writes back is not stuck.
  const put = await call(gateway, '/v1/users/bob/profile', { method: 'PUT', user: 'bob', body: preferences })
  expect(put.status).toBe(200)
}, 120_000)
