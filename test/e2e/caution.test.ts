import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { call } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'

interface Explanation {
  chosen: string
  caution: number
  risk: number | null
  favourite: string | null
  candidates: { name: string; apart: number; mean: number; propensity: number }[]
}

describe('router.risk', () => {
  let gateway: RunningGateway
  beforeAll(async () => {
    const up = { kind: 'openai-compatible', base_url: 'http://127.0.0.1:9/v1', key_required: false, auth: 'none' }
    gateway = await startGateway({
      providers: { up },
      candidates: [
        { name: 'mini', provider: 'up', price: { input: 0.1, output: 0.4 }, size_b: 4 },
        { name: 'middle', provider: 'up', price: { input: 0.4, output: 1.6 }, benchmarks: { gpqa: 0.5 } },
        { name: 'grand', provider: 'up', price: { input: 5, output: 25 }, benchmarks: { gpqa: 0.8 } },
      ],
      router: { artifact: 'router-model/artifacts/current', risk: 0.01 },
      tenants: [
        { name: 'test', keys: [TEST_KEY] },
        { name: 'dear', keys: ['sk-of-the-dear-ones'], baseline: 'grand' },
        { name: 'bold', keys: ['sk-of-the-bold-ones'], baseline: 'middle', risk: null },
      ],
    })
  })
  afterAll(() => discard(gateway))

  const explain = async (headers: Record<string, string> = {}, key?: string): Promise<Explanation> => {
    const messages = [{ role: 'user', content: 'Prove that the square root of two is irrational.' }]
    const response = await call(gateway, '/v1/router/explain', {
      user: 'ann',
      headers,
      ...(key && { key }),
      body: { model: 'auto', messages },
    })
    expect(response.status).toBe(200)
    return await response.json()
  }

  it('gives somebody unknown everybody’s favourite, with propensities that follow the choice', async () => {
    const { chosen, caution, risk, favourite, candidates } = await explain({ 'x-router-explore': 'off' })
    expect([caution, risk, favourite]).toEqual([100, 0.01, chosen])
    const nearest = candidates.reduce((least, one) => (one.apart < least.apart ? one : least))
    expect([chosen, nearest.propensity]).toEqual([nearest.name, 1])
    const explored = (await explain()).candidates
    expect(explored.reduce((sum, { propensity }) => sum + propensity, 0)).toBeCloseTo(1, 6)
    expect(Math.max(...explored.map(({ propensity }) => propensity))).toBe(
      explored.find(({ name }) => name === nearest.name)?.propensity,
    )
  })

  it('gives somebody unknown the tenant’s baseline, and tries others out all the same', async () => {
    const told = await explain({ 'x-router-explore': 'off' }, 'sk-of-the-dear-ones')
    expect(told).toMatchObject({ chosen: 'grand', favourite: 'grand', caution: 100 })
    expect(told.candidates.find(({ name }) => name === 'grand')?.apart).toBeLessThan(0.01)
    const { candidates } = await explain({}, 'sk-of-the-dear-ones')
    for (const { name, propensity } of candidates) if (name !== 'grand') expect(propensity).toBeGreaterThan(0.002)
  })

  it('is as each tenant has it', async () => {
    expect(await explain({}, 'sk-of-the-bold-ones')).toMatchObject({ caution: 0.15, risk: null, favourite: 'middle' })
  })

  it('says nothing where the request gives a cost weight of its own', async () => {
    expect((await explain({ 'x-router-cost-weight': '0' })).caution).toBe(0.15)
  })
})
