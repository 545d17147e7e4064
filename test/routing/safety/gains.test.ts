import { describe, expect, test } from 'vitest'
import { seeded } from '../../../demo/random.ts'
import { Gains } from '../../../src/routing/safety/gains.ts'
import { silent } from '../support.ts'
import { type By, live, memoryStore, newGains, of, RULES, wronglySaid } from './simulated.ts'

describe('gain over the baseline', () => {
  test.each([
    ['ratings alone', undefined],
    ['ratings, and a judge that compares half of the answers', { share: 0.5, prefers: 0.5 }],
  ])(
    'by %s: of 1,000 tenants without any gain at most 50 are ever said to gain or to lose',
    { timeout: 240_000 },
    async (_, judged) => {
      expect(await wronglySaid(1_000, seeded(11), judged)).toBeLessThanOrEqual(50)
    },
  )

  test('a judge shortens the way to a verdict that ratings point to', { timeout: 60_000 }, async () => {
    const world = { truth: [0.3, 0.45, 0.1], believed: [0.3, 0.32, 0.1], routed: 0.8 }
    const alone = await live(newGains(), of('acme'), world, 40_000, seeded(3))
    const gains = newGains()
    const judged = await live(gains, of('acme'), { ...world, judged: { share: 0.5, prefers: 0.7 } }, 40_000, seeded(3))
    expect([alone.verdict, judged.verdict]).toEqual(['gain', 'gain'])
    expect(judged.n).toBeLessThan(alone.n)
    const { count, compared } = gains.certificate(of('acme'), 'all')
    expect(compared).toBeGreaterThan(0)
    expect(compared).toBeLessThan(count)
  })

  test('a judge gives no verdict against users, nor without them', { timeout: 60_000 }, async () => {
    const gains = newGains()
    const lift = { weight: 0.5, least: -1, largest: 0.5 }
    for (let i = 0; i < 500; i++) await gains.noteComparison(of('judged'), 'known', lift, 1)
    expect(gains.certificate(of('judged'), 'all')).toMatchObject({ verdict: 'open', count: 500, compared: 500 })
    expect(gains.certificate(of('judged'), 'all').low).toBeGreaterThan(0)
    // Users are less happy with the router; the judge is sure of the contrary.
    await live(gains, of('acme'), { truth: [0.3, 0.2, 0.1], believed: [0.3, 0.32, 0.1], routed: 0.8 }, 1_000, seeded(8))
    expect(gains.certificate(of('acme'), 'all')).toMatchObject({ verdict: 'open', compared: 0 })
    expect(gains.certificate(of('acme'), 'all').estimate).toBeLessThan(0)
    for (let i = 0; i < 500; i++) await gains.noteComparison(of('acme'), 'known', lift, 1)
    expect(gains.certificate(of('acme'), 'all')).toMatchObject({ verdict: 'open', compared: 500 })
    expect(gains.certificate(of('acme'), 'all').low).toBeGreaterThan(0)
  })

  test.each([
    ['a gain', 0.45, 'gain'],
    ['a loss', 0.15, 'harm'],
  ] as const)('%s of .15 is found, and said once', { timeout: 60_000 }, async (_, other, verdict) => {
    const said: [string, string][] = []
    const gains = newGains((_, group, certificate) => said.push([group, certificate.verdict]))
    const world = { truth: [0.3, other, 0.1], believed: [0.3, 0.32, 0.1], routed: 0.8 }
    const found = await live(gains, of('acme'), world, 40_000, seeded(3))
    expect(found.verdict).toBe(verdict)
    expect(said.filter(([group]) => group === 'all')).toEqual([['all', verdict]])
  })

  test('who loses goes back to the baseline, in every mode; who gains is routed', async () => {
    const gains = newGains()
    const world = { truth: [0.9, -0.9, -0.9], believed: [0, 0.05, 0], routed: 0.5 }
    await live(gains, of('loser'), world, 5_000, seeded(5))
    for (const mode of ['route', 'assist', 'observe'] as const) {
      expect(gains.routed(mode, of('loser'), 'known', 0.2)).toBe(0)
    }
    await live(gains, of('winner'), { ...world, truth: [-0.9, 0.9, -0.9] }, 5_000, seeded(5))
    expect(gains.routed('route', of('winner'), 'known', 0.2)).toBe(1)
    expect(gains.routed('assist', of('winner'), 'known', 0.2)).toBe(1)
    expect(gains.routed('assist', of('stranger'), 'known', 0.2)).toBe(0.2)
    expect(gains.routed('observe', of('winner'), 'known', 0.2)).toBe(0)
  })

  test('replicas add to the same sums, and a restart forgets nothing', async () => {
    const store = memoryStore()
    const [a, b] = [new Gains({ store, rules: RULES, log: silent }), new Gains({ store, rules: RULES, log: silent })]
    const lift = { weight: 0.5, least: -1, largest: 0.5 }
    for (let i = 0; i < 10; i++) {
      await a.note(of('acme'), 'new', lift, 1, { voice: 'u1', isNew: false })
      await b.note(of('acme'), 'regular', lift, -1, { voice: 'k1', isNew: false })
    }
    const report = await new Gains({ store, rules: RULES, log: silent }).report(of('acme'))
    expect(Object.entries(report).map(([group, { count }]) => [group, count])).toEqual([
      ['all', 20],
      ['new', 10],
      ['known', 0],
      ['regular', 10],
    ])
  })

  test('nobody certifies or revokes alone: made-up users of a key, nor a voice against all others', async () => {
    const gains = newGains()
    const [good, bad] = [
      [-0.9, 0.9, -0.9],
      [0.9, -0.9, -0.9],
    ]
    const rate = async (tenant: string, truth: number[] | undefined, ratings: number, by: By) => {
      const world = { truth: truth as number[], believed: [0, 0.05, 0], routed: 0.5 }
      return (await live(gains, of(tenant), world, ratings, seeded(5), by)).verdict
    }
    const key = (n: number) => ({ voice: 'k3', isNew: n <= 500 })
    expect(await rate('app', good, 3_000, key)).toBe('open')
    expect(gains.certificate(of('app'), 'all').low).toBeGreaterThan(0)
    // The baseline is the safe side: a lone key may call it back.
    expect(await rate('app-harmed', bad, 3_000, key)).toBe('harm')
    // Too few voices, however many ratings.
    expect(await rate('pair', good, 3_000, (n) => ({ voice: `u${n % 2}`, isNew: n <= 2 }))).toBe('open')
    const users = (n: number) => ({ voice: `u${n % 8}`, isNew: n <= 8 })
    expect(await rate('team', good, 3_000, users)).toBe('gain')
    // Not certified any more once somebody is loud enough against it, but never called harmful for that.
    const world = { truth: bad as number[], believed: [0, 0.05, 0], routed: 0.5 }
    const said = new Set<string>()
    const random = seeded(6)
    for (let n = 1; n <= 2_000; n++) {
      said.add((await live(gains, of('team'), world, 1, random, () => ({ voice: 'k3', isNew: n < 500 }))).verdict)
    }
    expect(said).not.toContain('harm')
  })
})
