import { limitsLeft } from '../api/usage.ts'
import type { Candidate } from '../candidates/candidate.ts'
import { ANONYMOUS, type Tenant, type UserIds } from '../candidates/tenants.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { notFound } from '../errors.ts'
import { withPresentNames } from '../learning/stated-preferences.ts'
import { type Tastes, tastesOf } from '../learning/tastes.ts'
import type { VectorVault } from '../learning/vector-vault.ts'
import type { Quota } from '../pipeline/quota/quota.ts'
import type { Policies } from '../routing/policies/policies.ts'
import type { InteractionRecord } from '../store/records/codec.ts'
import { eachCandidate } from '../store/records/scored-candidates.ts'
import type { Store, StoredEdge } from '../store/store.ts'
import { type Said, type Wish, whyInWords } from './why.ts'

const DAY_MS = 86_400_000
/** What a page shows: the latest of them, from this many days. */
const SHOWN = 50
const DAYS = 30
/** In the path: whoever names no user. */
const ANONYMOUS_PATH = '~anonymous'
/** Kinds of edges that are a rating of the answer itself. */
const RATINGS: ReadonlySet<string> = new Set(['rating', 'thumb'])

interface UserDeps {
  snapshot(): Snapshot
  store: Store
  userIds: UserIds
  policies: Policies
  vault: VectorVault
  quota: Pick<Quota, 'look'>
}

/** What is kept of a user, as far as a page shows it: tastes, what they stated, their latest answers, limits. */
export async function describeUser(deps: UserDeps, tenant: Tenant, id: string) {
  const { store } = deps
  const { name } = tenant
  const user = storedId(deps, tenant, id)
  const [stored, edges] = await Promise.all([store.loadUser(name, user), store.loadEdges(name, user)])
  const latest: InteractionRecord[] = []
  for await (const batch of store.readInteractions({ tenant: name, user, since: Date.now() - DAYS * DAY_MS })) {
    latest.push(...batch)
    if (latest.length > SHOWN) latest.splice(0, latest.length - SHOWN)
  }
  if (!stored && latest.length === 0) throw notFound('There is no such user.', 'user_not_found', 'id')
  return {
    id,
    preferences: withPresentNames(stored?.preferences ?? {}, deps.snapshot().config.candidates),
    tasks: deps.policies.snapshot(name, user).policy?.router.artifact.tasks?.names ?? [],
    candidates: tenant.candidates.map((candidate) => candidate.name),
    rewards: stored?.rewards ?? 0,
    policy: stored?.policy ?? null,
    updated_at: stored ? new Date(stored.updatedAt).toISOString() : null,
    tastes: await tastesFor(deps, tenant, user, edges),
    starts: tenant.config.taste ?? deps.snapshot().config.router.taste,
    history: edges.map(({ candidate, reward, kind, ts }) => ({ candidate, reward, kind, at: ts })),
    by_model: byModel(edges),
    requests: latest.reverse().map(shown),
    limits: await limitsLeft(deps.quota, { tenant, keyId: '', user }, 'user'),
  }
}

const storedId = ({ userIds }: Pick<UserDeps, 'userIds'>, { config }: Tenant, id: string) =>
  id === ANONYMOUS_PATH ? ANONYMOUS : userIds.stored(config, id)

/** Null where no artifact serves them, or it tells nothing of tastes. */
async function tastesFor(
  { snapshot, policies, vault }: UserDeps,
  tenant: Tenant,
  user: string,
  edges: readonly StoredEdge[],
): Promise<Tastes | null> {
  const { policy } = policies.snapshot(tenant.name, user)
  if (!policy) return null
  const find = (wanted: string): Candidate | undefined => snapshot().candidates.find(({ name }) => name === wanted)
  const opened = await vault.openEdges(tenant.name, user, policy.router.artifact.manifest.reader, edges)
  return tastesOf(policy, tenant.name, opened, find, tenant.candidates)
}

/** What a user said of answers themselves, newest last. */
export async function saidBy(deps: Pick<UserDeps, 'store' | 'userIds'>, tenant: Tenant, id: string): Promise<Said[]> {
  return saidIn(await deps.store.loadEdges(tenant.name, storedId(deps, tenant, id)))
}

const saidIn = (edges: readonly StoredEdge[]): Said[] =>
  edges
    .filter(({ kind, weight }) => RATINGS.has(kind) && weight > 0)
    .map(({ candidate, reward, completionTokens }) => ({
      candidate,
      reward,
      tokens: completionTokens < 0 ? null : completionTokens,
    }))

/** Mean reward and number of rewards, by model; the best first. */
function byModel(edges: readonly { candidate: string; reward: number }[]) {
  const sums = new Map<string, { sum: number; count: number }>()
  for (const { candidate, reward } of edges) {
    const own = sums.get(candidate) ?? { sum: 0, count: 0 }
    sums.set(candidate, { sum: own.sum + reward, count: own.count + 1 })
  }
  return [...sums]
    .map(([model, { sum, count }]) => ({ model, reward: sum / count, count }))
    .sort((a, b) => b.reward - a.reward)
}

const shown = ({ id, ts, chosen, reason, status, costUsd, totalMs, usage }: InteractionRecord) => ({
  id,
  at: ts,
  chosen,
  reason,
  status,
  cost_usd: costUsd,
  total_ms: totalMs,
  completion_tokens: usage.completionTokens,
})

/** One request of the past, what was weighed for it, and why in words. @throws GatewayError 404 */
export async function findRequest({ store }: Pick<UserDeps, 'store'>, tenant: string, id: string) {
  const summary = await store.findInteraction(tenant, id)
  if (summary) {
    const { user, ts } = summary
    for await (const batch of store.readInteractions({ tenant, user, since: ts, until: ts })) {
      const record = batch.find((one) => one.id === summary.id)
      if (!record) continue
      return explained(record, await store.loadEdges(tenant, user), wishOf(record))
    }
  }
  throw notFound('There is no such request.', 'request_not_found', 'id')
}

/** A record does not say which kind of task it was; what they want today says nothing of then. */
function wishOf({ reason, arm, chosen, attempts }: InteractionRecord): Wish | null {
  if (reason === 'stated') return { task: null, candidate: chosen, why_not: null }
  const first = attempts[0]?.candidate
  return arm === 'stated' && first !== undefined ? { task: null, candidate: first, why_not: 'it failed' } : null
}

function explained(record: InteractionRecord, edges: readonly StoredEdge[], wish: Wish | null) {
  const candidates = eachCandidate(record.candidates)
    .map(({ name, mean, std, predictedCostUsd, propensity }) => ({
      name,
      mean,
      std,
      predicted_cost_usd: predictedCostUsd,
      propensity,
    }))
    .sort((a, b) => (b.mean ?? 0) - (a.mean ?? 0))
  const said = saidIn(edges.filter(({ ts }) => ts < record.ts))
  return {
    ...shown(record),
    policy: record.policy,
    finish_reason: record.finishReason,
    attempts: record.attempts,
    usage: record.usage,
    predicted: record.predicted ?? null,
    baseline_usd: record.baselineUsd ?? null,
    why: whyInWords(record.chosen, record.reason, candidates, said, null, wish),
    candidates,
  }
}
