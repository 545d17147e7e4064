import type { InteractionDocument } from '../src/store/records/codec.ts'
import { Mean } from './tally.ts'

const NORMAL_95 = 1.96

/** What a request was worth by each LLM, to the user who made it. */
export type Worths = ReadonlyMap<string, number>

/**
 * Another artifact, which scored every request beside the router and chose none: what it would have brought. The demo
 * knows what every answer is worth; the gateway has to estimate it from what was rated.
 */
export function shadowLines(records: readonly InteractionDocument[], worthsOf: ReadonlyMap<string, Worths>): string[] {
  let name = ''
  const alike = new Mean()
  const byUser = new Map<string, Mean>()
  for (const { id, user, candidates, shadow } of records) {
    const worths = worthsOf.get(id)
    if (!shadow || !worths) continue
    name = shadow.policy
    const live = new Map(candidates.map((one) => [one.name, one.propensity]))
    let ahead = 0
    let same = 0
    for (const { name: llm, propensity } of shadow.candidates) {
      const usual = live.get(llm) ?? 0
      ahead += (propensity - usual) * (worths.get(llm) ?? 0)
      same += propensity * usual
    }
    alike.add(same)
    const mean = byUser.get(user) ?? new Mean()
    byUser.set(user, mean)
    mean.add(ahead)
  }
  if (alike.n === 0) return []
  const ahead = new Mean()
  for (const { mean } of byUser.values()) ahead.add(mean)
  const difference = `${ahead.mean < 0 ? '' : '+'}${ahead.mean.toFixed(3)} ± ${(NORMAL_95 * ahead.standardError).toFixed(3)}`
  return [
    `shadow ${name}: scored ${alike.n} requests beside the router, would have chosen alike in ${Math.round(100 * alike.mean)} %`,
    `its reward less the router's: ${difference} (as the demo knows; below is what the gateway estimates from ratings)`,
  ]
}
