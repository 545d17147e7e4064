import { knownNames, mayBeDiscovered } from '../candidates/names.ts'
import type { Tenant } from '../candidates/tenants.ts'
import type { Config } from '../config/schema.ts'
import { invalidRequest, notFound } from '../errors.ts'
import { preferencesSchema, type StatedPreferences } from '../learning/stated-preferences.ts'
import { fieldError } from '../openai/parse-chat.ts'
import { parseRawBody } from '../openai/raw-body.ts'
import type { Services } from '../parts.ts'
import type { InteractionRecord } from '../store/records/records.ts'
import { eachCandidate } from '../store/records/scored-candidates.ts'
import { allResponses } from './responses/kept-responses.ts'

/** @throws GatewayError 400 with `param` */
export function parsePreferences(raw: Buffer): StatedPreferences {
  const { json } = parseRawBody(raw)
  const parsed = preferencesSchema.safeParse('preferences' in json ? json.preferences : json)
  if (!parsed.success) throw fieldError(parsed.error.issues[0])
  return parsed.data
}

/**
 * A slip in a list would let through what was to be denied, or deny all.
 *
 * @throws GatewayError 400 with `param`
 */
export function refuseUnknownNames(
  preferences: StatedPreferences,
  config: Config,
  { candidates, ...of }: Tenant,
): void {
  const known = knownNames(config, of.config.candidates).candidates
  const isKnown = (name: string) =>
    known.has(name) || candidates.some((one) => one.name === name) || mayBeDiscovered(config, name)
  for (const field of ['allow', 'deny'] as const) {
    const unknown = preferences[field]?.find((name) => !isKnown(name))
    if (unknown === undefined) continue
    throw invalidRequest(`Invalid '${field}': there is no candidate '${unknown}'; see /v1/models.`, field)
  }
}

/**
 * All that is kept of a user, but for vectors.
 *
 * @param id as the client wrote it
 * @throws GatewayError 404 when nothing is kept
 */
export async function exportProfile({ store, seal }: Services, tenant: string, user: string, id: string) {
  const [stored, edges] = await Promise.all([store.loadUser(tenant, user), store.loadEdges(tenant, user)])
  const interactions = await collect(store.readInteractions({ tenant, user }), withoutVectors)
  const rewards = await collect(store.readRewards({ tenant, user }), (row) => row)
  const responses = await allResponses({ responses: store.responses, seal, tenant, user })
  if (!stored && interactions.length === 0 && responses.length === 0) {
    throw notFound('There is no such user.', 'user_not_found', 'id')
  }
  return {
    object: 'user.profile',
    id,
    preferences: stored?.preferences ?? {},
    policy: stored?.policy ?? null,
    rewards_counted: stored?.rewards ?? 0,
    updated_at: stored ? new Date(stored.updatedAt).toISOString() : null,
    history: edges.map(({ candidate, reward, kind, ts }) => ({
      candidate,
      reward,
      kind,
      at: new Date(ts).toISOString(),
    })),
    interactions,
    rewards,
    responses,
  }
}

const withoutVectors = ({ embedding: _, candidates, shadow, ...row }: InteractionRecord) => ({
  ...row,
  candidates: eachCandidate(candidates),
  ...(shadow && { shadow: { policy: shadow.policy, candidates: eachCandidate(shadow.candidates) } }),
})

async function collect<T, R>(batches: AsyncIterable<T[]>, map: (row: T) => R): Promise<R[]> {
  const rows: R[] = []
  for await (const batch of batches) for (const row of batch) rows.push(map(row))
  return rows
}
