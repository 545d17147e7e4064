import type { Store } from '../store/store.ts'
import { GHOSTS, PAIR } from './sources/ghost.ts'

const NORMAL_95 = 1.96

/** How often another model's answer was no worse, as a judge compared them without knowing whose they were. */
export interface GhostPair {
  answered: string
  rival: string
  compared: number
  better: number
  alike: number
  worse: number
  /** Share of these requests in which the rival was as good or better, with its 95 % interval (Wilson, 1927). */
  as_good: number
  as_good_interval: readonly [low: number, high: number]
  /** Dollars that the rival would have saved in those, a request of all that were compared. */
  saved_usd: number
}

/** @throws StoreError */
export async function ghostPairs(store: Pick<Store, 'loadEvidence'>, tenant: string): Promise<GhostPair[]> {
  const pairs = [...(await store.loadEvidence(tenant, GHOSTS))].flatMap(([pair, sums]) => {
    const [answered = '', rival = ''] = pair.split(PAIR)
    const [compared = 0, better = 0, alike = 0, worse = 0, saved = 0] = sums
    if (compared === 0) return []
    const asGood = (alike + worse) / compared
    return {
      ...{ answered, rival, compared, better, alike, worse },
      as_good: asGood,
      as_good_interval: wilson(asGood, compared),
      saved_usd: saved / compared,
    }
  })
  return pairs.sort((a, b) => b.compared - a.compared)
}

function wilson(share: number, n: number): readonly [number, number] {
  const square = NORMAL_95 ** 2
  const middle = (share + square / (2 * n)) / (1 + square / n)
  const half = (NORMAL_95 / (1 + square / n)) * Math.sqrt((share * (1 - share)) / n + square / (4 * n * n))
  return [Math.max(0, middle - half), Math.min(1, middle + half)]
}
