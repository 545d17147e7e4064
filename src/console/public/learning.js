import { ask, query } from './api.js'
import { between, count, Loaded, Sure, share, signed, Table, useAnswer, when, whose } from './parts.js'
import { html, useState } from './preact.js'

const MODES = {
  observe: 'observe: the baseline answers, the router is only recorded',
  assist: 'assist: the router where its gain is certified',
  route: 'route: the router answers',
}

const ROLES = [
  ['live', 'policy'],
  ['shadow', 'shadow'],
  ['canary', 'canary'],
]

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
      <${Artifacts} status=${statusOf(status, tenant)} disabled=${role !== 'operator'}
        onReload=${() => doing('admin/artifact/reload', { method: 'POST', body: ownOf(status, tenant) })}
        onRollback=${(version) =>
          doing('admin/artifact/rollback', { method: 'POST', body: { version, ...ownOf(status, tenant) } })} />`}<//>
    <${Retrainings} tenant=${tenant} />
    <${Voices} tenant=${tenant} disabled=${role !== 'operator'} />`
}

/** A tenant with an artifact of its own, or one on trial, has a state of its own. */
const ownOf = ({ policies }, tenant) => (policies.tenants?.[tenant] ? { tenant } : {})
const statusOf = ({ policies, arms }, tenant) =>
  policies.tenants?.[tenant]
    ? { policies: policies.tenants[tenant], arms: policies.tenants[tenant].arms }
    : { policies, arms }

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
  const roles = ROLES.map(([name, field]) => ({ name, version: policies[field] })).filter(({ version }) => version)
  const versions = Object.entries(arms)
  return html`<section><h2>Artifacts</h2>
      <${Table} caption="Artifacts" rows=${roles} empty="No artifact decides: the fallback router ranks." columns=${[
        { title: 'role', cell: ({ name }) => name },
        {
          title: 'version',
          cell: ({ version }) =>
            typeof version === 'string' ? version : `${version.policy}, for ${share(version.share)} of the users`,
        },
      ]} />
      ${policies.error ? html`<p class="bad">Refused: ${policies.error}</p>` : null}
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
        {
          title: 'mean reward',
          number: true,
          cell: ([, arm]) => (arm.interval ? between(arm) : signed(arm.mean)),
        },
      ]} /></section>`
}

/** What each retraining came to: why one was published, and what one was refused for. */
function Retrainings({ tenant }) {
  const answer = useAnswer(async () => (await ask(`retrainings?${query({ tenant })}`)).json.data, [tenant])
  return html`<section><h2>Retrainings</h2><${Loaded} answer=${answer}>${(runs) =>
    runs.length === 0
      ? html`<p class="dim">None yet: npm run retrain learns from the log.</p>`
      : runs.map((run, i) => html`<${Retraining} run=${run} isLatest=${i === 0} />`)}<//></section>`
}

const Retraining = ({ run, isLatest }) => html`<details open=${isLatest}>
  <summary>${run.version}: <span class=${run.accepted ? 'good' : 'bad'}>${outcomeOf(run)}</span></summary>
  <p class="dim">${when(run.at)} · against ${run.current} · ${count(run.rewards)} rewards of ${count(run.users)} users ·
    value of the new one less the current one ${between({ mean: run.gain.value, interval: [run.gain.low, run.gain.high] })}</p>
  <${Table} caption=${`Gates of ${run.version}`} rows=${run.gates} columns=${[
    { title: 'gate', cell: ({ name }) => name },
    { title: 'outcome', cell: gateOf },
    { title: 'figure', number: true, cell: ({ figure }) => figureOf(figure) },
    { title: 'limit', number: true, cell: ({ limit }) => figureOf(limit) },
    { title: 'why', cell: ({ says }) => says },
  ]} /></details>`

const outcomeOf = ({ published, accepted }) => (published ? 'published' : accepted ? 'accepted' : 'refused')

function gateOf({ short, waived }) {
  if (short !== null && short <= 0) return 'passed'
  if (waived) return 'waived'
  return html`<span class="bad">refused${short === null ? '' : `, short by ${figureOf(short)}`}</span>`
}

const figureOf = (value) => (value === null ? '–' : Number(value.toPrecision(3)))

/** What is said of each model by whom, and whether it counts for others yet. */
function Voices({ tenant, disabled }) {
  const answer = useAnswer(async () => (await ask(`admin/evidence?${query({ tenant })}`)).json, [tenant])
  const forget = async (model) => {
    await ask(`admin/evidence?${query({ tenant, model })}`, { method: 'DELETE' })
    answer.again()
  }
  return html`<section><h2>Whose word counts for others</h2><${Loaded} answer=${answer}>${({
    candidates,
    lengths = [],
    quorum,
  }) => html`
    <p class="dim">What is said of a model counts for the tenant's others once ${quorum} voices have spoken of it.</p>
    <${Table} caption="Whose word counts for others" rows=${candidates} columns=${[
      { title: 'model', cell: ({ candidate }) => candidate },
      { title: 'voices', number: true, cell: ({ voices }) => count(voices) },
      { title: 'counts', cell: ({ counts }) => (counts ? 'yes' : 'not yet') },
      {
        title: 'who, how often, and what',
        cell: ({ opinions }) =>
          opinions.map((one) => `${whose(one)}: ${count(one.ratings)} × ${signed(one.mean, 2)}`).join('; '),
      },
      {
        title: 'more',
        cell: ({ candidate }) =>
          html`<${Sure} disabled=${disabled} label=${`Forget what is said of ${candidate}`}
            question=${`Forget what was said of ${candidate}? Users' own tastes stay.`} onSure=${() => forget(candidate)}>Forget<//>`,
      },
    ]} />
    <p class="dim">How long a model's answers are, against what was predicted, is of use to who measured it, and to
      others once several agree. Forgetting what is said of a model forgets this, too.</p>
    <${Table} caption="Lengths of answers by voice" rows=${lengths} empty="None was measured yet." columns=${[
      { title: 'model', cell: ({ candidate }) => candidate },
      { title: 'voices', number: true, cell: ({ voices }) => count(voices) },
      { title: 'for others', cell: ({ counts }) => (counts ? 'yes' : 'not yet') },
      {
        title: 'who, how often, and how long',
        cell: ({ measured }) =>
          measured
            .map(
              (one) =>
                `${whose(one)}: ${count(one.answers)} × ${Number(one.times_as_long.toPrecision(3))} times as long`,
            )
            .join('; '),
      },
      {
        title: 'more',
        cell: ({ candidate }) =>
          html`<${Sure} disabled=${disabled} label=${`Forget lengths of ${candidate}`}
            question=${`Forget what was said of ${candidate}, and how long its answers were?`} onSure=${() => forget(candidate)}>Forget<//>`,
      },
    ]} />`}<//></section>`
}
