import { createHmac } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Config, TenantConfig } from '../config/schema.ts'
import { notFound } from '../errors.ts'
import { userKey } from '../runtime/keys.ts'
import { atMost } from '../runtime/lru.ts'
import type { Secrets } from '../runtime/seal.ts'
import { type Alias, aliasTarget, orderAliases } from './aliases.ts'
import type { Candidate } from './candidate.ts'
import { isNamed, presentNames } from './former-names.ts'

/** A tenant with what it may use, resolved once per configuration. */
export interface Tenant {
  name: string
  config: TenantConfig
  candidates: readonly Candidate[]
  /** In order of precedence. */
  aliases: readonly Alias[]
}

/** @returns tenant name -> tenant */
export function resolveTenants(config: Config, candidates: readonly Candidate[]): Map<string, Tenant> {
  const formerNames = Object.fromEntries(presentNames(candidates))
  return new Map(
    config.tenants.map((tenant) => [
      tenant.name,
      {
        name: tenant.name,
        config: tenant,
        candidates: selectCandidates(candidates, tenant.candidates),
        aliases: orderAliases(tenant.aliases, { ...formerNames, ...config.aliases }),
      },
    ]),
  )
}

/** Candidates whose name, or one of whose groups, is wanted. */
export function selectCandidates(candidates: readonly Candidate[], wanted: readonly string[]): Candidate[] {
  const names = new Set(wanted)
  return candidates.filter((one) => isNamed(one, wanted) || one.groups.some((group) => names.has(group)))
}

export interface EmptyEntry {
  tenant: string
  /** A name or a group. */
  wanted: string
}

/** Entries of tenants' lists that match no usable candidate. */
export const emptyEntries = (config: Config, candidates: readonly Candidate[]): EmptyEntry[] =>
  config.tenants.flatMap(({ name, candidates: list }) =>
    list
      .filter((wanted) => selectCandidates(candidates, [wanted]).length === 0)
      .map((wanted) => ({ tenant: name, wanted })),
  )

export interface ModelChoice {
  /** `auto` and `auto:<group>` are routed; a name is obeyed. */
  explicit: boolean
  candidates: readonly Candidate[]
}

/**
 * Resolves a request's `model` among the candidates that the caller may use; a candidate's own name wins over an alias.
 *
 * @throws GatewayError 404 `model_not_found`
 */
export function resolveModel(
  model: string,
  allowed: readonly Candidate[],
  aliases: readonly Alias[] = [],
): ModelChoice {
  const target = choiceOf(model, allowed) ? undefined : aliasTarget(aliases, model)
  const choice = choiceOf(target ?? model, allowed)
  if (choice) return choice
  const shown = model.slice(0, 64).replace(/[^\x20-\x7e]/g, '?')
  throw notFound(`The model \`${shown}\` does not exist or you do not have access to it.`, 'model_not_found', 'model')
}

/** Resolves a name without aliases; null where there is no such model. */
export function choiceOf(model: string, allowed: readonly Candidate[]): ModelChoice | null {
  if (model === 'auto') return { explicit: false, candidates: allowed }
  if (model.startsWith('auto:')) {
    const group = model.slice('auto:'.length)
    const candidates = allowed.filter(({ groups }) => groups.includes(group))
    if (candidates.length > 0) return { explicit: false, candidates }
  }
  const candidate = allowed.find(({ name }) => name === model)
  return candidate ? { explicit: true, candidates: [candidate] } : null
}

interface KnownId {
  id: string
  /** Of the tenant and the id. */
  key: string
}

/**
 * User ids as they are stored: an HMAC-SHA256 under the gateway's secret and the tenant, unless the tenant asked for
 * plain ones.
 */
export class UserIds {
  #secret: string
  #formerSecrets: readonly string[]
  /** By tenant and user. */
  readonly #cache = new LRUCache<string, KnownId>({
    ...atMost(10_000),
    dispose: ({ key }) => void this.#former.delete(key),
  })
  /** Of ids in the cache, by tenant and id: what they were under former secrets. It goes with the id. */
  readonly #former = new Map<string, readonly string[]>()

  constructor([secret, ...former]: Secrets) {
    this.#secret = secret
    this.#formerSecrets = former
  }

  /** Switches to other secrets: under a new first one users have other ids than before. */
  use([secret, ...former]: Secrets): void {
    this.#secret = secret
    this.#formerSecrets = former
    this.#cache.clear()
  }

  /** What this id of a user was under the secrets that were in use before. */
  former(tenant: string, stored: string): readonly string[] {
    return this.#former.get(userKey(tenant, stored)) ?? []
  }

  stored(tenant: TenantConfig, user: string | null): string {
    if (user === null) return ANONYMOUS
    if (tenant.plain_user_ids) return `p:${user}`
    const cacheKey = userKey(tenant.name, user)
    const known = this.#cache.get(cacheKey)
    if (known !== undefined) return known.id
    const id = idUnder(this.#secret, cacheKey)
    const key = userKey(tenant.name, id)
    this.#cache.set(cacheKey, { id, key })
    if (this.#formerSecrets.length > 0) {
      this.#former.set(
        key,
        this.#formerSecrets.map((secret) => idUnder(secret, cacheKey)),
      )
    }
    return id
  }

  /** Of the user's own messages alone: nobody names another's. */
  message(tenant: TenantConfig, user: string, message: string | null): string | null {
    return message === null ? null : `message-${this.conversation(tenant, user, `message\0${message}`)}`
  }

  /** Conversation ids come from clients and are hashed as well. */
  conversation(tenant: TenantConfig, user: string, conversation: string | null): string | null {
    return conversation === null
      ? null
      : createHmac('sha256', this.#secret)
          .update(`${userKey(tenant.name, user)}\0${conversation}`)
          .digest('base64url')
          .slice(0, 32)
  }
}

const idUnder = (secret: string, user: string) =>
  createHmac('sha256', secret).update(user).digest('base64url').slice(0, 32)

/** All requests of a tenant that name no user share one belief. */
export const ANONYMOUS = 'anonymous'
