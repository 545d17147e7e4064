import type { Services } from '../parts.ts'

/** One thing that can be worse than it should be. */
export interface Component {
  state: 'ok' | 'degraded' | 'down'
  detail?: string
}

/** States of what can be worse than it should be. */
export async function componentsOf({ store, policies, recorder }: Services): Promise<Record<string, Component>> {
  const records = recorder.status()
  return {
    store: await store.ping().then(
      (): Component => ({ state: 'ok', detail: store.kind }),
      (): Component => ({ state: 'degraded', detail: `${store.kind} does not answer` }),
    ),
    router: routerComponent(policies.status()),
    records: {
      state: records.away !== null || records.dropped > 0 ? 'degraded' : 'ok',
      detail: `${records.queued} queued, ${records.spooledBytes} bytes spooled, ${records.dropped} lost, ${records.rejected} rejected`,
    },
  }
}

function routerComponent({ policy, device, deviceNote, error, tenants }: ReturnType<Services['policies']['status']>) {
  const own = Object.entries(tenants)
  const refused = own.flatMap(([name, { error }]) => (error === null ? [] : [`tenant ${name}: ${error}`]))
  const isGood = !policy.startsWith('fallback:') && error === null && refused.length === 0
  const ownPolicies = own.map(([name, { policy }]) => `tenant ${name}: ${policy}`)
  const details = [policy, device && `on ${device}`, deviceNote, error, ...ownPolicies, ...refused]
  return { state: isGood ? 'ok' : 'degraded', detail: details.filter(Boolean).join('; ') } satisfies Component
}
