import { ANONYMOUS, type Tenant, type UserIds } from '../candidates/tenants.ts'
import { notFound } from '../errors.ts'
import type { InteractionRecord } from '../store/records/codec.ts'
import { eachCandidate } from '../store/records/scored-candidates.ts'
import type { Store } from '../store/store.ts'

const DAY_MS = 86_400_000
/** What a page shows: the latest of them, from this many days. */
const SHOWN = 50
const DAYS = 30
/** In the path: whoever names no user. */
const ANONYMOUS_PATH = '~anonymous'

interface UserDeps {
  store: Store
  userIds: UserIds
}

/** What is kept of a user, as far as a page shows it: tastes as they showed, what they stated, their latest answers. */
export async function describeUser({ store, userIds }: UserDeps, { name, config }: Tenant, id: string) {
  const user = id === ANONYMOUS_PATH ? ANONYMOUS : userIds.stored(config, id)
  const [stored, edges] = await Promise.all([store.loadUser(name, user), store.loadEdges(name, user)])
  const latest: InteractionRecord[] = []
  for await (const batch of store.readInteractions({ tenant: name, user, since: Date.now() - DAYS * DAY_MS })) {
    latest.push(...batch)
    if (latest.length > SHOWN) latest.splice(0, latest.length - SHOWN)
  }
  if (!stored && latest.length === 0) throw notFound('There is no such user.', 'user_not_found', 'id')
  return {
    id,
    preferences: stored?.preferences ?? {},
    rewards: stored?.rewards ?? 0,
    policy: stored?.policy ?? null,
    updated_at: stored ? new Date(stored.updatedAt).toISOString() : null,
    history: edges.map(({ candidate, reward, kind, ts }) => ({ candidate, reward, kind, at: ts })),
    by_model: byModel(edges),
    requests: latest.reverse().map(shown),
  }
}

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

/** One request of the past, and what was weighed for it. @throws GatewayError 404 */
export async function findRequest(store: Store, tenant: string, id: string) {
  const summary = await store.findInteraction(tenant, id)
  if (summary) {
    const { user, ts } = summary
    for await (const batch of store.readInteractions({ tenant, user, since: ts, until: ts })) {
      const record = batch.find((one) => one.id === summary.id)
      if (record) return explained(record)
    }
  }
  throw notFound('There is no such request.', 'request_not_found', 'id')
}

const explained = (record: InteractionRecord) => ({
  ...shown(record),
  policy: record.policy,
  finish_reason: record.finishReason,
  attempts: record.attempts,
  usage: record.usage,
  candidates: eachCandidate(record.candidates)
    .map(({ name, mean, std, predictedCostUsd, propensity }) => ({
      name,
      mean,
      std,
      predicted_cost_usd: predictedCostUsd,
      propensity,
    }))
    .sort((a, b) => (b.mean ?? 0) - (a.mean ?? 0)),
})
