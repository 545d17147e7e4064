import { timingSafeEqual } from 'node:crypto'
import type { HttpBindings } from '@hono/node-server'
import { Hono } from 'hono'
import { z } from 'zod'
import { hashKey, makeKey } from '../candidates/keys.ts'
import { keyProblem } from '../candidates/new-key.ts'
import { SCOPES } from '../candidates/scopes.ts'
import { ConfigError } from '../config/load.ts'
import { modeSchema } from '../config/schema.ts'
import type { Snapshot } from '../config/snapshot.ts'
import { GatewayError, invalidRequest, notFound, unauthorized } from '../errors.ts'
import type { ArmReport, Audience } from '../learning/arm-report.ts'
import { type ComponentSources, componentsOf } from '../observability/components.ts'
import { fieldError } from '../openai/parse-chat.ts'
import { parseRawBody } from '../openai/raw-body.ts'
import type { RequestContexts } from '../pipeline/context.ts'
import type { HeldBytes } from '../pipeline/held-bytes.ts'
import type { Refusals, ShownRefusal } from '../providers/dialect/refusals.ts'
import type { Breakers } from '../providers/forward/breakers.ts'
import { ArtifactError } from '../routing/artifact/error.ts'
import type { Policies } from '../routing/policies/policies.ts'
import type { Modes } from '../routing/safety/modes.ts'
import type { Store } from '../store/store.ts'
import { dropEvidence, showEvidence } from './admin-evidence.ts'
import { readSmallBody } from './body.ts'
import { eachTenant, type Missing, toldMissing } from './each-tenant.ts'
import { adminUsage } from './usage.ts'
import { type NamedVoice, voiceNames } from './voice-names.ts'

/** Whose bodies are counted as the operator's; no tenant has such a name. */
const OPERATOR = ''

const KEY_FIELDS = {
  tenant: 'tenant',
  models: 'models',
  expires: 'expires_at',
  user: 'user',
  scopes: 'scopes',
} as const
const newKeySchema = z.strictObject({
  tenant: z.string(),
  name: z.string().max(128).default(''),
  expires_at: z.iso.datetime().nullish(),
  models: z.array(z.string()).min(1).nullish(),
  /** The user whose key it is. */
  user: z.string().nullish(),
  scopes: z.array(z.enum(SCOPES)).min(1).nullish(),
})
/** Left out: the artifact of all tenants that have none of their own. */
const tenant = z.string().min(1).optional()
const rollbackSchema = z.strictObject({ version: z.string(), tenant })
/** Null: what the configuration says. */
const switchSchema = z.strictObject({ tenant: z.string().min(1), mode: modeSchema.nullable() })
const reloadSchema = z.strictObject({ artifact: z.string().optional(), tenant })

/** An order of the operator, as one process passes it on to the others that share its port. */
export type SiblingOrder =
  | { kind: 'config' }
  | { kind: 'artifact'; artifact: string | undefined; tenant: string | undefined }
  | { kind: 'rollback'; version: string; tenant: string | undefined }

export interface AdminDeps extends ComponentSources {
  snapshot(): Snapshot
  /** Reads the configuration again. @throws ConfigError, and the old one stays */
  reload(): Promise<void>
  store: Store
  policies: Policies
  arms: ArmReport
  modes: Pick<Modes, 'load' | 'set'>
  breakers: Breakers
  refusals: Refusals
  requests: RequestContexts
  heldBytes: HeldBytes
  siblings: { tell(order: SiblingOrder): void }
}

/** The operator's routes, behind a key of their own; 404 while no such key is configured. */
export function admin(deps: AdminDeps): Hono<{ Bindings: HttpBindings }> {
  const app = new Hono<{ Bindings: HttpBindings }>()
  app.use('*', async (c, next) => {
    const expected = deps.snapshot().config.admin.key
    if (expected === undefined) throw notFound('Not found.')
    const given = /^Bearer +(\S{1,512})$/i.exec(c.env.incoming.headers.authorization ?? '')?.[1]
    if (given === undefined || !sameKey(given, expected)) throw unauthorized()
    await next()
  })
  return app.route('/', adminRoutes(deps))
}

/** The same, for who has shown otherwise that they are the operator. */
export function adminRoutes(deps: AdminDeps): Hono<{ Bindings: HttpBindings }> {
  const app = new Hono<{ Bindings: HttpBindings }>()

  const body = async <T>({ incoming, outgoing }: HttpBindings, schema: z.ZodType<T>): Promise<T> => {
    const held = deps.heldBytes.openFor(outgoing, OPERATOR)
    const raw = await readSmallBody({ incoming, outgoing, snapshot: deps.snapshot(), held })
    const parsed = schema.safeParse(raw.length === 0 ? {} : parseRawBody(raw).json)
    if (!parsed.success) throw fieldError(parsed.error.issues[0])
    return parsed.data
  }

  app.get('/status', async (c) => {
    const { tenants, ...policies } = deps.policies.status()
    const missing = new Map<string, Missing>()
    const armsOf = async (names: string[], audience: Audience) => {
      const { arms, missing: away } = await deps.arms.report(names, audience)
      for (const one of away) missing.set(one.tenant, one)
      return arms
    }
    const own = Object.entries(tenants).map(async ([name, status]) => {
      return [name, { ...status, arms: await armsOf([name], 'own') }]
    })
    const all = deps.snapshot().config.tenants.map(({ name }) => name)
    return c.json({
      policies: { ...policies, tenants: Object.fromEntries(await Promise.all(own)) },
      arms: await armsOf(all, 'shared'),
      ...toldMissing([...missing.values()]),
      components: await componentsOf(deps),
      breakers: Object.fromEntries(deps.breakers.states()),
      in_flight: deps.requests.size,
    })
  })

  app.get('/keys', async (c) => {
    const keys = await deps.store.listKeys(c.req.query('tenant'))
    return c.json({ data: keys.map(({ hash: _, ...shown }) => shown) })
  })
  app.post('/keys', async (c) => {
    const { tenant, name, expires_at, models = null, user = null, scopes = null } = await body(c.env, newKeySchema)
    const wanted = { tenant, name, expiresAt: expires_at ? Date.parse(expires_at) : null, models, user, scopes }
    const problem = keyProblem(deps.snapshot().config, wanted, Date.now())
    if (problem) throw invalidRequest(problem.message, KEY_FIELDS[problem.field])
    const { secret, record } = makeKey(wanted)
    await deps.store.createKey(record)
    const { hash: _, ...shown } = record
    return c.json({ key: secret, ...shown }, 201)
  })
  app.delete('/keys/:id', async (c) => {
    if (!(await deps.store.revokeKey(c.req.param('id'), Date.now()))) throw notFound('There is no such key.')
    return c.json({ revoked: true })
  })

  app.delete('/tenants/:tenant', async (c) => {
    const tenant = c.req.param('tenant')
    const erased = await deps.store.eraseTenant(tenant)
    if (erased === 0) throw notFound('Nothing is kept of such a tenant.')
    return c.json({ object: 'tenant.erased', tenant, erased })
  })
  app.get('/refusals', async (c) => {
    const asked = tenantsOf(deps, c.req.query('tenant'))
    const { results, missing } = await eachTenant(asked, async (name) => {
      const named = await voiceNames(deps.snapshot(), deps.store, name)
      return (await deps.refusals.list(name)).map((row) => ({ tenant: name, ...shownRefusal(row, named) }))
    })
    return c.json({ data: results.flat(), ...toldMissing(missing) })
  })
  app.delete('/refusals', async (c) => {
    const { tenant, deployment, refused: field } = c.req.query()
    const { results, missing } = await eachTenant(tenantsOf(deps, tenant), (name) =>
      deps.refusals.forget(name, { deployment, field }),
    )
    return c.json({ forgotten: results.reduce((sum, count) => sum + count, 0), ...toldMissing(missing) })
  })

  app.get('/usage', async (c) => {
    const [tenant, by] = [c.req.query('tenant'), c.req.query('by')]
    return c.json(await adminUsage(deps, { tenant, by, from: c.req.query('from'), to: c.req.query('to') }))
  })

  app.get('/evidence', async (c) => {
    const { tenant, policy } = c.req.query()
    return c.json(await showEvidence(deps, { tenant, policy }))
  })
  app.delete('/evidence', async (c) => {
    const { tenant, policy, model } = c.req.query()
    return c.json(await dropEvidence(deps, { tenant, policy, model }))
  })

  app.post('/config/reload', async (c) => {
    try {
      await deps.reload()
      deps.siblings.tell({ kind: 'config' })
      return c.json({ reloaded: true })
    } catch (error) {
      if (error instanceof ConfigError)
        throw invalidRequest(`The configuration is not valid: ${error.problems.join('; ')}`)
      throw error
    }
  })

  app.get('/modes', async (c) => {
    const { config, tenants } = deps.snapshot()
    const { results, missing } = await eachTenant([...tenants.keys()], async (name) => {
      const own = tenants.get(name)?.config
      return {
        tenant: name,
        baseline: own?.baseline ?? config.router.baseline ?? null,
        configured: own?.mode ?? config.router.mode,
        switched: await deps.modes.load(name),
      }
    })
    return c.json({ data: results, ...toldMissing(missing) })
  })
  app.put('/modes', async (c) => {
    const { tenant: name, mode } = await body(c.env, switchSchema)
    const { config, tenants } = deps.snapshot()
    const tenant = tenants.get(name)
    if (!tenant) throw notFound(`There is no tenant '${name}'.`)
    if (mode !== null && (tenant.config.baseline ?? config.router.baseline) === undefined) {
      throw invalidRequest(`Tenant '${name}' has no baseline to compare with.`, 'mode')
    }
    await deps.modes.set(name, mode)
    return c.json({ tenant: name, switched: mode })
  })

  app.post('/artifact/reload', async (c) => {
    const { artifact, tenant } = await body(c.env, reloadSchema)
    const policy = await refusable(() => deps.policies.reload(artifact, tenant))
    deps.siblings.tell({ kind: 'artifact', artifact, tenant })
    return c.json({ policy })
  })
  app.post('/artifact/rollback', async (c) => {
    const { version, tenant } = await body(c.env, rollbackSchema)
    const policy = await deps.policies.rollback(version, tenant)
    deps.siblings.tell({ kind: 'rollback', version, tenant })
    return c.json({ policy })
  })

  return app
}

/** @throws GatewayError 404 */
function tenantsOf({ snapshot }: Pick<AdminDeps, 'snapshot'>, tenant: string | undefined): string[] {
  const { tenants } = snapshot()
  if (tenant === undefined) return [...tenants.keys()]
  if (!tenants.has(tenant)) throw notFound('There is no such tenant.')
  return [tenant]
}

const shownRefusal = (
  { deployment, field, expiresAt, counts, voices }: ShownRefusal,
  named: (voice: string) => NamedVoice,
) => ({
  deployment,
  refused: field,
  until: new Date(expiresAt).toISOString(),
  counts,
  voices: voices.map(named),
})

/** Turns a refused artifact into a 422 that names the check that failed, and by how much. */
async function refusable<T>(change: () => Promise<T>): Promise<T> {
  try {
    return await change()
  } catch (error) {
    if (!(error instanceof ArtifactError)) throw error
    throw new GatewayError(`The artifact was refused: ${error.message}`, {
      status: 422,
      type: 'invalid_request_error',
      code: `artifact_${error.check}`,
    })
  }
}

const sameKey = (given: string, expected: string) =>
  timingSafeEqual(Buffer.from(hashKey(given), 'hex'), Buffer.from(hashKey(expected), 'hex'))
