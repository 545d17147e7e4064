import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { call, complete, explain } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'
import { completionBody, replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

/** "This one for code": stated of a user, and followed as far as all else allows it. */
let gateway: RunningGateway
const CODE = 'Write a Python function that merges two sorted lists.'
const PROSE = 'Write a short poem about autumn.'
const WANTED = 'sandbox-premium'

beforeAll(async () => {
  gateway = await startGateway({ router: { baseline: 'sandbox-terse', mode: 'observe', holdout: 0.5 } })
})
afterAll(() => discard(gateway))

const profileOf = (user: string, options: Parameters<typeof call>[2] = {}) =>
  call(gateway, `/v1/users/${user}/profile`, options)
const state = async (user: string, preferences: object) =>
  (await profileOf(user, { method: 'PUT', body: preferences })).status

async function ask(user: string, content: string, headers: Record<string, string> = {}) {
  const answer = await complete(gateway, { messages: [{ role: 'user', content }] }, { user, headers })
  await answer.text()
  return [answer.headers.get('x-router-model'), answer.headers.get('x-router-reason')]
}

interface Profile {
  preferences: object
  interactions: { reason: string; arm?: string; candidates: { name: string; propensity: number }[] }[]
}

it('answers code by whom the user stated for it, other tasks as before, and records both for what they are', async () => {
  expect(await state('ann', { prefer: { code: WANTED } })).toBe(200)
  expect(await ask('ann', CODE)).toEqual([WANTED, 'stated;code'])
  const [model, reason] = await ask('ann', PROSE)
  expect([model, reason?.split(';')[0]]).toEqual(['sandbox-terse', 'fallback'])
  // A row is written after its answer has ended.
  const { interactions, preferences } = await eventually(async () => {
    const profile = (await (await profileOf('ann')).json()) as Profile
    return profile.interactions.length >= 2 && profile
  }, 'both requests recorded')
  expect(preferences).toEqual({ prefer: { code: WANTED } })
  const stated = interactions.find(({ reason }) => reason === 'stated')
  // Nobody drew, and it compares nothing with the baseline.
  expect(stated?.arm).toBe('stated')
  for (const { name, propensity } of stated?.candidates ?? []) expect(propensity).toBe(name === WANTED ? 1 : 0)
  expect(stated?.candidates.length).toBeGreaterThan(1)
})

it('explains what was read, whom the user stated for it, and why another answers', async () => {
  const stated = { task: 'code', candidate: WANTED }
  const found = await explain(gateway, CODE, { user: 'ann' })
  expect(found).toMatchObject({ chosen: WANTED, reason: 'stated', stated: { ...stated, why_not: null } })
  expect(found.tasks.code).toBeGreaterThan(0.5)
  expect(Object.values(found.tasks).reduce((sum, share) => sum + share, 0)).toBeLessThan(1)
  const usd = found.candidates.find(({ name }) => name === WANTED)?.predicted_cost_usd ?? 0
  expect((await explain(gateway, PROSE, { user: 'ann' })).stated).toBeNull()
  for (const [headers, why_not] of [
    [{ 'x-router-deny': WANTED }, expect.stringContaining('denied')],
    [{ 'x-router-max-cost-usd': String(0.9 * usd) }, expect.stringContaining('would cost')],
  ] as const) {
    const bound = await explain(gateway, CODE, { user: 'ann', headers })
    expect(bound).toMatchObject({ stated: { ...stated, why_not } })
    expect(bound.chosen).not.toBe(WANTED)
  }
  // Asked for by name, another answers.
  expect(await explain(gateway, CODE, { user: 'ann', model: 'sandbox-terse' })).toMatchObject({ stated: null })
})

it('refuses what is no kind of task, and no candidate; says which there are', async () => {
  for (const [prefer, says] of [
    [{ coding: WANTED }, 'there are code, mathematics, writing, translation, knowledge'],
    [{ code: 'sandbox-nobody' }, "there is no candidate 'sandbox-nobody'"],
  ] as const) {
    const answer = await profileOf('ben', { method: 'PUT', body: { prefer } })
    expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining(says)])
  }
})

it('forgets it with the user', async () => {
  expect((await profileOf('ann', { method: 'DELETE' })).status).toBe(200)
  expect((await ask('ann', CODE))[0]).toBe('sandbox-terse')
})

describe('where whom the user stated fails', () => {
  const HELD_KEY = 'sk-of-those-held-out'
  let upstream: Upstream
  let failing: RunningGateway
  beforeAll(async () => {
    upstream = await startUpstream((exchange) =>
      exchange.json.model === 'wanted'
        ? replyPlain(500, { error: { message: 'down', type: 'server_error' } })(exchange)
        : replyPlain(200, completionBody())(exchange),
    )
    failing = await startGateway({
      providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
      candidates: [
        { name: 'usual', provider: 'up', price: { input: 9, output: 90 }, size_b: 1 },
        { name: 'wanted', provider: 'up', price: { input: 1, output: 4 }, benchmarks: { gpqa: 0.5 } },
        { name: 'best', provider: 'up', price: { input: 0.1, output: 0.4 }, benchmarks: { gpqa: 0.8 } },
      ],
      router: { artifact: 'router-model/artifacts/current', baseline: 'usual', mode: 'observe', deadline_ms: 10_000 },
      tenants: [
        { name: 'test', keys: [TEST_KEY] },
        { name: 'held', keys: [HELD_KEY], mode: 'route', holdout: 1 },
      ],
    })
  })
  afterAll(async () => {
    await discard(failing)
    await upstream.close()
  })

  it.each([
    ['observe', TEST_KEY],
    ['a holdout', HELD_KEY],
  ])('the baseline answers under %s, not the router, and the record says what was stated', async (_, key) => {
    const options = { user: 'ann', key }
    const path = '/v1/users/ann/profile'
    const put = await call(failing, path, { ...options, method: 'PUT', body: { prefer: { code: 'wanted' } } })
    expect(put.status).toBe(200)
    const { candidates } = await explain(failing, CODE, options)
    const means = new Map(candidates.map(({ name, mean }) => [name, mean ?? 0]))
    expect(means.get('best')).toBeGreaterThan(means.get('usual') ?? 0)
    const answer = await complete(failing, { messages: [{ role: 'user', content: CODE }] }, options)
    await answer.text()
    expect(answer.headers.get('x-router-model')).toBe('usual')
    const row = await eventually(async () => {
      const { interactions } = (await (await call(failing, path, options)).json()) as Profile
      return interactions[0]
    }, 'recorded')
    expect(row).toMatchObject({ reason: 'fallback', arm: 'stated' })
  })
})
