import { describe, expect, it, vi } from 'vitest'
import type { Candidate } from '../../../src/candidates/candidate.ts'
import { loadArtifact } from '../../../src/routing/artifact/load.ts'
import { code, codesOf } from '../../../src/routing/choose/codes.ts'
import { FAVOURITE_ONLY } from '../../../src/routing/choose/safe-caution.ts'
import { GraphRouter } from '../../../src/routing/model/graph-router.ts'
import { cautionFor } from '../../../src/routing/policy.ts'
import { RouterError } from '../../../src/routing/router.ts'
import { Tensor } from '../../../src/runtime/onnxruntime.ts'
import { routerContract } from '../../contracts/router.ts'
import { expectClose } from '../../support/close.ts'
import fc from '../../support/properties.ts'
import {
  CHEAP,
  candidate,
  copyArtifact,
  DEAR,
  editManifest,
  MIDDLE,
  POOL,
  silent,
  TINY_1,
  TINY_2,
  TINY_E,
  tinyEmbed,
  tinyEmbedder,
  tinyPolicy,
} from '../support.ts'

const embedding = (seed: number) => tinyEmbed(`question ${seed} of some length`)
routerContract('GraphRouter', async () => ({ router: (await tinyPolicy()).router, embedding }), POOL)

/** How a router is opened here, but for the artifact. */
const common = {
  embed: tinyEmbed,
  loadEvidence: async () => new Map(),
  candidatesOf: () => POOL,
  deadlineMs: 1_000,
  log: silent,
}

const query = (of = {}) => ({ tenant: 'acme', embedding: embedding(0), promptTokens: 100, state: null, ...of })
/** Mean and variance of four weights. */
const state = (...weights: number[]) => Float32Array.of(...weights, 0.1, 0.1, 0.1, 0.1)
const meansOf = (scores: readonly { candidate: { name: string }; mean: number }[]) =>
  Object.fromEntries(scores.map(({ candidate, mean }) => [candidate.name, mean]))

describe('GraphRouter', () => {
  it('keeps every request of a batch to itself, whatever users, tenants and candidates come together', async () => {
    const { router } = await tinyPolicy()
    const someone = fc.record({
      tenant: fc.constantFrom('acme', 'other'),
      embedding: fc.integer({ min: 0, max: 20 }).map(embedding),
      promptTokens: fc.integer({ min: 1, max: 10_000 }),
      state: fc.option(
        fc.tuple(fc.integer({ min: -2, max: 2 }), fc.integer({ min: 1, max: 3 })).map(([a, b]) => state(0, a, b, 1)),
      ),
      pool: fc.constantFrom(POOL, [DEAR, CHEAP], [MIDDLE]),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(someone, { minLength: 2, maxLength: 40 }), async (requests) => {
        const together = await Promise.all(requests.map(({ pool, ...request }) => router.score(request, pool)))
        for (const [i, { pool, ...request }] of requests.entries()) {
          const alone = await router.score(request, pool)
          for (const field of ['mean', 'std'] as const) {
            expectClose(
              together[i]?.map((score) => score[field]),
              alone.map((score) => score[field]),
            )
          }
        }
      }),
      { numRuns: 30 },
    )
  })

  it('reads a request that brings tools as the artifact says, and as ever where it says nothing', async () => {
    const directory = copyArtifact(TINY_1)
    const tools = Float32Array.from({ length: TINY_E }, (_, i) => i / 10 - 0.3)
    editManifest(directory, (manifest) => {
      manifest.tools = Buffer.from(tools.buffer).toString('base64')
    })
    const router = await GraphRouter.open({ ...common, artifact: await loadArtifact(directory) })
    const [plain, half, shifted] = await Promise.all([
      router.score(query(), POOL),
      router.score(query({ tools: 0.5 }), POOL),
      router.score(query({ embedding: embedding(0).map((value, i) => value + tools[i]! / 2) }), POOL),
    ])
    expectClose(Object.values(meansOf(half)), Object.values(meansOf(shifted)))
    expect(meansOf(half)).not.toEqual(meansOf(plain))
    const { router: older } = await tinyPolicy()
    expect(meansOf(await older.score(query({ tools: 1 }), POOL))).toEqual(meansOf(plain))
  })

  it('refuses an artifact whose vector for tools is of another size or no number', async () => {
    for (const wrong of [new Float32Array(TINY_E - 1), Float32Array.from({ length: TINY_E }, () => Number.NaN)]) {
      const directory = copyArtifact(TINY_1)
      editManifest(directory, (manifest) => {
        manifest.tools = Buffer.from(wrong.buffer).toString('base64')
      })
      await expect(loadArtifact(directory)).rejects.toThrow(/tools/)
    }
  })

  it('scores by the state of the user', async () => {
    const { router } = await tinyPolicy()
    const thrifty = meansOf(await router.score(query({ state: state(0, 0, -2, 0) }), POOL))
    const lavish = meansOf(await router.score(query({ state: state(0, 4, 0, 0) }), POOL))
    expect(thrifty.cheap).toBeGreaterThan(thrifty.dear as number)
    expect(lavish.dear).toBeGreaterThan(lavish.cheap as number)
  })

  it('replaces the learned trade-off by the given weight', async () => {
    const { router } = await tinyPolicy()
    const quality = meansOf(await router.score(query({ state: state(0, 0, -2, 0), costWeight: 0 }), POOL))
    const cost = meansOf(await router.score(query({ state: state(0, 4, 0, 0), costWeight: 1 }), POOL))
    expect(quality.dear).toBeGreaterThan(quality.cheap as number)
    expect(cost.cheap).toBeGreaterThan(cost.dear as number)
  })

  it('predicts the price of an answer', async () => {
    const { router } = await tinyPolicy()
    const [{ costUsd, completionTokens } = { costUsd: 0, completionTokens: 0 }] = await router.score(query(), [DEAR])
    expectClose(costUsd, (100 * 10 + completionTokens * 60) / 1e6)
  })

  it('starts an LLM of the training data from its outcomes, under any of its names', async () => {
    const { router } = await tinyPolicy()
    const pool = [candidate('a', { model: 'Known-LLM' }), candidate('known-llm-2024'), candidate('stranger')]
    const [named, itself, stranger] = await router.score(query(), pool)
    expectClose(named?.quality, itself?.quality)
    expect(named?.quality).toBeGreaterThan((stranger?.quality as number) + 0.1)
  })

  it('counts the outcomes of a tenant’s own users, for this tenant alone, from the next refresh on', async () => {
    const evidence = new Map<string, Float32Array>()
    const artifact = await loadArtifact(TINY_1)
    const loadEvidence = async (tenant: string) => new Map(tenant === 'acme' ? evidence : [])
    const router = await GraphRouter.open({ ...common, artifact, loadEvidence })
    const qualityOfCheap = async (tenant: string) => (await router.score(query({ tenant }), POOL))[0]?.quality as number
    const before = await qualityOfCheap('acme')
    await qualityOfCheap('other')
    evidence.set('cheap', Float32Array.of(20, -20))
    expect(await qualityOfCheap('acme')).toBe(before)
    await router.llms.refresh('acme')
    await router.llms.refresh('other')
    expect(await qualityOfCheap('acme')).toBeLessThan(before - 0.1)
    expect(await qualityOfCheap('other')).toBe(before)
  })

  it('does without outcomes that are no numbers', async () => {
    const healthy = await (await tinyPolicy()).router.score(query(), POOL)
    const { router } = await tinyPolicy(TINY_1, new Map([['cheap', Float32Array.of(Number.NaN, 1)]]))
    expect(meansOf(await router.score(query(), POOL))).toEqual(meansOf(healthy))
  })

  it('serves without a tenant’s outcomes when the store can’t give them', async () => {
    const artifact = await loadArtifact(TINY_1)
    const loadEvidence = () => Promise.reject(new Error('store away'))
    const router = await GraphRouter.open({ ...common, artifact, loadEvidence })
    expect(await router.score(query(), POOL)).toHaveLength(3)
    router.llms.close()
  })

  it('gives names codes among all that the tenant may use, anew when these are others', async () => {
    const directory = copyArtifact(TINY_1)
    editManifest(directory, (manifest) => {
      manifest.codes = 'frame'
    })
    const artifact = await loadArtifact(directory)
    const { P, C } = artifact.dims
    const run = artifact.sessions.llm.run.bind(artifact.sessions.llm)
    const seen: { provider: Float32Array; name: Float32Array }[] = []
    artifact.sessions.llm.run = (feeds: Parameters<typeof run>[0]) => {
      const data = (input: string) => (feeds[input] as unknown as { data: Float32Array }).data
      seen.push({ provider: data('provider_code').slice(), name: data('name_code').slice() })
      return run(feeds)
    }
    let pool: readonly Candidate[] = [CHEAP, MIDDLE]
    const router = await GraphRouter.open({ ...common, artifact, candidatesOf: () => pool })
    const namesOf = (candidates: readonly Candidate[]) => {
      const codes = codesOf(
        candidates.map(({ name }) => name),
        C,
        'frame',
      )
      return candidates.flatMap(({ name }) => [...(codes.get(name) as Float32Array)])
    }
    await router.score(query(), pool)
    expectClose(seen.at(-1)?.name, namesOf(pool))
    expect(seen.at(-1)?.provider).toHaveLength(2 * P)
    await router.score(query(), pool)
    expect(seen).toHaveLength(1)
    pool = [CHEAP, MIDDLE, DEAR]
    await router.score(query(), pool)
    expectClose(seen.at(-1)?.name, namesOf(pool))
    // One that the tenant may not use any more, of whom a user spoke.
    pool = [CHEAP, MIDDLE]
    await router.llms.rows('acme', [DEAR])
    expectClose(seen.at(-1)?.name, [...code('dear', C)])
    router.llms.close()
  })

  it('refuses vectors of another size', async () => {
    const { router } = await tinyPolicy()
    await expect(router.score(query({ embedding: new Float32Array(TINY_E + 1) }), POOL)).rejects.toThrow(RouterError)
    await expect(router.score(query({ state: new Float32Array(3) }), POOL)).rejects.toMatchObject({ reason: 'session' })
  })

  it('tells versions apart', async () => {
    const [one, two] = [await tinyPolicy(TINY_1), await tinyPolicy(TINY_2)]
    expect(one.router.version).toBe('tiny-1')
    expect(meansOf(await one.router.score(query(), POOL))).not.toEqual(meansOf(await two.router.score(query(), POOL)))
  })
})

describe('a user’s caution', () => {
  const RULE = { caution: 0.15, risk: 0.2 }
  const NOBODY = { tenant: 'acme', state: null }

  /** A router one of whose usual questions a user likes another candidate for, if the run is let go on. */
  async function opened(runs: (() => Promise<unknown>)[] = [], deadlineMs = 1_000) {
    const directory = copyArtifact(TINY_1)
    editManifest(directory, (manifest) => {
      manifest.usual = null
    })
    const artifact = await loadArtifact(directory)
    let ran = 0
    artifact.sessions.score.run = (async () => {
      const isAnchor = ran === 0
      await runs[ran++]?.()
      const of = (...values: number[]) => new Tensor('float32', Float32Array.from(values), [1, values.length])
      return { mean: isAnchor ? of(1, 0, 0) : of(0, 1, 0), apart: of(0.1, 0.1, 0.1) }
    }) as unknown as typeof artifact.sessions.score.run
    const router = await GraphRouter.open({ ...common, artifact, deadlineMs })
    return { router, ran: () => ran }
  }

  it('is found once for all new users of a tenant who ask together, and kept beside those of other tenants', async () => {
    const { router, ran } = await opened()
    const other = { tenant: 'other', state: null }
    const others = [...POOL]
    const together = Array.from({ length: 8 }, () => router.cautionOf(NOBODY, POOL, RULE))
    expect(await Promise.all(together)).toEqual(Array(8).fill(0.15))
    // Everybody's favourite, and how sure of it a new user makes us.
    expect(ran()).toBe(2)
    await router.cautionOf(other, others, RULE)
    expect(ran()).toBe(4)
    await Promise.all([router.cautionOf(NOBODY, POOL, RULE), router.cautionOf(other, others, RULE)])
    expect(ran()).toBe(4)
  })

  it('counts doubts from the baseline where there is one, and from everybody’s favourite where it is no candidate', async () => {
    const { router, ran } = await opened()
    const nameOf = async (baseline?: string) =>
      (await router.favouriteOf({ tenant: 'acme', ...(baseline !== undefined && { baseline }) }, POOL))?.name
    expect(await nameOf('middle')).toBe('middle')
    // Nobody had to be asked who it is.
    expect(ran()).toBe(0)
    expect([await nameOf('gone'), await nameOf()]).toEqual(['cheap', 'cheap'])
  })

  it('is another where the baseline is another', async () => {
    // Whom a new user is sure to like better than `cheap` is no gain over itself.
    const { router } = await opened([async () => {}])
    await router.favouriteOf({ tenant: 'acme' }, POOL)
    expect(await router.cautionOf(NOBODY, POOL, RULE)).toBe(0.15)
    expect(await router.cautionOf({ ...NOBODY, baseline: 'middle' }, POOL, RULE)).toBe(FAVOURITE_ONLY)
    expect(await router.cautionOf({ ...NOBODY, baseline: 'dear' }, POOL, RULE)).toBe(0.15)
  })

  it('feeds the baseline’s z to the graph, for its own requests alone', async () => {
    const { router } = await opened([async () => {}])
    const run = router.artifact.sessions.score.run
    const anchors: Float32Array[] = []
    router.artifact.sessions.score.run = ((feeds: Record<string, Tensor>) => {
      anchors.push(feeds.anchor?.data as Float32Array)
      return (run as unknown as (of: unknown) => unknown)(feeds)
    }) as unknown as typeof run
    await router.favouriteOf({ tenant: 'acme' }, POOL)
    const { Z } = router.artifact.dims
    const { z } = await router.llms.table('acme', POOL)
    const rowOf = (i: number) => (z.data as Float32Array).slice(i * Z, (i + 1) * Z)
    anchors.length = 0
    const asked = [{}, { baseline: 'dear' }, { baseline: 'dear' }]
    await Promise.allSettled(asked.map((of) => router.score(query(of), POOL)))
    expect(anchors).toEqual([rowOf(0), rowOf(2)])
  })

  it('is not waited for beyond the deadline: everybody’s favourite answers, and the next request has it', async () => {
    const gate = Promise.withResolvers<void>()
    const { router, ran } = await opened([async () => {}, () => gate.promise], 20)
    const policy = { version: 'tiny', router, embedder: tinyEmbedder }
    expect(await cautionFor(policy, RULE, NOBODY, POOL)).toBe(FAVOURITE_ONLY)
    expect(await cautionFor(policy, RULE, { ...NOBODY, deadline: performance.now() }, POOL)).toBe(FAVOURITE_ONLY)
    gate.resolve()
    await gate.promise
    await vi.waitFor(async () => expect(await cautionFor(policy, RULE, NOBODY, POOL)).toBe(0.15))
    expect(ran()).toBe(2)
  })

  it('that could not be found is looked for again', async () => {
    const { router, ran } = await opened([async () => {}, () => Promise.reject(new Error('no memory'))])
    await expect(router.cautionOf(NOBODY, POOL, RULE)).rejects.toMatchObject({ reason: 'session' })
    expect([await router.cautionOf(NOBODY, POOL, RULE), ran()]).toEqual([0.15, 3])
  })
})
