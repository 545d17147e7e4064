import { ask, query } from './api.js'
import { dollars, share, signed, Table } from './parts.js'
import { html, useState } from './preact.js'
import { Tastes } from './user.js'

/** Ask as a user: who would answer and why, the answer, and what a rating changes. */
export function Playground({ tenant, role }) {
  const [user, setUser] = useState('playground')
  const [text, setText] = useState('Write a function that merges two sorted lists.')
  const [weight, setWeight] = useState('')
  const [shown, setShown] = useState(null)
  const [before, setBefore] = useState(null)
  const [answer, setAnswer] = useState(null)
  const [tastes, setTastes] = useState(null)
  const [problem, setProblem] = useState(null)
  const [busy, setBusy] = useState(false)

  const headers = { 'x-user-id': user, ...(weight !== '' && { 'x-router-cost-weight': weight }) }
  const body = { model: 'auto', messages: [{ role: 'user', content: text }] }
  const at = (path) => `${path}?${query({ tenant })}`
  const doing = async (work) => {
    setBusy(true)
    setProblem(null)
    try {
      await work()
    } catch (error) {
      setProblem(error.message)
    }
    setBusy(false)
  }
  const explain = async () => (await ask(at('explain'), { method: 'POST', body, headers })).json

  const decide = () =>
    doing(async () => {
      setBefore(null)
      setTastes(null)
      setAnswer(null)
      setShown(await explain())
    })
  const send = () =>
    doing(async () => {
      setBefore(null)
      setTastes(null)
      setShown(await explain())
      const { json, headers: told } = await ask(at('chat'), { method: 'POST', body, headers })
      setAnswer({
        text: json.choices?.[0]?.message?.content ?? '',
        id: told.get('x-request-id'),
        model: told.get('x-router-model'),
        cost: told.get('x-router-cost-usd'),
      })
    })
  const believed = async () => (await ask(at(`users/${encodeURIComponent(user)}`))).json.tastes
  const rate = (rating) =>
    doing(async () => {
      setBefore(shown)
      const was = await believed()
      await ask(at('feedback'), { method: 'POST', body: { request_id: answer.id, rating }, headers })
      setShown(await explain())
      setTastes({ was, now: await believed() })
    })

  return html`<section>
      <form class="row" onSubmit=${(event) => event.preventDefault()}>
        <label>User<br /><input value=${user} onInput=${(event) => setUser(event.target.value)} required /></label>
        <label>Weight of cost, 0 to 1<br /><input value=${weight} inputmode="decimal" size="6" placeholder="learned"
          onInput=${(event) => setWeight(event.target.value)} /></label>
      </form>
      <label for="prompt">Question</label>
      <textarea id="prompt" value=${text} onInput=${(event) => setText(event.target.value)}></textarea>
      <div class="row">
        <button class="main" disabled=${busy} onClick=${decide}>Decide</button>
        <button disabled=${busy || role !== 'operator'} onClick=${send}>Decide and answer</button>
        <span role="status" class="dim">${busy ? 'Working …' : ''}</span>
      </div>
      ${problem ? html`<p role="alert" class="bad">${problem}</p>` : null}
    </section>
    ${
      answer
        ? html`<section aria-live="polite"><h2>${answer.model} answered</h2><pre>${answer.text}</pre>
          <div class="row">
            <button onClick=${() => rate('up')} disabled=${busy}>Good answer</button>
            <button onClick=${() => rate('down')} disabled=${busy}>Bad answer</button>
            <span class="dim">${dollars(Number(answer.cost))} · <a href=${`#user/${encodeURIComponent(user)}`}>what is known of ${user}</a></span>
          </div></section>`
        : null
    }
    ${shown ? html`<${Decision} shown=${shown} before=${before} />` : null}
    ${tastes ? html`<div aria-live="polite"><${Tastes} tastes=${tastes.now} before=${tastes.was} /></div>` : null}`
}

/** As what kind of task the query is read, where one has more than the half that counts. */
function readAs(tasks) {
  const kind = Object.keys(tasks).find((name) => tasks[name] > 0.5)
  return kind ? ` · read as ${kind}, ${share(tasks[kind])}` : ''
}

function Decision({ shown, before }) {
  const old = new Map(before?.candidates.map((one) => [one.name, one]))
  const moved = ({ name, mean }) => {
    const was = old.get(name)?.mean
    return was === undefined || was === null || mean === null ? '' : signed(mean - was)
  }
  const changed = before && before.chosen !== shown.chosen
  return html`<section aria-live="polite" id="decision">
    <h2>${shown.chosen}${changed ? html` <span class="good">(was ${before.chosen})</span>` : null}</h2>
    <ul>${shown.why.map((sentence) => html`<li>${sentence}</li>`)}</ul>
    <p class="dim">${shown.user.rewards} ratings known · version ${shown.policy} · reason: ${shown.reason}${readAs(shown.tasks)}</p>
    <${Table} caption="Candidates" rows=${shown.candidates} rowClass=${({ name }) => (name === shown.chosen ? 'chosen' : '')}
      columns=${[
        {
          title: 'candidate',
          cell: ({ name, excluded }) =>
            html`${name}${excluded ? html`<br /><small class="dim">${excluded}</small>` : null}`,
        },
        {
          title: 'expected reward',
          number: true,
          cell: ({ mean, std }) => (mean === null ? '–' : `${signed(mean)} ± ${std.toFixed(3)}`),
        },
        ...(before ? [{ title: 'moved', number: true, cell: moved }] : []),
        { title: 'quality', number: true, cell: ({ quality }) => (quality === null ? '–' : quality.toFixed(2)) },
        { title: 'cost', number: true, cell: ({ predicted_cost_usd }) => dollars(predicted_cost_usd) },
        { title: 'tokens', number: true, cell: ({ completion_tokens }) => Math.round(completion_tokens) },
        { title: 'probability', number: true, cell: ({ propensity }) => share(propensity) },
      ]} />
  </section>`
}
