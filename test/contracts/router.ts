import { beforeAll, describe, expect, it } from 'vitest'
import type { Candidate } from '../../src/candidates/candidate.ts'
import type { RouteQuery, Router } from '../../src/routing/router.ts'
import { expectClose } from '../support/close.ts'

export interface RouterUnderTest {
  router: Router
  /** A query vector that fits; the same for the same seed. */
  embedding: (seed: number) => Float32Array
}

/** What holds for every router. */
export function routerContract(name: string, open: () => Promise<RouterUnderTest>, pool: readonly Candidate[]): void {
  describe(`${name} keeps the router contract`, () => {
    let router: Router
    let query: (seed: number, of?: Partial<RouteQuery>) => RouteQuery

    beforeAll(async () => {
      const opened = await open()
      router = opened.router
      query = (seed, of) => ({
        tenant: 'acme',
        embedding: opened.embedding(seed),
        promptTokens: 50 + seed,
        state: null,
        ...of,
      })
    })

    it('has a version', () => expect(router.version).toMatch(/./))

    it('scores every candidate, in the order given', async () => {
      const scores = await router.score(query(1), pool)
      expect(scores.map(({ candidate }) => candidate)).toEqual(pool)
      for (const { mean, std, costUsd, completionTokens, parts } of scores) {
        expect([mean, std, costUsd, completionTokens].every(Number.isFinite)).toBe(true)
        expect(std).toBeGreaterThanOrEqual(0)
        expect(costUsd).toBeGreaterThanOrEqual(0)
        expect(completionTokens).toBeGreaterThan(0)
        const sum = Object.values(parts).reduce((total, part) => total + part, 0)
        // Parts may cancel each other: what they are rounded to goes by the largest.
        const largest = Math.max(...Object.values(parts).map(Math.abs))
        if (Object.keys(parts).length > 0) expectClose([sum, largest], [mean, largest])
      }
    })

    it('has nothing to say of no candidates', async () => {
      expect(await router.score(query(1), [])).toEqual([])
    })

    it('says the same when asked again', async () => {
      expect(meansOf(await router.score(query(2), pool))).toEqual(meansOf(await router.score(query(2), pool)))
    })

    it('does not mind the order of candidates', async () => {
      const forward = await router.score(query(3), pool)
      const backward = (await router.score(query(3), pool.toReversed())).toReversed()
      const order = (scores: typeof forward) => [...scores].sort((a, b) => b.mean - a.mean).map((s) => s.candidate.name)
      if (router.device !== null) {
        expectClose(meansOf(backward), meansOf(forward))
        expect(order(backward)).toEqual(order(forward))
      }
      expect(backward.map(({ candidate }) => candidate)).toEqual(pool)
    })

    it('answers many at once as it answers each alone', async () => {
      const seeds = Array.from({ length: 70 }, (_, i) => i)
      const alone: number[][] = []
      for (const seed of seeds) alone.push(meansOf(await router.score(query(seed), pool)))
      const together = await Promise.all(seeds.map((seed) => router.score(query(seed), pool)))
      for (const [seed, scores] of together.entries()) expectClose(meansOf(scores), alone[seed])
    })
  })
}

const meansOf = (scores: readonly { mean: number }[]) => scores.map(({ mean }) => mean)
