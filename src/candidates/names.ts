import type { Config } from '../config/schema.ts'
import { builtInCandidates, isDiscovering } from '../providers/kind-schemas.ts'
import { isNamed } from './former-names.ts'
import type { CandidateConfig } from './schema.ts'

/** Names of a tenant's candidates and their groups, usable at the moment or not. */
export interface KnownNames {
  candidates: ReadonlySet<string>
  /** What these were called before. */
  former: ReadonlySet<string>
  groups: ReadonlySet<string>
}

/** @param listed the tenant's candidates, as configured */
export function knownNames(config: Config, listed: readonly string[]): KnownNames {
  const wanted = new Set(listed)
  const isListed = (one: CandidateConfig) => isNamed(one, listed) || one.groups.some((group) => wanted.has(group))
  const all = [...config.candidates, ...builtInCandidates(config.providers)].filter(isListed)
  return {
    candidates: new Set(all.map(({ name }) => name)),
    former: new Set(all.flatMap(({ formerly = [] }) => formerly)),
    groups: new Set(all.flatMap(({ groups }) => groups)),
  }
}

/** Models that a local server lists are known to a running gateway alone, and only while that server is up. */
export const mayBeDiscovered = ({ providers }: Config, name: string): boolean =>
  isDiscovering(providers[name.slice(0, Math.max(0, name.indexOf('/')))])
