import { ask } from './api.js'
import { count, Loaded, Sure, signed, Table, useAnswer } from './parts.js'
import { html, useState } from './preact.js'

const MODES = {
  observe: 'observe: the baseline answers, the router is only recorded',
  assist: 'assist: the router where its gain is certified',
  route: 'route: the router answers',
}

/** Which artifact decides, what it earned, how far it is let; and the way back. */
export function Learning({ tenant, role }) {
  const answer = useAnswer(
    async () => ({ status: (await ask('admin/status')).json, modes: (await ask('admin/modes')).json.data }),
    [],
  )
  const [problem, setProblem] = useState(null)
  const doing = async (path, options) => {
    try {
      await ask(path, options)
      setProblem(null)
    } catch (error) {
      setProblem(error.message)
    }
    answer.again()
  }
  return html`${problem ? html`<p role="alert" class="bad">${problem}</p>` : null}
    <${Loaded} answer=${answer}>${({ status, modes }) => html`
      <${Mode} mode=${modes.find((one) => one.tenant === tenant)} disabled=${role !== 'operator'}
        onMode=${(mode) => doing('admin/modes', { method: 'PUT', body: { tenant, mode } })} />
      <${Artifacts} status=${status} tenant=${tenant} disabled=${role !== 'operator'}
        onReload=${() => doing('admin/artifact/reload', { method: 'POST', body: {} })}
        onRollback=${(version) => doing('admin/artifact/rollback', { method: 'POST', body: { version } })} />`}<//>`
}

const Mode = ({ mode, disabled, onMode }) => html`<section><h2>How far the router is let</h2>
  ${
    mode?.baseline
      ? html`<label>Mode, against ${mode.baseline}<br />
        <select disabled=${disabled} value=${mode.switched ?? ''} onChange=${(event) => onMode(event.target.value || null)}>
          <option value="">as configured (${mode.configured})</option>
          ${Object.entries(MODES).map(([name, text]) => html`<option value=${name}>${text}</option>`)}
        </select></label>`
      : html`<p class="dim">No baseline is configured, so that the router always answers (router.baseline).</p>`
  }</section>`

function Artifacts({ status, disabled, onReload, onRollback }) {
  const { policies, arms } = status
  const roles = ['live', 'shadow', 'canary']
    .map((name) => ({ name, version: policies[name] }))
    .filter(({ version }) => version)
  const versions = Object.entries(arms)
  return html`<section><h2>Artifacts</h2>
      <${Table} caption="Artifacts" rows=${roles} empty="No artifact decides: the fallback router ranks." columns=${[
        { title: 'role', cell: ({ name }) => name },
        {
          title: 'version',
          cell: ({ version }) => (typeof version === 'string' ? version : (version.version ?? JSON.stringify(version))),
        },
      ]} />
      <div class="row">
        <${Sure} disabled=${disabled} question="Load the configured artifact again?" onSure=${onReload}>Load again<//>
        ${(policies.previous ?? []).map(
          (
            version,
          ) => html`<${Sure} disabled=${disabled} question=${`Go back to ${version}? Every process does so at once.`}
          onSure=${() => onRollback(version)}>Roll back to ${version}<//>`,
        )}
      </div></section>
    <section><h2>What each version earned</h2>
      <${Table} caption="What each version earned" rows=${versions} columns=${[
        { title: 'version', cell: ([version]) => version },
        { title: 'ratings', number: true, cell: ([, arm]) => count(arm.rewards ?? arm.count) },
        { title: 'mean reward', number: true, cell: ([, arm]) => signed(arm.mean) },
      ]} /></section>`
}
