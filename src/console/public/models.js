import { ask, query } from './api.js'
import { Chart } from './chart.js'
import {
  count,
  dollars,
  Loaded,
  Off,
  Sure,
  share,
  signed,
  signedDollars,
  Table,
  useAnswer,
  when,
  whose,
} from './parts.js'
import { html, useState } from './preact.js'

export function Models({ tenant, days, role }) {
  const answer = useAnswer(async () => (await ask(`models?${query({ tenant, days })}`)).json, [tenant, days])
  const [name, setName] = useState(null)
  return html`<${Loaded} answer=${answer}>${({ models, off }) => html`<section>
      <${Table} caption="Models" rows=${models} rowClass=${(one) => (one.name === name ? 'chosen' : '')} columns=${[
        { title: 'model', cell: (one) => html`<button onClick=${() => setName(one.name)}>${one.name}</button>` },
        { title: 'share', number: true, cell: ({ report }) => share(report?.share ?? 0) },
        {
          title: 'ability',
          number: true,
          cell: ({ ability, ability_sd }) =>
            ability === null ? '–' : `${ability.toFixed(2)} ± ${(ability_sd ?? 0).toFixed(2)}`,
        },
        { title: '$ in / out per million', number: true, cell: ({ price }) => `${price.input} / ${price.output}` },
        { title: 'reward', number: true, cell: ({ report }) => signed(report?.reward) },
        { title: 'expected', number: true, cell: ({ report }) => signed(report?.expected_reward) },
        {
          title: 'cost / predicted',
          number: true,
          cell: ({ report }) => (report ? `${dollars(report.cost_usd)} / ${dollars(report.predicted_cost_usd)}` : '–'),
        },
      ]} /></section>
    ${name ? html`<${Model} model=${models.find((one) => one.name === name)} />` : html`<p class="dim">Choose a model to see more.</p>`}
    <${Refusals} tenant=${tenant} role=${role} />
    <${Off} off=${off} />`}<//>`
}

/** What providers refused of late: such requests go to others until then. */
function Refusals({ tenant, role }) {
  const answer = useAnswer(async () => (await ask(`admin/refusals?${query({ tenant })}`)).json.data, [tenant])
  const forget = async ({ deployment, refused }) => {
    await ask(`admin/refusals?${query({ tenant, deployment, refused })}`, { method: 'DELETE' })
    answer.again()
  }
  return html`<section><h2>Remembered refusals</h2><${Loaded} answer=${answer}>${(rows) =>
    html`<${Table} caption="Remembered refusals" rows=${rows} empty="No provider refused anything of late." columns=${[
      { title: 'model', cell: ({ deployment }) => deployment },
      { title: 'refused', cell: ({ refused }) => refused },
      { title: 'until', cell: ({ until }) => when(until) },
      { title: 'who met it', cell: ({ voices }) => voices.map(whose).join('; ') || '–' },
      { title: 'for others', cell: ({ counts }) => (counts ? 'yes' : 'not yet') },
      {
        title: 'more',
        cell: (row) =>
          html`<${Sure} disabled=${role !== 'operator'} question=${`Ask ${row.deployment} for ${row.refused} again?`}
            label=${`Forget ${row.refused} of ${row.deployment}`} onSure=${() => forget(row)}>Forget<//>`,
      },
    ]} />`}<//></section>`
}

const PLOTS = [
  { name: 'reward', title: 'Reward', x: 'Ratings by expected reward', unit: 1 },
  { name: 'quality', title: 'Quality', x: "A judge's marks by predicted quality, 0 to 1", unit: 1 },
  { name: 'tokens', title: 'Length', x: 'Tokens of answers by predicted tokens', unit: 1 },
  { name: 'cost_usd', title: 'Cost', x: 'Dollars of 1,000 answers by what was predicted', unit: 1e3 },
]

function Model({ model }) {
  const { report } = model
  return html`<section aria-live="polite"><h2>${model.name}</h2>
      <p>${model.description}</p>
      <p class="dim">${[
        model.vendor,
        model.provider,
        `${count(model.context_window)} tokens`,
        ...model.capabilities,
        ...(model.thinking === null ? [] : [model.thinking ? 'thinks' : 'does not think']),
        ...(model.effort ? [`effort ${model.effort}`] : []),
      ].join(' · ')}</p>
      <${Table} caption="Published figures" empty="No published figure is known." rows=${Object.entries(model.benchmarks)} columns=${[
        { title: 'benchmark', cell: ([name]) => name },
        { title: 'figure', number: true, cell: ([, value]) => value },
      ]} /></section>
    <section><h2>Who chose it, and what users thought</h2>
      <${Table} caption="Who chose it" rows=${Object.entries(report?.by_arm ?? {})} empty="It has answered nothing." columns=${[
        { title: 'who chose', cell: ([arm]) => arm },
        { title: 'requests', number: true, cell: ([, own]) => count(own.requests) },
        { title: 'ratings', number: true, cell: ([, own]) => count(own.ratings) },
        { title: 'reward', number: true, cell: ([, own]) => signed(own.reward) },
      ]} /></section>
    <div class="plots">${PLOTS.map(
      ({ name, title, x, unit }) => html`<section><h2>${title}: predicted and real</h2>
        <${Calibration} title=${x} points=${report?.calibration[name] ?? []} unit=${unit} /></section>`,
    )}</div>
    <${Removal} name=${model.name} report=${report} />`
}

/** Points on the line came as they were predicted. */
function Calibration({ title, points, unit }) {
  const [x, real] = [points.map(({ predicted }) => predicted * unit), points.map((point) => point.real * unit)]
  const answers = points.reduce((sum, point) => sum + point.answers, 0)
  return html`<${Chart} title=${title} points=${true} x=${x}
      lines=${[{ name: 'real', values: real }, { name: 'as predicted', values: x }]} />
    <p class="dim">${title}. ${count(answers)} answers.</p>`
}

/** What happens if it goes: who would answer instead, for how many users, at what cost. */
function Removal({ name, report }) {
  if (!report) return null
  const { refused, successors, unanswered } = report.removal
  return html`<section><h2>What happens if ${name} is removed</h2>
    <p>${[
      `${count(report.requests)} of the requests were its own.`,
      refused > 0 ? `${count(refused)} asked for it by name and would be refused.` : '',
      unanswered > 0 ? `For ${count(unanswered)} nobody else was left.` : '',
      successors.length > 0 ? 'The others would have gone to:' : '',
    ]
      .filter((part) => part !== '')
      .join(' ')}</p>
    <${Table} caption="Who would have answered" rows=${successors} columns=${[
      { title: 'model', cell: ({ model }) => model },
      { title: 'requests', number: true, cell: ({ requests }) => count(requests) },
      { title: 'share', number: true, cell: ({ requests }) => share(requests / report.requests) },
      { title: 'users', number: true, cell: ({ users }) => count(users) },
      { title: 'expected cost', number: true, cell: ({ cost_usd }) => signedDollars(cost_usd) },
      { title: 'expected reward of one', number: true, cell: ({ expected_reward }) => signed(expected_reward) },
    ]} /></section>`
}
