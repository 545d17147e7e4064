import { scopesOf } from '../candidates/scopes.ts'
import type { UserIds } from '../candidates/tenants.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { invalidRequest, notFound } from '../errors.ts'
import type { RequestContext } from '../pipeline/context.ts'
import { principalOf } from '../pipeline/principal.ts'
import type { Quota, Standing } from '../pipeline/quota/quota.ts'
import { eachWithRests } from '../runtime/rest.ts'
import { dayOf, type UsageLog, type UsageRow, type UsageScope, type Used } from '../store/usage.ts'
import { eachTenant, toldMissing } from './each-tenant.ts'

const DAY_MS = 86_400_000
const DAY = /^\d{4}-\d{2}-\d{2}$/

/** Which days, inclusive, by UTC; the last thirty where left out. */
interface Asked {
  from: string | undefined
  to: string | undefined
}

/** What was used, and under which limits. */
interface Account extends Sum {
  models: ({ model: string } & Sum)[]
  days: ({ day: string } & Sum)[]
  limits: ReturnType<typeof limitOf>[]
}

interface Sum {
  requests: number
  prompt_tokens: number
  completion_tokens: number
  usd: number
}

export interface UsageDeps {
  store: { usage: UsageLog }
  quota: Pick<Quota, 'look'>
  userIds: UserIds
}

/**
 * `GET /v1/usage`: what the caller's tenant, key and user have used, and what they have left. A key of one user is not
 * told the tenant's.
 *
 * @throws GatewayError 400 with `param`. @throws StoreError
 */
export async function usage({ store, quota, userIds }: UsageDeps, context: RequestContext, asked: Asked) {
  const { from, to } = daysOf(asked)
  const { tenant, keyId, user } = principalOf(context.snapshot, userIds, context.caller, context.incoming)
  const standing = await quota.look({ tenant, keyId, user })
  const isOfTenant = scopesOf(context.caller).includes('profile:any')
  const account = async (scope: UsageScope, id?: string) => {
    const rows = await store.usage.read(tenant.name, { scope, from, to, ...(id !== undefined && { id }) })
    return accountOf(rows, standing, scope)
  }
  const [ofTenant, ofKey, ofUser] = await Promise.all([
    isOfTenant ? account('tenant') : null,
    account('key', keyId),
    account('user', user),
  ])
  return {
    object: 'usage',
    from,
    to,
    ...(ofTenant && { tenant: { name: tenant.name, ...ofTenant } }),
    key: { id: keyId, ...ofKey },
    user: ofUser,
  }
}

const BY = ['day', 'model', 'key', 'user'] as const
type By = (typeof BY)[number]

/**
 * `GET /admin/usage?tenant=&from=&to=&by=day,model`: rows of sums, of one tenant or of all; by key or by user, too, but
 * not by both.
 *
 * @throws GatewayError 400, 404. @throws StoreError
 */
export async function adminUsage(
  { store, snapshot }: { store: { usage: UsageLog }; snapshot(): Pick<Snapshot, 'tenants'> },
  asked: Asked & { tenant: string | undefined; by: string | undefined },
) {
  const { from, to } = daysOf(asked)
  const by = (asked.by ?? 'model').split(',').map((word) => word.trim())
  const unknown = by.find((word) => !BY.includes(word as By))
  if (unknown !== undefined || (by.includes('key') && by.includes('user'))) {
    throw invalidRequest(`Invalid 'by': some of ${BY.join(', ')}, comma-separated; not key and user together.`, 'by')
  }
  const configured = [...snapshot().tenants.keys()]
  if (asked.tenant !== undefined && !configured.includes(asked.tenant)) throw notFound('There is no such tenant.')
  const scope: UsageScope = by.includes('key') ? 'key' : by.includes('user') ? 'user' : 'tenant'
  let rows = 0
  const ofTenant = async (tenant: string) => {
    const groups = new Map<string, UsageRow>()
    await eachWithRests(await store.usage.read(tenant, { scope, from, to }), (row) => {
      const name = by.map((word) => nameOf(row, word as By)).join('\n')
      groups.set(name, { ...row, ...plus(groups.get(name), row) })
    })
    rows += groups.size
    if (rows > MOST_ROWS) throw tooManyRows()
    return [...groups.values()].map((group) => {
      const names = Object.fromEntries(by.map((word) => [word, nameOf(group, word as By)]))
      return { tenant, ...names, ...sumOf([group]) }
    })
  }
  const { results, missing } = await eachTenant(asked.tenant === undefined ? configured : [asked.tenant], ofTenant)
  return { object: 'list', from, to, data: results.flat(), ...toldMissing(missing) }
}

/** An answer is written in one go. */
const MOST_ROWS = 20_000

const tooManyRows = () =>
  invalidRequest(`More than ${MOST_ROWS} rows: ask for fewer days, for one tenant, or by fewer words.`, 'by')

const nameOf = (row: UsageRow, by: By) => (by === 'day' || by === 'model' ? row[by] : row.id)

/** @throws GatewayError 400 with `param` */
function daysOf({ from, to }: Asked): { from: string; to: string } {
  for (const [param, given] of Object.entries({ from, to })) {
    if (given === undefined) continue
    if (DAY.test(given) && !Number.isNaN(Date.parse(given)) && dayOf(Date.parse(given)) === given) continue
    throw invalidRequest(`Invalid '${param}': expected a day, such as 2026-11-28.`, param)
  }
  const last = to ?? dayOf(Date.now())
  const first = from ?? dayOf(Date.parse(last) - 29 * DAY_MS)
  if (first > last) throw invalidRequest("Invalid 'from': it is after 'to'.", 'from')
  return { from: first, to: last }
}

function accountOf(rows: readonly UsageRow[], standing: readonly Standing[], scope: UsageScope): Account {
  const by = <K extends 'day' | 'model'>(name: K) =>
    [...Map.groupBy(rows, (row) => row[name])].map(([value, group]) => ({ [name]: value, ...sumOf(group) }))
  return {
    ...sumOf(rows),
    models: by('model') as Account['models'],
    days: by('day') as Account['days'],
    limits: limitsIn(standing, scope),
  }
}

const plus = (sum: Used | undefined, row: Used): Used => ({
  requests: (sum?.requests ?? 0) + row.requests,
  promptTokens: (sum?.promptTokens ?? 0) + row.promptTokens,
  completionTokens: (sum?.completionTokens ?? 0) + row.completionTokens,
  nanoUsd: (sum?.nanoUsd ?? 0) + row.nanoUsd,
})

const sumOf = (rows: readonly Used[]): Sum => ({
  requests: rows.reduce((sum, { requests }) => sum + requests, 0),
  prompt_tokens: rows.reduce((sum, { promptTokens }) => sum + promptTokens, 0),
  completion_tokens: rows.reduce((sum, { completionTokens }) => sum + completionTokens, 0),
  usd: rows.reduce((sum, { nanoUsd }) => sum + nanoUsd, 0) / 1e9,
})

/** Of a tenant, of a key or of a user: what of each limit is used and left. @throws StoreError */
export async function limitsLeft(
  quota: Pick<Quota, 'look'>,
  who: Parameters<Quota['look']>[0],
  scope: UsageScope,
): Promise<ReturnType<typeof limitOf>[]> {
  return limitsIn(await quota.look(who), scope)
}

const limitsIn = (standing: readonly Standing[], scope: UsageScope) =>
  standing.filter(({ limit }) => limit.scope.split(':')[0] === scope).map(limitOf)

const NAMES = { requests: 'requests', tokens: 'tokens', nanoUsd: 'usd' } as const

/** What answers in work have reserved counts as used. */
function limitOf({ limit: { what, window, max }, state }: Standing) {
  const unit = what === 'nanoUsd' ? 1e9 : 1
  return {
    what: NAMES[what],
    window: window === 'flight' ? 'at_once' : window,
    limit: max / unit,
    used: state.used / unit,
    left: state.remaining / unit,
    resets_at: window === 'flight' ? null : new Date(Date.now() + state.resetMs).toISOString(),
  }
}
