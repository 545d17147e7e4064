import type { AgainstBaseline, Compared, Difference, Differences } from '../learning/baseline-differences.ts'
import type { GhostPair } from '../learning/ghost-report.ts'
import type { Part, Report } from '../learning/report.ts'
import type { ShadowValue } from '../learning/shadow-values.ts'
import type { Gain, Missing } from '../learning/tenant-gains.ts'
import type { TradeOff } from '../learning/trade-offs.ts'
import type { Certificate } from '../routing/safety/gains.ts'

/** The report as Markdown. */
export function reportMarkdown(
  { tenant, since, until, ...report }: Report,
  gains: Gain[] | null,
  ghosts: readonly GhostPair[],
  counting: Counting,
): string {
  return `${[
    `# ${tenant}: ${since.slice(0, 10)} to ${until.slice(0, 10)} (UTC)`,
    '',
    ...(gains === null
      ? ['No baseline is configured (`router.baseline`), so that no gain can be told.', '']
      : gains.length === 0
        ? [nothingCounts(counting), '']
        : gains.flatMap(gainLines)),
    ...table('', { all: report.total }),
    ...table('who chose', report.by_arm),
    ...table('model', report.by_model),
    ...table('router', report.by_policy),
    ...table('day', report.by_day),
    ...table('users', report.by_group),
    ...differenceLines(report.against_baseline),
    ...tradeOffLines(report),
    ...shadowLines(report.shadows),
    ...ghostLines(ghosts),
  ].join('\n')}`
}

/** By which rules a rating counts for a certificate. */
export interface Counting {
  /** `observe`, `assist` or `route`, as it is now: switched, or configured. */
  mode: string
  /** What nobody explores, nobody draws. */
  explore: boolean
  /** A user's rating counts after so many answers that they spoke of, and so long after the first. */
  minAnswers: number
  minAgeHours: number
}

function nothingCounts({ mode, explore, minAnswers, minAgeHours }: Counting): string {
  const none = 'Not certified yet: no rating counts so far.'
  if (mode === 'observe') return `${none} In \`observe\` none can: the baseline answers everything. Use \`assist\`.`
  if (!explore) return `${none} With \`explore: false\` none can: nothing is drawn.`
  const answers = `${minAnswers} ${minAnswers === 1 ? 'answer' : 'answers'}`
  return [
    `${none} One counts where the model was drawn between router and baseline, not where it was asked for by name, stated`,
    'by the user, or kept by a tool loop, and not of users who are held out. A user is heard once they have spoken of',
    `${answers}, and ${minAgeHours} hours after the first (\`router.shared_evidence\`).`,
  ].join(' ')
}

function gainLines({ policy, baseline, groups }: Gain): string[] {
  return [
    `Router (${policy}) against ${baseline}, in reward (-1 to 1); each interval holds at all times together:`,
    '',
    '| users | ratings that count | compared by a judge | estimate | interval | |',
    '| --- | ---: | ---: | ---: | ---: | --- |',
    ...Object.entries(groups).map(([group, { count, compared, estimate, low, high, verdict, missing }]) => {
      const interval = `${signed(low)} to ${signed(high)}`
      const said = `${VERDICTS[verdict]}${missingWords(missing, estimate)}`
      return `| ${group} | ${count - compared} | ${compared} | ${signed(estimate)} | ${interval} | ${said} |`
    }),
    '',
  ]
}

function missingWords(missing: Missing | null, estimate: number): string {
  if (missing === null) return ''
  if (missing === 'voices') return ': too few voices, or one of them alone'
  return `: about ${missing.ratings} more ratings at this rate would tell ${estimate > 0 ? 'a gain' : 'a loss'}`
}

/** Router less baseline, in reward, cost and latency, where propensities tell it, and where a holdout does. */
function differenceLines({ drawn, holdout }: AgainstBaseline): string[] {
  return [
    ...(drawn ? differenceTable('router less baseline, by propensities', drawn, ['by_group', 'by_day']) : []),
    ...(drawn ? differenceTable('of which by', { ...drawn, total: null }, ['by_model']) : []),
    ...(holdout ? differenceTable('router less holdout', { by_model: {}, ...holdout }, ['by_group', 'by_day']) : []),
  ]
}

function differenceTable(
  title: string,
  compared: Omit<Compared, 'total'> & { total: Differences | null },
  slices: readonly ('by_group' | 'by_day' | 'by_model')[],
): string[] {
  const rows = [
    ...(compared.total ? [['all', compared.total] as const] : []),
    ...slices.flatMap((slice) => Object.entries(compared[slice])),
  ]
  if (rows.length === 0) return []
  return [
    `| ${title} | reward | cost a request | first output | whole answer |`,
    '| --- | ---: | ---: | ---: | ---: |',
    ...rows.map(([name, of]) => {
      const cells = [
        difference(of.reward, signed),
        difference(of.cost_usd, dollars),
        difference(of.ttft_ms, milliseconds),
        difference(of.total_ms, milliseconds),
      ]
      return `| ${name.replaceAll('|', '\\|')} | ${cells.join(' | ')} |`
    }),
    '',
  ]
}

function difference(found: Difference | null, shown: (value: number) => string): string {
  return found === null ? '–' : `${shown(found.estimate)} [${found.interval.map(shown).join(', ')}]`
}

const milliseconds = (ms: number) => `${ms < 0 ? '' : '+'}${ms.toFixed(0)} ms`

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

/** What shadows would have brought in place of the router, by an off-policy estimate. */
function shadowLines(shadows: Readonly<Record<string, ShadowValue>>): string[] {
  const rows = Object.entries(shadows)
  if (rows.length === 0) return []
  return [
    "| shadow | requests | would choose alike | ratings that speak for it | reward, less the router's (95 %) |",
    '| --- | ---: | ---: | ---: | ---: |',
    ...rows.map(([version, { requests, agreement, effective_ratings, difference, interval }]) => {
      const [low, high] = interval ?? [0, 0]
      const worth = difference === null ? '–' : `${signed(difference)} (${signed(low)} to ${signed(high)})`
      const alike = `${Math.round(100 * agreement)} %`
      return `| ${version} | ${requests} | ${alike} | ${Math.round(effective_ratings)} | ${worth} |`
    }),
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
    `| ${title} | requests | failed | cost | baseline | saved | ratings | reward (95 %) | first output | whole |`,
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...Object.entries(parts).map(
      ([name, part]) =>
        `| ${name.replaceAll('|', '\\|')} | ${part.requests} | ${part.failed} | ${dollars(part.cost_usd)} | ${dollars(
          part.baseline_usd,
        )} | ${dollars(part.saved_usd)} | ${part.ratings} | ${rewardOf(part)} | ${median(
          part.ttft_ms_median,
        )} | ${median(part.total_ms_median)} |`,
    ),
    '',
  ]
}

const median = (ms: number | null) => (ms === null ? '–' : `${ms.toFixed(0)} ms`)
const signed = (value: number) => `${value < 0 ? '' : '+'}${value.toFixed(3)}`
const dollars = (value: number) => `${value < 0 ? '-' : ''}$${Math.abs(value).toFixed(decimalsOf(Math.abs(value)))}`
/** Cents of what is dear, two digits of what is cheap. */
const decimalsOf = (usd: number) => (usd >= 1 ? 2 : Math.min(12, Math.max(4, 1 - Math.floor(Math.log10(usd || 1)))))
const rewardOf = ({ reward, reward_interval: interval }: Part) =>
  reward === null
    ? '–'
    : interval === null
      ? signed(reward)
      : `${signed(reward)} ± ${(interval[1] - reward).toFixed(3)}`
