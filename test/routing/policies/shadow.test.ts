import { describe, expect, it } from 'vitest'
import { NEW_USER } from '../../../src/learning/profile.ts'
import { askShadow } from '../../../src/routing/policies/shadow.ts'
import { eachCandidate } from '../../../src/store/records/scored-candidates.ts'
import { POOL, routerConfig, TINY_2, tinyPolicy } from '../support.ts'

const query = {
  tenant: 'acme',
  user: 'ann',
  speaker: { user: 'ann', key: 'k', vouched: false },
  text: 'Why is the sky blue?',
  promptTokens: 10,
}
const input = {
  limits: { needs: new Set<never>(), promptTokens: 10, maxTokens: null, deny: ['dear'] },
  explicit: null,
  stated: null,
  explore: true,
  previous: null,
  policy: routerConfig(),
  random: 0.5,
}

const RULE = { caution: 0.15 }

describe('askShadow', () => {
  it('says what the other policy would have done with the same request', async () => {
    const shadow = await tinyPolicy(TINY_2)
    const found = await askShadow(shadow, () => NEW_USER, query, POOL, input, RULE)
    expect(found).toMatchObject({ policy: 'tiny-2', candidates: { names: ['cheap', 'middle'] } })
    const candidates = found ? eachCandidate(found.candidates) : []
    expect(candidates.reduce((sum, { propensity }) => sum + propensity, 0)).toBeCloseTo(1, 6)
  })

  it('is told of the tools that the request brings', async () => {
    const shadow = await tinyPolicy(TINY_2)
    const asked: unknown[] = []
    const score = shadow.router.score.bind(shadow.router)
    shadow.router.score = (of, candidates) => {
      asked.push(of.tools)
      return score(of, candidates)
    }
    await askShadow(shadow, () => NEW_USER, { ...query, tools: 0.6 }, POOL, input, RULE)
    await askShadow(shadow, () => NEW_USER, { ...query, tools: 0 }, POOL, input, RULE)
    expect(asked).toEqual([0.6, undefined])
  })

  it('never fails a request', async () => {
    const shadow = await tinyPolicy(TINY_2)
    const deaf = { ...shadow, embedder: { ...shadow.embedder, embed: () => Promise.reject(new Error('away')) } }
    expect(await askShadow(deaf, () => NEW_USER, query, POOL, input, RULE)).toBeNull()
    const nobody = { ...input, limits: { ...input.limits, allow: [] } }
    expect(await askShadow(shadow, () => NEW_USER, query, POOL, nobody, RULE)).toBeNull()
  })
})
