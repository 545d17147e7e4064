import type { GhostPair } from '../learning/ghost-report.ts'
import type { Part, Report } from '../learning/report.ts'
import type { Gain } from '../learning/tenant-gains.ts'
import type { TradeOff } from '../learning/trade-offs.ts'
import type { Certificate } from '../routing/safety/gains.ts'

/** The report as Markdown. */
export function reportMarkdown(
  { tenant, since, until, ...report }: Report,
  gains: Gain[] | null,
  ghosts: readonly GhostPair[],
): string {
  return `${[
    `# ${tenant}: ${since.slice(0, 10)} to ${until.slice(0, 10)} (UTC)`,
    '',
    ...(gains === null
      ? ['No baseline is configured (`router.baseline`), so that no gain can be told.', '']
      : gains.flatMap(gainLines)),
    ...table('', { all: report.total }),
    ...table('who chose', report.by_arm),
    ...table('model', report.by_model),
    ...table('router', report.by_policy),
    ...table('day', report.by_day),
    ...tradeOffLines(report),
    ...ghostLines(ghosts),
  ].join('\n')}`
}

function gainLines({ policy, baseline, groups }: Gain): string[] {
  return [
    `Router (${policy}) against ${baseline}, in reward (-1 to 1); each interval holds at all times together:`,
    '',
    '| users | ratings that count | estimate | interval | |',
    '| --- | ---: | ---: | ---: | --- |',
    ...Object.entries(groups).map(
      ([group, { count, estimate, low, high, verdict }]) =>
        `| ${group} | ${count} | ${signed(estimate)} | ${signed(low)} to ${signed(high)} | ${VERDICTS[verdict]} |`,
    ),
    '',
  ]
}

/** Equal cost, equal reward: what another weight of money would have brought, beside what the baseline did. */
function tradeOffLines({ trade_offs, by_arm }: Pick<Report, 'trade_offs' | 'by_arm'>): string[] {
  const known = trade_offs.filter(({ reward, efficient }) => reward !== null && efficient)
  if (known.length < 2) return []
  return [
    '| a dollar must bring | cost a request | reward (95 %) | ratings that speak for it |',
    '| ---: | ---: | ---: | ---: |',
    ...known.map(({ reward_per_usd, cost_usd, reward, reward_interval, effective_ratings }) => {
      const [low, high] = reward_interval ?? [0, 0]
      const weight = reward_per_usd === 0 ? 'as now' : signed(reward_per_usd)
      const worth = `${signed(reward ?? 0)} (${signed(low)} to ${signed(high)})`
      return `| ${weight} | ${dollars(cost_usd)} | ${worth} | ${Math.round(effective_ratings)} |`
    }),
    '',
    ...equalLines(known, by_arm.holdout ?? by_arm.baseline),
  ]
}

/** The best that costs no more than the baseline, and the cheapest that is no worse. */
function equalLines(known: readonly TradeOff[], baseline: Part | undefined): string[] {
  if (!baseline || baseline.reward === null || baseline.requests === 0) return []
  const cost = baseline.cost_usd / baseline.requests
  const reward = baseline.reward
  const asDear = known
    .filter(({ cost_usd }) => cost_usd <= cost)
    .toSorted((a, b) => (b.reward ?? 0) - (a.reward ?? 0))[0]
  const asGood = known.filter((one) => (one.reward ?? -1) >= reward).toSorted((a, b) => a.cost_usd - b.cost_usd)[0]
  return [
    ...(asDear
      ? [
          `At the baseline's cost (${dollars(cost)} a request): reward ${signed(asDear.reward ?? 0)} instead of ${signed(reward)}.`,
        ]
      : []),
    ...(asGood
      ? [
          `At the baseline's reward (${signed(reward)}): ${dollars(asGood.cost_usd)} a request instead of ${dollars(cost)}.`,
        ]
      : []),
    '',
  ]
}

/** What a judge found, who compared answers without knowing whose they were. */
function ghostLines(ghosts: readonly GhostPair[]): string[] {
  if (ghosts.length === 0) return []
  return [
    ...ghosts.map(({ answered, rival, compared, as_good, as_good_interval: [low, high], saved_usd }) => {
      const interval = `[${percent(low)}, ${percent(high)}]`
      return `- ${rival} was as good as ${answered}, or better, in ${percent(as_good)} ${interval} of ${compared} compared answers; it would have saved ${dollars(saved_usd * 1e3)} in 1,000.`
    }),
    '',
  ]
}

const percent = (share: number) => `${(100 * share).toFixed(0)} %`

const VERDICTS: Record<Certificate['verdict'], string> = {
  gain: 'certified gain',
  harm: 'worse: the baseline answers',
  open: 'not certified yet',
}

function table(title: string, parts: Record<string, Part>): string[] {
  if (Object.keys(parts).length === 0) return []
  return [
    `| ${title} | requests | failed | cost | baseline | saved | ratings | reward (95 %) | first output |`,
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...Object.entries(parts).map(
      ([name, part]) =>
        `| ${name.replaceAll('|', '\\|')} | ${part.requests} | ${part.failed} | ${dollars(part.cost_usd)} | ${dollars(
          part.baseline_usd,
        )} | ${dollars(part.saved_usd)} | ${part.ratings} | ${rewardOf(part)} | ${
          part.ttft_ms_median === null ? '–' : `${part.ttft_ms_median.toFixed(0)} ms`
        } |`,
    ),
    '',
  ]
}

const signed = (value: number) => `${value < 0 ? '' : '+'}${value.toFixed(3)}`
const dollars = (value: number) => `${value < 0 ? '-' : ''}$${Math.abs(value).toFixed(Math.abs(value) < 1 ? 4 : 2)}`
const rewardOf = ({ reward, reward_interval: interval }: Part) =>
  reward === null
    ? '–'
    : interval === null
      ? signed(reward)
      : `${signed(reward)} ± ${(interval[1] - reward).toFixed(3)}`
