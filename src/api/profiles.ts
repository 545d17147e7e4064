import { knownNames, mayBeDiscovered } from '../candidates/names.ts'
import { scopesOf } from '../candidates/scopes.ts'
import { ANONYMOUS, type Tenant, type UserIds } from '../candidates/tenants.ts'
import type { Config } from '../config/schema.ts'
import { GatewayError, invalidRequest, notFound } from '../errors.ts'
import { type ForgetDeps, forgetUser } from '../learning/erasures.ts'
import type { Learner } from '../learning/learner.ts'
import {
  preferencesSchema,
  type StatedPreferences,
  statedPreferences,
  withPresentNames,
} from '../learning/stated-preferences.ts'
import { fieldError } from '../openai/parse-chat.ts'
import { parseRawBody } from '../openai/raw-body.ts'
import type { Admission } from '../pipeline/admission.ts'
import { insufficientScope } from '../pipeline/authenticate.ts'
import type { RequestContext } from '../pipeline/context.ts'
import { principalOf, tenantOf } from '../pipeline/principal.ts'
import { Sink } from '../providers/relay/sink.ts'
import type { Policies } from '../routing/policies/policies.ts'
import type { Seal } from '../runtime/seal.ts'
import type { InteractionRecord } from '../store/records/codec.ts'
import { eachCandidate } from '../store/records/scored-candidates.ts'
import type { Store } from '../store/store.ts'
import { readSmallBody } from './body.ts'
import { begun, mapped, writeObject } from './json-pages.ts'
import { eachResponse } from './responses/kept-responses.ts'

interface ProfileDeps {
  userIds: UserIds
}

interface ExportDeps extends ProfileDeps {
  store: Store
  seal: Seal
  admission: Admission
}

/** In a path: the user of all requests that name none. */
const ANONYMOUS_PATH = '~anonymous'
const MAX_ID_BYTES = 256

/**
 * `GET /v1/users/{id}/profile`: all that is kept of a user, but for vectors. Written in pages, at the client's pace:
 * however much there is, little of it is in memory, and others are served between two pages. A store that goes away
 * meanwhile breaks the answer off.
 *
 * @throws GatewayError 400; 403 for another's; 404 when nothing is kept; 429 while too many others of the tenant's are
 * being written. @throws StoreError
 */
export function getProfile(deps: ExportDeps, context: RequestContext, id: string): Promise<void> {
  const { tenant, user } = userInPath(deps, context, id)
  return deps.admission.runLong(tenant.name, () => writeProfile(deps, context, { id, tenant: tenant.name, user }))
}

async function writeProfile(
  { store, seal }: ExportDeps,
  { outgoing, requestId, signal, snapshot }: RequestContext,
  { id, tenant, user }: { id: string; tenant: string; user: string },
): Promise<void> {
  const [stored, edges] = await Promise.all([store.loadUser(tenant, user), store.loadEdges(tenant, user)])
  const interactions = await begun(store.readInteractions({ tenant, user }))
  const responses = await begun(eachResponse({ responses: store.responses, seal, tenant, user }))
  if (!stored && interactions.isEmpty && responses.isEmpty) {
    throw notFound('There is no such user.', 'user_not_found', 'id')
  }
  const head = {
    object: 'user.profile',
    id,
    preferences: withPresentNames(stored?.preferences ?? {}, snapshot.config.candidates),
    policy: stored?.policy ?? null,
    rewards_counted: stored?.rewards ?? 0,
    updated_at: stored ? new Date(stored.updatedAt).toISOString() : null,
    history: edges.map(({ candidate, reward, kind, ts }) => ({
      candidate,
      reward,
      kind,
      at: new Date(ts).toISOString(),
    })),
  }
  outgoing.writeHead(200, { 'content-type': 'application/json', 'x-request-id': requestId })
  const writeIdleMs = snapshot.config.server.write_idle_timeout_ms
  const sink = new Sink(outgoing, { signal, writeIdleMs, onLeave: () => {} })
  try {
    const whole = await writeObject((text) => sink.send(Buffer.from(text)), head, {
      interactions: mapped(interactions.pages, withoutVectors),
      rewards: store.readRewards({ tenant, user }),
      responses: responses.pages,
    })
    if (whole) outgoing.end()
    else outgoing.destroy()
  } finally {
    sink.release()
  }
}

/**
 * `PUT /v1/users/{id}/profile`: sets what a user states of their wishes.
 *
 * @throws GatewayError 400 with `param`. @throws StoreError
 */
export async function setProfile(
  deps: ProfileDeps & { store: Store; policies: Policies; learner: Learner },
  context: RequestContext,
  id: string,
) {
  const { tenant, user } = userInPath(deps, context, id)
  const preferences = parsePreferences(await readSmallBody(context))
  const { policy } = deps.policies.snapshot(tenant.name, user)
  const tasks = policy?.router.artifact.tasks?.names ?? []
  await refuseUnknownNames(preferences, context.snapshot.config, tenant, tasks, async () =>
    statedPreferences((await deps.store.loadUser(tenant.name, user))?.preferences ?? {}),
  )
  const speaker = { user, key: context.caller.keyId, vouched: user === ANONYMOUS }
  if (!(await deps.learner.setPreferences(policy, tenant.name, speaker, preferences))) throw tooManyNew()
  return { object: 'user.profile', id, preferences }
}

const tooManyNew = () =>
  new GatewayError('Too many new users within a minute (`limits.new_users_per_minute`).', {
    status: 429,
    type: 'rate_limit_error',
    code: 'too_many_new_users',
    retryAfterS: 60,
  })

/**
 * `DELETE /v1/users/{id}/profile`: erases a user, in slices; asked again after a failure, it goes on.
 *
 * @throws GatewayError 400, 429 while others of the tenant's are being erased or written. @throws StoreError
 */
export async function deleteProfile(
  deps: ProfileDeps & ForgetDeps & { admission: Admission },
  context: RequestContext,
  id: string,
) {
  const { tenant, user } = userInPath(deps, context, id)
  const rows = await deps.admission.runLong(tenant.name, () => forgetUser(deps, tenant.name, user))
  return { object: 'user.profile.deleted', id, deleted: true, rows }
}

function userInPath({ userIds }: ProfileDeps, { snapshot, caller, incoming }: RequestContext, id: string) {
  const tenant = tenantOf(snapshot, caller)
  if (Buffer.byteLength(id) > MAX_ID_BYTES) throw invalidRequest(`Invalid 'id': at most ${MAX_ID_BYTES} bytes.`, 'id')
  const user = id === ANONYMOUS_PATH ? ANONYMOUS : userIds.stored(tenant.config, id)
  if (!scopesOf(caller).includes('profile:any') && principalOf(snapshot, userIds, caller, incoming).user !== user) {
    throw insufficientScope('profile:any')
  }
  return { tenant, user }
}

/** @throws GatewayError 400 with `param` */
export function parsePreferences(raw: Buffer): StatedPreferences {
  const { json } = parseRawBody(raw)
  const parsed = preferencesSchema.safeParse('preferences' in json ? json.preferences : json)
  if (!parsed.success) throw fieldError(parsed.error.issues[0])
  return parsed.data
}

/**
 * Refuses unknown names: a typo in a list would allow what was to be denied, or deny everything. A name that the user
 * stated earlier may stay, though its candidate has gone: who reads, changes and writes is not stuck. So may a kind of
 * task that another artifact told apart.
 *
 * @param tasks kinds of tasks that the user's artifact tells apart
 * @param stated what the user stated earlier
 * @throws GatewayError 400 with `param`
 */
export async function refuseUnknownNames(
  preferences: StatedPreferences,
  config: Config,
  { candidates, ...of }: Tenant,
  tasks: readonly string[],
  stated: () => Promise<StatedPreferences>,
): Promise<void> {
  const { candidates: known, former } = knownNames(config, of.config.candidates)
  const isKnown = (name: string) =>
    known.has(name) || former.has(name) || candidates.some((one) => one.name === name) || mayBeDiscovered(config, name)
  for (const field of ['allow', 'deny'] as const) {
    const unknown = preferences[field]?.filter((name) => !isKnown(name)) ?? []
    if (unknown.length === 0) continue
    const before = (await stated())[field] ?? []
    const added = unknown.find((name) => !before.includes(name))
    if (added === undefined) continue
    throw invalidRequest(`Invalid '${field}': there is no candidate '${added}'; see /v1/models.`, field)
  }
  for (const [task, wanted] of Object.entries(preferences.prefer ?? {})) {
    const isTask = tasks.includes(task)
    if (isTask && isKnown(wanted)) continue
    const before = (await stated()).prefer?.[task]
    const param = `prefer.${task}`
    if (!isTask && before === undefined) throw invalidRequest(`Invalid '${param}': ${thereAre(tasks)}.`, param)
    if (isKnown(wanted) || wanted === before) continue
    throw invalidRequest(`Invalid '${param}': there is no candidate '${wanted}'; see /v1/models.`, param)
  }
}

const thereAre = (tasks: readonly string[]) =>
  tasks.length === 0
    ? 'the artifact in use tells no kinds of tasks apart'
    : `no such kind of task is told apart; there are ${tasks.join(', ')}`

const withoutVectors = ({ embedding: _, candidates, shadow, ...row }: InteractionRecord) => ({
  ...row,
  candidates: eachCandidate(candidates),
  ...(shadow && { shadow: { policy: shadow.policy, candidates: eachCandidate(shadow.candidates) } }),
})
