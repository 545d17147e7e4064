import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { call } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'

interface Explanation {
  chosen: string
  caution: number
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
    })
  })
  afterAll(() => discard(gateway))

  const explain = async (headers: Record<string, string> = {}): Promise<Explanation> => {
    const messages = [{ role: 'user', content: 'Prove that the square root of two is irrational.' }]
    const response = await call(gateway, '/v1/router/explain', {
      user: 'ann',
      headers,
      body: { model: 'auto', messages },
    })
    expect(response.status).toBe(200)
    return await response.json()
  }

  it('gives somebody unknown everybody’s favourite, with propensities that follow the choice', async () => {
    const { chosen, caution, candidates } = await explain({ 'x-router-explore': 'off' })
    expect(caution).toBe(100)
    const nearest = candidates.reduce((least, one) => (one.apart < least.apart ? one : least))
    expect([chosen, nearest.propensity]).toEqual([nearest.name, 1])
    const explored = (await explain()).candidates
    expect(explored.reduce((sum, { propensity }) => sum + propensity, 0)).toBeCloseTo(1, 6)
    expect(Math.max(...explored.map(({ propensity }) => propensity))).toBe(
      explored.find(({ name }) => name === nearest.name)?.propensity,
    )
  })

  it('says nothing where the request gives a cost weight of its own', async () => {
    expect((await explain({ 'x-router-cost-weight': '0' })).caution).toBe(0.15)
  })
})
