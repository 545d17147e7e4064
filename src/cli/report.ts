import type { Part, Report } from '../learning/report.ts'
import type { Gain } from '../learning/tenant-gains.ts'
import type { Certificate } from '../routing/safety/gains.ts'

/** The report as Markdown. */
export function reportMarkdown({ tenant, since, until, ...report }: Report, gains: Gain[] | null): string {
  return `${[
    `# ${tenant}: ${since.slice(0, 10)} to ${until.slice(0, 10)} (UTC)`,
    '',
    ...(gains === null
      ? ['No baseline is configured (`router.baseline`), so that no gain can be told.', '']
      : gains.flatMap(gainLines)),
    ...table('', { all: report.total }),
    ...table('who chose', report.by_arm),
    ...table('model', report.by_model),
    ...table('day', report.by_day),
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
