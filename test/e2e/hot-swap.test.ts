import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import type { InteractionDocument } from '../../src/store/records/codec.ts'
import { rewrite } from '../routing/support.ts'
import { ArtifactFolder } from '../support/artifacts.ts'
import { adminCall, call, complete, metric } from '../support/clients.ts'
import { expectClose } from '../support/close.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { measured } from '../support/measured.ts'
import { exported } from '../support/records.ts'
import { completionBody, replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

/** LLMs that the committed artifact has outcomes of, so that one without these scores every one of them otherwise. */
const LLMS = ['gpt-4o-2024-08-06', 'gpt-4o-mini-2024-07-18', 'claude-3-haiku-20240307', 'Mistral-Large-2']
const QUESTIONS = ['What is 17 * 23?', 'Why is the sky blue?', 'Sort a list in Python.', 'Write a limerick.']
/** Between two requests, where the machine can. */
const PACE_MS = 4
const IN_FLIGHT = 64

const folder = new ArtifactFolder()
let upstream: Upstream

const config = (router: Record<string, unknown>) => ({
  providers: {
    up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false, auth: 'none' },
  },
  candidates: LLMS.map((name) => ({ name, provider: 'up', price: { input: 1, output: 4 } })),
  router,
})

beforeAll(async () => {
  // Cut off, so that nothing is learned of how much they write: scores would follow it, sooner or later.
  const body = completionBody()
  const choices = body.choices.map((choice) => ({ ...choice, finish_reason: 'length' }))
  upstream = await startUpstream(replyPlain(200, { ...body, choices }))
  folder.add('one')
  folder.addForgetful('two')
})
afterAll(async () => {
  await upstream?.close()
  folder.remove()
})

interface Answer {
  id: string
  status: number
  policy: string
  question: string
}

/** Requests at an even pace, of a new user each, until told to stop. */
function traffic(gateway: RunningGateway): { answers: Answer[]; stop: () => Promise<void> } {
  const answers: Answer[] = []
  const inFlight = new Set<Promise<void>>()
  let asked = 0
  const timer = setInterval(() => {
    if (inFlight.size >= IN_FLIGHT) return
    const question = QUESTIONS[asked++ % QUESTIONS.length] as string
    const one = complete(gateway, { messages: [{ role: 'user', content: question }] }, { user: `user-${asked}` })
      .then(async (response) => {
        await response.text()
        const [id, policy] = ['x-request-id', 'x-router-policy'].map((name) => response.headers.get(name) ?? '')
        answers.push({ id, policy, status: response.status, question } as Answer)
      })
      .catch((error) => {
        answers.push({ id: '', policy: String(error), status: 0, question })
      })
      .finally(() => inFlight.delete(one))
    inFlight.add(one)
  }, PACE_MS)
  return {
    answers,
    stop: async () => {
      clearInterval(timer)
      await Promise.all(inFlight)
    },
  }
}

const policiesOf = async (gateway: RunningGateway) =>
  (await (await adminCall(gateway, '/status')).json()).policies as { policy: string; error: string; previous: string[] }

interface Ready {
  status: string
  router: string
}

async function readiness(gateway: RunningGateway): Promise<Ready> {
  const { status, components } = await (await fetch(`${gateway.url}/readyz`)).json()
  return { status, router: components.router.detail }
}

// The bench does it under 500 requests a second: `npm run bench -- --only swap`.
describe('artifacts are swapped under load', () => {
  let gateway: RunningGateway
  let answers: Answer[] = []
  let records: InteractionDocument[] = []
  const refusals: { status: number; code: string; live: string }[] = []
  let degraded: Ready
  let restored: Ready
  /** The policy that was told to be live, in order. */
  const told: string[] = []

  beforeAll(async () => {
    folder.turnTo('one')
    gateway = await startGateway(config({ artifact: folder.current }))
    const load = traffic(gateway)
    const served = (version: string) => {
      const from = load.answers.length
      return eventually(
        () => load.answers.slice(from).filter(({ policy }) => policy === version).length > 100,
        `a hundred answers of ${version}`,
        30_000,
      )
    }
    const order = async (what: 'reload' | 'rollback', body: object) => {
      const response = await adminCall(gateway, `/artifact/${what}`, { body })
      const { policy, error } = await response.json()
      if (policy) told.push(policy)
      return { status: response.status, code: error?.code as string }
    }
    await served('one')
    folder.turnTo('two')
    await served('two')
    await order('reload', { artifact: folder.of('one') })
    await served('one')
    await order('rollback', { version: 'two' })
    await served('two')

    const damaged = folder.add('damaged')
    writeFileSync(join(damaged, 'score.onnx'), readFileSync(join(damaged, 'score.onnx')).subarray(0, 1_000))
    const wrong = folder.add('wrong')
    rewrite(wrong, 'golden.json', (data) => {
      const golden = JSON.parse(data.toString())
      const { mean } = golden.graphs.score[0].outputs
      const bytes = Buffer.from(mean.data, 'base64')
      bytes.writeFloatLE(bytes.readFloatLE(0) + 1, 0)
      mean.data = bytes.toString('base64')
      return JSON.stringify(golden)
    })
    for (const directory of [damaged, wrong, folder.of('nowhere')]) {
      const refused = await order('reload', { artifact: directory })
      refusals.push({ ...refused, live: (await policiesOf(gateway)).policy })
    }
    refusals.push({ ...(await order('rollback', { version: 'never' })), live: (await policiesOf(gateway)).policy })
    const before = await metric(gateway, 'persona_router_artifact_loads_total')
    folder.turnTo('damaged')
    await eventually(async () => (await metric(gateway, 'persona_router_artifact_loads_total')) > before, 'it looks')
    refusals.push({ status: 0, code: 'watched', live: (await policiesOf(gateway)).policy })
    degraded = await readiness(gateway)
    await served('two')
    await order('rollback', { version: 'one' })
    restored = await readiness(gateway)
    await served('one')
    await load.stop()
    answers = load.answers
    await eventually(async () => {
      records = await exported(gateway)
      return records.length >= answers.length
    }, 'a record of every answer')
    measured('requests while artifacts were swapped', answers.length)
  }, 120_000)
  afterAll(() => discard(gateway))

  test('no request fails, and each is served by one of the two', () => {
    expect(answers.length).toBeGreaterThan(600)
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(new Set(answers.map(({ policy }) => policy))).toEqual(new Set(['one', 'two']))
  })

  test('what was ordered is what went live', () => {
    expect(told).toEqual(['one', 'two', 'one'])
  })

  test('a damaged one is refused by name of the check, and the old one stays', () => {
    expect(refusals).toEqual([
      { status: 422, code: 'artifact_hash', live: 'two' },
      { status: 422, code: 'artifact_golden', live: 'two' },
      { status: 422, code: 'artifact_manifest', live: 'two' },
      { status: 404, code: 'artifact_not_found', live: 'two' },
      { status: 0, code: 'watched', live: 'two' },
    ])
  })

  test('a configured artifact that was refused is missed until there is a good one again', () => {
    expect(degraded).toMatchObject({ status: 'degraded', router: expect.stringContaining('score.onnx has 1000 bytes') })
    expect(restored).toEqual({ status: 'ready', router: expect.stringMatching(/^one; on /) })
  })

  test('the record of every request names the version that its header names, and holds scores of no other', () => {
    const byId = new Map(records.map((record) => [record.id, record]))
    const means = new Map<string, number[][]>()
    for (const { id, policy, question } of answers) {
      const record = byId.get(id)
      expect(record?.policy).toBe(policy)
      const scores = record?.candidates.map(({ mean }) => mean ?? Number.NaN) ?? []
      expect(scores).toHaveLength(LLMS.length)
      const key = `${policy}: ${question}`
      means.set(key, [...(means.get(key) ?? []), scores])
    }
    for (const question of QUESTIONS) {
      const [one, two] = ['one', 'two'].map((policy) => means.get(`${policy}: ${question}`) as number[][])
      const apart = Math.min(...one![0]!.map((mean, i) => Math.abs(mean - two![0]![i]!)))
      expect(apart, 'every LLM is scored otherwise by the other version').toBeGreaterThan(
        1e-5 * Math.max(...one![0]!.map(Math.abs)),
      )
      for (const rows of [one!, two!]) {
        const spread = Math.max(...rows.flatMap((row) => row.map((mean, i) => Math.abs(mean - rows[0]![i]!))))
        expect(spread).toBeLessThan(apart / 10)
      }
    }
  })
})

describe('a policy on trial', () => {
  const SHARE = 0.3
  const users = Array.from({ length: 120 }, (_, i) => `user-${i}`)
  let gateway: RunningGateway
  /** Of each user, the policy of every answer. */
  const seen = new Map<string, string[]>()

  const askAll = async () => {
    await Promise.all(
      users.map(async (user, i) => {
        const response = await complete(gateway, {}, { user })
        await response.text()
        const [request_id, policy] = ['x-request-id', 'x-router-policy'].map((name) => response.headers.get(name) ?? '')
        seen.set(user, [...(seen.get(user) ?? []), policy as string])
        const rated = await call(gateway, '/v1/feedback', { user, body: { request_id, rating: (i % 5) / 4 } })
        expect(rated.status).toBe(202)
      }),
    )
  }

  beforeAll(async () => {
    folder.turnTo('one')
    gateway = await startGateway(
      config({
        artifact: folder.current,
        canary: { artifact: folder.of('two'), share: SHARE },
        shadow: folder.of('two'),
      }),
    )
    await askAll()
    await askAll()
  })
  afterAll(() => discard(gateway))

  test('a canary has its share of the users, the same ones each time', () => {
    for (const policies of seen.values()) expect(new Set(policies).size).toBe(1)
    const share = [...seen.values()].filter(([policy]) => policy === 'two').length / users.length
    // Four standard deviations of a fair hash.
    expect(Math.abs(share - SHARE)).toBeLessThan(4 * Math.sqrt((SHARE * (1 - SHARE)) / users.length))
    expect(share).toBeGreaterThan(0)
  })

  test('the operator sees what users think of each arm, with an interval', async () => {
    const { arms, policies } = await (await adminCall(gateway, '/status')).json()
    expect(policies).toMatchObject({ policy: 'one', canary: { policy: 'two', share: SHARE }, shadow: 'two' })
    for (const version of ['one', 'two']) {
      // By hand: each user rated twice, with what their number says.
      const given = users.flatMap((user, i) =>
        (seen.get(user) ?? []).filter((p) => p === version).map(() => (i % 5) / 2 - 1),
      )
      const mean = given.reduce((sum, value) => sum + value, 0) / given.length
      const variance = given.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (given.length - 1)
      const half = 1.96 * Math.sqrt(variance / given.length)
      expect(arms[version].rewards).toBe(given.length)
      expectClose([arms[version].mean, ...arms[version].interval], [mean, mean - half, mean + half])
    }
  })

  test('a shadow is recorded beside the one that chose, with the scores that it would have chosen by', async () => {
    const records = await eventually(async () => {
      const rows = await exported(gateway)
      return rows.length >= 2 * users.length && rows.every(({ shadow }) => shadow) && rows
    }, 'every record tells of the shadow')
    for (const { policy, candidates, shadow } of records) {
      expect(shadow?.policy).toBe('two')
      expect(shadow?.candidates.map(({ name }) => name)).toEqual(candidates.map(({ name }) => name))
      const propensities = shadow?.candidates.map(({ propensity }) => propensity) ?? []
      expect(propensities.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 6)
      if (policy === 'one') expect(shadow?.candidates[0]?.mean).not.toBe(candidates[0]?.mean)
    }
  })

  test('taken off in the configuration, nobody is served by it any more', async () => {
    const file = parse(readFileSync(gateway.configFile, 'utf8'))
    writeFileSync(
      gateway.configFile,
      stringify({ ...file, router: { ...file.router, canary: undefined, shadow: undefined } }),
    )
    expect((await adminCall(gateway, '/config/reload', { method: 'POST' })).status).toBe(200)
    await eventually(async () => {
      const { policies } = await (await adminCall(gateway, '/status')).json()
      return policies.canary === null && policies.shadow === null
    }, 'the trial is over')
    seen.clear()
    await askAll()
    expect(new Set([...seen.values()].flat())).toEqual(new Set(['one']))
  })
})

describe('a tenant with an artifact of its own', () => {
  const KEYS = { acme: 'pr-acme-key-0123456789abcdef', bell: 'pr-bell-key-0123456789abcdef' }
  const TENANTS = ['acme', 'bell'] as const
  let gateway: RunningGateway

  /** What serves `ada`, who is a user of both. */
  const ask = async (tenant: (typeof TENANTS)[number]) => {
    const response = await complete(gateway, {}, { key: KEYS[tenant], user: 'ada' })
    await response.text()
    const [id, policy] = ['x-request-id', 'x-router-policy'].map((name) => response.headers.get(name) ?? '')
    return { id: id as string, policy: policy as string }
  }
  const policies = async () => [(await ask('acme')).policy, (await ask('bell')).policy]
  const rate = async (tenant: (typeof TENANTS)[number], rating: number) => {
    const { id } = await ask(tenant)
    const rated = await call(gateway, '/v1/feedback', {
      key: KEYS[tenant],
      user: 'ada',
      body: { request_id: id, rating },
    })
    expect(rated.status).toBe(202)
  }
  const profileOf = async (tenant: (typeof TENANTS)[number]) =>
    (await call(gateway, '/v1/users/ada/profile', { key: KEYS[tenant] })).json()
  const status = async () => (await (await adminCall(gateway, '/status')).json()).policies

  beforeAll(async () => {
    folder.turnTo('one')
    mkdirSync(folder.of('tenants/acme'), { recursive: true })
    gateway = await startGateway({
      // The same question over and over is no reward here.
      ...config({ artifact: folder.current, implicit_rewards: { regeneration: { enabled: false } } }),
      tenants: TENANTS.map((name) => ({ name, keys: [KEYS[name]] })),
    })
  })
  afterAll(() => discard(gateway))

  test('has everybody’s while there is none', async () => {
    expect(await policies()).toEqual(['one', 'one'])
    for (const tenant of TENANTS) await rate(tenant, 0.9)
    expect(await status()).toMatchObject({ policy: 'one', tenants: {} })
  })

  test('gets it where retraining puts it, without a restart, and nobody else does', async () => {
    symlinkSync(folder.of('two'), folder.of('tenants/acme/current'))
    await eventually(async () => (await ask('acme')).policy === 'two', 'it is seen', 30_000)
    expect(await policies()).toEqual(['two', 'one'])
    expect(await status()).toMatchObject({ policy: 'one', tenants: { acme: { policy: 'two', previous: ['one'] } } })
    expect((await readiness(gateway)).router).toMatch(/^one; .*tenant acme: two/)
  })

  test('what its users said before counts under it, too', async () => {
    await rate('acme', 0.8)
    await eventually(async () => (await profileOf('acme')).rewards_counted === 2, 'both ratings count')
    expect(await profileOf('acme')).toMatchObject({ policy: 'two', rewards_counted: 2 })
    expect(await profileOf('bell')).toMatchObject({ policy: 'one', rewards_counted: 1 })
  })

  test('goes back by name alone, and forward again', async () => {
    const order = async (what: string, body: object) => (await adminCall(gateway, `/artifact/${what}`, { body })).status
    expect(await order('rollback', { version: 'one' })).toBe(404)
    expect(await order('rollback', { version: 'one', tenant: 'acme' })).toBe(200)
    expect(await policies()).toEqual(['one', 'one'])
    expect(await order('reload', { tenant: 'nobody' })).toBe(404)
    expect(await order('reload', { tenant: 'acme' })).toBe(200)
    expect(await policies()).toEqual(['two', 'one'])
  })

  test('a trial of its own compares its users alone', async () => {
    const file = parse(readFileSync(gateway.configFile, 'utf8'))
    const canary = { artifact: folder.of('one'), share: 1 }
    const tenants = file.tenants.map((tenant: { name: string }) =>
      tenant.name === 'acme' ? { ...tenant, canary, shadow: folder.of('two') } : tenant,
    )
    writeFileSync(gateway.configFile, stringify({ ...file, tenants }))
    expect((await adminCall(gateway, '/config/reload', { method: 'POST' })).status).toBe(200)
    await eventually(async () => (await status()).tenants.acme?.canary !== null, 'the trial is on')
    const acme = { policy: 'two', canary: { policy: 'one', share: 1 }, shadow: 'two' }
    expect(await status()).toMatchObject({ policy: 'one', canary: null, shadow: null, tenants: { acme } })
    expect(await policies()).toEqual(['one', 'one'])
    await rate('acme', 1)
    const { arms } = (await status()).tenants.acme
    expect(Object.keys(arms).sort()).toEqual(['one', 'two'])
    expect(arms.one).toMatchObject({ rewards: 1, mean: 1 })
  })

  test('records and metrics tell who was served by what', async () => {
    const records = await exported(gateway)
    const served = (tenant: string) =>
      new Set(records.filter((row) => row.tenant === tenant).map(({ policy }) => policy))
    expect([served('acme'), served('bell')]).toEqual([new Set(['one', 'two']), new Set(['one'])])
    const text = await (await fetch(`${gateway.url}/metrics`)).text()
    expect(text).toMatch(/^persona_router_requests_total\{tenant="acme",.*policy="two"\} \d+$/m)
    expect(text).not.toMatch(/^persona_router_requests_total\{tenant="bell",.*policy="two"\}/m)
  })
})
