import type { Snapshot } from '../config/snapshot.ts'
import { type Component, type ComponentSources, componentsOf } from '../observability/components.ts'
import type { RequestContexts } from '../pipeline/context.ts'

interface Readiness {
  status: 'ready' | 'degraded' | 'not_ready'
  components: Record<string, Component>
  /** Providers and candidates that are off, and why. */
  off: Record<string, string>
}

export interface ReadinessDeps extends ComponentSources {
  snapshot(): Snapshot
  requests: RequestContexts
}

/** `GET /readyz`. Ready: requests are answered; degraded: they are, without something that they normally have. */
export async function readiness(deps: ReadinessDeps): Promise<Readiness> {
  const snapshot = deps.snapshot()
  const components = await componentsOf(deps)
  const off: Record<string, string> = {}
  for (const [name, provider] of snapshot.providers) if (provider.unavailable !== null) off[name] = provider.unavailable
  for (const { name, why } of snapshot.off) off[name] ??= why
  const candidates: Component =
    snapshot.candidates.length > 0
      ? { state: 'ok', detail: `${snapshot.candidates.length} usable` }
      : { state: 'down', detail: 'no candidate can be used' }
  const all = { candidates, ...components }
  const states = Object.values(all).map(({ state }) => state)
  const isDown = deps.requests.isDraining || states.includes('down')
  const status = isDown ? 'not_ready' : states.includes('degraded') ? 'degraded' : 'ready'
  return { status, components: all, off }
}
