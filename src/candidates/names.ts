import type { Config } from '../config/schema.ts'
import { builtInCandidates, isDiscovering } from '../providers/kind-schemas.ts'
import type { CandidateConfig } from './schema.ts'

/** What a tenant's candidates and their groups are called, whether they can be used at the moment or not. */
export interface KnownNames {
  candidates: ReadonlySet<string>
  groups: ReadonlySet<string>
}

/** @param listed the tenant's candidates, as configured */
export function knownNames(config: Config, listed: readonly string[]): KnownNames {
  const wanted = new Set(listed)
  const isListed = ({ name, groups }: CandidateConfig) => wanted.has(name) || groups.some((group) => wanted.has(group))
  const all = [...config.candidates, ...builtInCandidates(config.providers)].filter(isListed)
  return {
    candidates: new Set(all.map(({ name }) => name)),
    groups: new Set(all.flatMap(({ groups }) => groups)),
  }
}

/** Only a running gateway knows what a local server lists, and only while that one is up. */
export const mayBeDiscovered = ({ providers }: Config, name: string): boolean =>
  isDiscovering(providers[name.slice(0, Math.max(0, name.indexOf('/')))])
