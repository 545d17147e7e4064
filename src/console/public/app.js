// The console: who is logged in, which page is shown, for which tenant and time.
import { ask, whenSessionEnds } from './api.js'
import { Keys } from './keys.js'
import { Learning } from './learning.js'
import { Models } from './models.js'
import { Overview } from './overview.js'
import { Playground } from './playground.js'
import { html, render, useEffect, useState } from './preact.js'
import { User } from './user.js'

const PAGES = { overview: Overview, playground: Playground, user: User, models: Models, learning: Learning, keys: Keys }
const TITLES = {
  overview: 'Overview',
  playground: 'Playground',
  user: 'User',
  models: 'Models',
  learning: 'Learning',
  keys: 'Keys and limits',
}
const DAYS = [1, 7, 30, 90]

const placeOf = () => {
  const [page, ...rest] = location.hash.slice(1).split('/')
  return { page: page in PAGES ? page : 'overview', rest: rest.map(decodeURIComponent) }
}

function App() {
  const [role, setRole] = useState(undefined)
  const [tenants, setTenants] = useState([])
  const [tenant, setTenant] = useState('')
  const [days, setDays] = useState(7)
  const [place, setPlace] = useState(placeOf())

  useEffect(() => {
    whenSessionEnds(() => setRole(null))
    const move = () => setPlace(placeOf())
    addEventListener('hashchange', move)
    ask('session').then(
      ({ json }) => setRole(json.role),
      () => setRole(null),
    )
    return () => removeEventListener('hashchange', move)
  }, [])
  useEffect(() => {
    if (!role) return
    ask('tenants').then(({ json }) => {
      setTenants(json.data)
      setTenant((old) => old || json.data[0]?.name || '')
    })
  }, [role])
  useEffect(() => {
    document.title = `${TITLES[place.page]} · persona-router`
  }, [place.page])

  if (role === undefined) return html`<main><p role="status">Loading …</p></main>`
  if (role === null) return html`<${Login} onRole=${setRole} />`
  const Page = PAGES[place.page]
  return html`<a class="skip" href="#main">Skip to the page</a>
    <header>
      <strong>persona-router</strong>
      <nav aria-label="Pages">
        ${Object.entries(TITLES).map(
          ([page, title]) =>
            html`<a href=${`#${page}`} aria-current=${page === place.page ? 'page' : undefined}>${title}</a>`,
        )}
      </nav>
      <label>Tenant
        <select value=${tenant} onChange=${(event) => setTenant(event.target.value)}>
          ${tenants.map(({ name }) => html`<option value=${name}>${name}</option>`)}
        </select>
      </label>
      <label>Time
        <select value=${days} onChange=${(event) => setDays(Number(event.target.value))}>
          ${DAYS.map((some) => html`<option value=${some}>${some === 1 ? 'a day' : `${some} days`}</option>`)}
        </select>
      </label>
      <button onClick=${() => ask('session', { method: 'DELETE' }).finally(() => setRole(null))}>Log out</button>
    </header>
    <main id="main" tabindex="-1">
      <h1>${TITLES[place.page]}</h1>
      ${tenant && html`<${Page} key=${tenant} tenant=${tenant} days=${days} role=${role} rest=${place.rest} />`}
    </main>`
}

function Login({ onRole }) {
  const [key, setKey] = useState('')
  const [problem, setProblem] = useState(null)
  const submit = async (event) => {
    event.preventDefault()
    try {
      const { json } = await ask('session', { method: 'POST', body: { key } })
      onRole(json.role)
    } catch (error) {
      setProblem(error.status === 401 ? 'This is no key of the console.' : error.message)
    }
  }
  return html`<main class="login">
    <h1>persona-router</h1>
    <form onSubmit=${submit}>
      <label for="key">Admin key, or the console's read-only key</label>
      <input id="key" type="password" autocomplete="current-password" required value=${key}
        onInput=${(event) => setKey(event.target.value)} />
      ${problem ? html`<p role="alert" class="bad">${problem}</p>` : null}
      <button class="main">Log in</button>
    </form>
  </main>`
}

render(html`<${App} />`, document.getElementById('app'))
