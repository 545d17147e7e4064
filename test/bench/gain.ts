/**
 * What the certificate says where there is no gain, and after how many ratings it finds a gain or a loss: `node
 * scripts/on-node.mjs test/bench/gain.ts`. First tenants without any gain, drawn by `choose` and certified by `Gains`;
 * then two candidates, ratings around .2 (-1 to 1) with a standard deviation of .5, twenty runs of 40,000 ratings each.
 */
import { type Random, seeded } from '../../demo/random.ts'
import { boundsOf, observe, SUMS } from '../../src/routing/safety/confidence-sequence.ts'
import { gainOf, liftOf } from '../../src/routing/safety/lift.ts'
import { wronglySaid } from '../routing/safety/simulated.ts'

const RUNS = 20
const RATINGS = 40_000

/** @param gain of the router in mean reward, -1 to 1 @param q the router's propensity for the baseline */
function ratingsUntilFound(gain: number, q: number, routed: number, random: Random): number | null {
  const sums = new Float64Array(SUMS)
  const wanted = [q, 1 - q]
  const drawn = [1 - routed + routed * q, routed * (1 - q)]
  let [sum, count] = [1, 2]
  for (let n = 1; n <= RATINGS; n++) {
    const chosen = random() < (drawn[0] as number) ? 0 : 1
    const mean = 0.6 + (chosen === 0 ? 0 : gain / 2 / (1 - q))
    const reward = Math.min(1, Math.max(0, mean + (random() + random() + random() - 1.5) * 0.5))
    const lift = liftOf(drawn, wanted, chosen, 0)
    if (lift) {
      const added = observe(sums, gainOf(lift, reward, sum / count))
      for (let i = 0; i < SUMS; i++) sums[i]! += added[i]!
    }
    sum += reward
    count++
    const { low, high } = boundsOf(sums, 0.05)
    if (gain > 0 ? low >= 0 : high <= 0) return n
  }
  return null
}

for (const [name, judged] of [
  ['ratings alone', undefined],
  ['and a judge of half of the answers', { share: 0.5, prefers: 0.5 }],
] as const) {
  const wrong = await wronglySaid(1_000, seeded(11), judged)
  console.log(`1,000 tenants without any gain, ${name}: ${wrong} ever said to gain or to lose (at most 50)`)
}
console.log('\ngain   baseline drawn with   routed   found   median   most')
for (const [gain, q, routed] of [
  [0.05, 0.3, 1],
  [0.05, 0.1, 1],
  [-0.05, 0.3, 1],
  [-0.05, 0.5, 0.2],
  [0.1, 0.3, 0.2],
] as const) {
  const runs = Array.from({ length: RUNS }, (_, run) => ratingsUntilFound(gain, q, routed, seeded(run + 1)))
  const found = runs.filter((n) => n !== null).sort((a, b) => a - b)
  const shown = [found.length, found[found.length >> 1] ?? '-', found.at(-1) ?? '-'].map((n) => String(n).padStart(7))
  console.log(
    `${gain.toFixed(2).padStart(5)} ${q.toFixed(1).padStart(16)} ${routed.toFixed(1).padStart(14)} ${shown.join('  ')}`,
  )
}
