import { ask, query } from './api.js'
import { Chart } from './chart.js'
import { count, dollars, Loaded, Off, share, signed, Table, useAnswer } from './parts.js'
import { html, useState } from './preact.js'

export function Models({ tenant, days }) {
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
    <${Off} off=${off} />`}<//>`
}

function Model({ model }) {
  const { report } = model
  const points = report?.calibration ?? []
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
    <section><h2>Predicted and real reward</h2>
      <${Chart} title="Ratings by expected reward" points=${true} x=${points.map(({ expected }) => expected)}
        lines=${[{ name: 'ratings', values: points.map(({ reward }) => reward) }, { name: 'as predicted', values: points.map(({ expected }) => expected) }]} /></section>
    <section><h2>If it were removed</h2>
      <p>${report ? `${count(report.requests)} of the requests were its own. They would have gone to:` : 'It has answered nothing.'}</p>
      <${Table} caption="Who would have answered" rows=${Object.entries(report?.successors ?? {})} columns=${[
        { title: 'model', cell: ([name]) => name },
        { title: 'requests', number: true, cell: ([, requests]) => count(requests) },
        { title: 'share', number: true, cell: ([, requests]) => share(requests / report.requests) },
      ]} /></section>`
}
