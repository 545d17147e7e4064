import { mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { learningCurve, sparkline } from './chart.ts'
import type { Comparison, Mix } from './frontier.ts'
import { aligned } from './table.ts'
import { Mean, type Tally } from './tally.ts'

const NORMAL_95 = 1.96

/**
 * What came of it, in lines for people. `tallies`: the router first, then what it is compared with, the best single LLM
 * first.
 */
export function report(tallies: readonly Tally[], fixed: Comparison): string[] {
  const [personal] = tallies as [Tally]
  const reasons = [...personal.reasons].map(([reason, n]) => `${reason} ${percent(n / personal.reward.n)}`)
  return [
    ...aligned([
      ["mean reward, user's request", ...tallies.map(({ name }) => name), 'router minus best single (95 %)'],
      ...BANDS.map(([from, to], band) => [
        from + 1 === to ? `${to}` : `${from + 1} to ${to}`,
        ...tallies.map(({ byTurn }) => shown(bandsOf(byTurn)[band] as Mean)),
        withInterval(bandsOf(personal.aheadByTurn)[band] as Mean),
      ]).filter((_, band) => bandsOf(personal.byTurn)[band]?.n),
    ]),
    '',
    ...aligned([
      ['mean reward, kind of user', ...tallies.map(({ name }) => name)],
      ...[...personal.byPersona.keys()].map((kind) => [
        kind,
        ...tallies.map(({ byPersona }) => shown(byPersona.get(kind) as Mean)),
      ]),
    ]),
    '',
    `learning curve, request by request: ${sparkline(personal)}`,
    `why the router chose as it did: ${reasons.join(', ')}`,
    ...headline(personal, fixed),
    ...firstLoses(personal),
  ]
}

/** What a buyer compares: how much better at equal cost, how much cheaper at equal reward. */
function headline({ reward, cost }: Tally, { mix, ahead, costOfEqual, reward: fixed }: Comparison): string[] {
  const percentCheaper = costOfEqual === null ? 0 : Math.round((1 - cost.mean / costOfEqual) * 100)
  return [
    `at equal cost (${dollars(cost.mean)}): ${withInterval(ahead)} in reward over fixed LLMs (${named(mix)}, ${fixed.toFixed(3)})`,
    costOfEqual === null
      ? `at equal reward (${reward.mean.toFixed(3)}): no fixed LLM, nor a mix of two, is as good at any cost`
      : `at equal reward (${reward.mean.toFixed(3)}): ${Math.abs(percentCheaper)} % ${percentCheaper < 0 ? 'dearer' : 'cheaper'} than fixed LLMs (${dollars(costOfEqual)})`,
  ]
}

const dollars = (each: number) => `$${(each * 1000).toFixed(2)} for 1,000 requests`
const named = ({ llms: [a, b], share }: Mix) =>
  share === 1 || a === b ? a : share === 0 ? b : `${percent(share)} ${a}, ${percent(1 - share)} ${b}`

/** Requests that are taken together, from 0. */
const BANDS: readonly (readonly [from: number, to: number])[] = [
  [0, 1],
  [1, 3],
  [3, 6],
  [6, 10],
  [10, 20],
  [20, 40],
  [40, 80],
  [80, 1000],
]

const bandsOf = (turns: readonly Mean[]) => BANDS.map(([from, to]) => together(turns.slice(from, to)))
const shown = ({ mean }: Mean) => mean.toFixed(3)
const withInterval = ({ mean, standardError }: Mean) =>
  `${mean < 0 ? '' : '+'}${mean.toFixed(3)} ± ${(NORMAL_95 * standardError).toFixed(3)}`
const percent = (share: number) => `${Math.round(share * 100)} %`

/** Where a new user is worse off than with the best single LLM, that is said. */
function firstLoses({ aheadByTurn }: Tally): string[] {
  const lost = bandsOf(aheadByTurn).findLastIndex(({ mean, standardError }) => mean < -NORMAL_95 * standardError)
  if (lost < 0) return []
  return [`up to a user's request ${BANDS[lost]?.[1]} the router was worse than the best single LLM`]
}

function together(means: readonly Mean[]): Mean {
  const all = new Mean()
  for (const mean of means) all.join(mean)
  return all
}

/** Writes `learning-curve.svg` and `result.json`. @returns where the picture is */
export function writeResults(out: string, tallies: readonly Tally[], fixed: Comparison): string {
  const folder = resolve(out)
  const picture = join(folder, 'learning-curve.svg')
  mkdirSync(folder, { recursive: true })
  writeFileSync(picture, learningCurve(tallies))
  const [first, ...others] = tallies.map(figuresOf)
  writeFileSync(
    join(folder, 'result.json'),
    `${JSON.stringify([{ ...first, against_fixed: againstFixed(fixed) }, ...others], null, 2)}\n`,
  )
  return picture
}

const againstFixed = ({ mix, reward, ahead, costOfEqual }: Comparison) => ({
  mix: { [mix.llms[0]]: mix.share, [mix.llms[1]]: 1 - mix.share },
  reward_at_equal_cost: reward,
  ahead_at_equal_cost: ahead.mean,
  ahead_se: ahead.standardError,
  cost_usd_at_equal_reward: costOfEqual,
})

const figuresOf = ({ name, reward, cost, regret, byTurn, aheadByTurn, byPersona, reasons }: Tally) => ({
  name,
  requests: reward.n,
  reward: reward.mean,
  reward_se: reward.standardError,
  cost_usd: cost.mean,
  regret: regret.mean,
  reward_by_turn: byTurn.map(({ mean }) => mean),
  ahead_of_best_single_by_turn: aheadByTurn.map(({ mean }) => mean),
  reward_by_persona: Object.fromEntries([...byPersona].map(([persona, { mean }]) => [persona, mean])),
  reasons: Object.fromEntries(reasons),
})
