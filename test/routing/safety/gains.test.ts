import { describe, expect, test } from 'vitest'
import { type Random, seeded } from '../../../demo/random.ts'
import { choose } from '../../../src/routing/choose/choose.ts'
import type { CandidateScore } from '../../../src/routing/router.ts'
import { type Certificate, type Comparison, Gains, type RatedBy } from '../../../src/routing/safety/gains.ts'
import type { Evidence } from '../../../src/store/store.ts'
import { candidate, routerConfig, silent } from '../support.ts'

/** What the store does with evidence, and nothing else of it: the contract suite has the real ones. */
function memoryStore() {
  const hashes = new Map<string, Evidence>()
  return {
    async loadEvidence(tenant: string, key: string): Promise<Evidence> {
      return new Map(hashes.get(`${tenant} ${key}`))
    },
    async addEvidence(tenant: string, key: string, name: string, added: Float32Array): Promise<void> {
      const hash = hashes.get(`${tenant} ${key}`) ?? new Map<string, Float32Array>()
      hashes.set(`${tenant} ${key}`, hash)
      hash.set(name, hash.get(name)?.map((value, i) => value + (added[i] as number)) ?? added)
    },
  }
}

const RULES = { quorum: 5, keyWeight: 8 }
const NAMES = ['usual', 'cheap', 'dear']
const policy = routerConfig()

type By = (n: number) => RatedBy

interface World {
  /** Mean reward of each candidate, -1 to 1. */
  truth: readonly number[]
  /** What the router believes of them. */
  believed: readonly number[]
  routed: number
}

/** Requests that are drawn by `choose` itself and rated; ends where a verdict is reached. */
async function live(
  gains: Gains,
  comparison: Comparison,
  world: World,
  ratings: number,
  random: Random,
  by: By = (n) => ({ voice: `u${n % 8}`, isNew: n < 16 }),
) {
  const scores: CandidateScore[] = NAMES.map((name, i) => ({
    candidate: candidate(name),
    mean: world.believed[i] as number,
    std: 0.1,
    parts: {},
    quality: 0.5,
    completionTokens: 300,
    costUsd: 0.001,
  }))
  for (let n = 1; n <= ratings; n++) {
    const { chosen, lift } = choose({
      scores,
      by: 'graph',
      limits: { needs: new Set(), promptTokens: 100, maxTokens: null },
      explicit: null,
      rewards: 1,
      explore: true,
      previous: null,
      baseline: { candidate: 'usual', routed: world.routed, why: 'baseline' },
      policy,
      random: random(),
    })
    const mean = world.truth[NAMES.indexOf(chosen.candidate.name)] as number
    const reward = random() < (1 + mean) / 2 ? 1 : -1
    if (lift) await gains.note(comparison, 'known', lift, reward, by(n))
    const { verdict } = gains.certificate(comparison, 'all')
    if (verdict !== 'open') return { verdict, n }
  }
  return { verdict: 'open' as Certificate['verdict'], n: ratings }
}

const newGains = (onVerdict?: ConstructorParameters<typeof Gains>[0]['onVerdict']) =>
  new Gains({ store: memoryStore(), rules: RULES, log: silent, ...(onVerdict && { onVerdict }) })
const of = (tenant: string): Comparison => ({ tenant, policy: 'v1', baseline: 'usual' })

describe('gain over the baseline', () => {
  test('of 1,000 tenants without any, at most 5 % are ever said to gain or to lose', { timeout: 120_000 }, async () => {
    const random = seeded(11)
    const gains = newGains()
    let wrong = 0
    for (let tenant = 0; tenant < 1_000; tenant++) {
      const world = { truth: [0.3, 0.3, 0.3], believed: [0.3, 0.3 + 0.1 * random(), 0.2], routed: 1 }
      wrong += (await live(gains, of(`t${tenant}`), world, 200, random)).verdict === 'open' ? 0 : 1
    }
    expect(wrong).toBeLessThanOrEqual(50)
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
