import { ask, query } from './api.js'
import { Chart } from './chart.js'
import {
  between,
  count,
  dollars,
  Loaded,
  milliseconds,
  Off,
  share,
  signed,
  signedDollars,
  Table,
  Tile,
  useAnswer,
} from './parts.js'
import { html } from './preact.js'

export function Overview({ tenant, days }) {
  const answer = useAnswer(async () => (await ask(`overview?${query({ tenant, days })}`)).json, [tenant, days])
  return html`<${Loaded} answer=${answer}>${(value) => html`<${Shown} ...${value} />`}<//>`
}

function Shown({ report, gains, ghosts, components, breakers, off }) {
  const { total } = report
  const open = Object.entries(breakers).filter(([, state]) => state !== 'closed')
  const degraded = Object.entries(components).filter(([, part]) => part?.status && part.status !== 'ok')
  return html`<dl class="tiles">
      <${Tile} title="Requests" value=${count(total.requests)} note=${`${count(total.failed)} failed`} />
      <${Tile} title="Cost" value=${dollars(total.cost_usd)} />
      <${Tile} title="Saved against the baseline" value=${dollars(total.saved_usd)}
        note=${total.baseline_usd ? `it would have cost ${dollars(total.baseline_usd)}` : 'no baseline yet'} />
      <${Tile} title="Reward, -1 to 1" value=${signed(total.reward)} note=${`${count(total.ratings)} ratings`} />
      <${Tile} title="First output, median" value=${total.ttft_ms_median === null ? '–' : `${Math.round(total.ttft_ms_median)} ms`}
        note=${total.total_ms_median === null ? '' : `whole answer ${Math.round(total.total_ms_median)} ms`} />
      <${Certificate} gains=${gains} />
    </dl>
    ${
      degraded.length + open.length > 0
        ? html`<section role="alert"><h2 class="bad">Degraded</h2><ul>
          ${degraded.map(([name, part]) => html`<li>${name}: ${part.detail ?? part.status}</li>`)}
          ${open.map(([name, state]) => html`<li>${name} is left alone (${state}).</li>`)}
        </ul></section>`
        : null
    }
    <section><h2>Requests and cost by day (UTC)</h2><${Days} days=${report.by_day} /></section>
    <section><h2>Who chose</h2><${Parts} caption="Who chose" parts=${report.by_arm} total=${total.requests} /></section>
    <section><h2>Models</h2><${Parts} caption="Models" parts=${report.by_model} total=${total.requests} /></section>
    ${
      Object.keys(report.by_group).length > 0
        ? html`<section><h2>Users, by what is known of them</h2>
          <${Parts} caption="Users" parts=${report.by_group} total=${total.requests} /></section>`
        : null
    }
    <${Against} against=${report.against_baseline} />
    ${gains?.length ? html`<section><h2>Gain over the baseline</h2><${Gains} gains=${gains} /></section>` : null}
    <${TradeOffs} points=${report.trade_offs} />
    <${Ghosts} ghosts=${ghosts} />
    <${Off} off=${off} />`
}

/** The latest version's certificate over all users. */
function Certificate({ gains }) {
  const all = gains?.at(-1)?.groups.all
  if (!gains) return html`<${Tile} title="Certified gain" value="–" note="no baseline is configured" />`
  if (!all) return html`<${Tile} title="Certified gain" value="not yet" note="no rating counts so far" />`
  if (all.verdict === 'gain')
    return html`<${Tile} title="Certified gain" value=${signed(all.low)} tone="good" note=${`estimate ${signed(all.estimate)}`} />`
  if (all.verdict === 'harm')
    return html`<${Tile} title="Certified gain" value="worse" tone="bad" note="the baseline answers" />`
  return html`<${Tile} title="Certified gain" value="not yet" note=${missingWords(all)} />`
}

/** What a verdict lacks, in words. */
function missingWords({ missing, estimate, count: ratings }) {
  if (missing === 'voices') return 'too few people say so, or one of them alone'
  if (missing === null) return `estimate ${signed(estimate)} from ${count(ratings)} ratings`
  return `${count(missing.ratings)} more ratings at this rate${estimate < 0 ? ', and it is a loss' : ''}`
}

/** The router less its baseline, in what an answer is worth, costs and takes. */
function Against({ against: { drawn, holdout } }) {
  const rowsOf = (compared, how) =>
    compared === null
      ? []
      : [
          { how, part: 'all', of: compared.total },
          ...['by_group', 'by_model', 'by_day'].flatMap((by) =>
            Object.entries(compared[by] ?? {}).map(([name, of]) => ({ how, part: `${BY[by]} ${name}`, of })),
          ),
        ]
  const rows = [...rowsOf(drawn, 'propensities'), ...rowsOf(holdout, 'holdout')]
  if (rows.length === 0) return null
  return html`<section><h2>Router against baseline</h2>
    <${Table} caption="Router against baseline" rows=${rows} columns=${[
      { title: 'by', cell: ({ how }) => how },
      { title: 'of', cell: ({ part }) => part },
      { title: 'reward', number: true, cell: ({ of }) => between(of.reward) },
      {
        title: 'dollars in 1,000',
        number: true,
        cell: ({ of }) => between(of.cost_usd, (usd) => signedDollars(usd * 1e3)),
      },
      { title: 'first output', number: true, cell: ({ of }) => between(of.ttft_ms, milliseconds) },
      { title: 'whole answer', number: true, cell: ({ of }) => between(of.total_ms, milliseconds) },
    ]} />
    <p class="dim">The mean of the router's answers less that of the baseline's, with 95 % intervals: by the exact
      probabilities with which each was drawn, and by the users who are held out. Models: what each adds to the whole.</p>
  </section>`
}

const BY = { by_group: 'users', by_model: 'model', by_day: 'day' }

function Days({ days }) {
  const names = Object.keys(days)
  return html`<${Chart} title="Requests and dollars by day" time=${true}
    x=${names.map((day) => Date.parse(day) / 1e3)}
    lines=${[
      { name: 'requests', values: names.map((day) => days[day].requests) },
      { name: 'cents', values: names.map((day) => days[day].cost_usd * 100) },
      { name: 'cents of the baseline', values: names.map((day) => days[day].baseline_usd * 100) },
    ]} />`
}

const Parts = ({ caption, parts, total }) =>
  html`<${Table} caption=${caption} rows=${Object.entries(parts)} columns=${[
    { title: caption.toLowerCase(), cell: ([name]) => name },
    { title: 'requests', number: true, cell: ([, part]) => count(part.requests) },
    { title: 'share', number: true, cell: ([, part]) => share(part.requests / Math.max(1, total)) },
    { title: 'failed', number: true, cell: ([, part]) => count(part.failed) },
    { title: 'cost', number: true, cell: ([, part]) => dollars(part.cost_usd) },
    { title: 'saved', number: true, cell: ([, part]) => dollars(part.saved_usd) },
    { title: 'reward', number: true, cell: ([, part]) => signed(part.reward) },
    { title: 'ratings', number: true, cell: ([, part]) => count(part.ratings) },
    { title: 'first output', number: true, cell: ([, part]) => median(part.ttft_ms_median) },
  ]} />`

const median = (ms) => (ms === null ? '–' : `${Math.round(ms)} ms`)

/** Reward over cost, had a dollar weighed more or less: dearer but better, cheaper and as good. */
function TradeOffs({ points }) {
  const known = points.filter(({ reward }) => reward !== null).sort((a, b) => a.cost_usd - b.cost_usd)
  if (known.length === 0) return null
  const dollarsPerThousand = known.map(({ cost_usd }) => cost_usd * 1e3)
  return html`<section><h2>Reward over cost, had a dollar weighed more or less</h2>
    <${Chart} title="Reward over dollars for 1,000 requests" points=${true} x=${dollarsPerThousand}
      lines=${[
        { name: 'as now', values: known.map((one) => (one.reward_per_usd === 0 ? one.reward : null)) },
        {
          name: 'efficient',
          values: known.map((one) => (one.efficient && one.reward_per_usd !== 0 ? one.reward : null)),
        },
        { name: 'beaten by another', values: known.map((one) => (one.efficient ? null : one.reward)) },
      ]} />
    <p class="dim">Across: dollars for 1,000 requests. From explored requests and their exact probabilities.</p></section>`
}

/** What a judge found, who compared two answers without knowing whose they were. */
const Ghosts = ({ ghosts }) =>
  ghosts.length === 0
    ? null
    : html`<section><h2>Could another have done as well?</h2>
        <${Table} caption="Compared answers" rows=${ghosts} columns=${[
          { title: 'answered', cell: ({ answered }) => answered },
          { title: 'compared with', cell: ({ rival }) => rival },
          { title: 'answers', number: true, cell: ({ compared }) => count(compared) },
          {
            title: 'as good or better',
            number: true,
            cell: ({ as_good, as_good_interval: [low, high] }) => `${share(as_good)} (${share(low)} to ${share(high)})`,
          },
          { title: 'saved in 1,000', number: true, cell: ({ saved_usd }) => dollars(saved_usd * 1e3) },
        ]} /></section>`

const VERDICTS = { gain: 'certified', harm: 'worse: the baseline answers' }

const Gains = ({ gains }) =>
  html`<${Table} caption="Gain over the baseline"
    rows=${gains.flatMap(({ policy, baseline, groups }) => Object.entries(groups).map(([users, one]) => ({ policy, baseline, users, ...one })))}
    columns=${[
      { title: 'version', cell: ({ policy }) => policy },
      { title: 'baseline', cell: ({ baseline }) => baseline },
      { title: 'users', cell: ({ users }) => users },
      { title: 'ratings', number: true, cell: (row) => count(row.count - row.compared) },
      { title: 'compared', number: true, cell: ({ compared }) => count(compared) },
      { title: 'estimate', number: true, cell: ({ estimate }) => signed(estimate) },
      { title: 'interval', number: true, cell: ({ low, high }) => `${signed(low)} to ${signed(high)}` },
      {
        title: 'certificate',
        cell: (row) => (row.verdict === 'open' ? `not yet: ${missingWords(row)}` : VERDICTS[row.verdict]),
      },
    ]} />`
