import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import type { Candidate } from '../candidates/candidate.ts'
import { selectCandidates, type Tenant, type UserIds } from '../candidates/tenants.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { invalidRequest, unauthorized } from '../errors.ts'
import type { Speaker } from '../routing/choose/evidence.ts'
import { type Caller, KEY_HEADERS } from './authenticate.ts'

/** On whose behalf a request comes: the tenant whose key it is, and that tenant's user. */
export interface Principal {
  tenant: Tenant
  keyId: string
  /** As stored. */
  user: string
  /** Somebody answers for the user's name: it was not made up by whoever has the key. */
  vouched: boolean
  /** Candidates that tenant and key may use. */
  allowed: readonly Candidate[]
}

export const speakerOf = ({ user, keyId, vouched }: Principal): Speaker => ({ user, key: keyId, vouched })

/** Among all tenants': something that can't be made up at will. Who has many names of users is one asker. */
export const askerOf = ({ tenant, keyId, user, vouched }: Principal): string =>
  `${tenant.name} ${vouched ? `user ${user}` : keyId}`

/** Whose failures these are: who has one key of a tenant that vouches for nobody may have several. */
export const personOf = ({ tenant, user, vouched }: Principal): string =>
  vouched ? `${tenant.name} user ${user}` : tenant.name

/** The fields of a body that may name a user. */
interface BodyIds {
  safety_identifier?: unknown
  user?: unknown
}

const MAX_USER_BYTES = 256

/** @throws GatewayError 401 when the key's tenant is no longer configured; 400 for an impossible user id */
export function principalOf(
  snapshot: Snapshot,
  userIds: UserIds,
  caller: Caller,
  request: IncomingMessage,
  body?: BodyIds,
): Principal {
  const tenant = tenantOf(snapshot, caller)
  const { identity } = snapshot.config
  const user =
    caller.user === undefined ? userOf(request, identity, body) : checked(caller.user, identity.jwt?.claim ?? 'user')
  return {
    tenant,
    keyId: caller.keyId,
    user: userIds.stored(tenant.config, user),
    vouched: user !== null && isVouched(tenant, caller),
    allowed: allowedCandidates(tenant, caller),
  }
}

const isVouched = ({ config }: Tenant, { user, scopes }: Caller) =>
  user !== undefined || config.vouched_users || scopes?.includes('vouch') === true

/** @throws GatewayError 401 */
export function tenantOf(snapshot: Snapshot, caller: Caller): Tenant {
  const tenant = snapshot.tenants.get(caller.tenant)
  if (!tenant) throw unauthorized()
  return tenant
}

export function allowedCandidates(tenant: Tenant, caller: Caller): readonly Candidate[] {
  return caller.models === null ? tenant.candidates : selectCandidates(tenant.candidates, caller.models)
}

/**
 * The user as the client names them: the first of the configured headers that is there, then the body's
 * `safety_identifier`, then `user`; null where none of these is. With `identity.from` only one of the two is looked at,
 * or neither.
 *
 * @throws GatewayError 400 when the id is longer than 256 bytes
 */
function userOf(request: IncomingMessage, { from, headers }: IdentityConfig, body?: BodyIds): string | null {
  for (const name of from === 'any' || from === 'header' ? headers : []) {
    const value = headerText(request, name)
    if (value) return checked(value, name)
  }
  if (from !== 'any' && from !== 'body') return null
  for (const field of ['safety_identifier', 'user'] as const) {
    const value = body?.[field]
    if (typeof value === 'string' && value !== '') return checked(value, field)
  }
  return null
}

function checked(user: string, param: string): string {
  if (Buffer.byteLength(user) > MAX_USER_BYTES) {
    throw invalidRequest(`Invalid '${param}': at most ${MAX_USER_BYTES} bytes.`, param)
  }
  // JSON can hold halves of characters, which no store keeps.
  return user.toWellFormed()
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
const ASCII = /^[\x00-\x7f]*$/

/** A header's value; Node gives bytes as Latin-1, clients send UTF-8. */
export function headerText(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name]
  if (typeof value !== 'string') return undefined
  if (ASCII.test(value)) return value
  const bytes = Buffer.from(value, 'latin1')
  return isUtf8(bytes) ? bytes.toString('utf8') : value
}

const KEY_NAMES: ReadonlySet<string> = new Set(KEY_HEADERS)

type IdentityConfig = Snapshot['config']['identity']

const namesOf = new WeakMap<IdentityConfig, ReadonlySet<string>>()

/** All headers that name a user, a conversation or a message. */
export function identityHeaders(identity: IdentityConfig): ReadonlySet<string> {
  let names = namesOf.get(identity)
  if (!names) {
    const { headers, conversation_headers, message_headers, jwt } = identity
    names = new Set([...headers, ...conversation_headers, ...message_headers, ...(jwt ? [jwt.header] : [])])
    namesOf.set(identity, names)
  }
  return names
}

const MAX_ID_BYTES = 256

/**
 * The first of some headers that is there, as an id.
 *
 * @throws GatewayError 400 when it is longer than 256 bytes
 */
export function idOf(request: IncomingMessage, names: readonly string[]): string | null {
  for (const name of names) {
    const value = headerText(request, name)
    if (!value) continue
    if (Buffer.byteLength(value) > MAX_ID_BYTES) {
      throw invalidRequest(`Invalid '${name}': at most ${MAX_ID_BYTES} bytes.`, name)
    }
    return value
  }
  return null
}

/**
 * Headers that say on whose behalf a request comes, or where it goes, must be there once: of two, proxies and servers
 * differ in which one they believe.
 *
 * @throws GatewayError 400
 */
export function refuseRepeatedHeaders(request: IncomingMessage, identityHeaders: ReadonlySet<string>): void {
  const raw = request.rawHeaders
  let seen = ''
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase()
    if (name !== 'host' && !KEY_NAMES.has(name) && !identityHeaders.has(name)) continue
    const mark = `|${name}|`
    if (seen.includes(mark)) throw invalidRequest(`The header '${name}' is there twice.`, name)
    seen += mark
  }
}
