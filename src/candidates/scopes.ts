/** What a key may be limited to. `vouch` gives no access: whoever holds such a key signs its users in. */
export const SCOPES = ['chat', 'feedback:own', 'feedback:any', 'profile:own', 'profile:any', 'vouch'] as const
export type Scope = (typeof SCOPES)[number]

/** Of a request that comes for one user for certain, unless its key says more. */
const OF_ONE_USER: readonly Scope[] = ['chat', 'feedback:own', 'profile:own']
const OF_A_TENANT: readonly Scope[] = [...OF_ONE_USER, 'feedback:any', 'profile:any']

export interface ScopedCaller {
  /** The user whom a bound key or a signed token names. */
  user?: string
  /** Null: the usual ones. */
  scopes: readonly Scope[] | null
}

export const scopesOf = ({ user, scopes }: ScopedCaller): readonly Scope[] =>
  scopes ?? (user === undefined ? OF_A_TENANT : OF_ONE_USER)

/** One of these scopes is needed for a route; `path` as the router reads it. */
export function neededScopes(path: string): readonly Scope[] {
  if (path === '/v1/feedback' || path.startsWith('/v1/feedback/')) return ['feedback:own', 'feedback:any']
  if (path === '/v1/users' || path.startsWith('/v1/users/')) return ['profile:own', 'profile:any']
  return ['chat']
}
