import type { Config } from '../config/schema.ts'
import type { NewKey } from './keys.ts'
import { knownNames, mayBeDiscovered } from './names.ts'

/** A key that would be of no use, and why. */
export interface KeyProblem {
  field: 'tenant' | 'models' | 'expires'
  message: string
}

/**
 * Checks a key before it is made: an unknown tenant, models that the tenant lacks or a date in the past is a mistake.
 *
 * @param now Unix milliseconds
 */
export function keyProblem(
  config: Config,
  { tenant, models, expiresAt }: Omit<NewKey, 'name'>,
  now: number,
): KeyProblem | null {
  const listed = config.tenants.find(({ name }) => name === tenant)?.candidates
  if (!listed) {
    const tenants = config.tenants.map(({ name }) => name).join(', ')
    return { field: 'tenant', message: `There is no tenant '${tenant}'; there are: ${tenants}.` }
  }
  if (expiresAt !== null && expiresAt <= now) {
    return { field: 'expires', message: `${new Date(expiresAt).toISOString()} is over: the key would never work.` }
  }
  const { candidates, groups } = knownNames(config, listed)
  const embedding = config.embeddings.map(({ name }) => name)
  const known = new Set([...listed, ...groups, ...candidates, ...embedding])
  const unknown = models?.filter((name) => !known.has(name) && !mayBeDiscovered(config, name)) ?? []
  if (unknown.length === 0) return null
  const has = [...known].join(', ')
  return {
    field: 'models',
    message: `Tenant '${tenant}' has no candidate or group '${unknown.join("', '")}'; it has: ${has}.`,
  }
}
