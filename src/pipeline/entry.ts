import type { IncomingMessage } from 'node:http'
import { ANONYMOUS, type Tenant, type UserIds } from '../candidates/tenants.ts'
import type { LimitsConfig, TenantConfig } from '../config/schema.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { GatewayError } from '../errors.ts'
import type { RequestContext } from './context.ts'
import { type Principal, principalOf } from './principal.ts'
import type { Quota } from './quota/quota.ts'

/**
 * Routes whose requests are counted when their bodies have been read: what they cost is known only then. All others
 * are counted here.
 */
const ANSWERS = new Set([
  '/v1/chat/completions',
  '/v1/responses',
  '/v1/messages',
  '/v1/messages/count_tokens',
  '/v1/completions',
  '/v1/embeddings',
  '/v1/router/explain',
])

export interface EntryDeps {
  quota: Quota
  userIds: UserIds
}

/**
 * The gate behind the key and before the body, of every route: whoever is known to be over a limit is refused unread,
 * no more bodies of a caller arrive at once than its limits could ever let in, and what is not an answer is counted.
 */
export class Entry {
  readonly #deps: EntryDeps
  readonly #arriving = new Map<string, number>()

  constructor(deps: EntryDeps) {
    this.#deps = deps
  }

  /** @throws GatewayError 429 */
  enter(context: RequestContext, isPassedThrough: boolean): Promise<void> | undefined {
    const [path = ''] = (context.incoming.url ?? '').split('?', 1)
    const isAnswer = isPassedThrough || (context.incoming.method === 'POST' && ANSWERS.has(path))
    return isAnswer ? this.enterForAnswer(context) : this.#enterForOther(context)
  }

  /** @throws GatewayError 429 */
  enterForAnswer(context: RequestContext): undefined {
    const { snapshot, caller, incoming } = context
    const tenant = snapshot.tenants.get(caller.tenant)
    if (!tenant) return
    if (this.#deps.quota.knowsRefusals) {
      const user = namedUser(snapshot, this.#deps.userIds, context)
      this.#deps.quota.refuseKnown(context, { tenant, keyId: caller.keyId, user })
    }
    const bounds = arrivalBounds(tenant.config, caller.keyId)
    if (bounds.length === 0 || !hasBody(incoming)) return
    const scopes = bounds.map(([scope]) => `${tenant.name}\0${scope}`)
    for (const [i, [scope, most]] of bounds.entries()) {
      if ((this.#arriving.get(scopes[i] as string) ?? 0) >= most) throw tooManyAtOnce(scope)
    }
    for (const scope of scopes) this.#arriving.set(scope, (this.#arriving.get(scope) ?? 0) + 1)
    context.held.whenRead(() => {
      for (const scope of scopes) {
        const left = (this.#arriving.get(scope) ?? 0) - 1
        if (left > 0) this.#arriving.set(scope, left)
        else this.#arriving.delete(scope)
      }
    })
  }

  async #enterForOther(context: RequestContext): Promise<void> {
    const { snapshot, caller } = context
    const tenant = snapshot.tenants.get(caller.tenant)
    if (!tenant) return
    const user = namedUser(snapshot, this.#deps.userIds, context)
    await this.#deps.quota.countOther(context, { tenant, keyId: caller.keyId, user })
  }
}

/** The user that headers or a token name; null where the body may. */
function namedUser(snapshot: Snapshot, userIds: UserIds, { caller, incoming }: RequestContext): string | null {
  let principal: Principal
  try {
    principal = principalOf(snapshot, userIds, caller, incoming)
  } catch {
    // Said where the request is read.
    return null
  }
  return principal.user === ANONYMOUS ? null : principal.user
}

type ArrivalBound = [scope: string, most: number]

const bounds = new WeakMap<TenantConfig, Map<string, ArrivalBound[]>>()

/** How many bodies of a tenant and of a key may arrive at once: more could not all be let in. */
function arrivalBounds(config: Tenant['config'], keyId: string): ArrivalBound[] {
  let ofKeys = bounds.get(config)
  if (!ofKeys) {
    ofKeys = new Map()
    bounds.set(config, ofKeys)
  }
  let found = ofKeys.get(keyId)
  if (!found) {
    found = [...boundOf('tenant', config.limits), ...boundOf(`key:${keyId}`, config.key_limits)]
    ofKeys.set(keyId, found)
  }
  return found
}

function boundOf(scope: string, { requests_per_minute, concurrent }: LimitsConfig): ArrivalBound[] {
  const most = Math.min(requests_per_minute ?? Number.POSITIVE_INFINITY, concurrent ?? Number.POSITIVE_INFINITY)
  return Number.isFinite(most) ? [[scope, most]] : []
}

const hasBody = ({ headers }: IncomingMessage) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

const tooManyAtOnce = (scope: string) =>
  new GatewayError(`Limit reached for this ${scope.split(':')[0]}: too many requests arrive at once.`, {
    status: 429,
    type: 'rate_limit_error',
    code: 'rate_limit_exceeded',
    retryAfterS: 1,
  })
