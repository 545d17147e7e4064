import type { Random } from '../../../demo/random.ts'
import { choose } from '../../../src/routing/choose/choose.ts'
import type { CandidateScore } from '../../../src/routing/router.ts'
import { type Certificate, type Comparison, Gains, type RatedBy } from '../../../src/routing/safety/gains.ts'
import type { Evidence } from '../../../src/store/store.ts'
import { candidate, routerConfig, silent } from '../support.ts'

/** What the store does with evidence, and nothing else of it: the contract suite has the real ones. */
export function memoryStore() {
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

export const RULES = { quorum: 5, keyWeight: 8 }
const NAMES = ['usual', 'cheap', 'dear']
const policy = routerConfig()

export type By = (n: number) => RatedBy

export interface World {
  /** Mean reward of each candidate, -1 to 1. */
  truth: readonly number[]
  /** What the router believes of them. */
  believed: readonly number[]
  routed: number
  /** Share of the answers that a judge compares with the baseline's own, and how often it prefers those of others. */
  judged?: { share: number; prefers: number }
}

/** Requests that are drawn by `choose` itself and rated; ends where a verdict is reached. */
export async function live(
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
      stated: null,
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
    if (lift && world.judged && chosen.candidate.name !== 'usual' && random() < world.judged.share) {
      const preferred = random() < 0.3 ? 0 : random() < world.judged.prefers ? 1 : -1
      await gains.noteComparison(comparison, 'known', lift, preferred)
    }
    const { verdict } = gains.certificate(comparison, 'all')
    if (verdict !== 'open') return { verdict, n }
  }
  return { verdict: 'open' as Certificate['verdict'], n: ratings }
}

export const newGains = (onVerdict?: ConstructorParameters<typeof Gains>[0]['onVerdict']) =>
  new Gains({ store: memoryStore(), rules: RULES, log: silent, ...(onVerdict && { onVerdict }) })
export const of = (tenant: string): Comparison => ({ tenant, policy: 'v1', baseline: 'usual' })

/** Of so many tenants without any gain, how many are ever said to gain or to lose within 200 ratings each. */
export async function wronglySaid(tenants: number, random: Random, judged?: World['judged']): Promise<number> {
  const gains = newGains()
  let wrong = 0
  for (let tenant = 0; tenant < tenants; tenant++) {
    const believed = [0.3, 0.3 + 0.1 * random(), 0.2]
    const world: World = { truth: [0.3, 0.3, 0.3], believed, routed: 1, ...(judged && { judged }) }
    wrong += (await live(gains, of(`t${tenant}`), world, 200, random)).verdict === 'open' ? 0 : 1
  }
  return wrong
}
