import { execFileSync } from 'node:child_process'
import OpenAI from 'openai'
import { afterEach, describe, expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { ADMIN_KEY, discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'

const BASELINE = 'sandbox-terse'
let gateway: RunningGateway | undefined
afterEach(() => discard(gateway))

async function start(router: object, tenant: object = {}): Promise<OpenAI> {
  gateway = await startGateway({
    router: { baseline: BASELINE, ...router },
    // What was rated last is learned before it ends, on a busy machine, too.
    server: { drain_timeout_ms: 30_000 },
    tenants: [{ name: 'test', keys: [TEST_KEY], ...tenant }],
  })
  return new OpenAI({ baseURL: gateway.baseURL, apiKey: gateway.key, maxRetries: 0 })
}

/** Who answers and why, and the id to rate it by. */
async function ask(client: OpenAI, user: string, model = 'auto') {
  const { response } = await client.chat.completions
    .create(
      { model, messages: [{ role: 'user', content: `Why is the sky blue, ${Math.random()}?` }] },
      { headers: { 'x-user-id': user } },
    )
    .withResponse()
  const header = (name: string) => response.headers.get(name) ?? ''
  return { model: header('x-router-model'), reason: header('x-router-reason'), id: header('x-request-id') }
}

const users = Array.from({ length: 30 }, (_, i) => `user-${i}`)
const askAll = (client: OpenAI) => Promise.all(users.map((user) => ask(client, user)))

describe('baseline', () => {
  test('observe: it answers whatever is routed, and says so; a model that is asked for by name answers', async () => {
    const client = await start({ mode: 'observe' })
    const answers = await askAll(client)
    expect(new Set(answers.map(({ model, reason }) => `${model} ${reason}`))).toEqual(
      new Set([`${BASELINE} fallback;baseline`]),
    )
    expect(await ask(client, 'ada', 'sandbox-thorough')).toMatchObject({
      model: 'sandbox-thorough',
      reason: 'explicit',
    })
  })

  test('assist: the router answers its share until a gain is certified', async () => {
    const answers = await askAll(await start({ mode: 'assist', trial_share: 0.5 }))
    const toBaseline = answers.filter(({ reason }) => reason === 'fallback;baseline').length
    expect(toBaseline).toBeGreaterThan(0)
    expect(toBaseline).toBeLessThan(users.length)
  })

  test('a mode is switched for a running gateway from the command line and by the admin route, and taken back', async () => {
    const client = await start({ mode: 'route' })
    const running = gateway as RunningGateway
    const mode = (...args: string[]) =>
      execFileSync(
        process.execPath,
        ['bin/persona-router.mjs', '--config', running.configFile, 'mode', '--tenant', 'test', ...args],
        { encoding: 'utf8' },
      ).trim()
    const allByBaseline = async () => (await askAll(client)).every(({ reason }) => reason === 'fallback;baseline')
    expect(mode()).toBe('route (as configured)')
    expect(await allByBaseline()).toBe(false)
    expect(mode('observe')).toBe('observe (switched)')
    await eventually(allByBaseline, 'the baseline answers', 60_000)
    const put = (body: object) =>
      fetch(`${running.url}/admin/modes`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    expect((await put({ tenant: 'test', mode: 'always' })).status).toBe(400)
    expect((await put({ tenant: 'none', mode: 'route' })).status).toBe(404)
    expect((await put({ tenant: 'test', mode: null })).status).toBe(200)
    expect(await allByBaseline()).toBe(false)
    expect(mode()).toBe('route (as configured)')
  })

  test('x-router-saved-usd: what an answer saved, where it is asked for', async () => {
    const price = async (tell_saved: boolean) => {
      const client = await start({ baseline: 'sandbox-thorough', tell_saved })
      const { response } = await client.chat.completions
        .create({ model: 'sandbox-terse', messages: [{ role: 'user', content: 'Why is the sky blue?' }] })
        .withResponse()
      const routed = await client.chat.completions
        .create(
          { model: 'auto', messages: [{ role: 'user', content: 'Why is the sky blue?' }] },
          { headers: { 'x-router-allow': 'sandbox-terse,sandbox-thorough' } },
        )
        .withResponse()
      await discard(gateway)
      return [response.headers.get('x-router-saved-usd'), routed.response.headers.get('x-router-saved-usd')]
    }
    // A model that was asked for by name is compared with nothing.
    expect(await price(true)).toEqual([null, expect.stringMatching(/^-?\d+\.\d{9}$/)])
    expect(await price(false)).toEqual([null, null])
  })

  test('holdout: the same users always, never those who are named', async () => {
    const client = await start({ holdout: 0.5 }, { never_held_out: users.slice(0, 15) })
    const first = await askAll(client)
    const held = (answers: typeof first) => answers.map(({ reason }) => reason === 'fallback;holdout')
    expect(held(first).slice(0, 15)).toEqual(Array(15).fill(false))
    expect(new Set(held(first).slice(15))).toEqual(new Set([true, false]))
    expect(held(await askAll(client))).toEqual(held(first))
  })

  test('holdout: who is held out counts as that whoever answers, or the two groups would not be alike', async () => {
    const client = await start({ holdout: 1 })
    const { response } = await client.chat.completions
      .create(
        { model: 'auto', messages: [{ role: 'user', content: 'Why is the sky blue?' }] },
        { headers: { 'x-router-allow': 'sandbox-thorough' } },
      )
      .withResponse()
    expect(response.headers.get('x-router-model')).toBe('sandbox-thorough')
    expect((await ask(client, 'ada')).reason).toBe('fallback;holdout')
    await gateway?.stop()
    const report = ['bin/persona-router.mjs', '--config', gateway!.configFile, 'report', '--tenant', 'test', '--json']
    const { by_arm } = JSON.parse(execFileSync(process.execPath, report, { encoding: 'utf8' }))
    expect(by_arm).toMatchObject({ holdout: { requests: 2 } })
    expect(Object.keys(by_arm)).toEqual(['holdout'])
  })

  test('report: what it cost, what was saved, what is known of the gain; each answer’s first rating counts', async () => {
    const shared_evidence = { min_answers: 1, min_age_hours: 0 }
    const client = await start({ mode: 'assist', trial_share: 0.5, holdout: 0.2, shared_evidence })
    // A user's first word makes them one who is heard; from the next on it counts.
    for (let round = 0; round < 2; round++) {
      const answers = await askAll(client)
      await Promise.all(
        answers.map(async ({ id }, i) => {
          const rate = (rating: number) =>
            client.post('/feedback', { body: { request_id: id, rating }, headers: { 'x-user-id': users[i]! } })
          await rate(0.9)
          await rate(0.1)
        }),
      )
    }
    await gateway?.stop()
    const report = (...args: string[]) =>
      execFileSync(
        process.execPath,
        ['bin/persona-router.mjs', '--config', gateway!.configFile, 'report', '--tenant', 'test', ...args],
        {
          encoding: 'utf8',
        },
      )
    const { total, by_arm, by_policy, gains } = JSON.parse(report('--since', '1d', '--json'))
    expect(total).toMatchObject({ requests: 60, failed: 0, ratings: 60 })
    expect(total.reward).toBeCloseTo(-0.8, 6)
    expect(total.saved_usd).toBeCloseTo(total.baseline_usd - total.cost_usd, 12)
    const requests = Object.values(by_arm as Record<string, { requests: number }>).map((part) => part.requests)
    expect(requests.reduce((sum, n) => sum + n)).toBe(60)
    expect(Object.keys(by_arm)).toEqual(['baseline', 'holdout', 'route'])
    const versions = Object.values(by_policy as Record<string, { requests: number }>).map((part) => part.requests)
    expect(versions.reduce((sum, one) => sum + one, 0)).toBe(total.requests)
    // Those of users who are held out tell nothing of the router.
    expect(gains[0].groups.all.count).toBe((60 - by_arm.holdout.requests) / 2)
    expect(report()).toContain('| who chose | requests |')
    expect(report()).toContain('not certified yet')
  })
})
