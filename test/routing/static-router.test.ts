import { describe, expect, it } from 'vitest'
import { StaticRouter } from '../../src/routing/static-router.ts'
import { routerContract } from '../contracts/router.ts'
import { CHEAP, candidate, DEAR, MIDDLE, POOL } from './support.ts'

for (const kind of ['first', 'cheapest', 'best_quality'] as const) {
  routerContract(
    `fallback:${kind}`,
    async () => ({ router: new StaticRouter(kind), embedding: () => new Float32Array() }),
    POOL,
  )
}

const query = { tenant: 'acme', embedding: new Float32Array(), promptTokens: 100, state: null }
const ranked = async (kind: ConstructorParameters<typeof StaticRouter>[0], pool = [MIDDLE, DEAR, CHEAP]) =>
  (await new StaticRouter(kind).score(query, pool))
    .sort((a, b) => b.mean - a.mean)
    .map(({ candidate }) => candidate.name)

describe('StaticRouter', () => {
  it('names itself', () => expect(new StaticRouter('cheapest').version).toBe('fallback:cheapest'))
  it('keeps the order of the configuration', async () =>
    expect(await ranked('first')).toEqual(['middle', 'dear', 'cheap']))
  it('ranks by cost', async () => expect(await ranked('cheapest')).toEqual(['cheap', 'middle', 'dear']))
  it('ranks by benchmark', async () => expect(await ranked('best_quality')).toEqual(['dear', 'middle', 'cheap']))
  it('puts a candidate without benchmarks after those with, and the dearer first', async () => {
    const [plain, pricey] = [candidate('plain'), candidate('pricey', { price: { input: 1, output: 90 } })]
    expect(await ranked('best_quality', [plain, CHEAP, pricey])).toEqual(['cheap', 'pricey', 'plain'])
  })
})
