import { type OwnCertificate, timeProblem } from '../runtime/certificates.ts'

/** One thing that can be worse than it should be. */
export interface Component {
  state: 'ok' | 'degraded' | 'down'
  detail?: string
}

/** Parts of the gateway that tell their state. */
export interface ComponentSources {
  storeHealth: { state(): Promise<Component> }
  quota: { status(): { tenants: number; owed: number; replicas: number } }
  policies: { status(): RouterState & { tenants: Record<string, RouterState> } }
  recorder: { status(): RecordsState }
  configState(): ConfigState
  identity: { problem: string | null }
}

interface ConfigState {
  /** Unix milliseconds. */
  readAt: number
  problem: string | null
  certificates: readonly OwnCertificate[]
}

interface RouterState {
  /** Version of the artifact that serves, or `fallback:…`. */
  policy: string
  device: string | null
  deviceNote: string | null
  error: string | null
}

interface RecordsState {
  away: string | null
  queued: number
  spooledBytes: number
  dropped: number
  rejected: number
}

/** States of store, router and records, for `/readyz` and the admin's status. */
export async function componentsOf({
  storeHealth,
  quota,
  policies,
  recorder,
  configState,
  identity,
}: ComponentSources): Promise<Record<string, Component>> {
  const records = recorder.status()
  return {
    store: await storeHealth.state(),
    limits: limitsComponent(quota.status()),
    configuration: configComponent(configState()),
    ...certificatesComponent(configState()),
    identity: identity.problem === null ? { state: 'ok' } : { state: 'degraded', detail: identity.problem },
    router: routerComponent(policies.status()),
    records: {
      state: records.away !== null || records.dropped > 0 ? 'degraded' : 'ok',
      detail: `${records.queued} queued, ${records.spooledBytes} bytes spooled, ${records.dropped} lost, ${records.rejected} rejected`,
    },
  }
}

function limitsComponent({ tenants, owed, replicas }: ReturnType<ComponentSources['quota']['status']>): Component {
  if (tenants === 0) return { state: 'ok', detail: `counted by the store; processes: ${replicas}` }
  return {
    state: 'degraded',
    detail: `counted by this process, one of ${replicas}, for ${tenants} tenants; ${owed} requests owed to the store`,
  }
}

/** None where there are no certificates of ours. */
function certificatesComponent({ certificates }: ConfigState): Record<string, Component> {
  if (certificates.length === 0) return {}
  const problems = certificates.map((one) => timeProblem(one)).filter((problem) => problem !== null)
  return { certificates: problems.length > 0 ? { state: 'degraded', detail: problems.join('; ') } : { state: 'ok' } }
}

const MAX_PROBLEM_CHARS = 500

function configComponent({ readAt, problem }: ConfigState): Component {
  const inForce = `that of ${new Date(readAt).toISOString()} is in force`
  return problem === null
    ? { state: 'ok', detail: inForce }
    : {
        state: 'degraded',
        detail: `not reloaded, ${inForce}: ${problem.replace(/\s+/g, ' ').slice(0, MAX_PROBLEM_CHARS)}`,
      }
}

function routerComponent({
  policy,
  device,
  deviceNote,
  error,
  tenants,
}: ReturnType<ComponentSources['policies']['status']>): Component {
  const own = Object.entries(tenants)
  const refused = own.flatMap(([name, { error }]) => (error === null ? [] : [`tenant ${name}: ${error}`]))
  const isGood = !policy.startsWith('fallback:') && error === null && refused.length === 0
  const ownPolicies = own.map(([name, { policy }]) => `tenant ${name}: ${policy}`)
  const details = [policy, device && `on ${device}`, deviceNote, error, ...ownPolicies, ...refused]
  return { state: isGood ? 'ok' : 'degraded', detail: details.filter(Boolean).join('; ') }
}
