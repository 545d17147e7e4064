import type { Snapshot } from '../config/snapshot.ts'
import type { Component } from '../observability/components.ts'

export interface Readiness {
  status: 'ready' | 'degraded' | 'not_ready'
  components: Record<string, Component>
  /** Providers and candidates that are off, and why. */
  off: Record<string, string>
}

/** Ready means that requests are answered; degraded, that something they would like to have is missing. */
export function readiness(snapshot: Snapshot, draining: boolean, components: Record<string, Component>): Readiness {
  const off: Record<string, string> = {}
  for (const [name, provider] of snapshot.providers) if (provider.unavailable !== null) off[name] = provider.unavailable
  for (const { name, why } of snapshot.off) off[name] ??= why
  const candidates: Component =
    snapshot.candidates.length > 0
      ? { state: 'ok', detail: `${snapshot.candidates.length} usable` }
      : { state: 'down', detail: 'no candidate can be used' }
  const all = { candidates, ...components }
  const states = Object.values(all).map(({ state }) => state)
  const status = draining || states.includes('down') ? 'not_ready' : states.includes('degraded') ? 'degraded' : 'ready'
  return { status, components: all, off }
}
