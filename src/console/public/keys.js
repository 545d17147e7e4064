import { ask, query } from './api.js'
import { count, dollars, Limits, Loaded, Sure, Table, useAnswer, when } from './parts.js'
import { html, useState } from './preact.js'

export const Keys = ({ tenant, role }) => html`
  ${
    role === 'operator'
      ? html`<${KeysOf} tenant=${tenant} />`
      : html`<p>This key lets you look, and keys are not shown to it.</p>`
  }
  <${Left} tenant=${tenant} />
  <${Usage} tenant=${tenant} by="key" title="Used in thirty days, by key" />
  <${Usage} tenant=${tenant} by="user" title="Used in thirty days, by user" />
  <${Usage} tenant=${tenant} by="model" title="Used in thirty days, by model" />`

/** What the tenant and its keys have used and left; of a user the page of the user tells. */
function Left({ tenant }) {
  const answer = useAnswer(async () => (await ask(`limits?${query({ tenant })}`)).json, [tenant])
  return html`<section><h2>Used and left</h2><${Loaded} answer=${answer}>${({ tenant: own, keys }) => {
    const ofKeys = Object.entries(keys).filter(([, limits]) => limits.length > 0)
    return html`<h3>The tenant</h3>
      <${Limits} caption="Limits of the tenant" limits=${own} empty="No limit of the tenant is configured." />
      ${ofKeys.map(([id, limits]) => html`<h3>Key ${id}</h3><${Limits} caption=${`Limits of key ${id}`} limits=${limits} />`)}
      <p class="dim">What a user has left is on their page.</p>`
  }}<//></section>`
}

function KeysOf({ tenant }) {
  const answer = useAnswer(async () => (await ask(`admin/keys?${query({ tenant })}`)).json.data, [tenant])
  const [name, setName] = useState('')
  const [made, setMade] = useState(null)
  const [problem, setProblem] = useState(null)
  const create = async (event) => {
    event.preventDefault()
    try {
      const { json } = await ask('admin/keys', { method: 'POST', body: { tenant, name } })
      setMade(json.key)
      setProblem(null)
      setName('')
    } catch (error) {
      setProblem(error.message)
    }
    answer.again()
  }
  const revoke = async (id) => {
    await ask(`admin/keys/${id}`, { method: 'DELETE' }).catch((error) => setProblem(error.message))
    answer.again()
  }
  return html`<section><h2>New key</h2>
      <form class="row" onSubmit=${create}>
        <label>What it is for<br /><input value=${name} maxlength="128" onInput=${(event) => setName(event.target.value)} /></label>
        <button class="main">Create</button>
      </form>
      ${made ? html`<p role="status">It is shown only now: <code>${made}</code></p>` : null}
      ${problem ? html`<p role="alert" class="bad">${problem}</p>` : null}</section>
    <section><h2>Keys of ${tenant}</h2>
      <${Loaded} answer=${answer}>${(keys) =>
        html`<${Table} caption="Keys" rows=${keys} empty="No key was made here; those of the configuration are not listed." columns=${[
          { title: 'key', cell: ({ prefix }) => html`<code>${prefix}…</code>` },
          { title: 'for', cell: (key) => key.name || '–' },
          { title: 'made', cell: ({ createdAt }) => when(createdAt) },
          { title: 'state', cell: stateOf },
          {
            title: 'more',
            cell: (key) =>
              key.revokedAt === null
                ? html`<${Sure} question=${`Revoke ${key.prefix}…? Whoever uses it is refused from now on.`} onSure=${() => revoke(key.id)}>Revoke<//>`
                : null,
          },
        ]} />`}<//></section>`
}

/** Of a tenant with many users the dearest are enough. */
const MOST = 100

/** What was used, the dearest first. */
function Usage({ tenant, by, title }) {
  const answer = useAnswer(async () => (await ask(`admin/usage?${query({ tenant, by })}`)).json.data, [tenant, by])
  return html`<section><h2>${title}</h2><${Loaded} answer=${answer}>${(rows) => html`<${Table} caption=${title}
    rows=${rows.toSorted((a, b) => b.usd - a.usd).slice(0, MOST)} columns=${[
      { title: by, cell: (row) => row[by] },
      { title: 'requests', number: true, cell: ({ requests }) => count(requests) },
      { title: 'tokens in', number: true, cell: ({ prompt_tokens }) => count(prompt_tokens) },
      { title: 'tokens out', number: true, cell: ({ completion_tokens }) => count(completion_tokens) },
      { title: 'dollars', number: true, cell: ({ usd }) => dollars(usd) },
    ]} />`}<//></section>`
}

function stateOf({ revokedAt, expiresAt }) {
  if (revokedAt !== null) return html`<span class="bad">revoked</span>`
  if (expiresAt !== null && expiresAt <= Date.now()) return html`<span class="bad">expired</span>`
  return expiresAt === null ? 'active' : `active until ${when(expiresAt)}`
}
