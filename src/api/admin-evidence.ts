import { ANONYMOUS } from '../candidates/tenants.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { notFound } from '../errors.ts'
import {
  evidenceKey,
  evidenceRules,
  forgottenKey,
  headsOf,
  isHeard,
  type Opinion,
  opinionsOf,
  PEOPLE,
} from '../routing/choose/evidence.ts'
import { isAgreed, lengthKey, type Measured, measuredOf, measurers } from '../routing/choose/length-evidence.ts'
import type { Policies } from '../routing/policies/policies.ts'
import type { Store } from '../store/store.ts'
import { voiceNames } from './voice-names.ts'

export interface EvidenceDeps {
  snapshot(): Snapshot
  store: Store
  policies: Policies
}

/** Whose evidence: a tenant's, on the artifact that serves it or on another one. */
interface Asked {
  tenant: string | undefined
  policy: string | undefined
}

/**
 * `GET /admin/evidence`: what a tenant's voices say of each LLM, and how long its answers to them were.
 *
 * @throws GatewayError 404. @throws StoreError
 */
export async function showEvidence(deps: EvidenceDeps, asked: Asked) {
  const { tenant, policy } = found(deps, asked)
  const rules = evidenceRules(deps.snapshot().config.router)
  const [rows, lengthRows, named] = await Promise.all([
    deps.store.loadEvidence(tenant, evidenceKey(policy)),
    deps.store.loadEvidence(tenant, lengthKey(policy)),
    voiceNames(deps.snapshot(), deps.store, tenant),
  ])
  const shown = ({ voice, users, ratings, mean, weight, at }: Opinion) => ({
    ...named(voice),
    users: rounded(users),
    ratings: rounded(ratings),
    mean: rounded(mean),
    weight: rounded(weight),
    last: new Date(at).toISOString(),
  })
  const measured = ({ voice, answers, apart, at }: Measured) => ({
    ...named(voice),
    answers: rounded(answers),
    times_as_long: rounded(Math.exp(apart)),
    last: new Date(at).toISOString(),
  })
  const all = opinionsOf(rows, rules, Date.now())
  const heard = (opinions: readonly Opinion[]) => ({
    counts: isHeard(opinions, rules),
    voices: rounded(headsOf(opinions)),
    opinions: opinions.toSorted((a, b) => b.weight - a.weight).map(shown),
  })
  const candidates = [...all].flatMap(([candidate, opinions]) =>
    candidate === PEOPLE ? [] : [{ candidate, ...heard(opinions) }],
  )
  // What users tell of their tenant rates nothing: who has spoken is all there is to see.
  const { opinions, ...people } = heard(all.get(PEOPLE) ?? [])
  const voices = opinions.map(({ mean: _, ratings: __, ...voice }) => voice)
  const lengths = [...measuredOf(lengthRows, rules, Date.now())].map(([candidate, of]) => ({
    candidate,
    // Else a voice's measurements serve that voice alone.
    counts: isAgreed(of, rules),
    voices: rounded(measurers(of)),
    measured: of.toSorted((a, b) => b.answers - a.answers).map(measured),
  }))
  return {
    object: 'evidence',
    tenant,
    policy,
    quorum: rules.quorum,
    candidates,
    ...(lengths.length > 0 && { lengths }),
    ...(voices.length > 0 && { people: { ...people, opinions: voices } }),
  }
}

/**
 * `DELETE /admin/evidence`: forgets it, and what was measured of lengths, of one LLM or of all. Without a model also
 * what users told of their tenant (`*people`), which they tell again with their next rating.
 *
 * @returns how many sums went, of what was said and of lengths
 */
export async function dropEvidence(deps: EvidenceDeps, { model, ...asked }: Asked & { model: string | undefined }) {
  const { tenant, policy } = found(deps, asked)
  const [dropped, lengths] = await Promise.all(
    [evidenceKey(policy), lengthKey(policy)].map((key) => dropOf(deps.store, tenant, key, model)),
  )
  if (model === undefined || model === PEOPLE) {
    // After the sums, so that nobody tells into those that go.
    await deps.store.dropEvidence(tenant, forgottenKey(policy))
    await deps.store.addEvidence(tenant, forgottenKey(policy), `${Date.now()}`, Float32Array.of(1))
  }
  return { object: 'evidence.deleted', tenant, policy, dropped, lengths }
}

async function dropOf(store: Store, tenant: string, key: string, model: string | undefined): Promise<number> {
  if (model === undefined) return store.dropEvidence(tenant, key)
  const rows = [...(await store.loadEvidence(tenant, key)).keys()]
  const names = rows.filter((name) => name === model || name.slice(0, name.lastIndexOf('#')) === model)
  return names.length > 0 ? store.dropEvidence(tenant, key, names) : 0
}

function found({ snapshot, policies }: EvidenceDeps, { tenant, policy }: Asked): { tenant: string; policy: string } {
  if (tenant === undefined || !snapshot().tenants.has(tenant)) {
    throw notFound("There is no such tenant; give 'tenant'.", 'tenant_not_found', 'tenant')
  }
  const version = policy ?? policies.snapshot(tenant, ANONYMOUS).policy?.version
  if (version === undefined) throw notFound('No artifact serves this tenant.', 'artifact_not_found', 'policy')
  return { tenant, policy: version }
}

const rounded = (value: number) => Math.round(value * 1e3) / 1e3
