import type { Config } from '../config/schema.ts'
import type { NewKey } from './keys.ts'
import { knownNames, mayBeDiscovered } from './names.ts'
import { SCOPES } from './scopes.ts'

/** A key that would be of no use, and why. */
export interface KeyProblem {
  field: 'tenant' | 'models' | 'expires' | 'user' | 'scopes'
  message: string
}

/**
 * Checks a key before it is made: an unknown tenant, models that the tenant lacks or a date in the past is a mistake.
 *
 * @param now Unix milliseconds
 */
export function keyProblem(
  config: Config,
  { tenant, models, expiresAt, user, scopes }: Omit<NewKey, 'name'>,
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
  const misnamed = userProblem(user) ?? scopesProblem(user, scopes)
  if (misnamed) return misnamed
  const { candidates, groups, former } = knownNames(config, listed)
  const embedding = config.embeddings.map(({ name }) => name)
  const known = new Set([...listed, ...groups, ...candidates, ...embedding, ...former])
  const unknown = models?.filter((name) => !known.has(name) && !mayBeDiscovered(config, name)) ?? []
  if (unknown.length === 0) return null
  const has = [...known].join(', ')
  return {
    field: 'models',
    message: `Tenant '${tenant}' has no candidate or group '${unknown.join("', '")}'; it has: ${has}.`,
  }
}

const MAX_USER_BYTES = 256

function userProblem(user: NewKey['user']): KeyProblem | null {
  if (user === null || (user !== '' && Buffer.byteLength(user) <= MAX_USER_BYTES)) return null
  return { field: 'user', message: `A user's id has 1 to ${MAX_USER_BYTES} bytes.` }
}

/** Scopes come from people: any text. */
function scopesProblem(user: NewKey['user'], scopes: readonly string[] | null): KeyProblem | null {
  if (scopes === null) return null
  const known: readonly string[] = SCOPES
  const unknown = scopes.filter((scope) => !known.includes(scope))
  if (unknown.length > 0) {
    const message = `There is no scope '${unknown.join("', '")}'; there are: ${SCOPES.join(', ')}.`
    return { field: 'scopes', message }
  }
  if (scopes.every((scope) => scope === 'vouch')) {
    return { field: 'scopes', message: 'The key could do nothing: give it a scope besides vouch.' }
  }
  const wider = scopes.filter((scope) => scope === 'vouch' || scope.endsWith(':any'))
  if (user === null || wider.length === 0) return null
  return { field: 'scopes', message: `A key of one user can't have the scope '${wider.join("', '")}'.` }
}
