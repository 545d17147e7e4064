import { readFileSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parse, stringify } from 'yaml'
import { readArtifact } from '../../src/routing/artifact/files.ts'
import type { CandidateDocument } from '../../src/store/records/scored-candidates.ts'
import { COMMITTED, RIVAL } from '../support/artifacts.ts'
import { adminCall, call, complete } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { exported } from '../support/records.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

const LLMS = [
  { name: 'cheap', price: { input: 0.05, output: 0.2 }, benchmarks: { mmlu: 0.68 } },
  { name: 'good', price: { input: 5, output: 25 }, benchmarks: { mmlu: 0.91, gpqa: 0.8 } },
]
const QUESTION = 'Why is the sky blue on a clear day?'

let upstream: Upstream
let gateway: RunningGateway
let version: string

beforeAll(async () => {
  upstream = await startUpstream(replyPlain())
  version = (await readArtifact(COMMITTED)).manifest.version
  gateway = await startGateway({
    providers: {
      up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false, auth: 'none' },
    },
    candidates: LLMS.map((llm) => ({ ...llm, provider: 'up' })),
    router: { shadow: RIVAL, explore: false },
  })
}, 120_000)
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

async function ask(model = 'auto', user = 'ann'): Promise<{ id: string; policy: string }> {
  const response = await complete(gateway, { model, messages: [{ role: 'user', content: QUESTION }] }, { user })
  expect(response.status).toBe(200)
  await response.text()
  const [id, policy] = ['x-request-id', 'x-router-policy'].map((name) => response.headers.get(name) ?? '')
  return { id: id as string, policy: policy as string }
}

async function rate(id: string, rating: 'up' | 'down', user = 'ann'): Promise<void> {
  const response = await call(gateway, '/v1/feedback', { body: { request_id: id, rating }, user })
  expect(response.status).toBeLessThan(300)
}

const recordOf = async (id: string) => {
  await eventually(async () => (await exported(gateway)).some((row) => row.id === id), 'a record', 60_000)
  return (await exported(gateway)).find((row) => row.id === id)
}

/** How much more `good` is expected to bring than `cheap`. */
const lead = (candidates: readonly CandidateDocument[] = []) => {
  const meanOf = (name: string) => candidates.find((one) => one.name === name)?.mean ?? Number.NaN
  return meanOf('good') - meanOf('cheap')
}

async function rateBoth(user: string, likes: string, rounds: number): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    for (const { name } of LLMS) await rate((await ask(name, user)).id, name === likes ? 'up' : 'down', user)
  }
}

async function reconfigure(router: Record<string, unknown>): Promise<void> {
  const config = parse(readFileSync(gateway.configFile, 'utf8'))
  writeFileSync(
    gateway.configFile,
    stringify({ ...config, router: { deadline_ms: 10_000, explore: false, ...router } }),
  )
  expect((await adminCall(gateway, '/config/reload', { method: 'POST' })).status).toBe(200)
}

it('as a shadow it scores every request, and its belief follows what users say of the live one’s answers', async () => {
  const before = await recordOf((await ask()).id)
  expect(before).toMatchObject({ policy: version, shadow: { policy: 'personalized-router' } })
  await rateBoth('ann', 'cheap', 4)
  await rateBoth('bob', 'good', 4)
  const [ann, bob] = [await recordOf((await ask()).id), await recordOf((await ask('auto', 'bob')).id)]
  expect(lead(ann?.shadow?.candidates)).toBeLessThan(lead(before?.shadow?.candidates))
  expect(lead(bob?.shadow?.candidates)).toBeGreaterThan(lead(ann?.shadow?.candidates))
  const other = await recordOf((await ask('auto', 'carl')).id)
  expect(other?.policy).toBe(version)
  expect(lead(other?.shadow?.candidates)).toBeCloseTo(lead(before?.shadow?.candidates), 5)
}, 240_000)

it('as a canary it answers, learns what it is told, and goes without a trace of itself', async () => {
  await reconfigure({ canary: { artifact: RIVAL, share: 1 } })
  const first = await ask('auto', 'dora')
  expect(first.policy).toBe('personalized-router')
  const before = await recordOf(first.id)
  await rateBoth('dora', 'good', 4)
  const after = await recordOf((await ask('auto', 'dora')).id)
  expect(lead(after?.candidates)).toBeGreaterThan(lead(before?.candidates))
  const { policies, arms } = await (await adminCall(gateway, '/status')).json()
  expect(policies).toMatchObject({ policy: version, canary: { policy: 'personalized-router', share: 1 }, error: null })
  expect(JSON.stringify(arms ?? policies)).toContain('personalized-router')

  await reconfigure({})
  const back = await recordOf((await ask('auto', 'dora')).id)
  expect(back).toMatchObject({ policy: version, reason: 'personal' })
  const stranger = await recordOf((await ask('auto', 'emil')).id)
  // What dora said to the canary is known to the live artifact, too.
  expect(lead(back?.candidates)).toBeGreaterThan(lead(stranger?.candidates))
}, 240_000)
