import { ask, query } from './api.js'
import { Chart } from './chart.js'
import { between, count, dollars, Limits, Loaded, Sure, share, signed, Table, Tile, useAnswer, when } from './parts.js'
import { html, useState } from './preact.js'

export function User({ tenant, role, rest }) {
  const [id, setId] = useState(rest[0] ?? '')
  const go = (event) => {
    event.preventDefault()
    location.hash = `#user/${encodeURIComponent(id)}`
  }
  return html`<section>
      <form class="row" onSubmit=${go}>
        <label>User's id<br /><input value=${id} required onInput=${(event) => setId(event.target.value)} /></label>
        <button class="main">Show</button>
        <span class="dim">~anonymous: whoever names no user</span>
      </form>
    </section>
    <${ByRequest} tenant=${tenant} />
    ${rest[0] ? html`<${Known} key=${rest[0]} tenant=${tenant} id=${rest[0]} role=${role} />` : null}`
}

/** Why one answered in the past, by the id that the answer had. */
function ByRequest({ tenant }) {
  const [id, setId] = useState('')
  const [past, setPast] = useState(null)
  const [problem, setProblem] = useState(null)
  const find = async (event) => {
    event.preventDefault()
    setPast(null)
    setProblem(null)
    try {
      setPast((await ask(`requests/${encodeURIComponent(id.trim())}?${query({ tenant })}`)).json)
    } catch (error) {
      setProblem(error.message)
    }
  }
  return html`<section>
      <form class="row" onSubmit=${find}>
        <label>Request's id (x-request-id), or the completion's<br />
          <input value=${id} required size="40" onInput=${(event) => setId(event.target.value)} /></label>
        <button>Why did this one answer?</button>
      </form>
      ${problem ? html`<p role="alert" class="bad">${problem}</p>` : null}
      ${past ? html`<${Past} past=${past} />` : null}
    </section>`
}

function Known({ tenant, id, role }) {
  const path = `users/${encodeURIComponent(id)}?${query({ tenant })}`
  const answer = useAnswer(async () => (await ask(path)).json, [path])
  return html`<${Loaded} answer=${answer}>${(user) => html`<${Shown} user=${user} path=${path} tenant=${tenant} role=${role} again=${answer.again} />`}<//>`
}

function Shown({ user, path, tenant, role, again }) {
  const [past, setPast] = useState(null)
  const [told, setTold] = useState(null)
  const rewards = user.history.map(({ reward }) => reward)
  const means = rewards.map((_, i) => meanOf(rewards.slice(Math.max(0, i - 9), i + 1)))
  const explain = async (request) => setPast((await ask(`requests/${request}?${query({ tenant })}`)).json)
  const erase = async () => {
    const { json } = await ask(path, { method: 'DELETE' })
    setTold(`Erased: ${count(json.rows)} rows.`)
    again()
  }
  return html`${told ? html`<p role="status">${told}</p>` : null}
    <dl class="tiles">
      <${Tile} title="Ratings that count" value=${count(user.rewards)} note=${user.updated_at ? `last ${when(user.updated_at)}` : ''} />
      <${Tile} title="Mean of the last ten" value=${signed(means.at(-1) ?? null)} />
      <${Tile} title="Requests, 30 days" value=${user.requests.length >= 50 ? '50 or more' : count(user.requests.length)} />
    </dl>
    <${Tastes} tastes=${user.tastes} />
    ${user.tastes && user.starts !== 'balanced' ? html`<p>The router adds where this tenant’s users start: ${user.starts}. It fades with their ratings, and is not in this table.</p>` : null}
    <section><h2>What they said of each model</h2>
      <${Table} caption="What they said of each model" rows=${user.by_model} columns=${[
        { title: 'model', cell: ({ model }) => model },
        { title: 'mean reward', number: true, cell: ({ reward }) => signed(reward) },
        { title: 'answers', number: true, cell: (row) => count(row.count) },
      ]} /></section>
    <section><h2>Learning curve</h2>
      <${Chart} title="Rewards in order, and the mean of the last ten" x=${rewards.map((_, i) => i + 1)}
        lines=${[{ name: 'mean of the last ten', values: means }, { name: 'reward', values: rewards }]} /></section>
    <${Wishes} user=${user} path=${path} disabled=${role !== 'operator'} again=${again} />
    <section><h2>Latest requests</h2>
      <${Table} caption="Latest requests" rows=${user.requests} columns=${[
        { title: 'when', cell: ({ at }) => when(at) },
        { title: 'model', cell: ({ chosen }) => chosen },
        { title: 'reason', cell: ({ reason }) => reason },
        { title: 'cost', number: true, cell: ({ cost_usd }) => dollars(cost_usd) },
        {
          title: 'more',
          cell: ({ id }) =>
            html`<button onClick=${() => explain(id)} aria-label=${`Why this one, request ${id}`}>Why this one?</button>`,
        },
      ]} />
      ${past ? html`<${Past} past=${past} />` : null}</section>
    <section><h2>Limits</h2>
      <${Limits} caption="Limits of this user" limits=${user.limits} empty="No limit of a user is configured." /></section>
    <section><h2>All that is kept</h2>
      <div class="row">
        <button onClick=${() => download(user)}>Export</button>
        <${Sure} disabled=${role !== 'operator'} question=${`Erase all that is kept of ${user.id}? It can't be undone.`} onSure=${erase}>Erase<//>
      </div></section>`
}

const WORTH = {
  quality: 'A right answer instead of a wrong one',
  cost: 'An answer that is ten times cheaper ($0.0003 instead of $0.003)',
  length: 'An answer twice as long (300 tokens instead of 150)',
}

/** What they like, and how surely that is believed; since when. */
export function Tastes({ tastes, before }) {
  if (!tastes) return null
  const { worth, quality_for_price: price, makers, models, same_since } = tastes
  const rows = Object.entries(worth).map(([name, found]) => ({
    name: WORTH[name] ?? name,
    was: before?.worth[name],
    ...found,
  }))
  const likings = [
    ...Object.entries(makers).map(([name, found]) => ({ name: `${name} (maker)`, ...found })),
    ...Object.entries(models).map(([name, found]) => ({ name, was: before?.models[name], ...found })),
  ].sort((a, b) => b.mean - a.mean)
  const moved = (title) => (before ? [{ title, number: true, cell: ({ was }) => (was ? between(was) : '') }] : [])
  return html`<section><h2>What they like</h2>
    <${Table} caption="What it is worth to them" rows=${rows} columns=${[
      { title: 'what', cell: ({ name }) => name },
      ...moved('before'),
      { title: 'worth to them, 95 %', number: true, cell: between },
      { title: 'to somebody unknown', number: true, cell: ({ usual }) => signed(usual) },
    ]} />
    <p>${
      price
        ? `For a ten times cheaper answer they would give ${between(price, (value) => `${Math.round(value * 100)} points`)} of a hundred of its being right.`
        : 'Too little is known yet to weigh money against quality.'
    }</p>
    <details><summary>Makers and models: liked more, or less, than their answers explain</summary>
      <${Table} caption="Likings" rows=${likings} columns=${[
        { title: 'whose', cell: ({ name }) => name },
        ...moved('before'),
        { title: 'worth to them, 95 %', number: true, cell: between },
      ]} /></details>
    <${Changes} since=${same_since} />
    <p class="dim">In reward, from -1 to 1, as the router's artifact believes it of what is kept of their ratings.</p>
  </section>`
}

/** Changes of taste that were found: how probable it is that they like the same since so many ratings. */
function Changes({ since }) {
  const changes = since.filter(({ rewards }) => rewards !== null)
  if (changes.length === 0) return html`<p>No change of taste could be found yet: there are too few ratings.</p>`
  return html`<${Table} caption="Changes of taste" rows=${since} columns=${[
    {
      title: 'their tastes are the same',
      cell: ({ rewards }) =>
        rewards === null
          ? 'since their first rating'
          : `since the last ${count(rewards)} ratings, and were others before`,
    },
    { title: 'probability', number: true, cell: ({ probability }) => share(probability) },
  ]} />`
}

const Past = ({ past }) => html`<div aria-live="polite">
  <h2>${past.chosen}, ${when(past.at)}</h2>
  <ul>${past.why.map((sentence) => html`<li>${sentence}</li>`)}</ul>
  <p class="dim">${past.reason} · version ${past.policy} · ${past.attempts.length} ${past.attempts.length === 1 ? 'try' : 'tries'} ·
    cost ${dollars(past.cost_usd)}${past.baseline_usd === null ? '' : `, the baseline's would have cost ${dollars(past.baseline_usd)}`}</p>
  <${Table} caption="What was weighed" rows=${past.candidates} rowClass=${({ name }) => (name === past.chosen ? 'chosen' : '')} columns=${[
    { title: 'candidate', cell: ({ name }) => name },
    {
      title: 'expected reward',
      number: true,
      cell: ({ mean, std }) => (mean === null ? '–' : `${signed(mean)} ± ${std.toFixed(3)}`),
    },
    { title: 'expected cost', number: true, cell: ({ predicted_cost_usd }) => dollars(predicted_cost_usd) },
    { title: 'probability', number: true, cell: ({ propensity }) => share(propensity) },
  ]} /></div>`

/** Stated preferences: never this model, only these, how much cost weighs, this one for code. */
function Wishes({ user, path, disabled, again }) {
  const [deny, setDeny] = useState((user.preferences.deny ?? []).join(', '))
  const [allow, setAllow] = useState((user.preferences.allow ?? []).join(', '))
  const [weight, setWeight] = useState(user.preferences.cost_weight ?? '')
  const [prefer, setPrefer] = useState(user.preferences.prefer ?? {})
  const [problem, setProblem] = useState(null)
  const save = async (event) => {
    event.preventDefault()
    const { deny: _deny, allow: _allow, cost_weight: _weight, prefer: _prefer, ...others } = user.preferences
    const named = { deny: namesIn(deny), allow: namesIn(allow) }
    const lists = Object.fromEntries(Object.entries(named).filter(([, names]) => names.length > 0))
    const chosen = Object.fromEntries(Object.entries(prefer).filter(([, name]) => name !== ''))
    const stated = {
      ...(weight !== '' && { cost_weight: Number(weight) }),
      ...(Object.keys(chosen).length > 0 && { prefer: chosen }),
    }
    try {
      await ask(path, { method: 'PUT', body: { ...others, ...lists, ...stated } })
      setProblem(null)
      again()
    } catch (error) {
      setProblem(error.message)
    }
  }
  return html`<section><h2>Stated wishes</h2>
    <form class="row" onSubmit=${save}>
      <label>Never these models<br /><input value=${deny} onInput=${(event) => setDeny(event.target.value)} /></label>
      <label>Only these models<br /><input value=${allow} onInput=${(event) => setAllow(event.target.value)} /></label>
      <label>Weight of cost, 0 to 1<br /><input value=${weight} inputmode="decimal" size="6" placeholder="learned"
        onInput=${(event) => setWeight(event.target.value)} /></label>
      ${[...new Set([...user.tasks, ...Object.keys(prefer)])].map(
        (task) => html`<label>For ${task}<br /><select value=${prefer[task] ?? ''}
          onChange=${(event) => setPrefer({ ...prefer, [task]: event.target.value })}>
          <option value="">whom the router chooses</option>
          ${[...new Set([...user.candidates, ...(prefer[task] ? [prefer[task]] : [])])].map((name) => html`<option value=${name}>${name}</option>`)}
        </select></label>`,
      )}
      <button disabled=${disabled}>Save</button>
    </form>
    ${problem ? html`<p role="alert" class="bad">${problem}</p>` : null}</section>`
}

const namesIn = (text) =>
  text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
const meanOf = (values) => values.reduce((sum, value) => sum + value, 0) / values.length

function download(user) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([JSON.stringify(user, null, 2)], { type: 'application/json' }))
  link.download = 'user.json'
  link.click()
  URL.revokeObjectURL(link.href)
}
